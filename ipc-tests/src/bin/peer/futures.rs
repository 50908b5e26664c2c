//! Roles that wait for messages with futures.
#![allow(unsafe_code, reason = "fork without exec is what is tested")]

use ipc_tests::{
    Pid,
    asleep::await_sleepers,
    ledger::Ledger,
    role::{Io, Role},
    rounds::Rng,
    runtimes::{Flag, Runtime, Task, block_on, poll_once},
};
use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};
use std::{
    pin::Pin,
    process,
    sync::Arc,
    task::{Context, Poll},
    thread,
};
use workring::{Receiver, RecvError, SendError, Sender, queue::futures::RecvFuture};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("dropping-receivers", dropping_receivers),
    ("async-sink", async_sink),
    ("async-relay", async_relay),
    ("holder-of-a-sender", holder_of_a_sender),
    ("future-forker", future_forker),
];

/// The number of tasks of a role.
const TASKS: u32 = 4;

/// Receives by several tasks that drop most of their receives at a random moment, and records the messages in a ledger.
/// Prints `enough` when each task has dropped enough, and then receives until the queue is closed.
///
/// Arguments: the runtime, the directory and the name of the ledger, how many receives are dropped, and a seed.
fn dropping_receivers(io: &mut Io) {
    let runtime: Runtime = io.argument();
    let (directory, name): (String, String) = (io.argument(), io.argument());
    let (enough, seed): (u32, u64) = (io.argument(), io.argument());
    let queue: Arc<Receiver<u64>> = Arc::new(workring::inherit("queue").expect("inherit"));
    let ledger = Arc::new(Ledger::create(directory, &name).expect("a ledger"));
    let tasks = (0..TASKS).map(|task| {
        let (queue, ledger) = (Arc::clone(&queue), Arc::clone(&ledger));
        let mut rng = Rng::with_seed(seed + u64::from(task));
        Box::pin(async move {
            let mut dropped = 0;
            while dropped < enough.div_ceil(TASKS) {
                match receive_or_drop(&queue, &mut rng).await {
                    Some(id) => ledger.note(1, id),
                    None => dropped += 1,
                }
            }
        }) as Task
    });
    runtime.run(tasks.collect());
    io.say("enough");
    let tasks = (0..TASKS).map(|_| {
        let (queue, ledger) = (Arc::clone(&queue), Arc::clone(&ledger));
        Box::pin(async move {
            while let Ok(id) = queue.recv_async().await {
                ledger.note(1, id);
            }
        }) as Task
    });
    runtime.run(tasks.collect());
}

/// Returns `None` if the receive was dropped.
async fn receive_or_drop(queue: &Receiver<u64>, rng: &mut Rng) -> Option<u64> {
    let mut receive = queue.recv_async();
    match rng.u32(0..8) {
        0 => Some(receive.await.expect("a message")),
        // Dropped when it was never polled, or a few turns of the runtime after a poll.
        1..=3 => {
            for _ in 0..rng.u32(0..3) {
                if let Poll::Ready(received) = poll_now(&mut receive).await {
                    return Some(received.expect("a message"));
                }
                for _ in 0..rng.u32(0..4) {
                    yield_now().await;
                }
            }
            None
        }
        // Dropped when it was woken, before it has looked.
        4..=6 => {
            let flag = Flag::new();
            if let Poll::Ready(received) = poll_once(&mut receive, &flag) {
                return Some(received.expect("a message"));
            }
            flag.raised().await;
            drop(receive);
            others_take_it(queue).await;
            None
        }
        // Dropped when it was woken and has found nothing, if so.
        _ => {
            let flag = Flag::new();
            for _ in 0..2 {
                if let Poll::Ready(received) = poll_once(&mut receive, &flag) {
                    return Some(received.expect("a message"));
                }
                flag.raised().await;
            }
            None
        }
    }
}

/// Waits until the message is gone for which a receive was woken that was dropped.
async fn others_take_it(queue: &Receiver<u64>) {
    while !queue.is_empty() {
        yield_now().await;
    }
}

/// Polls a receive once, with the waker of this task.
async fn poll_now(receive: &mut RecvFuture<'_, u64>) -> Poll<Result<u64, RecvError>> {
    std::future::poll_fn(|context: &mut Context<'_>| {
        Poll::Ready(Pin::new(&mut *receive).poll(context))
    })
    .await
}

/// Gives other tasks their turn.
async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Receives until the queue is closed, by as many tasks as the second argument says. Prints the number of messages.
///
/// Arguments: the runtime, and the number of tasks.
fn async_sink(io: &mut Io) {
    let (runtime, tasks): (Runtime, u32) = (io.argument(), io.argument());
    let queue: Arc<Receiver<u32>> = Arc::new(workring::inherit("queue").expect("inherit"));
    let (counts, counted) = std::sync::mpsc::channel();
    let tasks = (0..tasks).map(|_| {
        let (queue, counts) = (Arc::clone(&queue), counts.clone());
        Box::pin(async move {
            let mut count = 0_u32;
            while queue.recv_async().await.is_ok() {
                count += 1;
            }
            counts.send(count).expect("the role reads it");
        }) as Task
    });
    runtime.run(tasks.collect());
    drop(counts);
    io.say(counted.iter().sum::<u32>());
}

/// Sends back each number that it receives, one higher, until the queue is closed.
///
/// Argument: the runtime.
fn async_relay(io: &mut Io) {
    let runtime: Runtime = io.argument();
    let input: Receiver<u32> = workring::inherit("in").expect("inherit");
    let output: Sender<u32> = workring::inherit("out").expect("inherit");
    runtime.run(vec![Box::pin(async move {
        while let Ok(number) = input.recv_async().await {
            output.send_async(number + 1).await.expect("open");
        }
    })]);
}

/// Holds a sender until it is killed.
fn holder_of_a_sender(io: &mut Io) {
    let _queue: Sender<u32> = workring::inherit("queue").expect("inherit");
    io.say("here");
    io.next_line();
}

/// Forks while futures are pending. In the child they complete with `Forked`, and futures of a queue of its own work; all
/// handles are dropped. The parent's futures go on.
fn future_forker(io: &mut Io) {
    let (tx, rx) = workring::channel::<u32>(1).expect("a queue");
    let (full_tx, full_rx) = workring::channel::<u32>(1).expect("a queue");
    full_tx.send(1).expect("room");
    let flags = [Flag::new(), Flag::new()];
    let (mut receive, mut never_polled) = (rx.recv_async(), rx.recv_async());
    let mut send = full_tx.send_async(2);
    assert!(poll_once(&mut receive, &flags[0]).is_pending());
    assert!(poll_once(&mut send, &flags[1]).is_pending());
    await_sleepers(Pid::this(), 1);
    // SAFETY: the only other thread is the reactor's, which sleeps and holds no lock.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            for future in [&mut receive, &mut never_polled] {
                assert_eq!(
                    poll_once(future, &flags[0]),
                    Poll::Ready(Err(RecvError::Forked))
                );
            }
            assert_eq!(
                poll_once(&mut send, &flags[1]),
                Poll::Ready(Err(SendError::Forked(2)))
            );
            assert_eq!(block_on(tx.send_async(3)), Err(SendError::Forked(3)));
            own_futures();
            drop((receive, never_polled, send));
            drop((tx, rx, full_tx, full_rx));
            io.say("the child is done");
            process::exit(0);
        }
        ForkResult::Parent { child } => {
            let status = waitpid(child, None).expect("wait");
            assert_eq!(status, WaitStatus::Exited(child, 0));
            assert!(
                !flags.iter().any(|flag| flag.is_set()),
                "the child has woken a future"
            );
            tx.send(7).expect("room");
            flags[0].await_raised();
            assert_eq!(poll_once(&mut receive, &flags[0]), Poll::Ready(Ok(7)));
            assert_eq!(full_rx.recv(), Ok(1));
            flags[1].await_raised();
            assert_eq!(poll_once(&mut send, &flags[1]), Poll::Ready(Ok(())));
            assert_eq!(block_on(full_rx.recv_async()), Ok(2));
            io.say("the parent is done");
        }
    }
}

/// Waits with a future for a queue that this process has made.
fn own_futures() {
    let (tx, rx) = workring::channel::<u32>(1).expect("a queue");
    thread::scope(|scope| {
        let receiving = scope.spawn(|| block_on(rx.recv_async()));
        await_sleepers(Pid::this(), 1);
        tx.send(5).expect("room");
        assert_eq!(receiving.join().expect("no panic"), Ok(5));
    });
}
