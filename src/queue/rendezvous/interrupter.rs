//! Ends the wait of a listener or a connection.

use crate::os::poll::EventFd;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// Ends a wait of a [`Listener`](super::Listener) or a [`Connection`](super::Connection), from another thread.
///
/// Clones interrupt the same one.
#[derive(Clone, Debug)]
pub struct Interrupter(Arc<EventFd>);

impl Interrupter {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(EventFd::new()?)))
    }

    /// Interrupts the current wait or, if there is none, the next operation that would have to wait. If several threads
    /// wait, one of them is interrupted.
    ///
    /// Several interrupts before a wait has ended count as one. An operation that can succeed does so, and leaves the
    /// interrupt for the next one. Never waits.
    pub fn interrupt(&self) {
        self.0.set();
    }

    /// Returns whether the caller's wait is to end, and consumes the interrupt.
    pub(super) fn take(&self) -> bool {
        self.0.take()
    }
}

impl AsFd for Interrupter {
    /// Returns a descriptor that is ready for reading while an interrupt is pending.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
