//! The shared memory of one queue (its *segment*): where everything lies in it, and safe access to that.
//!
//! | file             | what                                                                                    |
//! |------------------|-----------------------------------------------------------------------------------------|
//! | [`layout`]       | the parts of a segment that have a fixed place, and the numbers that the rest rests on  |
//! | [`geometry`]     | the offsets of all parts, computed from the capacity and the largest message            |
//! | [`settings`]     | what a queue is made with, as all of its peers read it                                  |
//! | [`schema`]       | the name that programs give to the meaning of a queue's messages                        |
//! | [`header`]       | writing the settings into a new segment, and reading them when a process attaches       |
//! | [`attach_error`] | why a file is not a segment that this process can use                                   |
//! | [`mapped`]       | [`Segment`]: the mapping, and the words of the protocol in it                           |
//! | [`view`]         | the addresses of these words, for the fast paths; what they prefetch                    |
//! | [`payload`]      | the bytes of messages, as slices; what a peer's stray write can do to them              |
//! | [`rewrite`]      | writing to cache lines that a receiver has read, so that the next message is faster       |
//! | [`batch_layout`] | how several messages lie in the payload of one block                                    |
//! | [`parts`]        | the memory of classes of blocks and of the peer table, taken when they are first used   |
//! | [`huge`]         | the memory of blocks for messages of more than 64 KiB                                   |
//! | [`idle_blocks`]  | what a process remembers about blocks of these that are idle                            |
//! | [`sweeper`]      | what a process remembers about its checks on the other peers                            |
//! | [`sweep`]        | checking on the other peers, and recovering those that have died                        |
//! | [`sweep_report`] | the `tracing` events of such a check                                                    |
//! | [`image`]        | a copy of a segment's words, for looking at a queue without taking part in it           |
//! | [`board`]        | another, smaller shared memory: what the workers of a pool are running                  |
//!
//! Apart from `os`, this is the only module with `unsafe` code. It turns addresses in a mapping into references; the
//! protocol's words that they lead to are atomics, for which any bytes are valid.

mod attach_error;
pub(crate) mod batch_layout;
pub(crate) mod board;
pub(crate) mod geometry;
mod header;
pub(crate) mod huge;
mod idle_blocks;
#[cfg(feature = "cli")]
pub(crate) mod image;
mod layout;
mod mapped;
mod parts;
mod payload;
mod rewrite;
mod schema;
mod settings;
pub(crate) mod sweep;
mod sweep_report;
mod sweeper;
mod view;

pub(crate) use attach_error::AttachError;
pub(crate) use header::shortened;
pub(crate) use mapped::Segment;
pub(crate) use payload::{ReadableBlock, WritableBlock};
pub(crate) use rewrite::HasRead;
pub(crate) use schema::Schema;
#[cfg(feature = "test-hooks")]
pub(crate) use settings::STORED_LIVENESS_INTERVALS;
pub(crate) use settings::{LIVENESS_INTERVALS, SPINS, Settings};
pub(crate) use view::View;

#[cfg(all(test, not(loom)))]
mod allocation_tests;
#[cfg(all(test, feature = "cli"))]
mod image_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod scribble;
#[cfg(test)]
mod tests;
