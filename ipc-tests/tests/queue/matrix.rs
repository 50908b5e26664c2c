//! Every operation that can wait has four forms, which differ only in how long they wait: each form of each operation
//! is tried where it can succeed, where it would have to wait, where it is interrupted, and on a closed queue.

use ipc_tests::guarded;
use ipc_tests::support::{LIMIT, sleepy};
use std::{
    error::Error,
    io::{PipeReader, PipeWriter, pipe},
    time::{Duration, Instant},
};
use workring::{
    Receiver, RecvError, SendError, Sender,
    error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError},
    queue::{Raw, Reservation, Watched},
};

type Tx = Sender<Vec<u8>, Raw>;
type Rx = Receiver<Vec<u8>, Raw>;
type InPlace<'a> = Reservation<'a, Vec<u8>>;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    WouldBlock,
    Timeout,
    Interrupted,
    Closed,
}

/// The form of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Try,
    Timeout,
    Deadline,
}

use Form::{Deadline, Plain, Timeout, Try};

macro_rules! outcomes {
    ($($error:ty { $($is:ident => $outcome:ident),* })*) => {$(
        impl From<$error> for Outcome {
            fn from(error: $error) -> Self {
                $(if error.$is() {
                    return Self::$outcome;
                })*
                panic!("{error}")
            }
        }
    )*};
}

outcomes! {
    SendError<()> { is_closed => Closed, is_interrupted => Interrupted }
    TrySendError<()> { is_closed => Closed, is_full => WouldBlock }
    SendTimeoutError<()> { is_closed => Closed, is_timeout => Timeout, is_interrupted => Interrupted }
    RecvError { is_closed => Closed, is_interrupted => Interrupted }
    TryRecvError { is_closed => Closed, is_empty => WouldBlock }
    RecvTimeoutError { is_closed => Closed, is_timeout => Timeout, is_interrupted => Interrupted }
}

fn outcome<R, E: Into<Outcome>>(result: Result<R, E>) -> Outcome {
    result.map_or_else(Into::into, |_| Outcome::Done)
}

/// Short enough for a test, and long enough to sleep: waits of these queues do not spin.
const SHORT: Duration = Duration::from_millis(2);

fn soon() -> Instant {
    Instant::now() + SHORT
}

type SendForm = (&'static str, Form, fn(&Tx) -> Outcome);

#[rustfmt::skip]
const SENDS: [SendForm; 8] = [
    ("send", Plain, |tx| outcome(tx.send(vec![1]).map_err(|e| e.map(drop)))),
    ("try_send", Try, |tx| outcome(tx.try_send(vec![1]).map_err(|e| e.map(drop)))),
    ("send_timeout", Timeout, |tx| outcome(tx.send_timeout(vec![1], SHORT).map_err(|e| e.map(drop)))),
    ("send_deadline", Deadline, |tx| outcome(tx.send_deadline(vec![1], soon()).map_err(|e| e.map(drop)))),
    ("send_many", Plain, |tx| outcome(tx.send_many([vec![1]]).map_err(|e| e.error.map(drop)))),
    ("try_send_many", Try, |tx| outcome(tx.try_send_many([vec![1]]).map_err(|e| e.error.map(drop)))),
    ("send_many_timeout", Timeout, |tx| outcome(tx.send_many_timeout([vec![1]], SHORT).map_err(|e| e.error.map(drop)))),
    ("send_many_deadline", Deadline, |tx| {
        outcome(tx.send_many_deadline([vec![1]], soon()).map_err(|e| e.error.map(drop)))
    }),
];

#[rustfmt::skip]
const RESERVES: [SendForm; 4] = [
    ("reserve", Plain, |tx| outcome(tx.reserve(1).map_err(|e| e.map(drop)))),
    ("try_reserve", Try, |tx| outcome(tx.try_reserve(1).map_err(|e| e.map(drop)))),
    ("reserve_timeout", Timeout, |tx| outcome(tx.reserve_timeout(1, SHORT).map_err(|e| e.map(drop)))),
    ("reserve_deadline", Deadline, |tx| outcome(tx.reserve_deadline(1, soon()).map_err(|e| e.map(drop)))),
];

type CommitForm = (&'static str, Form, fn(&mut InPlace<'_>) -> Outcome);

const COMMITS: [CommitForm; 4] = [
    ("commit", Plain, |room| outcome(room.commit())),
    ("try_commit", Try, |room| outcome(room.try_commit())),
    ("commit_timeout", Timeout, |room| {
        outcome(room.commit_timeout(SHORT))
    }),
    ("commit_deadline", Deadline, |room| {
        outcome(room.commit_deadline(soon()))
    }),
];

type RecvForm = (&'static str, Form, fn(&Rx, &PipeReader) -> Outcome);

#[rustfmt::skip]
const RECVS: [RecvForm; 24] = [
    ("recv", Plain, |rx, _| outcome(rx.recv())),
    ("try_recv", Try, |rx, _| outcome(rx.try_recv())),
    ("recv_timeout", Timeout, |rx, _| outcome(rx.recv_timeout(SHORT))),
    ("recv_deadline", Deadline, |rx, _| outcome(rx.recv_deadline(soon()))),
    ("recv_many", Plain, |rx, _| outcome(rx.recv_many(&mut Vec::new(), 1))),
    ("try_recv_many", Try, |rx, _| outcome(rx.try_recv_many(&mut Vec::new(), 1))),
    ("recv_many_timeout", Timeout, |rx, _| outcome(rx.recv_many_timeout(&mut Vec::new(), 1, SHORT))),
    ("recv_many_deadline", Deadline, |rx, _| outcome(rx.recv_many_deadline(&mut Vec::new(), 1, soon()))),
    ("lease", Plain, |rx, _| outcome(rx.lease())),
    ("try_lease", Try, |rx, _| outcome(rx.try_lease())),
    ("lease_timeout", Timeout, |rx, _| outcome(rx.lease_timeout(SHORT))),
    ("lease_deadline", Deadline, |rx, _| outcome(rx.lease_deadline(soon()))),
    ("lease_bytes", Plain, |rx, _| outcome(rx.lease_bytes())),
    ("try_lease_bytes", Try, |rx, _| outcome(rx.try_lease_bytes())),
    ("lease_bytes_timeout", Timeout, |rx, _| outcome(rx.lease_bytes_timeout(SHORT))),
    ("lease_bytes_deadline", Deadline, |rx, _| outcome(rx.lease_bytes_deadline(soon()))),
    ("Watch::recv", Plain, |rx, file| outcome(rx.watch(file).expect("a watch").recv())),
    ("Watch::try_recv", Try, |rx, file| outcome(rx.watch(file).expect("a watch").try_recv())),
    ("Watch::recv_timeout", Timeout, |rx, file| outcome(rx.watch(file).expect("a watch").recv_timeout(SHORT))),
    ("Watch::recv_deadline", Deadline, |rx, file| outcome(rx.watch(file).expect("a watch").recv_deadline(soon()))),
    ("Watch::lease", Plain, |rx, file| outcome(rx.watch(file).expect("a watch").lease())),
    ("Watch::try_lease", Try, |rx, file| outcome(rx.watch(file).expect("a watch").try_lease())),
    ("Watch::lease_timeout", Timeout, |rx, file| outcome(rx.watch(file).expect("a watch").lease_timeout(SHORT))),
    ("Watch::lease_deadline", Deadline, |rx, file| outcome(rx.watch(file).expect("a watch").lease_deadline(soon()))),
];

fn queue(capacity: usize) -> (Tx, Rx) {
    sleepy(capacity)
        .max_message_len(128)
        .channel_with()
        .expect("a queue")
}

/// A descriptor that does not become readable.
fn silence() -> (PipeReader, PipeWriter) {
    pipe().expect("a pipe")
}

/// How a form ends that would have to wait, and is interrupted if it does.
fn when_it_must_wait(form: Form, interrupted: bool) -> Outcome {
    match form {
        Try => Outcome::WouldBlock,
        Plain | Timeout | Deadline if interrupted => Outcome::Interrupted,
        Timeout | Deadline => Outcome::Timeout,
        Plain => unreachable!("it would wait forever"),
    }
}

/// Calls a form that has to wait, without and with an interrupt.
fn must_wait(name: &str, form: Form, interrupt: impl Fn(), call: impl Fn() -> Outcome) {
    for interrupted in [false, true] {
        if form == Plain && !interrupted {
            continue;
        }
        if interrupted && form != Try {
            interrupt();
        }
        let expected = when_it_must_wait(form, interrupted);
        assert_eq!(call(), expected, "{name}, interrupted: {interrupted}");
    }
}

#[test]
fn every_form_of_a_send_waits_for_room_as_long_as_it_says() {
    guarded(LIMIT, || {
        for (name, form, send) in SENDS {
            let (tx, rx) = queue(1);
            assert_eq!(send(&tx), Outcome::Done, "{name}");
            let interrupter = tx.interrupter();
            must_wait(name, form, || interrupter.interrupt(), || send(&tx));
            assert_eq!(rx.len(), 1, "{name}");
            rx.close();
            assert_eq!(send(&tx), Outcome::Closed, "{name}");
        }
    });
}

#[test]
fn every_form_of_reserve_waits_for_a_block_as_long_as_it_says() {
    guarded(LIMIT, || {
        for (name, form, reserve) in RESERVES {
            let (tx, rx) = queue(1);
            assert_eq!(reserve(&tx), Outcome::Done, "{name}");
            let other = tx.clone();
            let all: Vec<_> = std::iter::from_fn(|| other.try_reserve(1).ok()).collect();
            let interrupter = tx.interrupter();
            must_wait(name, form, || interrupter.interrupt(), || reserve(&tx));
            drop(all);
            assert_eq!(reserve(&tx), Outcome::Done, "{name}");
            rx.close();
            assert_eq!(reserve(&tx), Outcome::Closed, "{name}");
        }
    });
}

#[test]
fn every_form_of_commit_waits_for_room_as_long_as_it_says_and_keeps_the_message() {
    guarded(LIMIT, || {
        for (name, form, commit) in COMMITS {
            let (tx, rx) = queue(1);
            tx.send(vec![1]).expect("room");
            let mut room = tx.reserve(1).expect("a block");
            room.fill(2);
            for interrupted in [false, true] {
                if form == Plain && !interrupted {
                    continue;
                }
                if interrupted && form != Try {
                    tx.interrupter().interrupt();
                }
                let expected = when_it_must_wait(form, interrupted);
                assert_eq!(commit(&mut room), expected, "{name}");
                assert_eq!(*room, [2], "{name}");
            }
            assert_eq!(rx.recv().expect("a message"), [1]);
            assert_eq!(commit(&mut room), Outcome::Done, "{name}");
            assert!(room.is_empty(), "{name}");
            // Again: it is sent already.
            assert_eq!(commit(&mut room), Outcome::Done, "{name}");
            assert_eq!((rx.len(), rx.stats().accepted), (1, 2), "{name}");
            assert_eq!(rx.recv().expect("a message"), [2]);

            let mut room = tx.reserve(1).expect("a block");
            rx.close();
            assert_eq!(commit(&mut room), Outcome::Closed, "{name}");
            drop(room);
            let in_use = |tx: &Tx| -> u64 {
                let blocks = tx.stats().blocks.into_iter();
                blocks.map(|class| class.total - class.free).sum()
            };
            assert_eq!(in_use(&tx), 0, "{name}");
        }
    });
}

#[test]
fn every_form_of_a_receive_waits_for_a_message_as_long_as_it_says() {
    guarded(LIMIT, || {
        let (file, _writer) = silence();
        for (name, form, recv) in RECVS {
            let (tx, rx) = queue(4);
            tx.send(vec![1]).expect("room");
            assert_eq!(recv(&rx, &file), Outcome::Done, "{name}");
            // A lease that was dropped has returned its message.
            while rx.try_recv().is_ok() {}
            let interrupter = rx.interrupter();
            let interrupt = || interrupter.interrupt();
            must_wait(name, form, interrupt, || recv(&rx, &file));
            tx.close();
            assert_eq!(recv(&rx, &file), Outcome::Closed, "{name}");
        }
    });
}

#[test]
fn a_watch_that_does_not_wait_prefers_its_descriptor() {
    guarded(LIMIT, || {
        let (tx, rx) = queue(4);
        let (file, writer) = silence();
        let watch = rx.watch(&file).expect("a watch");
        assert_eq!(watch.try_recv(), Err(TryRecvError::Empty));
        tx.send(vec![1]).expect("room");
        assert_eq!(watch.try_recv(), Ok(Watched::Message(vec![1])));
        tx.send(vec![2]).expect("room");
        drop(writer); // readable: at its end
        while watch.try_recv() != Ok(Watched::Ready) {
            tx.send(vec![3]).expect("room");
        }
        assert!(matches!(watch.try_lease(), Ok(Watched::Ready)));
    });
}

/// What `anyhow` and the like accept.
fn as_any_error<E: Error + Send + Sync + 'static>(error: E) -> Box<dyn Error + Send + Sync> {
    error.into()
}

/// No error of an in-place send borrows from the queue, so that `?` works.
fn send_in_place(tx: &Tx, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut room = tx.reserve(bytes.len())?;
    room.copy_from_slice(bytes);
    room.commit()?;
    tx.try_reserve(1)?.try_commit()?;
    let deadline = Instant::now() + LIMIT;
    tx.reserve_deadline(1, deadline)?
        .commit_deadline(deadline)?;
    Ok(())
}

#[test]
fn in_place_sends_work_with_the_question_mark() {
    guarded(LIMIT, || {
        let (tx, rx) = queue(4);
        send_in_place(&tx, b"in place").expect("room");
        assert_eq!(rx.recv().expect("a message"), b"in place");
        rx.cancel();
        let refused = send_in_place(&tx, b"late").expect_err("closed");
        assert!(refused.is::<SendError<usize>>(), "{refused}");
        let (tx, rx) = queue(1);
        let mut room = tx.reserve(1).expect("a block");
        rx.close();
        let refused = room.commit().map_err(as_any_error).expect_err("closed");
        assert!(refused.is::<SendError<()>>(), "{refused}");
    });
}

/// Assertions as users of `crossbeam-channel` write them.
#[test]
fn errors_are_compared_with_assert_eq() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        assert_eq!(tx.try_send(1), Ok(()));
        assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
        assert_eq!(tx.send_timeout(2, SHORT), Err(SendTimeoutError::Timeout(2)));
        assert_eq!(rx.recv(), Ok(1));
        drop(tx);
        assert_eq!(rx.recv(), Err(RecvError::Closed));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    });
}
