//! What the command line `workring` is built on: looking at queues without taking part in them, and taking part in a
//! queue of any type.
//!
//! Not part of the public API: it may change with any release. A program has [`Sender::stats`](crate::Sender::stats).
//!
//! | file          | what                                                                                     |
//! |---------------|------------------------------------------------------------------------------------------|
//! | `address`     | how a queue is named: by its name, or by a process and a descriptor                      |
//! | `view`        | [`QueueView`]: one queue, looked at                                                      |
//! | `figures`     | [`Figures`]: the numbers of messages, so that they balance on a busy queue too           |
//! | `peers`       | the processes of a queue, and how they are                                               |
//! | `messages`    | the bytes of messages, without taking them                                               |
//! | `find`        | the queues of this user: named ones, and those that processes have open                  |
//! | `pools`       | pools: their workers, and what these run                                                 |
//! | `part`        | taking part: ends of a queue of any type, for the bytes of its messages                  |
//! | `machine`     | what a queue or a pool on this machine could be refused for                              |
//!
//! Looking reads with `pread(2)` alone (`segment::image`): it takes no role, no entry of the table of peers and
//! no lock, and changes nothing. It works while the queue's processes are stopped, and while they write.

mod address;
mod figures;
mod find;
mod machine;
mod messages;
mod part;
mod peers;
mod pools;
mod view;
#[cfg(test)]
mod view_tests;

pub use address::Address;
pub use figures::Figures;
pub use find::{
    Anonymous, Open, Staged, anonymous, named, remove_leftover, remove_unopened, staged, unused_for,
};
pub use machine::{Check, Verdict, checks};
pub use messages::{Message, Place};
pub use part::{Bytes, open_bytes, open_closed_bytes};
pub use peers::{Holding, Peer, PeerLiveness};
pub use pools::{Pool, PoolWorker, Task, pools};
pub use view::{QueueView, Settings, Snapshot, State};
