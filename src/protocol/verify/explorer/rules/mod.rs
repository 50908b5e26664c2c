//! The rules: what must hold after each change of a word, after each call, and when nothing moves any more.
//!
//! EXPLORE-1. Each change of a slot or a block is a transition of the table in [`crate::protocol`], done by
//!     the process that the table names. No process changes a block that another, living process owns.
//! EXPLORE-2. Messages are taken from the ring in the order in which they were accepted.
//! EXPLORE-3. A returned message that the `returned` word announced when a receive began is taken before all
//!     others, the oldest first.
//! EXPLORE-4. A message is delivered at most as often as the limit says, and its block word, or its mark, says
//!     how often.
//! EXPLORE-5. An accepted message ends in exactly one way: acknowledged, discarded by a cancel, or, as a dead letter,
//!     discarded or evicted. When all messages have ended, all blocks are free.
//! EXPLORE-6. The queue holds at most its capacity. No send that begins after the queue began to close is
//!     accepted; nothing is accepted after the Closed slot. There is one Closed slot, and no close returns
//!     before it is there.
//! EXPLORE-7. A call returns Empty or Full only if that was true at some moment of the call. An allocation fails only if
//! no block was Free during the whole call.
//! EXPLORE-8. A receiver gets Closed only when no message is left to hand out and, if the close waits for leases,
//!     no process holds one; each receive that begins after that gets Closed. Every queue that is closed and
//!     drained comes to that end.
//! EXPLORE-9. A hint is never ahead of the truth.
//! EXPLORE-10. A side ends when no process has its role, and not before.
//! EXPLORE-11. Of all closers, at most one gets the answer that it was the first.
//! EXPLORE-12. No function finds the shared memory corrupt.
//! EXPLORE-13. When nothing moves, the counts of the queue's own statistics (`steps::stats`) equal those of the
//!     ledger, even after deaths.
//! EXPLORE-14. When nothing moves and the dead are recovered, at most as many dead letters are kept as the
//!     limit says, and no message waits in a cancelled queue.
//! EXPLORE-15. When nothing moves, no process sleeps although what it waits for is there. A death may cost one liveness
//!     interval.
//! EXPLORE-16. A process that stops holds up no other: each process, by itself, ends its call, and a newcomer
//!     can recover the dead, send, receive each message that no process holds, and close.
//! EXPLORE-17. A process reads or writes the payload of a huge block only while it holds the block and the block has all
//!     of its memory.
//! EXPLORE-18. The mark and the memory of a huge block are changed by its owner only, in Owned. A marked block has all of
//!     its memory.
//! EXPLORE-19. The marked blocks never have more memory than the queue's limit. So what exceeds it is what processes are
//!     taking, or were taking when they died, and have not compared with the limit.
//! EXPLORE-20. An allocation fails for lack of memory only if no limit leaves enough for it even when all blocks are
//!     free.
//! EXPLORE-21. When nothing moves, and no process has died, free blocks have memory only with a mark, and together no
//!     more than idle blocks may keep.
//!     When all processes have ended, all huge blocks are free, and a newcomer gets memory for one of the largest class.
//!
//! The first twelve, and EXPLORE-17 to EXPLORE-20, are checked here after each step. EXPLORE-15 and EXPLORE-16 are checked in
//! [`super::checks`], with a process that runs alone.

mod at_rest;
mod blocks;
mod calls;
mod check;
mod marks;
mod membership;
mod memory;
mod messages;
mod slots;
mod words;

pub(super) use at_rest::{check_all_received, check_at_rest, check_final, check_stats};
pub(super) use calls::{call_began, call_ended};
pub(super) use check::{Violation, check};
pub(super) use memory::{check_memory_usable, payload_used};
pub(super) use words::word_changed;
