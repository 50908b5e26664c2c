//! Accepting with futures: whichever of them is dropped, no connection is lost, and one of the others is woken.

use crate::{ask, await_readable, meeting, name, soon};
use ipc_tests::{
    guarded,
    rounds::{Rng, rounds, seed},
    runtimes::{Flag, Runtime, Task, block_on, poll_once},
    support::LIMIT,
};
use std::{
    process,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
};
use workring::{
    error::AcceptError,
    rendezvous::{AcceptFuture, Listener, connect},
};

/// A process connects before the future is polled, and another one while it waits.
#[test]
fn a_future_accepts_a_process_that_connects() {
    guarded(LIMIT, || {
        let name = name("future");
        let listener = Listener::bind(&name).expect("bind");
        let order = format!("connect {name} 100000");
        let mut early = meeting();
        assert_eq!(ask(&mut early, &order), "connecting");
        await_readable(&listener);
        let connection = block_on(listener.accept_async()).expect("accept");
        let pid = connection.peer().pid();
        assert_eq!(pid, Some(early.pid().as_raw().unsigned_abs()));

        let flag = Flag::new();
        let mut accept = listener.accept_async();
        assert!(poll_once(&mut accept, &flag).is_pending());
        let mut late = meeting();
        assert_eq!(ask(&mut late, &order), "connecting");
        flag.await_raised();
        let connection = block_on(accept).expect("accept");
        let pid = connection.peer().pid();
        assert_eq!(pid, Some(late.pid().as_raw().unsigned_abs()));
        for client in [&mut early, &mut late] {
            assert!(
                client
                    .answer()
                    .starts_with(&format!("connected {} ", process::id()))
            );
        }
    });
}

#[test]
fn an_accept_that_is_dropped_after_it_was_woken_leaves_the_connection_to_another() {
    guarded(LIMIT, || {
        let name = name("dropped");
        let listener = Listener::bind(&name).expect("bind");
        let flags = [Flag::new(), Flag::new()];
        let [mut first, mut second] = [listener.accept_async(), listener.accept_async()];
        assert!(poll_once(&mut first, &flags[0]).is_pending());
        assert!(poll_once(&mut second, &flags[1]).is_pending());
        thread::scope(|scope| {
            let connecting = scope.spawn(|| connect(&name, soon()));
            flags[0].await_raised();
            drop(first);
            flags[1].await_raised();
            block_on(second).expect("accept");
            connecting.join().expect("no panic").expect("connect");
        });
    });
}

/// Tasks accept on each runtime, and drop some of their accepts at random moments. Every connect gets its connection.
#[test]
fn accepts_that_are_dropped_lose_no_connection() {
    const TASKS: usize = 3;
    let connections = rounds(40, 2_000);
    guarded(LIMIT, || {
        let mut rng = Rng::with_seed(seed());
        for runtime in Runtime::ALL {
            let name = name("random");
            let listener = Arc::new(Listener::bind(&name).expect("bind"));
            let (accepted, received) = mpsc::channel();
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let (listener, accepted) = (Arc::clone(&listener), accepted.clone());
                    Box::pin(accept_or_drop(listener, rng.fork(), accepted)) as Task
                })
                .collect();
            drop(accepted);
            let interrupter = listener.interrupter();
            thread::scope(|scope| {
                let running = scope.spawn(move || runtime.run(tasks));
                for _ in 0..connections {
                    connect(&name, soon()).expect("connect");
                    received.recv().expect("it was accepted");
                }
                while !running.is_finished() {
                    interrupter.interrupt();
                    thread::yield_now();
                }
                running.join().expect("no panic");
            });
            assert_eq!(received.try_iter().count(), 0, "{runtime}");
        }
    });
}

/// Accepts until an interrupt, and reports each connection.
async fn accept_or_drop(listener: Arc<Listener>, mut rng: Rng, accepted: mpsc::Sender<()>) {
    loop {
        let mut accept = listener.accept_async();
        if rng.bool() {
            let flag = Flag::new();
            let Poll::Ready(done) = poll_once(&mut accept, &flag) else {
                // Dropped when it was woken, before it has looked.
                flag.raised().await;
                continue;
            };
            match done {
                Ok(_) => accepted.send(()).expect("it is read"),
                Err(AcceptError::Interrupted) => return,
                Err(error) => panic!("{error}"),
            }
            continue;
        }
        match accept.await {
            Ok(_) => accepted.send(()).expect("it is read"),
            Err(AcceptError::Interrupted) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_interrupt_ends_one_pending_accept() {
    guarded(LIMIT, || {
        let listener = Listener::bind(&name("interrupt")).expect("bind");
        let flag = Flag::new();
        let mut accept = listener.accept_async();
        assert!(poll_once(&mut accept, &flag).is_pending());
        listener.interrupter().interrupt();
        flag.await_raised();
        assert!(matches!(
            poll_once(&mut accept, &flag),
            Poll::Ready(Err(AcceptError::Interrupted))
        ));
        assert!(poll_once(&mut listener.accept_async(), &flag).is_pending());
    });
}

/// The listener, and with it the thread that waits for descriptors, ends in a waker: in that thread.
#[test]
fn a_waker_may_drop_the_future_and_the_listener() {
    type Accept = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    struct Drops(Arc<Mutex<Option<Accept>>>, Arc<Flag>);
    impl Wake for Drops {
        fn wake(self: Arc<Self>) {
            let future = self.0.lock().expect("no panic").take();
            drop(future);
            self.1.waker().wake();
        }
    }
    guarded(LIMIT, || {
        let name = name("waker");
        let listener = Listener::bind(&name).expect("bind");
        let interrupter = listener.interrupter();
        let future: Accept = Box::pin(async move {
            let accept: AcceptFuture<'_> = listener.accept_async();
            assert!(accept.await.is_err());
        });
        let (slot, flag) = (Arc::new(Mutex::new(Some(future))), Flag::new());
        let waker = Waker::from(Arc::new(Drops(Arc::clone(&slot), Arc::clone(&flag))));
        if let Some(future) = &mut *slot.lock().expect("no panic") {
            assert!(
                future
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        interrupter.interrupt();
        flag.await_raised();
        // The name is free again.
        Listener::bind(&name).expect("bind");
        while is_waiting_for_descriptors() {
            thread::yield_now();
        }
    });
}

/// Returns whether this process has the thread that waits for descriptors. The kernel lists it for a moment after its end.
fn is_waiting_for_descriptors() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").expect("threads");
    let mut names = threads.filter_map(|thread| {
        let path = thread.ok()?.path().join("comm");
        std::fs::read_to_string(path).ok()
    });
    names.any(|name| name.starts_with("workring-ready"))
}
