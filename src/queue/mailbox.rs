//! Mailboxes: queues that belong to the process that receives from them.
//!
//! | the process that made it | others attached | the name in `/dev/shm`                    | senders    |
//! |--------------------------|-----------------|-------------------------------------------|------------|
//! | has the mailbox          | any             | there                                     | may send   |
//! | has dropped it           | any             | removed by it                             | `Closed`   |
//! | is dead                  | some            | removed by the next create, list or open  | `Closed`   |
//! | is dead                  | none            | removed by the next create, list or open  |            |
//!
//! MAILBOX-1. The name is that of this mailbox alone, also of later ones: it has the process id and start time of the
//!     maker, and a number. If the name exists all the same (another process-id namespace), the next number is tried.
//! MAILBOX-2. The name appears when the process is attached as a receiver, and other processes remove it only when no
//!     process is attached as a receiver. So no other process removes that of a live mailbox.
//! MAILBOX-3. The queue closes with its last receiver. So a sender that waits for room is released when the process ends.

use super::address::Address;
use super::attachment::Attachment;
use super::listing::remove_leftovers;
use super::named::{attach_and_name, both_ends};
use super::named_file::MAILBOX_MARK;
use super::option_checks::not_made;
use super::options::Options;
use super::{Receiver, Sender};
use crate::codec::{Bincode, Codec};
use crate::error::{CreateError, CreateNamedError};
use crate::os::{identity, named};
use crate::segment::Segment;
use crate::sync::{AtomicU64, Ordering};
use core::fmt;
use core::ops::Deref;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A queue that belongs to this process, which receives from it. Other processes send to its [address](Mailbox::address).
///
/// It is a [`Receiver`] by `Deref`. The queue ends with the process, by any death: senders then get `Closed`, and the
/// queue's file in `/dev/shm` is removed by the next process of this user that creates a named queue or a mailbox, opens
/// a named queue, or [lists](crate::queue::named_queues) them. Dropping the mailbox removes the file at once, and closes the
/// queue unless the receiver was cloned.
///
/// # Examples
///
/// See [`Address`].
pub struct Mailbox<T, C: Codec<T> = Bincode> {
    /// Before the receiver, so that the name is removed before the queue closes.
    name: OwnedName,
    receiver: Receiver<T, C>,
    schema: Option<String>,
}

/// A name that its process removes on drop.
struct OwnedName {
    name: String,
    owner: Arc<Attachment>,
}

impl Drop for OwnedName {
    fn drop(&mut self) {
        let is_ours = || named::has_name(self.owner.file()).unwrap_or(false);
        // A forked child does not own it.
        if self.owner.enter().is_ok() && is_ours() {
            let _ = named::unlink(&self.name);
        }
    }
}

impl Options {
    /// Creates a [`Mailbox`] with these options, for messages of any serde type.
    ///
    /// It closes with its receiver, whatever [`close_on_last_receiver`](Options::close_on_last_receiver) says, and not with
    /// its senders. Never waits for other processes.
    ///
    /// # Errors
    ///
    /// As for [`channel`](Options::channel). A full `/dev/shm` is a [`CreateError::NoMemory`].
    ///
    /// # Examples
    ///
    /// See [`Address`].
    pub fn mailbox<T: Serialize + DeserializeOwned>(&self) -> Result<Mailbox<T>, CreateError> {
        self.mailbox_with::<T, Bincode>()
    }

    /// Creates a mailbox, as [`mailbox`](Options::mailbox) does, for messages that `C` encodes.
    ///
    /// # Errors
    ///
    /// The same as `mailbox`.
    pub fn mailbox_with<T, C: Codec<T>>(&self) -> Result<Mailbox<T, C>, CreateError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let options = self.clone();
        let options = options
            .close_on_last_sender(false)
            .close_on_last_receiver(true);
        let settings = options.settings::<T>(C::NAME, false)?;
        let _ = remove_leftovers();
        let process = identity::current().map_err(|source| CreateError::Os {
            what: "this process could not be identified",
            source,
        })?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let (id, start_time) = (process.process_id(), process.start_time());
            let name = format!("{MAILBOX_MARK}{id}.{start_time}-{number}");
            let segment = Segment::create_draft(settings.clone()).map_err(not_made)?;
            let made = attach_and_name(segment, &name, |file| named::publish(file, &name));
            let attachment = match made {
                Ok(attachment) => attachment,
                Err(CreateNamedError::Create(error)) => return Err(error),
                // MAILBOX-1.
                Err(_) => continue,
            };
            let (sender, receiver) = both_ends::<T, C>(attachment);
            drop(sender);
            let owner = Arc::clone(&receiver.handle.attachment);
            return Ok(Mailbox {
                name: OwnedName { name, owner },
                receiver,
                schema: options.schema_name().map(str::to_owned),
            });
        }
    }
}

impl<T, C: Codec<T>> Mailbox<T, C> {
    /// Returns the address that other processes send to.
    #[must_use]
    pub fn address(&self) -> Address<Sender<T, C>> {
        Address::from_parts(self.name.name.clone(), self.schema.clone())
    }
}

impl<T, C: Codec<T>> Deref for Mailbox<T, C> {
    type Target = Receiver<T, C>;

    fn deref(&self) -> &Receiver<T, C> {
        &self.receiver
    }
}

impl<T, C: Codec<T>> fmt::Debug for Mailbox<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("name", &self.name.name)
            .field("receiver", &self.receiver)
            .finish_non_exhaustive()
    }
}
