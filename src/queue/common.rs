//! The methods that a [`Sender`] and a [`Receiver`] have in common: both can close the queue and look at it.

use super::stats::Stats;
use super::wait::Interrupter;
use super::{Receiver, Sender};
use crate::codec::Codec;

macro_rules! common_methods {
    ($($End:ident),*) => {$(
        impl<T, C: Codec<T>> $End<T, C> {
            /// Closes the queue for all processes: it accepts no more messages, and receivers get
            /// [`Closed`](crate::RecvError::Closed) once they have received what was accepted before. Returns whether
            /// this call closed it. Never waits, even if the queue is full.
            ///
            /// # Examples
            ///
            /// ```
            /// let (tx, rx) = workring::channel::<u32>(8)?;
            /// tx.send(1)?;
            /// assert!(tx.close() && !rx.close());
            /// assert_eq!(rx.recv(), Ok(1));
            /// assert_eq!(rx.recv(), Err(workring::RecvError::Closed));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[allow(
                clippy::must_use_candidate,
                reason = "closing is the point; who was first is a detail"
            )]
            pub fn close(&self) -> bool {
                self.handle.close()
            }

            /// Closes the queue for all processes and discards the messages that are left in it. Returns how many this
            /// call discarded. Receives that run at the same time discard some as well, and so does returning a lease
            /// from now on.
            ///
            /// A receive that starts afterwards gets `Closed` at once, even with
            /// [`Options::close_waits_for_leases`](crate::Options::close_waits_for_leases). Leases remain valid and can
            /// be acknowledged; dead letters stay. Never waits. May be called after [`close`](Self::close).
            ///
            /// # Examples
            ///
            /// ```
            /// let (tx, rx) = workring::channel::<u32>(8)?;
            /// tx.send(1)?;
            /// tx.send(2)?;
            /// assert_eq!(tx.cancel(), 2);
            /// assert_eq!(rx.recv(), Err(workring::RecvError::Closed));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[allow(
                clippy::must_use_candidate,
                reason = "cancelling is the point; the count is a detail"
            )]
            pub fn cancel(&self) -> u64 {
                self.handle.cancel()
            }

            /// Returns whether the queue is closed. Messages accepted before may still wait for receivers.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.handle.count_operation();
                self.handle.is_closed()
            }

            /// Returns a snapshot of the queue: how many messages are where, how much memory they take, which processes
            /// are attached. Takes time in proportion to the size of the queue, and blocks no other process.
            #[must_use]
            pub fn stats(&self) -> Stats {
                self.handle.count_operation();
                self.handle.stats()
            }

            /// Reports that the process with this id has ended, for instance because
            /// [`Child::wait`](std::process::Child::wait) has returned. If it was attached to the queue, or was given
            /// an end of it, the queue recovers what it held at once, not only after a [liveness
            /// interval](crate::Options::liveness_interval).
            ///
            /// Never necessary: while any process waits, sends or receives, a death is noticed within one liveness
            /// interval anyway. Nor is the report trusted: the kernel is asked whether the process is dead. Never
            /// waits; takes time in proportion to the size of the queue if there is something to recover.
            ///
            /// # Examples
            ///
            /// ```no_run
            /// # let mut command = std::process::Command::new("worker");
            /// let (tx, rx) = workring::channel::<String>(16)?;
            /// let mut worker = workring::Handoff::new().give("tasks", &rx)?.spawn(&mut command)?;
            /// worker.wait()?;
            /// tx.report_exit(worker.id()); // other receivers get what it held
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn report_exit(&self, process_id: u32) {
                self.handle.report_exit(process_id);
            }

            /// Emits no events of deaths in this process from now on, whatever handle finds them: the owner of the queue
            /// reports them.
            pub(crate) fn silence_deaths(&self) {
                self.handle.silence_deaths();
            }

            /// Returns the number of messages that wait for their first delivery, at some moment during the call. A
            /// batch of [`send_many`](crate::Sender::send_many) counts as one until a receiver takes it.
            #[must_use]
            pub fn len(&self) -> usize {
                self.handle.count_operation();
                self.handle.len()
            }

            /// Returns whether the queue is full: [`len`](Self::len) is the capacity.
            #[must_use]
            pub fn is_full(&self) -> bool {
                self.handle.count_operation();
                self.handle.is_full()
            }

            /// Returns how many messages, or batches of [`send_many`](crate::Sender::send_many), can wait at a time.
            #[must_use]
            pub fn capacity(&self) -> usize {
                self.handle.capacity()
            }

            /// Returns an object that can end a wait of this handle from any thread.
            #[must_use]
            pub fn interrupter(&self) -> Interrupter {
                self.handle.interrupter()
            }
        }
    )*};
}

common_methods!(Sender, Receiver);
