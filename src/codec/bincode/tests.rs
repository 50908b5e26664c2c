//! Lengths of messages, true ones and those that a peer may have overwritten.

use super::*;

/// Bytes that serde is asked for as such, as `serde_bytes` does it.
#[derive(PartialEq, Debug)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(OwnedBytes)
    }
}

/// Takes nothing but owned bytes.
struct OwnedBytes;

impl serde::de::Visitor<'_> for OwnedBytes {
    type Value = Bytes;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("owned bytes")
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes(bytes))
    }
}

type Sample = (u8, u64, String, Option<Vec<u32>>);

fn sample() -> Sample {
    (1, u64::MAX, "text".repeat(9), Some(vec![1, 2, 3]))
}

#[test]
fn encoded_len_is_the_least_room_that_encode_accepts() {
    let needed = <Bincode as Codec<Sample>>::encoded_len(&sample()).expect("a length");
    for room in 0..needed {
        let result = Bincode::encode(&sample(), &mut vec![0; room]);
        assert_eq!(result, Err(EncodeError::NoRoom), "{room} of {needed} bytes");
    }
    let mut bytes = vec![0; needed];
    assert_eq!(Bincode::encode(&sample(), &mut bytes), Ok(needed));
    assert_eq!(<Bincode as Codec<Sample>>::decode(&bytes), Ok(sample()));
}

#[test]
fn too_few_or_too_many_bytes_are_an_error() {
    let mut bytes = vec![0; 8];
    assert!(<Bincode as Codec<u64>>::decode(&bytes).is_ok());
    bytes.push(0);
    assert!(<Bincode as Codec<u64>>::decode(&bytes).is_err());
    assert!(<Bincode as Codec<u64>>::decode(bytes.get(..7).expect("nine bytes")).is_err());
}

#[test]
fn a_type_that_asks_for_owned_bytes_gets_them() {
    let sent = Bytes((0..=u8::MAX).collect());
    let mut bytes = vec![0; <Bincode as Codec<Bytes>>::encoded_len(&sent).expect("a length")];
    Bincode::encode(&sent, &mut bytes).expect("room enough");
    assert_eq!(<Bincode as Codec<Bytes>>::decode(&bytes), Ok(sent));
}

#[test]
fn a_length_that_no_memory_could_hold_is_an_error() {
    assert!(<Bincode as Codec<Vec<u64>>>::decode(&[0xff; 8]).is_err());
    for length in [1 << 20, 1 << 45, u64::MAX] {
        let mut bytes = length.to_le_bytes().to_vec();
        assert!(<Bincode as Codec<String>>::decode(&bytes).is_err());
        assert!(<Bincode as Codec<Bytes>>::decode(&bytes).is_err());
        bytes.resize(128 << 10, b'x');
        assert!(<Bincode as Codec<String>>::decode(&bytes).is_err());
        assert!(<Bincode as Codec<Bytes>>::decode(&bytes).is_err());
    }
}

#[test]
fn texts_of_any_length_are_decoded_whole() {
    for length in [0, 1, 64 << 10, 3 << 20] {
        let text = "x".repeat(length);
        let mut bytes = vec![0; length + 8];
        let encoded = Bincode::encode(&text, &mut bytes).expect("room enough");
        assert_eq!(encoded, bytes.len());
        let decoded = <Bincode as Codec<String>>::decode(&bytes).expect("a whole message");
        assert!(decoded == text, "{length} bytes");
    }
}
