//! Ways into a queue's memory for those tests of this crate that look at a queue while somebody stands still in it.
//!
//! No part of the public API, and of no use to a program: any of it may change or go at any time.
#![allow(
    clippy::type_complexity,
    reason = "pairs of two handles, spelt out where they come"
)]

use super::attachment::Attachment;
use super::named::{attach, not_attached};
use super::{Options, Receiver, Sender};
use crate::codec::Codec;
use crate::error::OpenError;
use crate::protocol::peers::Role;
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The same options with a slice that may be longer than a program may have it, up to an hour: whoever is not woken in
/// such a queue sleeps on.
pub fn with_liveness_interval(options: Options, liveness_interval: Duration) -> Options {
    let mut options = options.liveness_interval(liveness_interval);
    options.any_liveness_interval = true;
    options
}

/// The file that a queue lies in.
#[must_use]
pub fn memory<T, C: Codec<T>>(rx: &Receiver<T, C>) -> BorrowedFd<'_> {
    rx.handle.attachment.segment().file().as_fd()
}

/// Attach to the queue that lies in a file, of which `file` must be a description of this process's own.
///
/// Unlike [`open`](crate::open()), leaves to others what the dead have left. Neither message type nor codec is checked.
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

/// Attach to a copy of a queue's memory as this process is attached to the queue: in the same row, with the same roles.
///
/// Nobody else is attached to the copy: whoever is so to the queue is dead there. `copy` must be a file of its own, of
/// the same length, and sealed.
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
