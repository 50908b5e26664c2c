//! The numbers that shared words use to name messages, blocks and peers.

/// The number of a message in order of acceptance.
///
/// It does not wrap: 2^64 messages take centuries. Only the lap of a position, as a slot stores it, wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Returns the position `count` later.
    #[must_use]
    pub(crate) const fn plus(self, count: u64) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// Returns the position `count` earlier, if there is one.
    #[must_use]
    pub(crate) const fn minus(self, count: u64) -> Option<Self> {
        match self.0.checked_sub(count) {
            Some(position) => Some(Self(position)),
            None => None,
        }
    }
}

/// The number of a round through all slots of the ring, modulo 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lap(pub(crate) u32);

impl Lap {
    pub(super) const BITS: u32 = 32;

    #[must_use]
    #[inline(always)]
    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// The number of a block, below 2^20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlockIndex(u32);

impl BlockIndex {
    pub(super) const BITS: u32 = 20;
    /// The number of different indices.
    pub(crate) const COUNT: u32 = 1 << Self::BITS;
    pub(crate) const FIRST: Self = Self(0);
    /// An index that names no block, because every queue has fewer than [`COUNT`](Self::COUNT).
    pub(super) const NONE: Self = Self(Self::COUNT - 1);

    /// Returns `None` if `index` is not below [`COUNT`](Self::COUNT).
    #[must_use]
    pub(crate) const fn new(index: u32) -> Option<Self> {
        if index < Self::COUNT {
            Some(Self(index))
        } else {
            None
        }
    }

    /// Returns the index in the lowest bits of a word.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn from_low_bits(bits: u64) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "masked to 20 bits")]
        Self((bits & (Self::COUNT as u64 - 1)) as u32)
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

/// The number of an entry in the peer table, below 2^10. It names the process that is attached there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PeerIndex(u16);

impl PeerIndex {
    pub(super) const BITS: u32 = 10;
    /// The number of different indices.
    pub(crate) const COUNT: u16 = 1 << Self::BITS;
    pub(crate) const FIRST: Self = Self(0);

    /// Returns `None` if `index` is not below [`COUNT`](Self::COUNT).
    #[must_use]
    pub(crate) const fn new(index: u16) -> Option<Self> {
        if index < Self::COUNT {
            Some(Self(index))
        } else {
            None
        }
    }

    /// Returns the index in the lowest bits of a word.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn from_low_bits(bits: u64) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "masked to 10 bits")]
        Self((bits & (Self::COUNT as u64 - 1)) as u16)
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn get(self) -> u16 {
        self.0
    }
}
