//! What futures and the reactor do with the words of a queue, as `queue::futures::source` and `queue::reactor::seat` do it.
//! Their lane is in the state of the search: loom runs the real one.

use super::super::call::Outcome;
use super::super::execution::Execution;
use super::super::lane::{Found, LaneAccess, LaneSeen};
use super::super::memory::{Access, Word};
use super::RealProcess;
use crate::protocol::SharedState;
use crate::protocol::parking::WaitKey;
use crate::protocol::steps::walk;

impl RealProcess<'_> {
    fn lane(&self, access: LaneAccess) -> u64 {
        self.observer.access(Word::Lane, Access::Lane(access))
    }

    pub(super) fn admit(&self) -> Outcome {
        let is_again = self.observer.execution.borrow().local.has_place;
        self.lane(LaneAccess::Admit { is_again });
        Outcome::Done
    }

    pub(super) fn pend(&self) -> Outcome {
        Execution::slept(self.lane(LaneAccess::Stop))
    }

    pub(super) fn dismiss(&self, is_used: bool) -> Outcome {
        if self.lane(LaneAccess::Leave) == 0 {
            return Outcome::Done;
        }
        let found = self.look();
        let called = self.lane(LaneAccess::Call(found));
        if called == 0 && found != Found::Nothing && !is_used {
            self.pass_on_wake();
        }
        Outcome::Done
    }

    pub(super) fn attend(&self, is_due: bool) -> Outcome {
        let LaneSeen { has_line, key } = LaneSeen::from_bits(self.lane(LaneAccess::Begin));
        let word = self.queue.items();
        let is_unchanged = key.is_some_and(|key| word.has(WaitKey::forge(key)));
        if !has_line && !is_unchanged {
            if key.is_some() && self.look() != Found::Nothing {
                self.pass_on_wake();
            }
            return self.end_attend(None, Found::Nothing);
        }
        if is_unchanged && !(has_line && is_due) {
            return self.end_attend(key, Found::Nothing);
        }
        let key = word.prepare_wait();
        let found = self.look();
        self.end_attend(Some(key.get().into()), found)
    }

    fn end_attend(&self, key: Option<u64>, found: Found) -> Outcome {
        match self.lane(LaneAccess::End(key, found)) {
            0 => Outcome::Done,
            _ => Outcome::Called,
        }
    }

    pub(super) fn rest(&self) -> Outcome {
        Execution::slept(self.lane(LaneAccess::Sleep))
    }

    fn look(&self) -> Found {
        let queue = self.queue;
        if !queue.lifecycle().load().is_open() || walk::check_tail(queue).is_err() {
            return Found::All;
        }
        let (filled, taken) = walk::filled_and_taken(queue);
        if filled > taken || queue.returned().load().is_dirty() {
            return Found::One;
        }
        Found::Nothing
    }

    fn pass_on_wake(&self) {
        let queue = self.queue;
        queue.items().pass_on_wake(|word| queue.wake(word, 1));
    }
}
