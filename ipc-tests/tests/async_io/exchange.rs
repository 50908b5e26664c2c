//! Messages between futures and blocking calls of other processes, on each runtime (A2).

use super::patient;
use futures::{StreamExt, TryStreamExt};
use ipc_tests::{
    guarded,
    rounds::rounds,
    runtimes::{Flag, Runtime, Task, block_on, poll_once},
    support::{LIMIT, dismiss, hand_over, prompt, sleepy},
};
use std::{sync::Arc, time::Duration};
use workring::{RecvError, SendError};

/// A future that waits is woken by a process that sends, and one that sends by a process that receives.
#[test]
fn futures_and_blocking_calls_wake_each_other_in_two_processes() {
    let round_trips = rounds(200, 20_000);
    prompt(|| {
        for runtime in Runtime::ALL {
            let (there, there_out) = sleepy(1).channel::<u32>().expect("a queue");
            let (back, back_out) = sleepy(1).channel::<u32>().expect("a queue");
            let relay = hand_over("async-relay", &[&runtime], |handoff| {
                handoff.give("in", &there_out)?.give("out", &back)
            });
            drop((there_out, back));
            for number in 0..round_trips {
                there.send(number).expect("open");
                assert_eq!(back_out.recv(), Ok(number + 1), "{runtime}");
            }
            drop(there);
            assert_eq!(back_out.recv(), Err(RecvError::Closed));
            dismiss(relay);
        }
    });
}

/// Two processes of futures, in a queue for one message, where each side waits for the other all the time. And in one for
/// eight, with spinning: messages come in runs, between which futures pause.
#[test]
fn futures_of_two_processes_wait_for_each_other() {
    let messages = rounds(2_000, 40_000);
    guarded(LIMIT + Duration::from_millis(16) * messages, || {
        let queues = [patient(1), patient(8).spin(Duration::from_millis(1))];
        let cases = Runtime::ALL.map(|runtime| queues.clone().map(|options| (runtime, options)));
        for (runtime, options) in cases.into_iter().flatten() {
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            let mut sink = hand_over("async-sink", &[&runtime, &3], |handoff| {
                handoff.give("queue", &rx)
            });
            drop(rx);
            let tx = Arc::new(tx);
            let tasks = (0..2).map(|_| {
                let tx = Arc::clone(&tx);
                Box::pin(async move {
                    for number in 0..messages / 2 {
                        tx.send_async(number).await.expect("open");
                    }
                }) as Task
            });
            runtime.run(tasks.collect());
            drop(tx);
            assert_eq!(sink.answer(), messages.to_string(), "{runtime}");
            dismiss(sink);
        }
    });
}

#[test]
fn a_stream_ends_when_the_queue_is_closed_and_drained() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let sending = std::thread::spawn(move || {
            block_on(async {
                for number in 0..1000 {
                    tx.send_async(number).await.expect("open");
                }
            });
        });
        let numbers = block_on(rx.stream().take(500).try_collect::<Vec<_>>());
        assert!(numbers.expect("numbers").into_iter().eq(0..500));
        let mut stream = rx.into_stream();
        let numbers = block_on(stream.by_ref().try_collect::<Vec<_>>());
        assert!(numbers.expect("numbers").into_iter().eq(500..1000));
        assert_eq!(block_on(stream.next()), None);
        sending.join().expect("no panic");
    });
}

#[test]
fn a_send_that_fails_returns_its_message() {
    prompt(|| {
        let (tx, rx) = sleepy(1).channel::<String>().expect("a queue");
        block_on(tx.send_async("first".to_owned())).expect("room");
        let mut second = tx.send_async("second".to_owned());
        let flag = Flag::new();
        assert!(poll_once(&mut second, &flag).is_pending());
        rx.close();
        flag.await_raised();
        assert_eq!(
            block_on(second),
            Err(SendError::Closed("second".to_owned()))
        );
        assert_eq!(block_on(rx.recv_async()), Ok("first".to_owned()));
        assert_eq!(block_on(rx.recv_async()), Err(RecvError::Closed));
    });
}
