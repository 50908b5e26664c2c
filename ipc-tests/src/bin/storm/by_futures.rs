//! Children that send, receive and lease by futures, and drop some of them.
//!
//! One thread polls all that a child does. A consumer has two tasks, and each is polled whenever one of them is woken. So
//! two futures of a child wait at the same time, and a future is also polled for another reason than its own wake-up. The
//! second task drops futures that were woken. Before it tries again it waits until the first task has got something: with
//! `--liveness-seconds`, a wake-up that is lost with a dropped future is a hang. A sender has one task, because its messages
//! must keep their order.
//!
//! A message whose send was dropped counts as rejected: it must be nowhere.

use super::{Child, Held, STOP_RECEIVING, STOP_SENDING};
use crate::{
    message::{Message, MessageReceiver, MessageSender},
    outcome::Outcome,
};
use futures::future::join;
use ipc_tests::{
    rounds::Rng,
    runtimes::{Flag, block_on, poll_once},
};
use std::{cell::Cell, future::poll_fn, pin::Pin, rc::Rc, task::Poll};
use workring::SendError;

/// What becomes of a future.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Awaited,
    /// Dropped after this many polls, which do not wait for a wake-up.
    DroppedAfter(u8),
    /// Dropped when it was woken, before it has looked.
    DroppedWhenWoken,
}

/// What the first task of a process has done.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How many messages it has got.
    messages: Cell<u64>,
    has_ended: Cell<bool>,
}

impl Progress {
    fn add(&self) {
        self.messages.set(self.messages.get() + 1);
    }

    /// Waits until the first task has got another message, or has ended. Both tasks are polled when one is woken.
    async fn next(&self) {
        let before = self.messages.get();
        poll_fn(|_| {
            if self.messages.get() > before || self.has_ended.get() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

// Senders.
impl Child {
    pub(super) fn send_by_futures(&mut self, queue: &MessageSender) {
        block_on(async {
            while !self.is_over(STOP_SENDING) {
                let is_batch = self.max_batch > 1 && self.rng.bool();
                let outcome = if is_batch {
                    self.send_batch_async(queue).await
                } else {
                    self.send_one_async(queue).await
                };
                if let Outcome::Closed = outcome {
                    return;
                }
            }
        });
    }

    async fn send_one_async(&mut self, queue: &MessageSender) -> Outcome<()> {
        let message = self.next_message();
        let (id, fate) = (message.id, self.choose_fate());
        let outcome = if self.rng.u8(0..3) == 0 {
            send_in_place_async(queue, &message, fate).await
        } else {
            match fulfil(queue.send_async(message), fate).await {
                None => Outcome::WouldBlock,
                Some(Ok(())) => Outcome::Done(()),
                Some(Err(error)) => Outcome::of_send(&error),
            }
        };
        self.record_end_of_send(id, &outcome);
        outcome
    }

    /// Never dropped: the sender would not know how many of the messages were accepted.
    async fn send_batch_async(&mut self, queue: &MessageSender) -> Outcome<()> {
        let (ids, messages) = self.next_messages();
        let (accepted, outcome) = match queue.send_many_async(messages).await {
            Ok(count) => (count, Outcome::Done(())),
            Err(error) => (error.accepted, Outcome::of_send(&error.error)),
        };
        self.record_end_of_batch(&ids, accepted);
        outcome
    }
}

async fn send_in_place_async(queue: &MessageSender, message: &Message, fate: Fate) -> Outcome<()> {
    let mut room = match queue.reserve_async(message.length).await {
        Ok(room) => room,
        Err(SendError::Closed(_)) => return Outcome::Closed,
        Err(other) => panic!("reserve: {other}"),
    };
    message.write(&mut room);
    match fulfil(room.commit_async(), fate).await {
        None => Outcome::WouldBlock,
        Some(Ok(())) => Outcome::Done(()),
        Some(Err(SendError::Closed(()))) => Outcome::Closed,
        Some(Err(other)) => panic!("commit: {other}"),
    }
}

// Consumers.
impl Child {
    pub(super) fn receive_by_futures(&mut self, queue: &MessageReceiver) {
        let (mut second, progress) = self.second_task();
        let first = async {
            self.receive_async(queue, &progress).await;
            progress.has_ended.set(true);
        };
        block_on(join(
            first,
            second.receive_async(queue, &Progress::default()),
        ));
    }

    async fn receive_async(&mut self, queue: &MessageReceiver, progress: &Progress) {
        let mut received = Vec::new();
        while !self.is_over(STOP_RECEIVING) {
            let is_batch = self.max_batch > 1 && self.rng.bool();
            let fate = self.choose_fate();
            let outcome = if is_batch {
                let most = self.rng.usize(1..=self.max_batch);
                let receive = queue.recv_many_async(&mut received, most);
                outcome_of(fulfil(receive, fate).await).map(drop)
            } else {
                outcome_of(fulfil(queue.recv_async(), fate).await)
                    .map(|message| received.push(message))
            };
            self.record_acknowledged(&mut received);
            match outcome {
                Outcome::Done(()) => progress.add(),
                Outcome::WouldBlock => self.leave_it_to_first_task(fate).await,
                Outcome::Closed => return,
            }
        }
    }

    pub(super) fn lease_by_futures(&mut self, queue: &MessageReceiver) {
        let (mut second, progress) = self.second_task();
        let first = async {
            self.lease_async(queue, &progress).await;
            progress.has_ended.set(true);
        };
        block_on(join(first, second.lease_async(queue, &Progress::default())));
    }

    async fn lease_async(&mut self, queue: &MessageReceiver, progress: &Progress) {
        let mut held = Vec::new();
        while !self.is_over(STOP_RECEIVING) {
            // A lessee that holds messages must not wait: the process that it waits for may need their blocks.
            let leased = if held.is_empty() {
                let fate = self.choose_fate();
                let leased = self.lease_by_any_future(queue, fate).await;
                match leased {
                    Outcome::Done(_) => progress.add(),
                    Outcome::WouldBlock => self.leave_it_to_first_task(fate).await,
                    Outcome::Closed => {}
                }
                leased
            } else {
                self.lease_by_any_function(queue, false)
            };
            if !self.use_lease(&mut held, leased) {
                break;
            }
        }
        self.end_all_leases(&mut held);
    }

    async fn lease_by_any_future<'a>(
        &mut self,
        queue: &'a MessageReceiver,
        fate: Fate,
    ) -> Outcome<Held<'a>> {
        if self.rng.bool() {
            outcome_of(fulfil(queue.lease_async(), fate).await).map(Held::Message)
        } else {
            let leased = outcome_of(fulfil(queue.lease_bytes_async(), fate).await);
            leased.map(|lease| self.hold_bytes(lease))
        }
    }

    /// Returns what a second task of the same process uses, and where this first one notes its progress.
    fn second_task(&mut self) -> (Self, Rc<Progress>) {
        let progress = Rc::<Progress>::default();
        let second = Self {
            rng: Rng::with_seed(self.rng.u64(..)),
            scratch: self.scratch.clone(),
            first_task: Some(Rc::clone(&progress)),
            ..*self
        };
        (second, progress)
    }

    /// After a future was dropped that was woken: waits until the first task has got a message.
    async fn leave_it_to_first_task(&self, fate: Fate) {
        if let (Fate::DroppedWhenWoken, Some(first)) = (fate, &self.first_task) {
            first.next().await;
        }
    }
}

impl Child {
    /// After one that may be dropped, the next one is awaited: a child that only drops futures would keep a processor.
    fn choose_fate(&mut self) -> Fate {
        self.may_drop = !self.may_drop;
        if !self.may_drop {
            return Fate::Awaited;
        }
        match self.rng.u8(0..8) {
            0..3 => Fate::Awaited,
            polls @ 3..6 => Fate::DroppedAfter(polls - 3),
            _ if self.first_task.is_some() => Fate::DroppedWhenWoken,
            _ => Fate::Awaited,
        }
    }
}

/// Awaits a future, or drops it. Returns `None` if it was dropped.
async fn fulfil<F: Future + Unpin>(mut future: F, fate: Fate) -> Option<F::Output> {
    match fate {
        Fate::Awaited => Some(future.await),
        Fate::DroppedAfter(polls) => {
            for _ in 0..polls {
                let poll = poll_fn(|context| Poll::Ready(Pin::new(&mut future).poll(context)));
                if let Poll::Ready(output) = poll.await {
                    return Some(output);
                }
                yield_now().await;
            }
            None
        }
        Fate::DroppedWhenWoken => {
            let flag = Flag::new();
            if let Poll::Ready(output) = poll_once(&mut future, &flag) {
                return Some(output);
            }
            flag.raised().await;
            None
        }
    }
}

/// Gives other tasks their turn.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn outcome_of<T, E>(result: Option<Result<T, E>>) -> Outcome<T>
where
    Outcome<T>: From<Result<T, E>>,
{
    result.map_or(Outcome::WouldBlock, Outcome::from)
}
