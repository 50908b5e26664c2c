//! The public queue: handles, options, leases and hand-off, on top of one attachment per process.
//!
//! Each file is built on those before it:
//!
//! | what                         | files                                                                        |
//! |------------------------------|------------------------------------------------------------------------------|
//! | this process and the segment | `liveness`, `lease_count`, `attachment` (the guard against forked children)   |
//! | failures and waiting         | `failure`, `policy`, `pause`, `spin_time`, `yields`, `wait`                   |
//! | what both ends share         | `block_writer`, `stats`, `prefetch`, `prepared`, `end`                       |
//! | sending                      | `huge`, `allocator`, `sender`, `reservation`, `value_reservation` |
//! | sending many messages        | `encoded_batch`, `send_many`                                                 |
//! | receiving                    | `held_block`, `batches`, `taken`, `lease`, `dead_letters`, `receiver`, `looking`, `receiving`, `iter` |
//! | ... in other ways            | `leasing`, `bytes_lease`, `value_lease`, `recv_many`, `watch`                |
//! | waiting for several queues   | `select`                                                                     |
//! | without a thread that waits  | `reactor` (below `attachment`), `futures`                                    |
//! | making and finding queues    | `name`, `compatibility`, `handoff`, `option_checks`, `options`, `named_file`, |
//! | ... by their names           | `listing`, `named`, `on_shared_memory`, `open_or_create`, `address`, `mailbox` |
//! | processes that meet          | `rendezvous`                                                                 |
//! | ... of any type              | `untyped` (for the command line)                                             |
//! | both ends together           | `common`, `inner` (for the pool), `test_hooks`                               |

mod address;
mod allocator;
mod attachment;
mod batches;
mod block_writer;
mod bytes_lease;
mod common;
mod compatibility;
mod dead_letters;
mod encoded_batch;
mod end;
mod failure;
#[cfg(feature = "async")]
pub mod futures;
mod handoff;
mod held_block;
mod huge;
mod inner;
mod iter;
mod lease;
mod lease_count;
mod leasing;
mod listing;
mod liveness;
mod looking;
mod mailbox;
mod name;
mod named;
pub(crate) mod named_file;
#[cfg(feature = "shared-memory")]
mod on_shared_memory;
mod open_or_create;
mod option_checks;
mod options;
mod pause;
mod policy;
mod prefetch;
mod prepared;
#[cfg(feature = "async")]
mod reactor;
mod receiver;
mod receiving;
mod recv_many;
#[cfg(feature = "rendezvous")]
pub mod rendezvous;
mod reservation;
mod select;
mod send_many;
mod sender;
mod slow_send;
mod spin_time;
pub(crate) mod stats;
mod taken;
#[cfg(feature = "test-hooks")]
#[doc(hidden)]
pub mod test_hooks;
#[cfg(feature = "cli")]
pub(crate) mod untyped;
#[cfg(feature = "bytemuck")]
mod value_lease;
#[cfg(feature = "bytemuck")]
mod value_reservation;
mod wait;
mod watch;
mod yields;

#[cfg(feature = "bytemuck")]
pub use crate::codec::Bytemuck;
#[cfg(feature = "json")]
pub use crate::codec::Json;
#[cfg(feature = "postcard")]
pub use crate::codec::Postcard;
pub use crate::codec::{Bincode, Codec, Coded, Raw};
pub use address::Address;
pub use bytes_lease::BytesLease;
pub use dead_letters::{DeadLetter, DeadLetters};
pub use end::End;
pub use handoff::{Handoff, inherit, inherit_as};
pub(crate) use handoff::{borrow_fd, inherit_fd, inherit_silent};
pub use iter::{IntoIter, Iter, TryIter};
pub use lease::Lease;
pub use listing::{NamedQueue, named_queues, remove_named};
pub use mailbox::Mailbox;
pub use named::{open, open_as};
#[cfg(feature = "shared-memory")]
pub use on_shared_memory::{open_on, open_on_as, shmem_conf};
pub(crate) use options::DEFAULT_SPIN;
pub use options::{Options, channel};
pub use receiver::Receiver;
pub use reservation::Reservation;
pub use select::{Select, SelectedOperation};
pub use sender::Sender;
pub use stats::{BlockStats, DeathStats, PeerStats, Stats};
#[cfg(feature = "bytemuck")]
pub use value_lease::ValueLease;
#[cfg(feature = "bytemuck")]
pub use value_reservation::ValueReservation;
pub use wait::Interrupter;
pub use watch::{Watch, Watched};
