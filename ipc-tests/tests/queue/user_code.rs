//! User code that a queue calls: `Codec` (and so `Serialize` and `Deserialize`), `Drop`, iterators, errors. In each
//! place it may panic, hang, or use the same queue.
//!
//! The messages of these tests call a *hook* wherever the queue runs their code. A test sets the hook, does each
//! operation, and then looks at the queue: each message is in one place, and no block is lost. The table in
//! docs/user-code.md names the test for each place.

use ipc_tests::guarded;
use ipc_tests::support::books::{assert_adds_up, assert_all_free, assert_balanced};
use ipc_tests::support::{LIMIT, sleepy};
use std::{
    cell::RefCell,
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};
use workring::{
    Options, Receiver, RecvError, SendError, Sender,
    error::{DecodeError, EncodeError, TryRecvError, TrySendError},
    queue::{Codec, Select},
};

/// Where the code of a message runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Encode,
    Length,
    Decode,
    Drop,
    DropError,
    Debug,
}

type Hook = Rc<dyn Fn(Place, u32)>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

fn visit(place: Place, number: u32) {
    let hook = HOOK.with_borrow(Clone::clone);
    if let Some(hook) = hook {
        hook(place, number);
    }
}

/// In this thread, the code of messages calls `hook`, but not what `hook` itself does with messages.
fn with_hook<R>(hook: impl Fn(Place, u32) + 'static, body: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            HOOK.take();
        }
    }
    let inside = AtomicBool::new(false);
    let hook = move |place, number| {
        if !inside.swap(true, Ordering::Relaxed) {
            struct Outside<'a>(&'a AtomicBool);
            impl Drop for Outside<'_> {
                fn drop(&mut self) {
                    self.0.store(false, Ordering::Relaxed);
                }
            }
            let _outside = Outside(&inside);
            hook(place, number);
        }
    };
    HOOK.set(Some(Rc::new(hook)));
    let _reset = Reset;
    body()
}

/// Panics in one place, for one message.
fn panics_in(place: Place, number: u32) -> impl Fn(Place, u32) {
    move |now, of| assert!((now, of) != (place, number), "as the test wants it")
}

/// Whether it panics.
fn panics<R>(act: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

/// A number whose code calls the hook. From [`LARGE`] on it takes a kibibyte or more, so that it goes alone, and not
/// into the smallest block.
struct Message(u32);

const LARGE: u32 = 1000;
/// Can't be decoded.
const BAD: u32 = 666;

impl Drop for Message {
    fn drop(&mut self) {
        visit(Place::Drop, self.0);
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        visit(Place::Debug, self.0);
        write!(f, "{}", self.0)
    }
}

#[derive(Debug)]
struct Undecodable(u32);

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be decoded", self.0)
    }
}

impl Error for Undecodable {}

impl Drop for Undecodable {
    fn drop(&mut self) {
        visit(Place::DropError, self.0);
    }
}

struct Hooked;

fn length(number: u32) -> usize {
    if number >= LARGE { 2000 } else { 4 }
}

impl Codec<Message> for Hooked {
    const NAME: &'static str = "hooked";

    fn encode(message: &Message, into: &mut [u8]) -> Result<usize, EncodeError> {
        visit(Place::Encode, message.0);
        let length = length(message.0);
        let room = into.get_mut(..length).ok_or(EncodeError::NoRoom)?;
        let (number, rest) = room.split_at_mut(4);
        number.copy_from_slice(&message.0.to_le_bytes());
        rest.fill(7);
        Ok(length)
    }

    fn encoded_len(message: &Message) -> Result<usize, EncodeError> {
        visit(Place::Length, message.0);
        Ok(length(message.0))
    }

    fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        let number = bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let number = number.ok_or_else(|| DecodeError::new("too short"))?;
        visit(Place::Decode, number);
        if number == BAD {
            return Err(DecodeError::new(Undecodable(number)));
        }
        Ok(Message(number))
    }
}

type Tx = Sender<Message, Hooked>;
type Rx = Receiver<Message, Hooked>;

fn hooked(options: &Options) -> (Tx, Rx) {
    options.channel_with().expect("a queue")
}

fn queue() -> (Tx, Rx) {
    hooked(&sleepy(8).max_deliveries(3))
}

fn numbers(messages: impl IntoIterator<Item = Message>) -> Vec<u32> {
    messages.into_iter().map(|message| message.0).collect()
}

fn received(rx: &Rx) -> Vec<u32> {
    numbers(rx.try_iter().map(|message| message.expect("a message")))
}

fn batch(range: impl IntoIterator<Item = u32>) -> Vec<Message> {
    range.into_iter().map(Message).collect()
}

/// All ways to send number 7, or 7,000, with others around it where that is possible.
const WAYS_TO_SEND: [fn(&Tx, u32); 5] = [
    |tx, n| tx.send(Message(n)).expect("room"),
    |tx, n| tx.try_send(Message(n)).expect("room"),
    |tx, n| {
        tx.send_timeout(Message(n), LIMIT).expect("room");
    },
    |tx, n| {
        tx.send_many(batch([1, n, 2])).expect("room");
    },
    |tx, n| {
        tx.try_send_many(batch([1, n, 2])).expect("room");
    },
];

#[test]
fn a_panic_of_encode_sends_nothing_and_frees_the_block() {
    guarded(LIMIT, || {
        for (way, send) in WAYS_TO_SEND.iter().enumerate() {
            for number in [7, 7 * LARGE] {
                for place in [Place::Encode, Place::Length] {
                    let (tx, rx) = queue();
                    let hook = panics_in(place, number);
                    let panicked = with_hook(hook, || panics(|| send(&tx, number)));
                    // The length is asked for only if the message is not small.
                    let due = place == Place::Encode || number >= LARGE;
                    assert_eq!(panicked, due, "way {way}, {number}, {place:?}");
                    let before = received(&rx);
                    assert!(!panicked || !before.contains(&number), "{before:?}");
                    assert_all_free(&rx);
                    assert_balanced(&rx);
                    send(&tx, number);
                    assert!(received(&rx).contains(&number));
                }
            }
        }
    });
}

#[test]
fn a_panic_of_encode_in_a_select_frees_the_block_and_the_select_goes_on() {
    guarded(LIMIT, || {
        for place in [Place::Encode, Place::Length] {
            let (tx, rx) = queue();
            let message = Message(7);
            let mut select = Select::new();
            select.send(&tx, &message);
            let attempt = || drop(select.try_select());
            assert!(with_hook(panics_in(place, 7), || panics(attempt)));
            assert_all_free(&rx);
            assert_balanced(&rx);
            let selected = select.try_select().expect("ready");
            selected.send(&tx).expect("room");
            assert_eq!(received(&rx), [7]);
        }
    });
}

#[test]
fn an_iterator_that_panics_leaves_what_was_accepted_before() {
    guarded(LIMIT, || {
        for count in [0, 1, 63, 64, 65, 130] {
            let (tx, rx) = queue();
            let source = (0..).map(|n| {
                assert!(n < count, "as the test wants it");
                Message(n)
            });
            assert!(panics(|| tx.send_many(source)));
            // Whole batches are accepted; the rest has been dropped with the iterator.
            let accepted = count / 64 * 64;
            assert_eq!(received(&rx), (0..accepted).collect::<Vec<_>>(), "{count}");
            assert_all_free(&rx);
            assert_balanced(&rx);
            assert_eq!(tx.send_many(batch(0..100)).expect("room"), 100);
            assert_eq!(received(&rx).len(), 100);
        }
    });
}

#[test]
fn an_iterator_may_use_the_queue_and_may_be_slow() {
    guarded(LIMIT, || {
        let (tx, rx) = queue();
        let source = (0..100).map(|n| {
            if n % 10 == 0 {
                tx.send_many(batch([n + 500, n + 501])).expect("room");
                assert_eq!(received(&rx).len(), 2, "nothing else is there yet");
                assert_all_free(&rx);
            }
            Message(n)
        });
        // Another thread sends and receives while this iterator takes its time.
        let source = source.take(64).inspect(|message| {
            if message.0 == 63 {
                thread::scope(|scope| {
                    scope.spawn(|| {
                        tx.send(Message(1)).expect("room");
                        assert_eq!(received(&rx), [1]);
                    });
                });
            }
        });
        assert_eq!(tx.send_many(source).expect("room"), 64);
        assert_eq!(received(&rx), (0..64).collect::<Vec<_>>());
        // It closes the queue.
        let source = (0..100).map(|n| {
            if n == 70 {
                tx.close();
            }
            Message(n)
        });
        let refused = tx.send_many(source).expect_err("closed");
        assert_eq!(refused.accepted, 64);
        let unsent = numbers(refused.into_unsent());
        assert_eq!(unsent, (64..100).collect::<Vec<_>>());
        assert_eq!(received(&rx).len(), 64);
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

#[test]
fn a_panic_of_drop_in_the_sender_comes_after_the_message_is_accepted() {
    guarded(LIMIT, || {
        for (way, send) in WAYS_TO_SEND.iter().enumerate() {
            for number in [7, 7 * LARGE] {
                let (tx, rx) = queue();
                let hook = panics_in(Place::Drop, number);
                assert!(with_hook(hook, || panics(|| send(&tx, number))), "{way}");
                let messages = received(&rx);
                assert!(messages.contains(&number), "way {way}: {messages:?}");
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}

#[test]
fn encoding_and_dropping_may_use_the_queue() {
    guarded(LIMIT, || {
        for place in [Place::Encode, Place::Length, Place::Drop] {
            for (way, send) in WAYS_TO_SEND.iter().enumerate() {
                for number in [7, 7 * LARGE] {
                    let (tx, rx) = queue();
                    let (tx, rx) = (Rc::new(tx), Rc::new(rx));
                    let seen = Rc::new(RefCell::new(Vec::new()));
                    let (inner, outer) = (Rc::clone(&tx), Rc::clone(&rx));
                    let taken = Rc::clone(&seen);
                    let hook = move |now, of| {
                        if (now, of) == (place, number) {
                            inner.try_send(Message(90)).expect("room");
                            inner.try_send_many(batch([91, 92])).expect("room");
                            taken.borrow_mut().extend(received(&outer));
                            drop((*inner).clone());
                            assert_adds_up(&outer.stats());
                        }
                    };
                    with_hook(hook, || send(&tx, number));
                    seen.borrow_mut().extend(received(&rx));
                    let seen = seen.take();
                    for wanted in [number, 90, 91, 92] {
                        let due = wanted == number || place != Place::Length || number >= LARGE;
                        assert_eq!(
                            seen.contains(&wanted),
                            due,
                            "{place:?} way {way}: {wanted} in {seen:?}"
                        );
                    }
                    assert_all_free(&rx);
                    assert_balanced(&rx);
                }
            }
        }
    });
}

#[test]
fn a_queue_that_is_closed_during_encoding_returns_the_message() {
    guarded(LIMIT, || {
        for number in [7, 7 * LARGE] {
            for cancels in [false, true] {
                let (tx, rx) = queue();
                tx.send(Message(1)).expect("room");
                let closer = tx.clone();
                let hook = move |place, of| {
                    if (place, of) == (Place::Encode, number) {
                        if cancels {
                            closer.cancel();
                        } else {
                            closer.close();
                        }
                    }
                };
                let refused = with_hook(hook, || tx.send(Message(number)));
                assert!(
                    matches!(refused, Err(SendError::Closed(Message(n))) if n == number),
                    "{refused:?}"
                );
                assert_eq!(received(&rx).len(), usize::from(!cancels));
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}

/// A gate that a hook waits at, in another thread than the test's.
#[derive(Clone, Default)]
struct Gate(Arc<(AtomicBool, AtomicBool)>);

impl Gate {
    /// A hook that stops in one place, for one message.
    fn hook(&self, place: Place, number: u32) -> impl Fn(Place, u32) + use<> {
        let gate = self.clone();
        move |now, of| {
            if (now, of) == (place, number) {
                gate.0.0.store(true, Ordering::SeqCst);
                while !gate.0.1.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            }
        }
    }

    fn await_arrival(&self) {
        while !self.0.0.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // A test that panics before it opens the gate would leave a thread waiting.
        if thread::panicking() {
            self.open();
        }
    }
}

impl Gate {
    fn open(&self) {
        self.0.1.store(true, Ordering::SeqCst);
    }
}

#[test]
fn encoding_that_hangs_holds_up_no_other_thread() {
    guarded(LIMIT, || {
        for number in [7, 7 * LARGE] {
            for (way, send) in WAYS_TO_SEND.iter().enumerate() {
                let (tx, rx) = queue();
                let gate = Gate::default();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        with_hook(gate.hook(Place::Encode, number), || send(&tx, number));
                    });
                    gate.await_arrival();
                    for other in WAYS_TO_SEND {
                        other(&tx, 8);
                        other(&tx.clone(), 8 * LARGE);
                        assert!(!received(&rx).contains(&number));
                    }
                    assert_adds_up(&rx.stats());
                    gate.open();
                });
                assert!(received(&rx).contains(&number), "way {way}");
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}

type Take = fn(&Rx) -> Result<Vec<u32>, RecvError>;

/// All ways to take message 7, which is the only one, or in a batch between others.
const WAYS_TO_TAKE: [Take; 9] = [
    |rx| Ok(vec![rx.recv()?.0]),
    |rx| Ok(vec![rx.try_recv().map_err(waited)?.0]),
    |rx| {
        let message = rx.recv_timeout(LIMIT);
        Ok(vec![message.map_err(|_| RecvError::Interrupted)?.0])
    },
    |rx| Ok(vec![rx.lease()?.ack().0]),
    |rx| Ok(vec![rx.try_lease().map_err(waited)?.ack().0]),
    |rx| {
        let next = rx.iter().next().ok_or(RecvError::Closed)?;
        next.map(|m| vec![m.0])
    },
    |rx| {
        let next = rx.try_iter().next().ok_or(RecvError::Interrupted)?;
        next.map_err(waited).map(|m| vec![m.0])
    },
    |rx| {
        let mut messages = Vec::new();
        rx.recv_many(&mut messages, 100)?;
        Ok(numbers(messages))
    },
    |rx| {
        let mut messages = Vec::new();
        rx.recv_many(&mut messages, 2)?;
        Ok(numbers(messages))
    },
];

fn waited(error: TryRecvError) -> RecvError {
    match error {
        TryRecvError::Decode(error) => RecvError::Decode(error),
        TryRecvError::Closed => RecvError::Closed,
        _ => RecvError::Interrupted,
    }
}

const MESSAGES: [&[u32]; 5] = [&[7], &[7 * LARGE], &[1, 7, 2], &[7, 1, 2], &[1, 2, 7]];

/// The message that the test is about.
fn seven(messages: &[u32]) -> u32 {
    let found = messages.iter().find(|&&n| n == 7 || n == 7 * LARGE);
    *found.expect("there is one")
}

fn send_all(tx: &Tx, messages: &[u32]) {
    let sent = tx.send_many(batch(messages.iter().copied()));
    assert_eq!(sent.expect("room"), messages.len());
}

/// What is taken until there is no more; panics are counted.
fn take_all(rx: &Rx, take: Take) -> (Vec<u32>, u32) {
    let (mut taken, mut panicked) = (Vec::new(), 0);
    let left = |rx: &Rx| {
        let stats = rx.stats();
        stats.queued + stats.held + stats.returned
    };
    while left(rx) > 0 {
        match catch_unwind(AssertUnwindSafe(|| take(rx))) {
            Ok(messages) => taken.extend(messages.expect("a message")),
            Err(_) => panicked += 1,
        }
        assert_balanced(rx);
    }
    (taken, panicked)
}

#[test]
fn a_panic_of_decode_returns_the_message_until_it_is_a_dead_letter() {
    guarded(LIMIT, || {
        for (way, take) in WAYS_TO_TAKE.into_iter().enumerate() {
            for messages in MESSAGES {
                let (tx, rx) = queue();
                send_all(&tx, messages);
                let number = seven(messages);
                let hook = panics_in(Place::Decode, number);
                let (mut taken, panicked) = with_hook(hook, || take_all(&rx, take));
                assert_eq!(panicked, 3, "way {way}, {messages:?}");
                taken.push(number);
                taken.sort_unstable();
                let mut expected = messages.to_vec();
                expected.sort_unstable();
                // What `recv_many` has received before the panic is with its caller's buffer, which the test loses.
                if way < 7 {
                    assert_eq!(taken, expected, "way {way}");
                }
                let letters: Vec<_> = rx.dead_letters().collect();
                assert_eq!(letters.len(), 1);
                for letter in letters {
                    let hook = panics_in(Place::Decode, number);
                    assert!(with_hook(hook, || panics(|| letter.decode())));
                    assert_eq!(letter.decode().expect("no panic").0, number);
                    letter.discard();
                }
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}

#[test]
fn decoding_may_use_the_queue() {
    guarded(LIMIT, || {
        for (way, take) in WAYS_TO_TAKE.into_iter().enumerate() {
            for messages in MESSAGES {
                let (tx, rx) = queue();
                let (tx, rx) = (Rc::new(tx), Rc::new(rx));
                send_all(&tx, messages);
                let number = seven(messages);
                let seen = Rc::new(RefCell::new(Vec::new()));
                let (inner, outer, taken) = (Rc::clone(&tx), Rc::clone(&rx), Rc::clone(&seen));
                let hook = move |place, of| {
                    if (place, of) == (Place::Decode, number) {
                        inner.try_send(Message(90)).expect("room");
                        inner.try_send_many(batch([91, 92])).expect("room");
                        taken.borrow_mut().extend(received(&outer));
                        drop((*outer).clone());
                        outer.try_lease().map(workring::Lease::nack).ok();
                        assert_adds_up(&outer.stats());
                        outer.dead_letters().for_each(drop);
                    }
                };
                let (more, panicked) = with_hook(hook, || take_all(&rx, take));
                assert_eq!(panicked, 0, "way {way}");
                seen.borrow_mut().extend(more);
                let mut seen = seen.take();
                seen.sort_unstable();
                let mut expected = [messages, &[90, 91, 92]].concat();
                expected.sort_unstable();
                assert_eq!(seen, expected, "way {way}");
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}

#[test]
fn a_queue_may_be_closed_or_cancelled_while_a_message_is_decoded() {
    guarded(LIMIT, || {
        for cancels in [false, true] {
            for (way, take) in WAYS_TO_TAKE.into_iter().enumerate() {
                for messages in MESSAGES {
                    for settled in [false, true] {
                        let (tx, rx) = hooked(&sleepy(8).close_waits_for_leases(settled));
                        send_all(&tx, messages);
                        let closer = rx.clone();
                        let number = seven(messages);
                        let hook = move |place, of| {
                            if (place, of) == (Place::Decode, number) {
                                if cancels {
                                    closer.cancel();
                                } else {
                                    closer.close();
                                }
                            }
                        };
                        with_hook(hook, || {
                            let mut taken = Vec::new();
                            loop {
                                match take(&rx) {
                                    Ok(more) => taken.extend(more),
                                    Err(RecvError::Closed) => break,
                                    Err(error) if taken.is_empty() => panic!("{error:?}"),
                                    // `try_` says `Empty` before the hook has closed the queue.
                                    Err(_) => break,
                                }
                            }
                            assert!(taken.contains(&number), "way {way}");
                            assert!(cancels || taken.len() == messages.len());
                        });
                        assert_balanced(&rx);
                        assert_all_free(&rx);
                    }
                }
            }
        }
    });
}

#[test]
fn decoding_that_hangs_holds_up_no_other_thread() {
    guarded(LIMIT, || {
        for (way, take) in WAYS_TO_TAKE.into_iter().enumerate() {
            for messages in MESSAGES {
                let (tx, rx) = queue();
                send_all(&tx, messages);
                let number = seven(messages);
                let gate = Gate::default();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let hook = gate.hook(Place::Decode, number);
                        with_hook(hook, || {
                            let (taken, panicked) = take_all(&rx, take);
                            assert!(panicked == 0 && taken.contains(&number), "way {way}");
                        });
                    });
                    gate.await_arrival();
                    // By the very receiver that hangs, and by another one of this process.
                    for rx in [&rx, &rx.clone()] {
                        tx.send(Message(90)).expect("room");
                        tx.send_many(batch([91, 92])).expect("room");
                        let seen = received(rx);
                        assert!([90, 91, 92].iter().all(|n| seen.contains(n)), "{seen:?}");
                        assert!(rx.stats().held >= 1);
                        tx.send(Message(93)).expect("room");
                        drop(rx.try_lease().expect("a message").ack());
                        assert!(rx.is_empty());
                        assert_eq!(rx.dead_letters().count(), 0);
                    }
                    gate.open();
                });
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}

#[test]
fn a_panic_of_drop_in_the_receiver_loses_no_other_message() {
    guarded(LIMIT, || {
        // A message that was received is acknowledged; a lease that is dropped returns it.
        let (tx, rx) = queue();
        tx.send(Message(7)).expect("room");
        let hook = panics_in(Place::Drop, 7);
        assert!(with_hook(hook, || panics(|| drop(rx.recv()))));
        assert_all_free(&rx);
        tx.send(Message(7)).expect("room");
        let hook = panics_in(Place::Drop, 7);
        assert!(with_hook(hook, || panics(|| rx
            .lease()
            .map(workring::Lease::nack))));
        assert_eq!(rx.stats().returned, 1);
        assert_eq!(received(&rx), [7]);
        assert_all_free(&rx);
        // Decoded, and taken back since one before it failed.
        send_all(&tx, &[1, BAD, 7, 2]);
        let hook = panics_in(Place::Drop, 7);
        let mut messages = Vec::new();
        assert!(with_hook(
            hook,
            || panics(|| rx.recv_many(&mut messages, 9))
        ));
        assert_eq!(numbers(messages), [1]);
        let mut messages = Vec::new();
        let mut bad = 0;
        while rx.stats().held + rx.stats().returned > 0 {
            match rx.try_recv_many(&mut messages, 9) {
                Ok(_) => {}
                Err(TryRecvError::Decode(_)) => bad += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!((numbers(messages), bad), (vec![7, 2], 1));
        rx.dead_letters()
            .for_each(workring::queue::DeadLetter::discard);
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

/// A lease returns its message before it drops the value, so that a slow drop does not delay the message.
#[test]
fn a_lease_whose_message_hangs_in_drop_has_returned_it() {
    guarded(LIMIT, || {
        let (tx, rx) = hooked(&sleepy(8).close_waits_for_leases(true));
        tx.send(Message(7)).expect("room");
        tx.close();
        let gate = Gate::default();
        thread::scope(|scope| {
            let lease = rx.lease().expect("a message");
            scope.spawn(|| with_hook(gate.hook(Place::Drop, 7), || drop(lease)));
            gate.await_arrival();
            let again = rx.lease().expect("it is back");
            assert_eq!((again.0, again.deliveries()), (7, 1));
            assert_eq!(again.ack().0, 7);
            assert!(matches!(rx.recv(), Err(RecvError::Closed)));
            gate.open();
        });
        assert_all_free(&rx);
    });
}

/// The error that is kept for the next receive is the user's, and so is its `Drop`.
#[test]
fn an_error_that_is_dropped_may_use_the_receiver() {
    guarded(LIMIT, || {
        for ends in ["cancel", "drop", "lease"] {
            let (tx, rx) = queue();
            send_all(&tx, &[1, BAD, 2]);
            let mut messages = Vec::new();
            assert_eq!(rx.recv_many(&mut messages, 9).expect("the first"), 1);
            let rx = Rc::new(rx);
            let (weak, drops) = (Rc::downgrade(&rx), Rc::new(AtomicUsize::new(0)));
            let counted = Rc::clone(&drops);
            let hook = move |place, _| {
                if place == Place::DropError {
                    counted.fetch_add(1, Ordering::Relaxed);
                    if let Some(rx) = weak.upgrade() {
                        assert!(!rx.stats().blocks.is_empty());
                        let _ = rx.is_empty();
                        let _ = rx.try_recv();
                        let _ = rx.try_lease();
                    }
                }
            };
            with_hook(hook, || {
                match ends {
                    "cancel" => {
                        tx.cancel();
                        assert!(matches!(rx.try_recv(), Err(TryRecvError::Closed)));
                    }
                    "lease" => {
                        tx.cancel();
                        assert!(matches!(rx.try_lease(), Err(TryRecvError::Closed)));
                    }
                    _ => {}
                }
                drop(rx);
            });
            assert_eq!(drops.load(Ordering::Relaxed), 1, "{ends}");
        }
    });
}

/// Two receives that fail at the same time: each error reaches a caller.
#[test]
fn no_postponed_error_replaces_another() {
    guarded(LIMIT, || {
        let (tx, rx) = queue();
        let gate = Gate::default();
        send_all(&tx, &[1, BAD]);
        thread::scope(|scope| {
            scope.spawn(|| {
                // Stops just before the error that it will postpone.
                with_hook(gate.hook(Place::Decode, BAD), || {
                    assert_eq!(rx.recv_many(&mut Vec::new(), 9).expect("the first"), 1);
                });
            });
            gate.await_arrival();
            send_all(&tx, &[2, BAD]);
            assert_eq!(rx.recv_many(&mut Vec::new(), 9).expect("the first"), 1);
            gate.open();
        });
        for _ in 0..2 {
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Decode(_))));
        }
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        assert_eq!(rx.stats().dead_letters, 2);
    });
}

#[test]
fn a_panic_of_debug_leaves_lease_and_error_as_they_were() {
    guarded(LIMIT, || {
        let (tx, rx) = queue();
        tx.send(Message(7)).expect("room");
        let lease = rx.lease().expect("a message");
        let hook = panics_in(Place::Debug, 7);
        assert!(with_hook(hook, || panics(|| format!("{lease:?}"))));
        assert_eq!(lease.ack().0, 7);
        tx.close();
        let refused = tx.send(Message(7)).expect_err("closed");
        // A message need not be `Debug`: its error does not ask it.
        let hook = panics_in(Place::Debug, 7);
        let text = with_hook(hook, || format!("{refused:?} {refused}"));
        assert!(text.contains("closed"), "{text}");
        assert_all_free(&rx);
    });
}

/// A codec that says untrue things about lengths: which, the message tells.
struct Liar;

/// What a [`Liar`] does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// It says it has written more than there was room for.
    WroteMore,
    /// It says it has written `usize::MAX` bytes.
    WroteEverything,
    /// It never has room enough.
    NeverRoom,
    /// It needs another length whenever it is asked.
    AnotherLength,
    /// It needs more than it says.
    TooShort,
    /// It says it needs no room, and has none.
    NoLength,
    /// It says it needs all memory.
    AllMemory,
    /// It says there is no room when it is asked how much it needs.
    LengthHasNoRoom,
}

const LIES: [Lie; 8] = [
    Lie::WroteMore,
    Lie::WroteEverything,
    Lie::NeverRoom,
    Lie::AnotherLength,
    Lie::TooShort,
    Lie::NoLength,
    Lie::AllMemory,
    Lie::LengthHasNoRoom,
];

static ASKED: AtomicUsize = AtomicUsize::new(0);

impl Codec<Lie> for Liar {
    const NAME: &'static str = "liar";

    fn encode(lie: &Lie, into: &mut [u8]) -> Result<usize, EncodeError> {
        match lie {
            Lie::WroteMore => Ok(into.len() + 1),
            Lie::WroteEverything => Ok(usize::MAX),
            _ => Err(EncodeError::NoRoom),
        }
    }

    fn encoded_len(lie: &Lie) -> Result<usize, EncodeError> {
        match lie {
            Lie::WroteMore | Lie::WroteEverything | Lie::NeverRoom => Ok(300),
            Lie::AnotherLength => Ok(100 * (1 + ASKED.fetch_add(1, Ordering::Relaxed) % 5)),
            Lie::TooShort => Ok(8),
            Lie::NoLength => Ok(0),
            Lie::AllMemory => Ok(usize::MAX),
            Lie::LengthHasNoRoom => Err(EncodeError::NoRoom),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Lie, DecodeError> {
        // As a careless codec reads beyond its bytes.
        match bytes.get(1 << 20) {
            Some(_) => Ok(Lie::NoLength),
            None => Err(DecodeError::new("the bytes end early")),
        }
    }
}

#[test]
fn a_codec_that_lies_about_lengths_gets_an_error_and_keeps_no_block() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8).channel_with::<Lie, Liar>().expect("a queue");
        for lie in LIES {
            for _ in 0..100 {
                let refused = tx.send(lie).expect_err("a lie");
                match refused {
                    SendError::Encode {
                        value, ref source, ..
                    } => {
                        assert_eq!(value, lie);
                        assert!(!source.to_string().is_empty());
                    }
                    SendError::TooLarge { value, .. } => assert_eq!(value, Lie::AllMemory),
                    other => panic!("{lie:?}: {other:?}"),
                }
                let refused = tx.try_send(lie).expect_err("a lie");
                assert!(
                    matches!(
                        refused,
                        TrySendError::Encode { .. } | TrySendError::TooLarge { .. }
                    ),
                    "{refused:?}"
                );
                let refused = tx.send_many([lie, lie]).expect_err("a lie");
                assert_eq!(refused.accepted, 0);
                assert_eq!(refused.into_unsent().count(), 2);
            }
            assert_all_free(&rx);
        }
        assert_eq!(rx.stats().accepted, 0);
    });
}

/// What is sent is what `encode` says that it has written, whatever that is; `decode` gets exactly that much.
#[test]
fn decoding_that_expects_more_than_there_is_makes_a_dead_letter() {
    struct Short;
    impl Codec<u8> for Short {
        const NAME: &'static str = "short";
        fn encode(_: &u8, into: &mut [u8]) -> Result<usize, EncodeError> {
            into.fill(9);
            Ok(0)
        }
        fn encoded_len(_: &u8) -> Result<usize, EncodeError> {
            Ok(0)
        }
        fn decode(bytes: &[u8]) -> Result<u8, DecodeError> {
            let first = bytes.first().copied();
            first.ok_or_else(|| DecodeError::new("no byte"))
        }
    }
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8).channel_with::<u8, Short>().expect("a queue");
        tx.send(1).expect("room");
        assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
        tx.send_many([1, 2, 3]).expect("room");
        for _ in 0..3 {
            assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
        }
        assert_eq!(rx.stats().dead_letters, 4);
        rx.dead_letters()
            .for_each(workring::queue::DeadLetter::discard);
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

/// A receiver that is slow to decode takes part of a stream, and the others go on with the rest.
#[test]
fn slow_decoding_in_one_thread_does_not_slow_the_others() {
    guarded(LIMIT, || {
        let (tx, rx) = hooked(&sleepy(64));
        let (sender, results) = mpsc::channel();
        let gate = Gate::default();
        thread::scope(|scope| {
            let slow = rx.clone();
            let hanging = &gate;
            scope
                .spawn(move || with_hook(hanging.hook(Place::Decode, 0), || slow.recv().map(drop)));
            tx.send(Message(0)).expect("room");
            gate.await_arrival();
            for _ in 0..2 {
                let (rx, sender) = (rx.clone(), sender.clone());
                scope.spawn(move || {
                    while let Ok(message) = rx.recv() {
                        sender.send(message.0).expect("the test listens");
                    }
                });
            }
            drop(sender);
            tx.send_many(batch(1..50)).expect("room");
            for n in 50..100 {
                tx.send(Message(n)).expect("room");
            }
            tx.close();
            let mut all: Vec<_> = results.iter().collect();
            all.sort_unstable();
            assert_eq!(all, (1..100).collect::<Vec<_>>());
            gate.open();
        });
    });
}
