//! What the processes of a storm record in their common ledger.
//!
//! Entries are in the order in which things happen: a process records an intention before it acts, so the entry comes
//! before everything that others record as a consequence. A message that two processes hold at once is thereby seen.

use crate::ids::{MessageId, ProcessNumber};
use ipc_tests::ledger::{Entry, Ledger};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Event {
    /// A sender is about to send, and may be killed before it knows the outcome.
    Sending = b's',
    /// The send returned `Ok`.
    Accepted = b'S',
    /// The send failed.
    Rejected = b'x',
    /// A lessee holds the message.
    Leased = b'l',
    /// Its holder is about to acknowledge it, and may be killed before it knows the outcome.
    Acknowledging = b'a',
    /// A receiver has decoded it, and the queue acknowledges it next: `Leased` and `Acknowledging` at once.
    Receiving = b'r',
    /// It is acknowledged.
    Acknowledged = b'A',
    /// A lessee is about to return it, before its last permitted delivery.
    Returning = b'n',
    /// A lessee is about to return it from its last permitted delivery, which makes it a dead letter.
    ReturningLastDelivery = b'N',
    /// The parent has received it, after all others had gone.
    Drained = b'd',
    /// The parent has read it as a dead letter.
    DeadLetterRead = b'z',
    /// The parent is about to kill this sender.
    KillingSender = b'k',
    /// The parent is about to kill this receiver or lessee.
    KillingConsumer = b'K',
    /// The parent has closed the queue.
    Closed = b'c',
}

impl Event {
    const ALL: [Self; 14] = [
        Self::Sending,
        Self::Accepted,
        Self::Rejected,
        Self::Leased,
        Self::Acknowledging,
        Self::Receiving,
        Self::Acknowledged,
        Self::Returning,
        Self::ReturningLastDelivery,
        Self::Drained,
        Self::DeadLetterRead,
        Self::KillingSender,
        Self::KillingConsumer,
        Self::Closed,
    ];
}

/// One entry of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) event: Event,
    pub(crate) process: ProcessNumber,
    pub(crate) message: MessageId,
}

impl Record {
    /// Panics if the entry was not made by a [`Recorder`].
    pub(crate) fn decode(entry: Entry) -> Self {
        let event = Event::ALL
            .into_iter()
            .find(|&event| event as u8 == entry.kind);
        Self {
            event: event.expect("an event of a storm"),
            process: ProcessNumber(
                u32::try_from(entry.number >> MessageId::BITS).expect("20 bits"),
            ),
            message: MessageId(entry.number & ((1 << MessageId::BITS) - 1)),
        }
    }

    fn encode(self) -> Entry {
        Entry {
            kind: self.event as u8,
            number: u64::from(self.process.0) << MessageId::BITS | self.message.0,
        }
    }
}

/// Records what one process does.
#[derive(Debug)]
pub(crate) struct Recorder {
    ledger: Ledger,
    process: ProcessNumber,
}

impl Recorder {
    pub(crate) fn new(ledger: Ledger, process: ProcessNumber) -> Self {
        Self { ledger, process }
    }

    pub(crate) fn record(&self, event: Event, message: MessageId) {
        self.append(Record {
            event,
            process: self.process,
            message,
        });
    }

    /// Records an event that concerns another process.
    pub(crate) fn record_of(&self, event: Event, process: ProcessNumber) {
        self.append(Record {
            event,
            process,
            message: MessageId::NONE,
        });
    }

    fn append(&self, record: Record) {
        let Entry { kind, number } = record.encode();
        self.ledger.note(kind, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_decoded_as_it_was_encoded() {
        for event in Event::ALL {
            let record = Record {
                event,
                process: ProcessNumber(0xF_FFFE),
                message: MessageId::new(ProcessNumber(0xF_FFFF), 0xFF_FFFF),
            };
            assert_eq!(Record::decode(record.encode()), record);
            assert_eq!(record.message.sender(), ProcessNumber(0xF_FFFF));
        }
    }
}
