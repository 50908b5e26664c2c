//! The serializer's side: [`DepthLimited`] around values, serializers, and serializers of compound values.

use super::limit::{DepthLimited, TOO_DEEP};
use core::fmt;
use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

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

impl<T: Serialize> Serialize for DepthLimited<T> {
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
            let levels = open_level(self.levels)?;
            self.inner.$method($($name),*).map(|inner| DepthLimited { inner, levels })
        }
    )*};
}

impl<S: Serializer> Serializer for DepthLimited<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = DepthLimited<S::SerializeSeq>;
    type SerializeTuple = DepthLimited<S::SerializeTuple>;
    type SerializeTupleStruct = DepthLimited<S::SerializeTupleStruct>;
    type SerializeTupleVariant = DepthLimited<S::SerializeTupleVariant>;
    type SerializeMap = DepthLimited<S::SerializeMap>;
    type SerializeStruct = DepthLimited<S::SerializeStruct>;
    type SerializeStructVariant = DepthLimited<S::SerializeStructVariant>;

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
        let levels = open_level(self.levels)?;
        let inner = value;
        self.inner.serialize_some(&DepthLimited { inner, levels })
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Self::Error> {
        let levels = open_level(self.levels)?;
        let inner = value;
        self.inner
            .serialize_newtype_struct(name, &DepthLimited { inner, levels })
    }

    #[inline(always)]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Self::Error> {
        let levels = open_level(self.levels)?;
        let inner = value;
        self.inner
            .serialize_newtype_variant(name, index, variant, &DepthLimited { inner, levels })
    }

    /// Forwarded, because the compiler turns the inner loop over bytes into a copy of them.
    #[inline(always)]
    fn collect_seq<I: IntoIterator>(self, elements: I) -> Result<Self::Ok, Self::Error>
    where
        I::Item: Serialize,
    {
        let levels = open_level(self.levels)?;
        let limit = |inner| DepthLimited { inner, levels };
        self.inner.collect_seq(elements.into_iter().map(limit))
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
        impl<S: $trait> $trait for DepthLimited<S> {
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
        impl<S: $trait> $trait for DepthLimited<S> {
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

impl<S: SerializeMap> SerializeMap for DepthLimited<S> {
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
