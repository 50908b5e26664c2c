//! The batches that one receiver has taken and not handed out in full.
//!
//! A batch is taken as a whole. The receiver keeps it, and all threads that share the receiver hand out messages from
//! it before they look into the queue again. Each message that is handed out keeps the batch alive until it is settled.
//! When the last one is settled and no message is left to be handed out, the block is returned, and the marks of the
//! messages decide whether it is freed, delivered again or becomes dead letters.
//!
//! | a batch that has messages to hand out is in    | who hands them out                | file    |
//! |------------------------------------------------|-----------------------------------|---------|
//! | the list of a [`Batches`]                      | any thread, one by one            | `store` |
//! | a [`Claim`], counted in `Batches`              | one thread, many at once          | `claim` |
//! | a `FreshBatch`, or on its way into the list    | the thread that has just taken it | `fresh` |
//!
//! HAND-1. The third place is not known to other threads. As long as a batch is there, its header in shared memory does
//!         not say *opened*; in the other two it does.
//! HAND-2. A receiver reports `Closed` only when no batch is in any of the three places, and keeps none afterwards:
//!         a batch that arrives later was taken after the end, and what is left of it is returned to the queue.

mod claim;
mod fresh;
mod held;
mod store;

pub(super) use claim::Claim;
pub(super) use held::{BatchedMessage, HeldBatch, Place};
pub(super) use store::{Batches, RegisteredWaiter};
