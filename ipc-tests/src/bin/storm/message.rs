//! Messages that show their number and whether they are whole, and the ledger of who did what with them.
//!
//! All processes of a storm note in one ledger, in the order in which things happen: what one has noted before it did
//! something comes before whatever another notes because of that. So a message that is in two hands at once is seen.

use ipc_tests::ledger::{Entry, Ledger};
use std::sync::OnceLock;
use workring::{
    error::{DecodeError, EncodeError},
    queue::{Codec, Raw},
};

/// A process of the storm, numbered as they were born; 0 is the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Life(pub(crate) u32);

impl Life {
    pub(crate) const PARENT: Self = Self(0);
    const BITS: u32 = 20;
}

/// The number of a message: whose it is, and which of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(pub(crate) u64);

impl Id {
    const NUMBER_BITS: u32 = 24;
    const BITS: u32 = Life::BITS + Self::NUMBER_BITS;
    /// Stands where no message is meant.
    pub(crate) const NONE: Self = Self(0);

    /// Panics if a storm is longer than its numbers.
    pub(crate) fn new(sender: Life, number: u32) -> Self {
        assert!(sender.0 >> Life::BITS == 0 && number >> Self::NUMBER_BITS == 0);
        Self(u64::from(sender.0) << Self::NUMBER_BITS | u64::from(number))
    }

    pub(crate) fn sender(self) -> Life {
        Life(u32::try_from(self.0 >> Self::NUMBER_BITS).expect("20 bits"))
    }

    /// A number that looks random and is always the same.
    fn hash(self, salt: u64) -> u64 {
        let mixed = (self.0 ^ salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 8
    }

    /// Whoever leases this message returns it, always: it ends as a dead letter, unless somebody receives it.
    pub(crate) fn is_poison(self) -> bool {
        self.hash(1).is_multiple_of(300)
    }

    /// As many short messages as long ones, on a logarithmic scale.
    fn length(self, size: usize) -> usize {
        let doublings = size.max(Message::SHORTEST).ilog2() - Message::SHORTEST.ilog2();
        let scale = self.hash(2) % u64::from(doublings + 1);
        let longest = (Message::SHORTEST << (scale + 1)).min(size.max(Message::SHORTEST));
        let choices = (longest - Message::SHORTEST + 1) as u64;
        let more = usize::try_from(self.hash(3) % choices).expect("less than the size");
        Message::SHORTEST + more
    }
}

/// What is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Deed {
    /// A sender is about to send, and may be killed before it knows the outcome.
    Sending = b's',
    /// The send returned Ok.
    Accepted = b'S',
    /// The send failed.
    Refused = b'x',
    /// A lessee has it.
    Leased = b'l',
    /// Whoever has it is about to acknowledge it, and may be killed before it knows that it has.
    Settling = b'a',
    /// A receiver has it, and the queue acknowledges it next: both of the former.
    Receiving = b'r',
    /// It is acknowledged.
    Settled = b'A',
    /// A lessee is about to return it.
    Returning = b'n',
    /// The parent has received it, after everybody else had gone.
    Drained = b'd',
    /// The parent has read it as a dead letter.
    Letter = b'z',
    /// The parent is about to kill this sender.
    KillingSender = b'k',
    /// The parent is about to kill this receiver or lessee.
    KillingConsumer = b'K',
    /// The parent has closed the queue.
    Closed = b'c',
}

impl Deed {
    const ALL: [Self; 13] = [
        Self::Sending,
        Self::Accepted,
        Self::Refused,
        Self::Leased,
        Self::Settling,
        Self::Receiving,
        Self::Settled,
        Self::Returning,
        Self::Drained,
        Self::Letter,
        Self::KillingSender,
        Self::KillingConsumer,
        Self::Closed,
    ];
}

/// One line of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) deed: Deed,
    pub(crate) life: Life,
    pub(crate) id: Id,
}

impl Note {
    /// Panics if the ledger holds anything else than notes.
    pub(crate) fn of(entry: Entry) -> Self {
        let deed = Deed::ALL
            .into_iter()
            .find(|&deed| deed as u8 == entry.kind)
            .expect("a deed");
        Self {
            deed,
            life: Life(u32::try_from(entry.number >> Id::BITS).expect("20 bits")),
            id: Id(entry.number & ((1 << Id::BITS) - 1)),
        }
    }
}

/// Notes what this process does.
#[derive(Debug)]
pub(crate) struct Hand {
    ledger: Ledger,
    life: Life,
    /// What it means when this process decodes a message.
    decoding: Deed,
}

static HAND: OnceLock<Hand> = OnceLock::new();

impl Hand {
    pub(crate) fn new(ledger: Ledger, life: Life, decoding: Deed) -> Self {
        Self {
            ledger,
            life,
            decoding,
        }
    }

    pub(crate) fn note(&self, deed: Deed, id: Id) {
        self.note_of(deed, self.life, id);
    }

    /// Notes what concerns another process.
    pub(crate) fn note_of(&self, deed: Deed, life: Life, id: Id) {
        let number = u64::from(life.0) << Id::BITS | id.0;
        self.ledger.note(deed as u8, number);
    }

    /// From here on this process notes each message that it decodes. To be called once.
    pub(crate) fn for_decoding(self) -> &'static Self {
        assert!(HAND.get().is_none(), "one hand for each process");
        HAND.get_or_init(|| self)
    }
}

/// A number, and bytes that follow from it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: Id,
    pub(crate) length: usize,
}

impl Message {
    /// Its number, and what checks it.
    const SHORTEST: usize = 16;

    pub(crate) fn new(id: Id, size: usize) -> Self {
        Self {
            id,
            length: id.length(size),
        }
    }

    /// Into exactly as many bytes as it is long.
    pub(crate) fn write(&self, bytes: &mut [u8]) {
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for (word, value) in words.iter_mut().zip(self.words()) {
            *word = value.to_le_bytes();
        }
        rest.fill(0xA5);
    }

    /// `None` if a single bit is not as it was written.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let message = Self {
            id: Id(u64::from_le_bytes(*words.first()?)),
            length: bytes.len(),
        };
        let mut both = words.iter().zip(message.words());
        let whole = both.all(|(word, value)| *word == value.to_le_bytes());
        (whole && rest.iter().all(|&byte| byte == 0xA5)).then_some(message)
    }

    /// The number, the length and the number in another guise, and something different in each place of each message.
    fn words(&self) -> impl Iterator<Item = u64> + use<> {
        let id = self.id.0;
        let check = self.id.hash(4).wrapping_add(self.length as u64);
        let filling = (2_u64..).map(move |place| id.wrapping_mul(place) ^ (place << 40));
        [id, check].into_iter().chain(filling)
    }
}

/// As bytes, and with a note when they are read: so a process that is killed while it receives has named the message.
impl Codec<Message> for Raw {
    const NAME: &'static str = "storm";

    fn encode(message: &Message, into: &mut [u8]) -> Result<usize, EncodeError> {
        let bytes = into.get_mut(..message.length).ok_or(EncodeError::NoRoom)?;
        message.write(bytes);
        Ok(message.length)
    }

    fn encoded_len(message: &Message) -> Result<usize, EncodeError> {
        Ok(message.length)
    }

    fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        let message = Message::read(bytes).ok_or_else(|| DecodeError::new("a torn message"))?;
        if let Some(hand) = HAND.get() {
            hand.note(hand.decoding, message.id);
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written_or_not_at_all() {
        for number in 0..200 {
            let message = Message::new(Id::new(Life(3), number), 500);
            assert!((16..=500).contains(&message.length));
            let mut bytes = vec![0; message.length];
            message.write(&mut bytes);
            assert_eq!(Message::read(&bytes), Some(message));
            let at = number as usize % bytes.len();
            *bytes.get_mut(at).expect("inside") ^= 4;
            assert_eq!(Message::read(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn lengths_are_of_every_order_of_magnitude() {
        let size = 300_000;
        let lengths: Vec<usize> = (0..1000)
            .map(|number| Message::new(Id::new(Life(1), number), size).length)
            .collect();
        for limit in [32, 1000, 65_536] {
            let longer = lengths.iter().filter(|&&length| length > limit).count();
            assert!((50..950).contains(&longer), "{longer} above {limit}");
        }
        assert!(lengths.iter().all(|&length| length <= size));
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        for deed in Deed::ALL {
            let (life, id) = (Life(0xF_FFFE), Id::new(Life(0xF_FFFF), 0xFF_FFFF));
            let entry = Entry {
                kind: deed as u8,
                number: u64::from(life.0) << Id::BITS | id.0,
            };
            assert_eq!(Note::of(entry), Note { deed, life, id });
            assert_eq!(id.sender(), Life(0xF_FFFF));
        }
    }
}
