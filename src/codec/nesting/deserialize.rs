//! The deserializer's side: [`DepthLimited`] around deserializers, visitors, seeds, and accesses to compound values.
//!
//! Text and owned bytes are taken from the inner deserializer as borrowed bytes, and copied:
//!
//! - To make owned ones, bincode allocates what their length says before it compares that with what is left of the
//!   message. A peer may have overwritten the length, and an allocation that fails ends the process. For sequences and
//!   maps, serde's own types allocate at most a mebibyte before they have seen an element. Limits of bincode's own
//!   would prevent the same, but they are counted for each byte of a `Vec<u8>`, which takes half as long again.
//! - Text is checked after it was copied: a peer may change what lies in the message.
//!
//! bincode encodes text as its bytes.

use super::limit::{DepthLimited, TOO_DEEP};
use core::fmt;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// A message that is decoded within the limit.
pub(in crate::codec) struct WithinDepth<T>(pub(in crate::codec) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WithinDepth<T> {
    #[inline(always)]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(DepthLimited::new(deserializer)).map(WithinDepth)
    }
}

/// Returns the number of levels that may be opened inside the level that is being opened.
#[inline(always)]
fn open_level<E: Error>(levels: u32) -> Result<u32, E> {
    levels.checked_sub(1).ok_or_else(too_deep)
}

#[cold]
#[inline(never)]
fn too_deep<E: Error>() -> E {
    E::custom(TOO_DEEP)
}

impl<'de, D: Deserializer<'de>> DepthLimited<D> {
    #[inline(always)]
    fn text(self) -> Result<String, D::Error> {
        let bytes = self.inner.deserialize_bytes(BorrowedBytes)?.to_vec();
        String::from_utf8(bytes).map_err(D::Error::custom)
    }
}

macro_rules! deserialize_as_asked {
    ($($method:ident($($name:ident: $type:ty),*)),* $(,)?) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(
            self,
            $($name: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            let visitor = self.wrap(visitor);
            self.inner.$method($($name,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for DepthLimited<D> {
    type Error = D::Error;

    deserialize_as_asked!(
        deserialize_any(),
        deserialize_bool(),
        deserialize_i8(),
        deserialize_i16(),
        deserialize_i32(),
        deserialize_i64(),
        deserialize_i128(),
        deserialize_u8(),
        deserialize_u16(),
        deserialize_u32(),
        deserialize_u64(),
        deserialize_u128(),
        deserialize_f32(),
        deserialize_f64(),
        deserialize_char(),
        deserialize_bytes(),
        deserialize_option(),
        deserialize_unit(),
        deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str),
        deserialize_seq(),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_map(),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
        deserialize_identifier(),
        deserialize_ignored_any(),
    );

    #[inline(always)]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_str(&self.text()?)
    }

    #[inline(always)]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_string(self.text()?)
    }

    #[inline(always)]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let bytes = self.inner.deserialize_bytes(BorrowedBytes)?;
        visitor.visit_byte_buf(bytes.to_vec())
    }

    #[inline(always)]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Takes bytes that lie in the message.
struct BorrowedBytes;

impl<'de> Visitor<'de> for BorrowedBytes {
    type Value = &'de [u8];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes that can be borrowed")
    }

    #[inline(always)]
    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<&'de [u8], E> {
        Ok(bytes)
    }
}

macro_rules! visit_as_it_is {
    ($($method:ident: $value:ty),* $(,)?) => {$(
        #[inline(always)]
        fn $method<E: Error>(self, value: $value) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

macro_rules! visit_one_level {
    ($($method:ident: $trait:ident),* $(,)?) => {$(
        #[inline(always)]
        fn $method<A: $trait<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
            let levels = open_level(self.levels)?;
            self.inner.$method(DepthLimited { inner, levels })
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for DepthLimited<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_as_it_is!(
        visit_bool: bool,
        visit_i8: i8,
        visit_i16: i16,
        visit_i32: i32,
        visit_i64: i64,
        visit_i128: i128,
        visit_u8: u8,
        visit_u16: u16,
        visit_u32: u32,
        visit_u64: u64,
        visit_u128: u128,
        visit_f32: f32,
        visit_f64: f64,
        visit_char: char,
        visit_str: &str,
        visit_borrowed_str: &'de str,
        visit_string: String,
        visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8],
        visit_byte_buf: Vec<u8>,
    );

    visit_one_level!(
        visit_some: Deserializer,
        visit_newtype_struct: Deserializer,
        visit_seq: SeqAccess,
        visit_map: MapAccess,
    );

    #[inline(always)]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline(always)]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    /// The level is that of the variant's content, if it has any.
    #[inline(always)]
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.wrap(access);
        self.inner.visit_enum(access)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for DepthLimited<S> {
    type Value = S::Value;

    #[inline(always)]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.wrap(deserializer);
        self.inner.deserialize(deserializer)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for DepthLimited<A> {
    type Error = A::Error;

    #[inline(always)]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_element_seed(seed)
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for DepthLimited<A> {
    type Error = A::Error;

    #[inline(always)]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_key_seed(seed)
    }

    #[inline(always)]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_value_seed(seed)
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for DepthLimited<A> {
    type Error = A::Error;
    type Variant = DepthLimited<A::Variant>;

    #[inline(always)]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let levels = self.levels;
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, DepthLimited { inner, levels }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for DepthLimited<A> {
    type Error = A::Error;

    #[inline(always)]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline(always)]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let levels = open_level(self.levels)?;
        let inner = seed;
        self.inner
            .newtype_variant_seed(DepthLimited { inner, levels })
    }

    #[inline(always)]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.wrap(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    #[inline(always)]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.wrap(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
