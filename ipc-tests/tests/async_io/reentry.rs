//! What user code in a waker may do: poll, drop and end anything, also in the thread that wakes all futures.

use super::threads::await_reactors;
use ipc_tests::{
    runtimes::{Flag, poll_once},
    support::{prompt, sleepy},
};
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        mpsc::{Sender as Results, channel},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};
use workring::{Receiver, RecvError, Sender};

/// Does something when it is called first, and then sets a flag.
struct Acts<F> {
    deed: Mutex<Option<F>>,
    done: Arc<Flag>,
}

impl<F: FnOnce() + Send + 'static> Wake for Acts<F> {
    fn wake(self: Arc<Self>) {
        let deed = self.deed.lock().expect("no panic").take();
        if let Some(deed) = deed {
            deed();
        }
        self.done.waker().wake();
    }
}

/// A receive that owns its receiver.
type Receive = Pin<Box<dyn Future<Output = Result<u32, RecvError>> + Send>>;

fn queue() -> (Sender<u32>, Arc<Receiver<u32>>) {
    let (tx, rx) = sleepy(4).channel().expect("a queue");
    (tx, Arc::new(rx))
}

fn receive(rx: &Arc<Receiver<u32>>) -> Receive {
    let rx = Arc::clone(rx);
    Box::pin(async move { rx.recv_async().await })
}

/// Polls with a waker that does this when it is called.
fn poll_with(future: &mut Receive, deed: impl FnOnce() + Send + 'static) -> Arc<Flag> {
    let done = Flag::new();
    let waker = Waker::from(Arc::new(Acts {
        deed: Mutex::new(Some(deed)),
        done: Arc::clone(&done),
    }));
    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    done
}

/// Takes the message that is there, and does the same as [`poll_with`].
fn poll_with_message_there(
    rx: &Receiver<u32>,
    future: &mut Receive,
    deed: impl FnOnce() + Send + 'static,
) -> Arc<Flag> {
    assert_eq!(rx.try_recv(), Ok(1));
    poll_with(future, deed)
}

/// Polls a receive, and reports what it has received.
fn poll_and_report(mut future: Receive, results: &Results<u32>) {
    if let Poll::Ready(received) = poll_once(&mut future, &Flag::new()) {
        results
            .send(received.expect("a message"))
            .expect("it is read");
    }
}

/// One that completes, and one that is pending.
#[test]
fn a_waker_may_poll_other_futures_of_the_queue() {
    prompt(|| {
        let (tx, rx) = queue();
        let (results, received) = channel();
        let [mut first, second, mut third] = [receive(&rx), receive(&rx), receive(&rx)];
        let done = poll_with(&mut first, move || {
            poll_and_report(second, &results);
            assert!(poll_once(&mut third, &Flag::new()).is_pending());
        });
        tx.send(1).expect("room");
        done.await_raised();
        assert_eq!(received.recv(), Ok(1));
        let again = Flag::new();
        assert!(poll_once(&mut first, &again).is_pending());
        tx.send(2).expect("room");
        again.await_raised();
        assert_eq!(poll_once(&mut first, &again), Poll::Ready(Ok(2)));
    });
}

/// The waker of the second future drops the first one, which was woken before and passes its wake on to the third one, and
/// the fourth one, which is in line.
#[test]
fn a_waker_may_drop_other_futures_of_the_queue() {
    prompt(|| {
        let (tx, rx) = queue();
        let [mut first, mut second, mut third] = [receive(&rx), receive(&rx), receive(&rx)];
        let mut fourth = receive(&rx);
        let flags = [Flag::new(), Flag::new()];
        assert!(poll_once(&mut first, &flags[0]).is_pending());
        tx.send(1).expect("room");
        flags[0].await_raised();
        let (others, dropped) = channel();
        let done = poll_with_message_there(&rx, &mut second, move || {
            drop(dropped.try_iter().collect::<Vec<Receive>>());
        });
        assert!(poll_once(&mut third, &flags[1]).is_pending());
        assert!(poll_once(&mut fourth, &Flag::new()).is_pending());
        others.send(first).expect("the waker has the other end");
        others.send(fourth).expect("the waker has the other end");
        tx.send_many([2, 3]).expect("room");
        done.await_raised();
        flags[1].await_raised();
        assert_eq!(poll_once(&mut third, &flags[1]), Poll::Ready(Ok(2)));
        assert_eq!(poll_once(&mut second, &flags[1]), Poll::Ready(Ok(3)));
    });
}

#[test]
fn a_waker_may_send_and_receive_on_the_queue() {
    prompt(|| {
        let (tx, rx) = queue();
        let tx = Arc::new(tx);
        let [mut first, mut second] = [receive(&rx), receive(&rx)];
        let (sender, receiver) = (Arc::clone(&tx), Arc::clone(&rx));
        let done = poll_with(&mut first, move || {
            assert_eq!(receiver.try_recv(), Ok(1));
            sender.send_many([2, 3, 4]).expect("room");
            // Takes the batch, and wakes all futures for the rest of it.
            assert_eq!(receiver.try_recv(), Ok(2));
        });
        let flag = Flag::new();
        assert!(poll_once(&mut second, &flag).is_pending());
        tx.send(1).expect("room");
        done.await_raised();
        flag.await_raised();
        assert_eq!(poll_once(&mut second, &flag), Poll::Ready(Ok(3)));
        assert_eq!(poll_once(&mut first, &flag), Poll::Ready(Ok(4)));
    });
}

/// The last handles of a queue end its place in the reactor, and those of the last queue end the reactor's thread: here in
/// that thread.
#[test]
fn a_waker_may_drop_the_last_handles_of_queues() {
    prompt(|| {
        let (tx, rx) = queue();
        let (other_tx, other_rx) = queue();
        let mut other = receive(&other_rx);
        assert!(poll_once(&mut other, &Flag::new()).is_pending());
        let mut first = receive(&rx);
        let done = poll_with(&mut first, move || drop((other, other_tx, other_rx)));
        tx.send(1).expect("room");
        done.await_raised();
        await_reactors(1);
        assert_eq!(poll_once(&mut first, &done), Poll::Ready(Ok(1)));
        drop(first);
        // Now this queue itself, with the future that is woken.
        let last = Arc::new(Mutex::new(Some(receive(&rx))));
        let (slot, tx) = (Arc::clone(&last), Arc::new(tx));
        let sender = Arc::clone(&tx);
        let deed = move || {
            let future = slot.lock().expect("no panic").take();
            while Arc::strong_count(&sender) > 1 {
                thread::yield_now();
            }
            drop((future, sender, rx));
        };
        let done = match &mut *last.lock().expect("no panic") {
            Some(future) => poll_with(future, deed),
            None => unreachable!("it was put there"),
        };
        tx.send(2).expect("room");
        drop(tx);
        done.await_raised();
        await_reactors(0);
    });
}

/// Wakers that are called by the thread that ends the wait: closing, and an interrupt.
#[test]
fn a_waker_may_poll_and_drop_futures_while_the_queue_is_closed_or_interrupted() {
    prompt(|| {
        let (tx, rx) = queue();
        let interrupter = rx.interrupter();
        for close in [false, true] {
            let [mut first, mut second, third] = [receive(&rx), receive(&rx), receive(&rx)];
            let flag = Flag::new();
            let (results, polled) = channel();
            let done = poll_with(&mut first, move || {
                let mut third = third;
                let third = poll_once(&mut third, &Flag::new());
                results.send(third).expect("it is read");
            });
            let dropped = Arc::new(Mutex::new(Some(receive(&rx))));
            let drops = Arc::clone(&dropped);
            let also = poll_with(&mut second, move || {
                drops.lock().expect("no panic").take();
            });
            if let Some(future) = &mut *dropped.lock().expect("no panic") {
                assert!(poll_once(future, &flag).is_pending());
            }
            if close {
                tx.close();
            } else {
                interrupter.interrupt();
            }
            done.await_raised();
            also.await_raised();
            let ended = polled.recv().expect("the third one was polled");
            if close {
                assert_eq!(ended, Poll::Ready(Err(RecvError::Closed)));
                assert_eq!(
                    poll_once(&mut second, &flag),
                    Poll::Ready(Err(RecvError::Closed))
                );
            } else {
                // One of them gets the interrupt.
                assert_eq!(ended, Poll::Ready(Err(RecvError::Interrupted)));
                assert!(poll_once(&mut second, &flag).is_pending());
            }
        }
    });
}
