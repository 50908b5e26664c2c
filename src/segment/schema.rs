//! The schema of a queue's messages: a name that its programs give to the meaning of the messages.
//!
//! A name can have any length, and the header of a segment has room for the end of it. So the header also stores a hash
//! of the whole name. The hash is what is compared; the stored name is for error messages only.

use core::num::NonZeroU64;

/// The schema of a queue, or the one that a process expects.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    hash: NonZeroU64,
    name: String,
}

impl Schema {
    /// Returns the schema of this name.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            hash: NonZeroU64::new(fnv_1a(name.as_bytes())).unwrap_or(NonZeroU64::MIN),
            name: name.to_owned(),
        }
    }

    /// Returns the schema that a header stores. `None`: the queue was made without a schema.
    pub(super) fn stored(hash: u64, name: String) -> Option<Self> {
        let hash = NonZeroU64::new(hash)?;
        Some(Self { hash, name })
    }

    /// Returns the hash of the name, which is never 0.
    pub(super) fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// Returns the name, or the end of it that a header had room for.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Schema {}

/// The hash function FNV-1a, 64 bits.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn schemas_with_the_same_end_differ() {
        let end = "x".repeat(1000);
        let [one, other] = ["1", "2"].map(|start| Schema::new(&format!("{start}{end}")));
        assert_ne!(one, other);
        let stored = Schema::stored(one.hash(), "x".repeat(256));
        assert_eq!(stored, Some(one));
    }
}
