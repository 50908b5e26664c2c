//! Groups of submissions: how many tasks of each are in flight, and the outcomes that wait for it.
//!
//! | a task of a group                  | `in_flight` | `not_for_drain` | its outcome goes to              |
//! |------------------------------------|-------------|-----------------|----------------------------------|
//! | in flight, and its handle exists   | counts      | counts          | the handle                       |
//! | in flight, its handle was dropped  | counts      |                 | `outcomes`                       |
//! | in flight, and detached            | counts      | counts          | no one                           |
//! | has its outcome                    |             |                 | was there already                |
//!
//! GROUP-1. The number of a group is never used again. So a handle that outlives its group finds none, and the outcome is
//!     discarded when the handle is dropped.

use super::in_flight::{GroupId, Home, Owner};
use crate::pool::wire::result_message::EncodedOutcome;
use crate::pool::wire::task_message::TaskKey;
use core::num::NonZeroU64;
use std::collections::{HashMap, VecDeque};

/// All groups of a pool.
#[derive(Default)]
pub(super) struct Groups {
    /// How many groups were opened.
    opened: u64,
    open: HashMap<GroupId, Group>,
    /// How many outcomes wait, in all groups.
    stored: usize,
}

#[derive(Default)]
struct Group {
    in_flight: usize,
    /// How many of the tasks in flight do not belong to the group's `drain`.
    not_for_drain: usize,
    /// Outcomes that wait for the group's `drain`.
    outcomes: VecDeque<(TaskKey, EncodedOutcome)>,
}

/// The next outcome for `drain`, of the pool or of a group.
pub(crate) enum NextUnclaimed {
    Outcome(TaskKey, EncodedOutcome),
    /// A task is in flight whose outcome will be unclaimed.
    Pending,
    /// No such task is in flight.
    None,
}

impl Groups {
    pub(super) fn open(&mut self) -> GroupId {
        self.opened += 1;
        let id = GroupId(NonZeroU64::new(self.opened).unwrap_or(NonZeroU64::MIN));
        self.open.insert(id, Group::default());
        id
    }

    /// Returns whether a task of this home has a `drain` to go to (GROUP-1).
    pub(super) fn exists(&self, home: Home) -> bool {
        match home {
            Home::Pool => true,
            Home::Group(id) => self.open.contains_key(&id),
        }
    }

    /// Closes a group. Returns the outcomes that were not taken.
    pub(super) fn close(&mut self, id: GroupId) -> VecDeque<(TaskKey, EncodedOutcome)> {
        let left = self.open.remove(&id).unwrap_or_default().outcomes;
        self.stored -= left.len();
        left
    }

    /// Counts a task with this owner.
    pub(super) fn enter(&mut self, id: GroupId, owner: Owner) {
        if let Some(group) = self.open.get_mut(&id) {
            group.in_flight += 1;
            group.not_for_drain += usize::from(!owner.is_drain());
        }
    }

    /// Undoes [`enter`](Self::enter).
    pub(super) fn leave(&mut self, id: GroupId, owner: Owner) {
        if let Some(group) = self.open.get_mut(&id) {
            group.in_flight -= 1;
            group.not_for_drain -= usize::from(!owner.is_drain());
        }
    }

    /// Adds an outcome. Returns it if there is no such group any more.
    pub(super) fn push(
        &mut self,
        id: GroupId,
        key: TaskKey,
        outcome: EncodedOutcome,
    ) -> Option<EncodedOutcome> {
        let Some(group) = self.open.get_mut(&id) else {
            return Some(outcome);
        };
        group.outcomes.push_back((key, outcome));
        self.stored += 1;
        None
    }

    /// Takes the next outcome of a group.
    pub(super) fn take(&mut self, id: GroupId) -> NextUnclaimed {
        let Some(group) = self.open.get_mut(&id) else {
            return NextUnclaimed::None;
        };
        match group.outcomes.pop_front() {
            Some((key, outcome)) => {
                self.stored -= 1;
                NextUnclaimed::Outcome(key, outcome)
            }
            None if group.in_flight == group.not_for_drain => NextUnclaimed::None,
            None => NextUnclaimed::Pending,
        }
    }

    /// Returns how many tasks of a group are in flight.
    pub(super) fn in_flight(&self, id: GroupId) -> usize {
        self.open.get(&id).map_or(0, |group| group.in_flight)
    }

    /// Returns how many outcomes wait, in all groups.
    pub(super) fn stored_count(&self) -> usize {
        self.stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::outcome::{Outcome, TaskId};

    fn outcome(id: u64) -> EncodedOutcome {
        Outcome::unknown(TaskId(id), "a test")
    }

    #[test]
    fn a_group_ends_when_all_that_it_drains_is_taken() {
        let mut groups = Groups::default();
        let group = groups.open();
        let (handle, dropped) = (
            Owner::Handle(Home::Group(group)),
            Owner::Drain(Home::Group(group)),
        );
        groups.enter(group, handle);
        assert!(matches!(groups.take(group), NextUnclaimed::None));
        groups.leave(group, handle);
        groups.enter(group, dropped);
        assert!(matches!(groups.take(group), NextUnclaimed::Pending));
        groups.leave(group, dropped);
        assert!(groups.push(group, TaskKey::NONE, outcome(1)).is_none());
        assert_eq!(groups.stored_count(), 1);
        assert!(matches!(groups.take(group), NextUnclaimed::Outcome(..)));
        assert!(matches!(groups.take(group), NextUnclaimed::None));
        assert_eq!(groups.stored_count(), 0);
    }

    #[test]
    fn a_closed_group_takes_no_outcome_and_its_number_is_not_used_again() {
        let mut groups = Groups::default();
        let group = groups.open();
        assert!(groups.push(group, TaskKey::NONE, outcome(1)).is_none());
        assert_eq!(groups.close(group).len(), 1);
        assert_eq!(groups.stored_count(), 0);
        assert_ne!(groups.open(), group);
        assert!(!groups.exists(Home::Group(group)));
        assert!(groups.push(group, TaskKey::NONE, outcome(2)).is_some());
        groups.enter(group, Owner::Handle(Home::Group(group)));
        assert_eq!(groups.in_flight(group), 0);
    }
}
