//! What a type looks like to serde: its name, and the names of its fields or variants, in their order.
//!
//! Parent and worker compare the shapes of tasks, outputs and errors, since the codec writes values without names: two fields
//! that have changed places would be misread.
//!
//! SHAPE-1. No value is made, and no code of the program runs but the beginning of each `Deserialize`, which is refused
//!     its value at once. So only the outermost type is seen, and what an `Option`, a box or a collection begins with;
//!     [`Task::SCHEMA`](crate::Task::SCHEMA) stands for the rest.

use core::any::type_name;
use core::fmt;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How deep collections are followed. A type may contain itself.
const DEPTH: u32 = 4;

/// Returns the shape of a type, as text.
pub(crate) fn shape<T: DeserializeOwned>() -> String {
    let mut text = type_name::<T>().to_owned();
    let probe = Probe {
        text: &mut text,
        depth: 0,
    };
    // It never gets a value. A panic tells nothing.
    let _ = catch_unwind(AssertUnwindSafe(|| T::deserialize(probe).is_ok()));
    text
}

/// Returns the shape of a task that was made of a function: the names and shapes of its arguments.
#[cfg(any(feature = "macros", test))]
pub(crate) fn of_arguments(arguments: &[(&str, String)]) -> String {
    let arguments = arguments
        .iter()
        .map(|(name, shape)| format!("{name}: {shape}"));
    format!("({})", arguments.collect::<Vec<_>>().join(", "))
}

/// Gives no value, and takes note of what is asked for.
struct Probe<'a> {
    text: &'a mut String,
    depth: u32,
}

impl Probe<'_> {
    fn note(self, names: &[&str]) -> Refused {
        self.text.push_str(" { ");
        self.text.push_str(&names.join(", "));
        self.text.push_str(" }");
        Refused
    }

    fn inner(self) -> Result<Self, Refused> {
        let depth = self.depth + 1;
        let text = self.text;
        (depth <= DEPTH)
            .then_some(Self { text, depth })
            .ok_or(Refused)
    }
}

/// The answer of a [`Probe`].
#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no value is given")
    }
}

impl core::error::Error for Refused {}

impl Error for Refused {
    fn custom<M: fmt::Display>(_: M) -> Self {
        Self
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Refused> {
        Err(self.note(fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Refused> {
        Err(self.note(variants))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self.inner()?)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self.inner()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_seq(self.inner()?)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Probe<'_> {
    type Error = Refused;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        let text = &mut *self.text;
        let depth = self.depth;
        seed.deserialize(Probe { text, depth }).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    mod before {
        #[derive(serde::Deserialize)]
        #[allow(dead_code, reason = "only its fields matter")]
        pub(super) struct Order {
            item: u32,
            count: u32,
        }
    }

    mod after {
        #[derive(serde::Deserialize)]
        #[allow(dead_code, reason = "only its fields matter")]
        pub(super) struct Order {
            count: u32,
            item: u32,
        }
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only its variants matter")]
    enum Colour {
        Red,
        Mixed(Box<Colour>),
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only its type matters")]
    struct Nest(Option<Box<Nest>>);

    fn ends<T: DeserializeOwned>(with: &str) {
        let shape = shape::<T>();
        assert!(shape.ends_with(with), "{shape}");
    }

    #[test]
    fn fields_and_variants_are_named_in_their_order() {
        ends::<before::Order>("Order { item, count }");
        ends::<after::Order>("Order { count, item }");
        ends::<Colour>("Colour { Red, Mixed }");
        ends::<Box<before::Order>>("> { item, count }");
        ends::<Option<Vec<after::Order>>>("> { count, item }");
    }

    #[test]
    fn a_type_without_names_is_its_own_name() {
        assert_eq!(shape::<(u8, String)>(), "(u8, alloc::string::String)");
        ends::<Nest>("Nest");
    }

    /// Its author expects that there is a value.
    struct Rash;

    impl<'de> Deserialize<'de> for Rash {
        fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
            let text = String::deserialize(source)?;
            assert_eq!(text, "never reached");
            Ok(Self)
        }
    }

    #[test]
    fn the_arguments_of_a_function_are_named_in_their_order() {
        let both = |names: [&str; 2]| of_arguments(&names.map(|name| (name, shape::<u32>())));
        assert_eq!(both(["item", "count"]), "(item: u32, count: u32)");
        assert_ne!(both(["item", "count"]), both(["count", "item"]));
    }

    /// Fails before it asks for anything.
    struct Hasty;

    impl<'de> Deserialize<'de> for Hasty {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("too early")
        }
    }

    #[test]
    fn a_panic_before_the_value_leaves_the_name() {
        ends::<Hasty>("Hasty");
    }

    #[test]
    fn code_that_a_value_is_given_to_does_not_run() {
        ends::<Vec<Rash>>("Rash>");
    }
}
