//! What waiting costs: threads, and wake-ups of an idle process (A4). And what user code in a waker may do.

use ipc_tests::{
    Pid, asleep,
    cpu::Usage,
    guarded,
    rounds::rounds,
    runtimes::{Flag, Runtime, poll_once},
    stops,
    support::{LIMIT, dismiss, hand_over, prompt, sleepy},
};
use std::{
    fs, panic,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};
use workring::{Options, error::TryRecvError, queue::futures::RecvFuture};

/// Returns the number of threads of the reactor in this process.
fn reactors() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("threads");
    let names = threads.filter_map(|thread| {
        let path = thread.ok()?.path().join("comm");
        fs::read_to_string(path).ok()
    });
    names
        .filter(|name| name.starts_with("workring-react"))
        .count()
}

/// Returns once there are this many threads: a new one names itself, and the kernel lists one for a moment after it was
/// joined. A watchdog is the limit.
pub(crate) fn await_reactors(count: usize) {
    while reactors() != count {
        thread::yield_now();
    }
}

/// A4. The threads have ended when the last handles are dropped.
#[test]
fn there_is_a_thread_for_each_127_queues_while_they_are_used() {
    const QUEUES: usize = 500;
    guarded(LIMIT, || {
        assert_eq!(reactors(), 0);
        let queues: Vec<_> = (0..QUEUES)
            .map(|_| sleepy(1).channel::<u32>().expect("a queue"))
            .collect();
        let flag = Flag::new();
        let mut futures: Vec<_> = queues.iter().map(|(_, rx)| rx.recv_async()).collect();
        for (number, future) in futures.iter_mut().enumerate() {
            assert!(poll_once(future, &flag).is_pending());
            await_reactors(number / 127 + 1);
        }
        for ((tx, _), future) in queues.iter().zip(&mut futures).rev() {
            let flag = Flag::new();
            assert!(poll_once(future, &flag).is_pending());
            tx.send(7).expect("room");
            flag.await_raised();
            assert_eq!(poll_once(future, &flag), Poll::Ready(Ok(7)));
        }
        drop(futures);
        drop(queues);
        await_reactors(0);
    });
}

/// A4. The threads sweep the queues together, so they wake up about once in an interval for all of them.
#[test]
fn an_idle_reactor_wakes_once_an_interval_for_all_its_queues() {
    const QUEUES: usize = 500;
    const LANES: u64 = 4;
    const INTERVAL: Duration = Duration::from_millis(500);
    let intervals = rounds(6, 20);
    guarded(LIMIT, || {
        let options = Options::new(1).liveness_interval(INTERVAL);
        let queues: Vec<_> = (0..QUEUES)
            .map(|_| options.clone().channel::<u32>().expect("a queue"))
            .collect();
        let flag = Flag::new();
        let mut futures: Vec<_> = queues.iter().map(|(_, rx)| rx.recv_async()).collect();
        for future in &mut futures {
            assert!(poll_once(future, &flag).is_pending());
        }
        let mut switches = 0;
        let mut measure = || {
            // The first sweeps come at different times.
            thread::sleep(2 * INTERVAL);
            let before = Usage::of(Pid::this()).expect("self");
            thread::sleep(INTERVAL * intervals);
            switches = (Usage::of(Pid::this()).expect("self") - before).voluntary;
        };
        while stops::time(&mut measure).is_none() {}
        println!("{intervals} intervals, {QUEUES} queues: {switches} context switches");
        let intervals = u64::from(intervals);
        assert!(switches <= LANES * 2 * (intervals + 1) + 10, "{switches}");
        assert!(!flag.is_set(), "no future was woken");
    });
}

/// Several processes with futures and with blocking receivers sleep on one queue. Each announces its sleep to the others,
/// and all come to rest: they do not keep each other awake.
#[test]
fn sleepers_of_both_kinds_come_to_rest_on_one_queue() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut children = Vec::new();
        for runtime in Runtime::ALL {
            children.push(hand_over("async-sink", &[&runtime, &3], |handoff| {
                handoff.give("queue", &rx)
            }));
            children.push(hand_over("sink", &[&2], |handoff| {
                handoff.give("queue", &rx)
            }));
        }
        drop(rx);
        for number in 0..1000 {
            tx.send(number).expect("open");
        }
        for (number, child) in children.iter().enumerate() {
            asleep::await_sleepers(child.pid(), if number % 2 == 0 { 1 } else { 2 });
        }
        let switches = || {
            let usages = children.iter().map(|child| Usage::of(child.pid()));
            usages
                .map(|usage| usage.expect("a child").voluntary)
                .sum::<u64>()
        };
        let before = switches();
        thread::sleep(Duration::from_secs(2));
        let woken = switches() - before;
        println!("{woken} context switches of 8 idle processes in 2 s");
        // The sweep of the liveness interval may fall into that time.
        assert!(woken <= 40, "{woken}");
        drop(tx);
        let mut count = 0;
        for mut child in children {
            count += child.answer().parse::<u32>().expect("a number");
            dismiss(child);
        }
        assert_eq!(count, 1000);
    });
}

/// A waker that panics, in the reactor's thread and in the poll of another future, harms neither.
#[test]
fn a_waker_that_panics_harms_no_other_future() {
    struct Panics(Arc<Flag>);
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            self.0.waker().wake();
            panic!("a waker that panics");
        }
    }
    prompt(|| {
        panic::set_hook(Box::new(|_| {}));
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let called = Flag::new();
        let panics = Waker::from(Arc::new(Panics(Arc::clone(&called))));
        let poll = |future: &mut RecvFuture<'_, u32>| {
            Pin::new(future).poll(&mut Context::from_waker(&panics))
        };
        let flags = [Flag::new(), Flag::new()];
        // In the reactor's thread.
        let (mut first, mut second) = (rx.recv_async(), rx.recv_async());
        assert!(poll(&mut first).is_pending());
        assert!(poll_once(&mut second, &flags[0]).is_pending());
        tx.send(1).expect("room");
        called.await_raised();
        drop(first);
        flags[0].await_raised();
        assert_eq!(poll_once(&mut second, &flags[0]), Poll::Ready(Ok(1)));
        // In this thread, where a future passes the baton.
        let flag = Flag::new();
        let (mut first, mut second) = (rx.recv_async(), rx.recv_async());
        let mut third = rx.recv_async();
        assert!(poll_once(&mut first, &flag).is_pending());
        assert!(poll(&mut second).is_pending());
        assert!(poll_once(&mut third, &flags[1]).is_pending());
        tx.send(2).expect("room");
        flag.await_raised();
        drop(first);
        drop(second);
        flags[1].await_raised();
        assert_eq!(poll_once(&mut third, &flags[1]), Poll::Ready(Ok(2)));
    });
}

/// Tasks that share a receiver share the batches that it has taken.
#[test]
fn a_future_is_woken_for_a_message_of_a_batch_that_another_one_has_taken() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let flags = [Flag::new(), Flag::new()];
        let [mut first, mut second] = [rx.recv_async(), rx.recv_async()];
        assert!(poll_once(&mut first, &flags[0]).is_pending());
        assert!(poll_once(&mut second, &flags[1]).is_pending());
        tx.send_many([1, 2]).expect("room");
        flags[0].await_raised();
        assert_eq!(poll_once(&mut first, &flags[0]), Poll::Ready(Ok(1)));
        flags[1].await_raised();
        assert_eq!(poll_once(&mut second, &flags[1]), Poll::Ready(Ok(2)));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    });
}
