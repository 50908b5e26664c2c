//! The public queue: handles, options, leases and hand-off, on top of one attachment per process.

mod attachment;
mod batches;
mod bytes;
mod common;
mod compatibility;
mod dead_letters;
mod end;
mod handoff;
mod huge;
mod inner;
mod lease;
mod liveness;
mod name;
mod named;
mod options;
mod receiver;
mod recv_many;
mod send_many;
mod sender;
mod stats;
#[cfg(feature = "test-hooks")]
#[doc(hidden)]
pub mod test_hooks;
mod wait;
mod watch;

pub use crate::codec::{Bincode, Codec, Raw};
pub use bytes::{BytesLease, Reservation};
pub use dead_letters::{DeadLetter, DeadLetters};
pub use end::End;
pub use handoff::{Handoff, inherit, inherit_as};
pub(crate) use handoff::{borrow_fd, inherit_fd};
pub use lease::Lease;
pub use named::{NamedQueue, named_queues, open, open_as, remove_named};
pub use options::{Options, channel};
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use sender::Sender;
pub use stats::{BlockStats, DeathStats, PeerStats, Stats};
pub use wait::Interrupter;
pub use watch::{Watch, Watched};
