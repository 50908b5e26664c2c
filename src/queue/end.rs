//! What both ends of a queue have in common.

use super::attachment::Attachment;
use super::liveness::LivenessPacer;
use super::stats::{self, Stats};
use super::wait::{Interrupter, Waiter};
use crate::protocol::SharedState;
use crate::protocol::peers::Role;
use crate::protocol::steps::{close, send, walk};
use std::sync::Arc;

/// One handle of one role: keeps the attachment alive and the role taken.
#[derive(Debug)]
pub(super) struct Handle {
    pacer: LivenessPacer,
    pub(super) attachment: Arc<Attachment>,
    pub(super) waiter: Waiter,
    role: Role,
}

impl Handle {
    /// The handle that a new attachment has counted already.
    pub(super) fn counted(attachment: Arc<Attachment>, role: Role) -> Self {
        Self {
            pacer: LivenessPacer::new(),
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

    /// Whether this is a copy in a forked child: nothing of the queue may be touched then.
    pub(super) fn is_forked_child(&self) -> bool {
        self.attachment.is_forked_child()
    }

    /// Counts an operation that is about to begin, and checks on the peers if it is time to. Nothing may be in hand:
    /// see [`LivenessPacer::count`].
    #[inline(always)]
    pub(super) fn count_operation(&self) {
        self.pacer.count(self.attachment.segment());
    }

    /// As [`count_operation`](Self::count_operation), for operations that a forked child may call, too.
    pub(super) fn count_look(&self) {
        if !self.is_forked_child() {
            self.count_operation();
        }
    }

    pub(super) fn close(&self) -> bool {
        if self.is_forked_child() {
            return false;
        }
        // A corrupt ring has no end to find, but the bit is set, and every operation reports the corruption.
        close::close(self.attachment.segment()).unwrap_or(false)
    }

    pub(super) fn cancel(&self) -> u64 {
        if self.is_forked_child() {
            return 0;
        }
        // As above.
        let (segment, row) = (self.attachment.segment(), self.attachment.row());
        let discarded = close::cancel(segment, row).unwrap_or(0);
        segment.trim_all(row);
        discarded
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_forked_child() || self.attachment.segment().lifecycle().load().is_closing()
    }

    pub(super) fn stats(&self) -> Stats {
        if self.is_forked_child() {
            return Stats::default();
        }
        stats::count(self.attachment.segment())
    }

    pub(super) fn report_exit(&self, process_id: u32) {
        if !self.is_forked_child() {
            self.attachment.segment().check_process(process_id);
        }
    }

    pub(super) fn len(&self) -> usize {
        if self.is_forked_child() {
            return 0;
        }
        let (filled, taken) = walk::filled_and_taken(self.attachment.segment());
        usize::try_from(filled.0.saturating_sub(taken.0))
            .map_or(self.capacity(), |len| len.min(self.capacity()))
    }

    pub(super) fn is_full(&self) -> bool {
        !self.is_forked_child() && send::is_full(self.attachment.segment())
    }

    pub(super) fn capacity(&self) -> usize {
        self.attachment.segment().limits().capacity as usize
    }
}

impl Clone for Handle {
    /// Another handle, with no interrupt pending.
    fn clone(&self) -> Self {
        self.attachment.add_handle(self.role);
        Self::counted(Arc::clone(&self.attachment), self.role)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.attachment.drop_handle(self.role);
    }
}

/// An end of a queue that can be handed to a child process: a [`Sender`](crate::Sender) or a
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

    /// [`Role`], [`Handle`] and [`Attachment`], which are private, behind a public name that nobody can use.
    #[derive(Clone, Copy, Debug)]
    pub struct EndRole(pub(in crate::queue) Role);
    #[derive(Debug)]
    pub struct AnyHandle<'a>(pub(in crate::queue) &'a Handle);
    #[derive(Debug)]
    pub struct AnyAttachment(pub(in crate::queue) Attachment);
}
