//! Ends of a queue of any type, for the bytes of its messages as their codec encoded them.
//!
//! For the command line: the caller decides by the codec's name whether it may take part. A receiver may also join a
//! closed queue, to drain it when all of its processes have ended: a closed queue only empties, so a receiver more is
//! harmless, and it is not counted as an arrival, which only matters to an open queue (LIFE-3).

use super::attachment::Attachment;
use super::end::End;
use super::end::sealed::{AnyAttachment, EndRole};
use super::named::open_locked;
use super::named_file::{attach, not_attached, not_locked};
use crate::error::OpenError;
use crate::os::named;
use crate::protocol::peers::Roles;
use std::os::fd::OwnedFd;

/// Which queue to open.
#[derive(Debug)]
pub(crate) enum Target<'a> {
    /// The one of this name.
    Named(&'a str),
    /// The one in this file, which must be an open file description of this process alone.
    File(OwnedFd),
}

/// Opens an end of a queue whose codec's name the caller `accepts`. `even_closed`: also of a closed queue.
///
/// # Errors
///
/// Those of [`open`](crate::open()); [`OpenError::Codec`] if the codec is not accepted.
pub(crate) fn open_untyped<E: End>(
    target: Target<'_>,
    accepts: impl Fn(&str) -> bool,
    even_closed: bool,
) -> Result<E, OpenError> {
    let is_named = matches!(target, Target::Named(_));
    let segment = match target {
        Target::Named(name) => open_locked(name)?,
        Target::File(file) => attach(file)?,
    };
    let theirs = &segment.settings().codec_name;
    if !accepts(theirs) {
        return Err(OpenError::Codec {
            theirs: theirs.clone(),
            ours: E::codec_name().to_owned(),
        });
    }
    let EndRole(role) = E::ROLE;
    let roles = Roles::only(role);
    let attachment = if even_closed {
        Attachment::join_even_closed(segment, roles)
    } else {
        Attachment::join(segment, roles)
    };
    let attachment = attachment.map_err(not_attached)?;
    if is_named {
        // From now on, a process that wants to remove the queue finds this one in the table of peers.
        named::unlock(attachment.file()).map_err(not_locked)?;
    }
    Ok(E::from_attachment(AnyAttachment(attachment)))
}
