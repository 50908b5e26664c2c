//! What the supervisor lets other threads know: a copy of its figures, renewed at the end of each turn.

use super::slot::{SlotState, Stage, WorkerProcess, WorkerSlot};
use super::supervisor::Supervisor;
use crate::pool::parent::staff::{Condition, StaffMember};

impl Supervisor {
    pub(super) fn publish_staff(&mut self) {
        let mut members = core::mem::take(&mut self.published);
        members.clear();
        members.extend(self.slots.iter().filter_map(member));
        let (counts, retrying) = (self.worker_stats, self.held.retry_count());
        let staff = &self.launcher.shared.staff;
        staff.publish(&mut members, counts, retrying);
        self.published = members;
    }
}

fn member(slot: &WorkerSlot) -> Option<StaffMember> {
    let (pid, condition) = match &slot.state {
        SlotState::Empty => return None,
        SlotState::Occupied(worker) => (Some(worker.pid()), condition(worker)),
        SlotState::BackingOff { .. } => (None, Condition::BackingOff),
    };
    Some(StaffMember {
        number: slot.number,
        pid,
        condition,
    })
}

fn condition(worker: &WorkerProcess) -> Condition {
    if worker.accepts_tasks() {
        Condition::Ready
    } else if worker.is_being_ended || worker.process.only_wrapper_runs() {
        Condition::Ending
    } else if worker.stage < Stage::Ready {
        Condition::Starting
    } else {
        Condition::Leaving
    }
}
