//! Hashes of states.

use core::hash::Hasher;

/// A hash of 128 bits: two lanes, each mixed by multiplication.
pub(super) struct Hash128(u64, u64);

impl Default for Hash128 {
    fn default() -> Self {
        Self(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344)
    }
}

impl Hash128 {
    fn mix(&mut self, value: u64) {
        self.0 = (self.0 ^ value)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
        self.1 = (self.1.rotate_left(23) ^ value).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }

    pub(super) fn value(&self) -> u128 {
        let fold = |lane: u64| (lane ^ lane >> 32).wrapping_mul(0xff51_afd7_ed55_8ccd);
        u128::from(fold(self.0) ^ self.1 >> 29) << 64 | u128::from(fold(self.1) ^ self.0 >> 31)
    }
}

impl Hasher for Hash128 {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut value = [0; 8];
            value[..eight.len()].copy_from_slice(eight);
            self.mix(u64::from_le_bytes(value));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value.cast_unsigned() as u64);
    }
}

/// A hasher for values that are hashes already: it takes them as they are.
#[derive(Default)]
pub(super) struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut value = [0; 8];
            value[..eight.len()].copy_from_slice(eight);
            self.0 ^= u64::from_le_bytes(value);
        }
    }

    fn write_u128(&mut self, value: u128) {
        let [_, _, _, _, _, _, _, _, low @ ..] = value.to_be_bytes();
        self.0 = u64::from_be_bytes(low);
    }
}
