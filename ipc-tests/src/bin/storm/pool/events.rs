//! What the processes of a storm over pools record in their common ledger.

use ipc_tests::ledger::{Entry, Ledger};
use std::path::Path;

/// The name of the ledger of a parent and its workers.
pub(super) const LEDGER: &str = "ledger";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The parent has submitted a task.
    Accepted = 1,
    /// A worker has begun a task.
    Begun,
    /// A worker has finished a task.
    Done,
    /// The parent has received an outcome: an output.
    Completed,
    /// ... a crash in the last permitted attempt.
    Crashed,
    /// ... a crash while the pool was being cancelled, after which no retry is due.
    CrashedInShutdown,
    /// ... a cancellation.
    Cancelled,
    /// This worker is about to be killed.
    KillingWorker,
}

impl Event {
    const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Begun,
        Self::Done,
        Self::Completed,
        Self::Crashed,
        Self::CrashedInShutdown,
        Self::Cancelled,
        Self::KillingWorker,
    ];
}

/// One entry of the ledger. Numbers that do not apply are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) event: Event,
    pub(super) task: u64,
    pub(super) attempt: u32,
    /// The process id of the worker.
    pub(super) pid: u32,
}

impl Record {
    const TASK_BITS: u32 = 32;
    const ATTEMPT_BITS: u32 = 8;

    fn encode(self) -> Entry {
        assert!(self.task >> Self::TASK_BITS == 0 && self.attempt >> Self::ATTEMPT_BITS == 0);
        let pid = u64::from(self.pid) << Self::ATTEMPT_BITS | u64::from(self.attempt);
        Entry {
            kind: self.event as u8,
            number: pid << Self::TASK_BITS | self.task,
        }
    }

    /// Panics if the entry is not one of these events.
    pub(super) fn decode(entry: Entry) -> Self {
        let event = Event::ALL
            .into_iter()
            .find(|&event| event as u8 == entry.kind);
        let rest = entry.number >> Self::TASK_BITS;
        let low = |number: u64, bits: u32| number & ((1 << bits) - 1);
        Self {
            event: event.expect("an event of a storm over pools"),
            task: low(entry.number, Self::TASK_BITS),
            attempt: u32::try_from(low(rest, Self::ATTEMPT_BITS)).expect("8 bits"),
            pid: u32::try_from(rest >> Self::ATTEMPT_BITS).expect("24 bits"),
        }
    }

    pub(super) fn append_to(self, ledger: &Ledger) {
        let Entry { kind, number } = self.encode();
        ledger.note(kind, number);
    }
}

/// Opens the ledger in this directory.
pub(super) fn open_ledger(scratch: &Path) -> Ledger {
    Ledger::create(scratch, LEDGER).expect("the ledger")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_decoded_as_it_was_encoded() {
        for event in Event::ALL {
            let record = Record {
                event,
                task: 123_456,
                attempt: 200,
                pid: 4_194_303,
            };
            assert_eq!(Record::decode(record.encode()), record);
        }
    }
}
