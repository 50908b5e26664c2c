//! Hooks for the tests of this crate: they examine the memory of a queue while another process is stopped in the middle
//! of an operation.
//!
//! Not part of the public API: any of it may change or be removed at any time.
#![allow(clippy::type_complexity, reason = "pairs of two handles, spelt out")]

use super::attachment::Attachment;
use super::named_file::{attach, not_attached};
use super::{Options, Receiver, Sender};
use crate::codec::Codec;
use crate::error::OpenError;
use crate::os::wait_many;
use crate::protocol::peers::Role;
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Sets a liveness interval of up to an hour, longer than programs can set it: a waiter whose wake-up is missing then
/// sleeps on.
pub fn with_liveness_interval(options: Options, liveness_interval: Duration) -> Options {
    let mut options = options.liveness_interval(liveness_interval);
    options.any_liveness_interval = true;
    options
}

/// Makes waits for several queues of this process use a thread for each queue from now on, as where the kernel has no
/// `futex_waitv`.
pub fn refuse_futex_waitv() {
    wait_many::refuse_waitv();
}

/// Returns the file that contains a queue.
#[must_use]
pub fn memory<T, C: Codec<T>>(rx: &Receiver<T, C>) -> BorrowedFd<'_> {
    rx.handle.attachment.file().as_fd()
}

/// Attaches to the queue in `file`, which must be an open file description of this process alone.
///
/// Unlike [`open`](crate::open()), does not recover what dead processes have left, and checks neither message type nor
/// codec.
///
/// # Errors
///
/// Those of [`open`](crate::open()).
pub fn enter<T, C: Codec<T>>(file: OwnedFd) -> Result<(Sender<T, C>, Receiver<T, C>), OpenError> {
    let attachment = Attachment::create(attach(file)?).map_err(not_attached)?;
    let attachment = Arc::new(attachment);
    Ok((
        Sender::counted(Arc::clone(&attachment)),
        Receiver::counted(attachment),
    ))
}

/// Attaches to a copy of a queue's memory, as the same peer and with the same roles as this process has in the queue.
///
/// No other process is attached to the copy, so all other peers of the queue are dead there. `copy` must be another
/// file, of the same length, and sealed.
///
/// # Errors
///
/// Those of [`open`](crate::open()).
pub fn stand_in<T, C: Codec<T>>(
    rx: &Receiver<T, C>,
    copy: OwnedFd,
) -> Result<(Option<Sender<T, C>>, Receiver<T, C>), OpenError> {
    let repeated = rx.handle.attachment.repeat(attach(copy)?);
    let attachment = Arc::new(repeated.map_err(not_attached)?);
    let sends = attachment.count(Role::Sender) > 0;
    let tx = sends.then(|| Sender::counted(Arc::clone(&attachment)));
    Ok((tx, Receiver::counted(attachment)))
}
