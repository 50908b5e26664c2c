//! What a [`Sender`] and a [`Receiver`] have in common: the queue itself can be looked at and closed from both ends.

use super::stats::Stats;
use super::wait::Interrupter;
use super::{Receiver, Sender};
use crate::codec::Codec;

macro_rules! common_methods {
    ($($End:ident),*) => {$(
        impl<T, C: Codec<T>> $End<T, C> {
            /// Close the queue for everybody: no message is accepted any more, and receivers get
            /// [`Closed`](crate::RecvError::Closed) once they have received what was accepted before. True if nobody
            /// had closed it before. Never waits, also when the queue is full.
            #[allow(
                clippy::must_use_candidate,
                reason = "closing is the point; who was first is a detail"
            )]
            pub fn close(&self) -> bool {
                self.handle.close()
            }

            /// Close the queue for everybody and discard the messages that are left in it. How many this call
            /// discarded: receivers that come by at the same time discard some as well, and so does whoever returns
            /// a lease from now on.
            ///
            /// A receive that starts afterwards gets `Closed` at once, on *settled* queues too. Leases go on, and can
            /// be acknowledged; dead letters stay. Never waits. Also after [`close`](Self::close).
            ///
            /// # Examples
            ///
            /// ```
            /// let (tx, rx) = workring::channel::<u32>(8)?;
            /// tx.send(1)?;
            /// tx.send(2)?;
            /// assert_eq!(tx.cancel(), 2);
            /// assert!(matches!(rx.recv(), Err(workring::RecvError::Closed)));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[allow(
                clippy::must_use_candidate,
                reason = "cancelling is the point; the count is a detail"
            )]
            pub fn cancel(&self) -> u64 {
                self.handle.cancel()
            }

            /// Whether the queue is closed. Messages accepted before may still be waiting for receivers.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.handle.count_look();
                self.handle.is_closed()
            }

            /// What the queue looks like now: how many messages are where, what memory they take, who is attached.
            /// Takes time in proportion to the size of the queue, and holds up nobody.
            #[must_use]
            pub fn stats(&self) -> Stats {
                self.handle.count_look();
                self.handle.stats()
            }

            /// Say that the process of this id has ended, for instance because
            /// [`Child::wait`](std::process::Child::wait)
            /// has returned: if it was attached to the queue, or was given an end of it, that is dealt with at once and
            /// not only in the next slice.
            ///
            /// Never needed: a death is noticed within one [slice](crate::Options::liveness_interval) anyway while anybody waits.
            /// Nor is it believed: whether the process is dead, the kernel is asked. Never waits; takes time in
            /// proportion to the size of the queue if there is something to repair.
            ///
            /// # Examples
            ///
            /// ```no_run
            /// # let mut command = std::process::Command::new("worker");
            /// let (tx, rx) = workring::channel::<String>(16)?;
            /// let mut worker = workring::Handoff::new().give("tasks", &rx)?.spawn(&mut command)?;
            /// worker.wait()?;
            /// tx.report_exit(worker.id()); // what it had in hand goes to the others
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn report_exit(&self, process_id: u32) {
                self.handle.report_exit(process_id);
            }

            /// How many messages are waiting to be received for the first time, at some moment of this call. A batch of
            /// [`send_many`](crate::Sender::send_many) counts as one, until a receiver takes it.
            #[must_use]
            pub fn len(&self) -> usize {
                self.handle.count_look();
                self.handle.len()
            }

            /// Whether [`len`](Self::len) is the capacity.
            #[must_use]
            pub fn is_full(&self) -> bool {
                self.handle.count_look();
                self.handle.is_full()
            }

            /// How many messages, or batches of [`send_many`](crate::Sender::send_many), can wait at a time.
            #[must_use]
            pub fn capacity(&self) -> usize {
                self.handle.capacity()
            }

            /// Something that can end a wait of this very handle, from any thread.
            #[must_use]
            pub fn interrupter(&self) -> Interrupter {
                self.handle.interrupter()
            }
        }
    )*};
}

common_methods!(Sender, Receiver);
