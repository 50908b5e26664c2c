//! The public queue: handles, options, leases and hand-off, on top of one attachment per process.

mod attachment;
mod bytes;
mod common;
mod end;
mod fit;
mod handoff;
mod huge;
mod inner;
mod lease;
mod letters;
mod liveness;
mod named;
mod options;
mod packs;
mod receiver;
mod recv_many;
mod send_many;
mod sender;
mod stats;
#[cfg(feature = "trials")]
pub mod trials;
mod wait;
mod watch;

pub use bytes::{BytesLease, Reservation};
pub use end::End;
pub use handoff::{Handoff, inherit, inherit_tagged};
pub(crate) use handoff::{borrow_fd, inherit_fd};
pub use lease::Lease;
pub use letters::{DeadLetter, DeadLetters};
pub use named::{NamedQueue, named_queues, open, open_tagged, remove_named};
pub use options::{Options, channel};
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use sender::Sender;
pub use stats::{BlockStats, DeathStats, PeerStats, Stats};
pub use wait::Interrupter;
pub use watch::{Watch, Watched};
