//! Taking part in a queue of any type: ends for the bytes of its messages.

use super::address::Address;
use crate::codec::{Codec, Raw};
use crate::error::OpenError;
use crate::os::open_files;
use crate::queue::untyped::{Target, open_untyped};
use crate::queue::{End, Receiver};

/// The bytes of a message, as its codec encoded them.
pub type Bytes = Vec<u8>;

/// Opens an end of a queue for the bytes of its messages. Other than for [`open`](crate::open()), the Rust type and the
/// schema of the messages do not matter. Unless `any_codec`, the queue's codec must be [`Raw`].
///
/// Recovers first what dead processes have left in the queue.
///
/// # Errors
///
/// Those of [`open`](crate::open()).
pub fn open_bytes<E: End>(address: &Address, any_codec: bool) -> Result<E, OpenError> {
    open_with(address, any_codec, false)
}

/// Opens a receiver as [`open_bytes`] does, for messages of any codec, also of a queue that is closed.
///
/// # Errors
///
/// Those of [`open`](crate::open()), but for [`OpenError::Closed`].
pub fn open_closed_bytes(address: &Address) -> Result<Receiver<Bytes, Raw>, OpenError> {
    open_with(address, true, true)
}

fn open_with<E: End>(
    address: &Address,
    any_codec: bool,
    even_closed: bool,
) -> Result<E, OpenError> {
    let accepts = |codec: &str| any_codec || codec == <Raw as Codec<Bytes>>::NAME;
    let target = match address {
        Address::Named(name) => Target::Named(name),
        Address::Descriptor {
            process,
            descriptor,
        } => {
            let opened = open_files::open_again(*process, *descriptor, true);
            Target::File(opened.map_err(|source| OpenError::Os {
                what: "the queue's file could not be opened",
                source,
            })?)
        }
    };
    open_untyped(target, accepts, even_closed)
}
