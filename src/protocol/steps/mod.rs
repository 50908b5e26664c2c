//! The operations: sequences of the transitions that [`super`] lists.
//!
//! | file             | operations                                                                       |
//! |------------------|----------------------------------------------------------------------------------|
//! | [`send`]         | allocate a block, offer it, publish it, or withdraw it                           |
//! | [`receive`]      | take the next message, or find that the queue has ended                          |
//! | [`expect`]       | see whether a sender is about to publish the next message                        |
//! | [`settle`]       | acknowledge a message, return it, reject it, or discard it after a cancel        |
//! | [`batch`]        | what differs for a block that holds several messages                             |
//! | [`commit`]       | take memory for a class of blocks when it is first used                          |
//! | [`huge`]         | allocate a block for a large message, with memory                                |
//! | [`idle`]         | give back the memory of such blocks                                              |
//! | [`dead_letters`] | read, keep, discard and evict dead letters                                       |
//! | [`close`]        | close or cancel the queue                                                        |
//! | [`membership`]   | arrive, leave, and close the queue when the last process of a role leaves        |
//! | [`recover`]      | finish or undo what a dead process has begun                                     |
//! | [`stalled`]      | finish what a stopped process, or a recoverer that died, has left                |
//! | [`token_room`]   | keep the token of a block that was allocated before there is a message for it    |
//! | [`stats`]        | count the messages of a queue                                                    |
//!
//! The other files are steps that several operations share. The files import each other in one direction only.
//!
//! All operations are lock-free: an exchange fails only because another process has made progress.

pub(crate) mod batch;
pub(crate) mod close;
#[cfg(not(loom))]
pub(crate) mod commit;
pub(crate) mod dead_letters;
#[cfg(not(loom))]
pub(crate) mod expect;
mod help;
#[cfg(not(loom))]
pub(crate) mod huge;
#[cfg(not(loom))]
pub(crate) mod idle;
pub(crate) mod membership;
mod owned_block;
pub(crate) mod receive;
pub(crate) mod recover;
mod scan;
mod seal;
pub(crate) mod send;
pub(crate) mod settle;
pub(crate) mod stalled;
pub(crate) mod stats;
pub(crate) mod token_room;
mod wake;
pub(crate) mod walk;

pub(crate) use owned_block::OwnedBlock;
