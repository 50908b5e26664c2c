//! Fields of packed 64-bit words.

/// A field of a packed word: the bits `shift..shift + width`, counted from the lowest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    shift: u32,
    width: u32,
}

impl Field {
    /// Returns the field of the lowest `width` bits.
    pub(super) const fn lowest(width: u32) -> Self {
        Self { shift: 0, width }
    }

    /// Returns the field of the next `width` bits above this one.
    pub(super) const fn above(self, width: u32) -> Self {
        Self {
            shift: self.shift + self.width,
            width,
        }
    }

    /// Returns the largest value that fits.
    #[inline(always)]
    pub(super) const fn max(self) -> u64 {
        u64::MAX >> (u64::BITS - self.width)
    }

    /// Returns the bits of a word that belong to this field.
    #[inline(always)]
    pub(super) const fn mask(self) -> u64 {
        self.max() << self.shift
    }

    /// Returns the value of this field in `word`.
    #[inline(always)]
    pub(super) const fn get(self, word: u64) -> u64 {
        word >> self.shift & self.max()
    }

    /// Returns a word in which this field has `value`, and all other fields are 0. The value must fit.
    #[inline(always)]
    pub(super) const fn pack(self, value: u64) -> u64 {
        debug_assert!(value <= self.max(), "the value does not fit into its field");
        value << self.shift
    }

    /// Returns `value` without the bits that do not fit.
    #[inline(always)]
    pub(super) const fn wrap(self, value: u64) -> u64 {
        value & self.max()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_overlap_and_fill_the_word() {
        let low = Field::lowest(1);
        let middle = low.above(20);
        let high = middle.above(43);
        assert_eq!(low.mask() | middle.mask() | high.mask(), u64::MAX);
        for (a, b, c) in [(0, 0, 0), (1, middle.max(), high.max()), (1, 77, 12345)] {
            let word = low.pack(a) | middle.pack(b) | high.pack(c);
            assert_eq!((low.get(word), middle.get(word), high.get(word)), (a, b, c));
        }
    }

    #[test]
    fn a_value_wraps_at_the_width_of_its_field() {
        let field = Field::lowest(47);
        assert_eq!(field.wrap(field.max() + 1), 0);
        assert_eq!(Field::lowest(64).wrap(u64::MAX), u64::MAX);
    }
}
