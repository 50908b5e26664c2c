//! Numbers of the storm's processes and of their messages.

/// A process of the storm: 0 is the parent, and each child gets the next number when it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProcessNumber(pub(crate) u32);

impl ProcessNumber {
    pub(crate) const PARENT: Self = Self(0);
    pub(crate) const BITS: u32 = 20;
}

/// A message: its sender, and which message of that sender it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MessageId(pub(crate) u64);

impl MessageId {
    const NUMBER_BITS: u32 = 24;
    pub(crate) const BITS: u32 = ProcessNumber::BITS + Self::NUMBER_BITS;
    /// Stands in events that concern no message.
    pub(crate) const NONE: Self = Self(0);

    /// Panics if a number does not fit into its bits.
    pub(crate) fn new(sender: ProcessNumber, number: u32) -> Self {
        assert!(sender.0 >> ProcessNumber::BITS == 0 && number >> Self::NUMBER_BITS == 0);
        Self(u64::from(sender.0) << Self::NUMBER_BITS | u64::from(number))
    }

    pub(crate) fn sender(self) -> ProcessNumber {
        ProcessNumber(u32::try_from(self.0 >> Self::NUMBER_BITS).expect("20 bits"))
    }

    /// Returns a number that looks random, and is the same for each call with the same `salt`.
    pub(crate) fn hash(self, salt: u64) -> u64 {
        let mixed = (self.0 ^ salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 8
    }

    /// Whether lessees always return this message. It becomes a dead letter unless a receiver gets it.
    pub(crate) fn is_poison(self) -> bool {
        self.hash(1).is_multiple_of(300)
    }
}
