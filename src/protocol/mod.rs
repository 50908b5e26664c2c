//! The protocol: what the words of a queue mean, and how they may change.
//!
//! A queue is a set of 64-bit words in memory that processes share: one for each slot of the ring, one for each
//! block, one for each attached process, and a few for the queue as a whole. Each word is a state machine. A file of
//! this folder describes one kind of word: a table of its states, and invariants with labels such as `RING-2`.
//!
//! | file                            | contents                                                             |
//! |---------------------------------|----------------------------------------------------------------------|
//! | [`ring`]                        | slots: which message has which position                              |
//! | [`blocks`], [`block_header`]    | blocks: which process may use the memory of which message            |
//! | [`huge_memory`]                 | blocks for messages of more than 64 KiB, whose memory comes and goes |
//! | [`parts`]                       | classes of blocks and peer entries, which get memory when first used |
//! | [`batch`]                       | the marks of the messages that share a block                         |
//! | [`peers`]                       | the table of attached processes                                      |
//! | [`lifecycle`]                   | open, closing, ended; what these and related words mean              |
//! | [`returned`]                    | whether a returned message may be waiting                            |
//! | [`parking`]                     | the event counts that processes sleep on                             |
//! | [`steps`]                       | the operations: sequences of transitions                             |
//! | [`shared_state`]                | where the words are: a mapping, or the heap of a test                |
//! | [`ids`], [`bits`], [`corrupt`]  | indices, fields of packed words, reports of overwritten words        |
//! | `verify`                        | the explorer and the loom models; only in tests                      |
//!
//! In this folder nothing maps memory and nothing is `unsafe`. The same code runs between processes and under a model
//! checker. By convention, `SlotWord` is the word in shared memory, `SlotState` its value, and `SlotKind` the name of
//! its state; likewise for blocks and peers.
//!
//! PROTOCOL-1. Every change of state is one atomic exchange, or one plain store by the only process that may write the
//!     word then. There is no lock, and no state between two words for whose end another process has to wait.
//! PROTOCOL-2. A process that needs a transition which another process has begun and not finished does that transition
//!     itself (*helping*), by a compare-exchange that can succeed only once.
//! PROTOCOL-3. Hints (the head, the tail, allocation cursors) only save time. Their values may be old, and are never
//!     ahead of the state that they describe. No decision rests on them.
//!
//! # Transitions
//!
//! All files use these names. S is a sender, R a receiver, L a lap, b a block, and g its generation; the
//! closer is the process that closes the queue.
//!
//! | transition    | by               | word  | change                           | effect                           |
//! |---------------|------------------|-------|----------------------------------|----------------------------------|
//! | `Allocate`    | sender           | block | Free g -> Owned S g              | the sender may write the payload |
//! | `Offer`       | sender           | block | Owned S g -> Offered S g         | the payload is complete          |
//! | `Publish`     | sender           | slot  | Empty or Vacated L -> Full L,b   | the message is accepted          |
//! | `AdvanceTail` | sender           | tail  | to the next position             | hint for senders                 |
//! | `Take`        | receiver         | slot  | Full L,b -> Vacated L+1,b,R      | the message is taken             |
//! | `AdvanceHead` | receiver         | head  | to the next position             | hint for receivers               |
//! | `Hold`        | receiver, helper | block | Offered S g -> Held R g          | the block names the receiver     |
//! | `Clear`       | receiver         | slot  | Vacated L,b,R -> Empty L         | the slot names no block          |
//! | `Release`     | receiver         | block | Held R g -> Free g+1             | the message is acknowledged      |
//! | `Return`      | receiver         | block | Held R g -> Returned or Dead g+1 | one more failed delivery         |
//! | `Retake`      | receiver         | block | Returned g -> Held R g           | the message is delivered again   |
//! | `Withdraw`    | sender           | block | Owned or Offered S g -> Free g+1 | the message is not sent          |
//! | `Seal`        | closer, helper   | slot  | Empty or Vacated L -> Closed L   | the queue is closed              |
//! | `Read`        | receiver         | block | Dead g -> Read R g               | a dead letter is open            |
//! | `Read`, end   | receiver         | block | Read R g -> Free or Dead g+1     | it is discarded, or kept         |
//! | `Evict`       | any              | block | Dead g -> Free g+1               | a dead letter is dropped         |
//! | `Discard`     | any              | block | Returned g -> Free g+1           | the message is discarded         |
//!
//! - `Publish` happens only below the capacity.
//! - `Publish` and `Seal` apply to the first free slot. If it is Vacated, `Hold` comes first, unless the block that it names
//!   is the sender's own by now.
//! - `Hold` by a helper applies only if the block still has the message that was taken from the slot.
//! - `Clear` is done only for a block that does not lie beside the slot, for speed. It fails if the slot is in use again.
//! - `Return` makes the message Dead after its last delivery.
//! - `Evict` takes the oldest dead letter when there are too many, or when a sender needs its block.
//! - `Discard` happens after a cancel.
//!
//! A block may hold several messages, a *batch* ([`batch`]). Then `Release`, `Return` and the end of `Read` come when
//! the last of its messages is settled, and the marks of the messages say which of them it is.
//!
//! Crash: a process may stop or die between any two transitions, and blocks no other process. After `Allocate` or
//! `Offer` the block is out of use. After `Publish` the message is in the queue. After `Take` the slot names the
//! receiver, and a process that overwrites the slot first records the receiver in the block (`Hold`), if that is
//! missing. What a dead process has begun is finished or undone by the others ([`steps::recover`]), which adds the
//! transitions `Reclaim` and `Vacate`.

pub(crate) mod batch;
mod bits;
pub(crate) mod block_header;
pub(crate) mod blocks;
mod corrupt;
#[cfg(not(loom))]
pub(crate) mod huge_memory;
pub(crate) mod ids;
pub(crate) mod lifecycle;
pub(crate) mod parking;
#[cfg(not(loom))]
pub(crate) mod parts;
pub(crate) mod peers;
pub(crate) mod returned;
pub(crate) mod ring;
mod shared_state;
pub(crate) mod steps;
#[cfg(test)]
pub(crate) mod verify;

pub(crate) use corrupt::Corrupt;
pub(crate) use shared_state::{Limits, SharedState, Words};
