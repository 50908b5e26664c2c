//! What both ends of a queue have in common.

use super::attachment::{Attachment, Entered, Forked};
use super::liveness::LivenessPacer;
use super::prefetch::Prefetch;
use super::prepared::Prepared;
use super::stats::{self, Stats};
use super::wait::{Interrupter, Waiter};
use crate::protocol::SharedState;
use crate::protocol::peers::Role;
use crate::protocol::steps::{close, send, walk};
use crate::segment::View;
use crate::sync::{AtomicU32, Ordering};
use std::sync::Arc;

/// A handle looks how far apart the two sides are at one in this many reads of its clock, which is one in about 1,000
/// operations of a busy handle. To read the hint of the other side takes its cache line away, which delays both sides.
const LOOK_EVERY: u32 = 16;
/// The first of these reads at which it looks: at earlier ones there is nothing to see yet.
const FIRST_LOOK: u32 = 7;

/// One handle of one role: keeps the attachment alive and the role taken.
#[derive(Debug)]
pub(super) struct Handle {
    pacer: LivenessPacer,
    /// How often the pacer has read the clock. Threads that share the handle may lose some.
    clock_reads: AtomicU32,
    /// What a sender prefetches.
    pub(super) prefetch: Prefetch,
    /// The block that a sender has allocated for its next message.
    pub(super) prepared: Prepared,
    pub(super) attachment: Arc<Attachment>,
    pub(super) waiter: Waiter,
    role: Role,
}

impl Handle {
    /// Creates the handle that a new attachment has counted already.
    pub(super) fn counted(attachment: Arc<Attachment>, role: Role) -> Self {
        Self {
            pacer: LivenessPacer::new(),
            clock_reads: AtomicU32::new(0),
            prefetch: Prefetch::new(),
            prepared: Prepared::new(),
            attachment,
            waiter: Waiter::new(),
            role,
        }
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn interrupter(&self) -> Interrupter {
        self.waiter.interrupter(&self.attachment, self.role)
    }

    /// Checks that this process is attached, and gives access to the segment: see [`Attachment::enter`].
    #[inline(always)]
    pub(super) fn enter(&self) -> Result<Entered<'_>, Forked> {
        self.attachment.enter()
    }

    /// Enters for an operation, counts it, and checks on the peers and the other side if it is time to. This process must
    /// have nothing in hand: see [`LivenessPacer::count`].
    #[inline(always)]
    pub(super) fn begin(&self) -> Result<Entered<'_>, Forked> {
        let queue = self.enter()?;
        if self.pacer.count(queue.segment()) {
            self.look(queue.view());
        }
        Ok(queue)
    }

    /// Counts a read of the clock, and looks how far apart the two sides of the queue are if it is time to.
    #[cold]
    #[inline(never)]
    fn look(&self, words: View<'_>) {
        let reads = self.clock_reads.load(Ordering::Relaxed);
        self.clock_reads
            .store(reads.wrapping_add(1), Ordering::Relaxed);
        if reads % LOOK_EVERY != FIRST_LOOK {
            return;
        }
        match self.role {
            Role::Sender => self.prefetch.look(words),
            Role::Receiver => words.look_how_many_wait(),
        }
    }

    /// Counts an operation that has a result in a forked child, too.
    pub(super) fn count_operation(&self) {
        let _ = self.begin();
    }

    pub(super) fn close(&self) -> bool {
        let Ok(queue) = self.enter() else {
            return false;
        };
        // In a corrupt ring the end is not found, but the bit is set, and every operation reports the corruption.
        close::close(queue.segment()).unwrap_or(false)
    }

    pub(super) fn cancel(&self) -> u64 {
        let Ok(queue) = self.enter() else {
            return 0;
        };
        // As in `close`.
        let discarded = close::cancel(queue.segment(), queue.peer()).unwrap_or(0);
        queue.segment().trim_all(queue.peer());
        discarded
    }

    /// Returns whether the queue is closed. In a forked child it is.
    pub(super) fn is_closed(&self) -> bool {
        self.enter().map_or(true, |queue| {
            queue.segment().lifecycle().load().is_closing()
        })
    }

    pub(super) fn stats(&self) -> Stats {
        self.enter()
            .map_or_else(|_| Stats::default(), |queue| stats::count(queue.segment()))
    }

    /// Emits no events of deaths in this process from now on (SWEEP-4).
    pub(super) fn silence_deaths(&self) {
        if let Ok(queue) = self.enter() {
            queue.segment().silence_deaths();
        }
    }

    pub(super) fn report_exit(&self, process_id: u32) {
        if let Ok(queue) = self.enter() {
            queue.segment().check_peers_of(process_id);
        }
    }

    pub(super) fn len(&self) -> usize {
        let Ok(queue) = self.enter() else {
            return 0;
        };
        let (filled, taken) = walk::filled_and_taken(queue.segment());
        usize::try_from(filled.0.saturating_sub(taken.0))
            .map_or(self.capacity(), |len| len.min(self.capacity()))
    }

    pub(super) fn is_full(&self) -> bool {
        self.enter()
            .is_ok_and(|queue| send::is_full(queue.segment()))
    }

    pub(super) fn capacity(&self) -> usize {
        self.attachment.settings().limits.capacity as usize
    }
}

impl Clone for Handle {
    /// Makes another handle of the same role, with no interrupt pending.
    fn clone(&self) -> Self {
        self.attachment.add_handle(self.role);
        Self::counted(Arc::clone(&self.attachment), self.role)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // First: the last sender gives up its role, after which the entry owns no block (ATTACH-2).
        self.prepared.withdraw(&self.attachment);
        self.attachment.drop_handle(self.role);
        #[cfg(feature = "async")]
        self.attachment.give_up_seats();
    }
}

/// An end of a queue that can be given to another process: a [`Sender`](crate::Sender) or a
/// [`Receiver`](crate::Receiver).
///
/// Implemented by those two only.
pub trait End: sealed::End {}

pub(super) mod sealed {
    use super::{Attachment, Handle, Role};

    pub trait End: Sized {
        #[doc(hidden)]
        const ROLE: EndRole;
        #[doc(hidden)]
        fn type_name() -> &'static str;
        #[doc(hidden)]
        fn codec_name() -> &'static str;
        #[doc(hidden)]
        fn handle(&self) -> AnyHandle<'_>;
        #[doc(hidden)]
        fn from_attachment(attachment: AnyAttachment) -> Self;
    }

    // `Role`, `Handle` and `Attachment`, which are private, in public types that other crates cannot use.
    #[derive(Clone, Copy, Debug)]
    pub struct EndRole(pub(in crate::queue) Role);
    #[derive(Debug)]
    pub struct AnyHandle<'a>(pub(in crate::queue) &'a Handle);
    #[derive(Debug)]
    pub struct AnyAttachment(pub(in crate::queue) Attachment);
}
