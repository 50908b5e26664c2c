//! Limits how deep a message may nest, so that decoding it, or dropping it, cannot overflow a thread's stack.
//!
//! [`Limited`] wraps each part of serde's data model in turn: a serializer and the values given to it, a deserializer
//! and the visitors, accesses and seeds between it and the type. It passes everything on, together with the number of
//! levels that are left, and refuses to open a level when there is none.
//!
//! A level is opened by `Some`, a newtype, a tuple, a struct, an enum variant with content, a list, and a map. Encoding
//! and decoding count alike, so that what was encoded can be decoded.
//!
//! The number is passed by value and every function here is inlined. For a type that does not refer to itself the
//! compiler knows the number at each level, and no check is left.

use core::fmt;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// How many levels a message may have.
pub(super) const LEVELS: u32 = 128;

/// What the inner serializer or deserializer is made to report when no level is left.
pub(super) const TOO_DEEP: &str = "workring: too many levels";

/// Something of serde's, with the number of levels that may be opened in it.
pub(super) struct Limited<I> {
    inner: I,
    left: u32,
}

impl<I> Limited<I> {
    pub(super) const fn new(inner: I) -> Self {
        Self {
            inner,
            left: LEVELS,
        }
    }

    #[inline(always)]
    const fn wrap<J>(&self, inner: J) -> Limited<J> {
        Limited {
            inner,
            left: self.left,
        }
    }
}

/// A message that is decoded within the limit.
pub(super) struct Whole<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Whole<T> {
    #[inline(always)]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(Limited::new(deserializer)).map(Whole)
    }
}

/// The number of levels left inside the level that is being opened.
#[inline(always)]
fn open_to_encode<E: serde::ser::Error>(left: u32) -> Result<u32, E> {
    left.checked_sub(1).ok_or_else(refuse_to_encode)
}

#[inline(always)]
fn open_to_decode<E: serde::de::Error>(left: u32) -> Result<u32, E> {
    left.checked_sub(1).ok_or_else(refuse_to_decode)
}

#[cold]
#[inline(never)]
fn refuse_to_encode<E: serde::ser::Error>() -> E {
    E::custom(TOO_DEEP)
}

#[cold]
#[inline(never)]
fn refuse_to_decode<E: serde::de::Error>() -> E {
    E::custom(TOO_DEEP)
}

impl<T: Serialize + ?Sized> Serialize for Limited<&T> {
    #[inline(always)]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(self.wrap(serializer))
    }
}

macro_rules! serialize_as_it_is {
    ($($method:ident: $value:ty),* $(,)?) => {$(
        #[inline(always)]
        fn $method(self, value: $value) -> Result<Self::Ok, Self::Error> {
            self.inner.$method(value)
        }
    )*};
}

macro_rules! serialize_one_level {
    ($($method:ident($($name:ident: $type:ty),*) -> $compound:ident),* $(,)?) => {$(
        #[inline(always)]
        fn $method(self, $($name: $type),*) -> Result<Self::$compound, Self::Error> {
            let left = open_to_encode(self.left)?;
            self.inner.$method($($name),*).map(|inner| Limited { inner, left })
        }
    )*};
}

impl<S: Serializer> Serializer for Limited<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Limited<S::SerializeSeq>;
    type SerializeTuple = Limited<S::SerializeTuple>;
    type SerializeTupleStruct = Limited<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Limited<S::SerializeTupleVariant>;
    type SerializeMap = Limited<S::SerializeMap>;
    type SerializeStruct = Limited<S::SerializeStruct>;
    type SerializeStructVariant = Limited<S::SerializeStructVariant>;

    serialize_as_it_is!(
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_str: &str,
        serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    );

    serialize_one_level!(
        serialize_seq(len: Option<usize>) -> SerializeSeq,
        serialize_tuple(len: usize) -> SerializeTuple,
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct,
        serialize_tuple_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> SerializeTupleVariant,
        serialize_map(len: Option<usize>) -> SerializeMap,
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct,
        serialize_struct_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> SerializeStructVariant,
    );

    #[inline(always)]
    fn serialize_none(self) -> Result<Self::Ok, Self::Error> {
        self.inner.serialize_none()
    }

    #[inline(always)]
    fn serialize_unit(self) -> Result<Self::Ok, Self::Error> {
        self.inner.serialize_unit()
    }

    #[inline(always)]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<Self::Ok, Self::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    #[inline(always)]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Self::Ok, Self::Error> {
        let left = open_to_encode(self.left)?;
        let inner = value;
        self.inner.serialize_some(&Limited { inner, left })
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Self::Error> {
        let left = open_to_encode(self.left)?;
        let inner = value;
        self.inner
            .serialize_newtype_struct(name, &Limited { inner, left })
    }

    #[inline(always)]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Self::Error> {
        let left = open_to_encode(self.left)?;
        let inner = value;
        self.inner
            .serialize_newtype_variant(name, index, variant, &Limited { inner, left })
    }

    #[inline(always)]
    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<Self::Ok, Self::Error> {
        self.inner.collect_str(value)
    }

    #[inline(always)]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! serialize_elements {
    ($($trait:ident $method:ident),*) => {$(
        impl<S: $trait> $trait for Limited<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline(always)]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let element = self.wrap(value);
                self.inner.$method(&element)
            }

            #[inline(always)]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
}

serialize_elements!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

macro_rules! serialize_fields {
    ($($trait:ident),*) => {$(
        impl<S: $trait> $trait for Limited<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline(always)]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let field = self.wrap(value);
                self.inner.serialize_field(key, &field)
            }

            #[inline(always)]
            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                self.inner.skip_field(key)
            }

            #[inline(always)]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
}

serialize_fields!(SerializeStruct, SerializeStructVariant);

impl<S: SerializeMap> SerializeMap for Limited<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline(always)]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        let key = self.wrap(key);
        self.inner.serialize_key(&key)
    }

    #[inline(always)]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let value = self.wrap(value);
        self.inner.serialize_value(&value)
    }

    #[inline(always)]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
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

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<D> {
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
        deserialize_str(),
        deserialize_string(),
        deserialize_bytes(),
        deserialize_byte_buf(),
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
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit_as_it_is {
    ($($method:ident: $value:ty),* $(,)?) => {$(
        #[inline(always)]
        fn $method<E: serde::de::Error>(self, value: $value) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

macro_rules! visit_one_level {
    ($($method:ident: $trait:ident),* $(,)?) => {$(
        #[inline(always)]
        fn $method<A: $trait<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
            let left = open_to_decode(self.left)?;
            self.inner.$method(Limited { inner, left })
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Limited<V> {
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
    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline(always)]
    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    /// The level is that of the variant's content, if it has any.
    #[inline(always)]
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.wrap(access);
        self.inner.visit_enum(access)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Limited<S> {
    type Value = S::Value;

    #[inline(always)]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.wrap(deserializer);
        self.inner.deserialize(deserializer)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Limited<A> {
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

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Limited<A> {
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

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Limited<A> {
    type Error = A::Error;
    type Variant = Limited<A::Variant>;

    #[inline(always)]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let left = self.left;
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Limited { inner, left }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Limited<A> {
    type Error = A::Error;

    #[inline(always)]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline(always)]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let left = open_to_decode(self.left)?;
        let inner = seed;
        self.inner.newtype_variant_seed(Limited { inner, left })
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

#[cfg(all(test, not(loom)))]
mod tests;
