//! Every pending future ends, and for the right reason: close, cancel, the end or the death of the last sender, an interrupt
//! (A3).

use super::patient;
use ipc_tests::{
    Signal, guarded,
    rounds::{Rng, rounds, seed},
    runtimes::{Flag, Task, block_on, poll_once},
    support::{LIMIT, hand_over, prompt, sleepy},
};
use std::{
    hint,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use workring::{Receiver, RecvError, SendError, Sender, queue::Raw};

/// How many futures wait at a time.
const FUTURES: usize = 3;

/// A task that waits with a future, and its result.
type Waiting<R> = (Task, mpsc::Receiver<R>);

/// Starts threads that each wait with a future, as soon as the test says so. Returns their results.
fn race<R: Send + 'static>(
    rng: &mut Rng,
    start: impl Fn() -> Vec<Waiting<R>>,
    end: impl FnOnce(),
) -> Vec<R> {
    let waiting = start();
    thread::scope(|scope| {
        let mut results = Vec::new();
        for (task, result) in waiting {
            scope.spawn(|| block_on(task));
            results.push(result);
        }
        // Before the futures are polled, between their attempts, or when they are pending.
        (0..rng.u32(0..60_000)).for_each(|_| hint::spin_loop());
        end();
        results
            .into_iter()
            .map(|result| result.recv().expect("a result"))
            .collect()
    })
}

fn receives(rx: &Arc<Receiver<u32>>) -> Vec<Waiting<Result<u32, RecvError>>> {
    let start = |_| {
        let (rx, (result, received)) = (Arc::clone(rx), mpsc::channel());
        let task = Box::pin(async move {
            result.send(rx.recv_async().await).expect("it is awaited");
        }) as Task;
        (task, received)
    };
    (0..FUTURES).map(start).collect()
}

fn sends(tx: &Arc<Sender<u32>>) -> Vec<Waiting<Result<(), SendError<u32>>>> {
    let start = |_| {
        let (tx, (result, sent)) = (Arc::clone(tx), mpsc::channel());
        let task = Box::pin(async move {
            result.send(tx.send_async(7).await).expect("it is awaited");
        }) as Task;
        (task, sent)
    };
    (0..FUTURES).map(start).collect()
}

/// A3.
#[test]
fn close_cancel_and_the_end_of_the_last_sender_end_all_pending_receives() {
    let races = rounds(300, 30_000);
    guarded(LIMIT + Duration::from_millis(10) * races, || {
        let mut rng = Rng::with_seed(seed());
        for round in 0..races {
            let (tx, rx) = patient(4).channel::<u32>().expect("a queue");
            let rx = Arc::new(rx);
            let results = race(
                &mut rng,
                || receives(&rx),
                || match round % 3 {
                    0 => assert!(tx.close()),
                    1 => assert!(tx.cancel() < 2),
                    _ => drop(tx),
                },
            );
            assert_eq!(
                results,
                [const { Err(RecvError::Closed) }; FUTURES],
                "{round}"
            );
        }
    });
}

/// A3.
#[test]
fn close_cancel_and_the_end_of_the_last_receiver_end_all_pending_sends() {
    let races = rounds(300, 30_000);
    guarded(LIMIT + Duration::from_millis(10) * races, || {
        let mut rng = Rng::with_seed(seed());
        for round in 0..races {
            let (tx, rx) = patient(1).channel::<u32>().expect("a queue");
            tx.send(1).expect("room");
            let tx = Arc::new(tx);
            let results = race(
                &mut rng,
                || sends(&tx),
                || match round % 3 {
                    0 => assert!(rx.close()),
                    1 => assert!(rx.cancel() < 2),
                    _ => drop(rx),
                },
            );
            assert_eq!(
                results,
                [const { Err(SendError::Closed(7)) }; FUTURES],
                "{round}"
            );
        }
    });
}

/// A3. Only the death is noticed here by a report of the parent; the futures are then woken.
#[test]
fn the_death_of_the_last_sender_ends_all_pending_receives() {
    let deaths = rounds(20, 10_000);
    guarded(LIMIT + Duration::from_millis(50) * deaths, || {
        let mut rng = Rng::with_seed(seed());
        for _ in 0..deaths {
            let (tx, rx) = patient(1).channel::<u32>().expect("a queue");
            let mut sender = hand_over("holder-of-a-sender", &[], |handoff| {
                handoff.give("queue", &tx)
            });
            assert_eq!(sender.answer(), "here");
            drop(tx);
            let rx = Arc::new(rx);
            let results = race(
                &mut rng,
                || receives(&rx),
                || {
                    sender.signal(Signal::SIGKILL);
                    sender.wait_unreaped();
                    rx.report_exit(sender.pid().as_raw().unsigned_abs());
                },
            );
            assert_eq!(results, [const { Err(RecvError::Closed) }; FUTURES]);
            sender.wait();
        }
    });
}

/// A3. One of the futures of a handle is interrupted each time; those of a clone are not.
#[test]
fn an_interrupt_ends_one_pending_future_of_its_handle() {
    let races = rounds(300, 10_000);
    guarded(LIMIT + Duration::from_millis(10) * races, || {
        let mut rng = Rng::with_seed(seed());
        let (tx, rx) = patient(4).channel::<u32>().expect("a queue");
        let other = rx.clone();
        let flag = Flag::new();
        let mut unconcerned = other.recv_async();
        assert!(poll_once(&mut unconcerned, &flag).is_pending());
        for _ in 0..races {
            let receiving = |handle: Receiver<u32>| {
                let (handle, (result, received)) = (Arc::new(handle), mpsc::channel());
                let task = Box::pin(async move {
                    result
                        .send(handle.recv_async().await)
                        .expect("it is awaited");
                }) as Task;
                (task, received)
            };
            let handle = rx.clone();
            let interrupter = handle.interrupter();
            let handle = std::cell::Cell::new(Some(handle));
            let start = || handle.take().map(receiving).into_iter().collect();
            let results = race(&mut rng, start, || interrupter.interrupt());
            assert_eq!(results, [Err(RecvError::Interrupted)]);
            assert!(poll_once(&mut unconcerned, &flag).is_pending());
        }
        drop(unconcerned);
        drop(tx);
    });
}

/// A sender that waits for a block, and not for room, is woken by an acknowledgement.
#[test]
fn a_send_that_waits_for_a_block_is_woken_when_one_is_free() {
    prompt(|| {
        let (tx, rx) = sleepy(64).channel_with::<Vec<u8>, Raw>().expect("a queue");
        let mut filled = 0;
        while tx.try_send(vec![7; 60_000]).is_ok() {
            filled += 1;
        }
        assert!(filled < 64, "there are few blocks of this size");
        let flags = [Flag::new(), Flag::new()];
        let mut send = tx.send_async(vec![8; 60_000]);
        let mut reserve = tx.reserve_async(60_000);
        assert!(poll_once(&mut send, &flags[0]).is_pending());
        assert!(poll_once(&mut reserve, &flags[1]).is_pending());
        assert_eq!(rx.recv().expect("a message").len(), 60_000);
        block_on(send).expect("a block");
        assert_eq!(rx.recv().expect("a message").len(), 60_000);
        let mut room = block_on(reserve).expect("a block");
        room.fill(9);
        block_on(room.commit_async()).expect("room");
        tx.close();
        let last = rx.iter().last().expect("messages").expect("a message");
        assert!(last.iter().all(|byte| *byte == 9));
    });
}
