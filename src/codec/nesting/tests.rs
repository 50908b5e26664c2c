//! Values of many shapes, nested as deep as the limit allows and deeper, on threads with the default stack size.

use super::MAX_DEPTH;
use crate::codec::{Bincode, Codec, EncodeError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::thread;

/// The default stack size of `std::thread`, and so that of most threads of a program.
const STACK: usize = 2 << 20;

/// Runs `test` on a thread with a stack of this size.
fn on_a_stack<R: Send>(size: usize, test: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| {
        thread::Builder::new()
            .stack_size(size)
            .spawn_scoped(scope, test)
            .expect("a thread")
            .join()
            .expect("no panic")
    })
}

/// A type whose values can contain values of the same type.
trait Deep: Serialize + DeserializeOwned + PartialEq + Debug + Send {
    /// The number of levels that each `around` opens.
    const LEVELS_EACH: u32;
    /// Returns a value that contains no other, and the number of levels that it opens.
    fn innermost() -> (Self, u32);
    /// Returns a value that contains `inner`.
    fn around(inner: Self) -> Self;

    /// Returns a value that is nested `times` times.
    fn nested(times: u32) -> Self {
        (0..times).fold(Self::innermost().0, |inner, _| Self::around(inner))
    }

    /// Returns how often a value may be nested.
    fn max_nesting() -> u32 {
        (MAX_DEPTH - Self::innermost().1) / Self::LEVELS_EACH
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Chain(Option<Box<Chain>>);

impl Deep for Chain {
    const LEVELS_EACH: u32 = 2;
    fn innermost() -> (Self, u32) {
        (Self(None), 1)
    }
    fn around(inner: Self) -> Self {
        Self(Some(Box::new(inner)))
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Lists(Vec<Lists>);

impl Deep for Lists {
    const LEVELS_EACH: u32 = 2;
    fn innermost() -> (Self, u32) {
        (Self(vec![]), 2)
    }
    fn around(inner: Self) -> Self {
        Self(vec![inner, Self(vec![])])
    }
}

/// Like the syntax tree of a language.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Tree {
    Leaf,
    Negated(Box<Tree>),
    Sum(Box<Tree>, u8),
    Call {
        name: String,
        arguments: Vec<Tree>,
        place: [u64; 4],
    },
}

impl Deep for Tree {
    const LEVELS_EACH: u32 = 2;
    fn innermost() -> (Self, u32) {
        (Self::Leaf, 0)
    }
    fn around(inner: Self) -> Self {
        Self::Sum(Box::new(Self::Negated(Box::new(inner))), 1)
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Calls(Tree);

impl Deep for Calls {
    const LEVELS_EACH: u32 = 2;
    fn innermost() -> (Self, u32) {
        (Self(Tree::Leaf), 2)
    }
    fn around(Self(inner): Self) -> Self {
        Self(Tree::Call {
            name: "f".to_owned(),
            arguments: vec![Tree::Leaf, inner],
            place: [1; 4],
        })
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Sorted(BTreeMap<String, Sorted>);

impl Deep for Sorted {
    const LEVELS_EACH: u32 = 2;
    fn innermost() -> (Self, u32) {
        (Self(BTreeMap::new()), 2)
    }
    fn around(inner: Self) -> Self {
        Self(BTreeMap::from([("key".to_owned(), inner)]))
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Hashed(HashMap<u32, Hashed>);

impl Deep for Hashed {
    const LEVELS_EACH: u32 = 2;
    fn innermost() -> (Self, u32) {
        (Self(HashMap::new()), 2)
    }
    fn around(inner: Self) -> Self {
        Self(HashMap::from([(7, inner)]))
    }
}

/// Each value takes a kibibyte, and each call of a decoder may have several copies of it on the stack.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Large {
    rows: [[u64; 16]; 8],
    next: Option<Box<Large>>,
}

impl Deep for Large {
    const LEVELS_EACH: u32 = 2;
    fn innermost() -> (Self, u32) {
        let (rows, next) = ([[1; 16]; 8], None);
        (Self { rows, next }, 3)
    }
    fn around(inner: Self) -> Self {
        let (rows, next) = ([[2; 16]; 8], Some(Box::new(inner)));
        Self { rows, next }
    }
}

fn encoded<T: Deep>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = vec![0; <Bincode as Codec<T>>::encoded_len(value)?];
    let length = Bincode::encode(value, &mut bytes)?;
    assert_eq!(length, bytes.len());
    Ok(bytes)
}

/// Asserts that the deepest value within the limit can be encoded, decoded and dropped, and that a deeper one cannot.
fn assert_limited<T: Deep>() {
    on_a_stack(STACK, || {
        let deepest = T::nested(T::max_nesting());
        let bytes = encoded(&deepest).expect("within the limit");
        let decoded = <Bincode as Codec<T>>::decode(&bytes).expect("within the limit");
        assert!(decoded == deepest);
        drop(deepest);
        drop(decoded);
        let deeper = T::nested(T::max_nesting() + 1);
        let error = encoded(&deeper);
        assert!(
            matches!(error, Err(EncodeError::TooDeep { limit }) if limit == MAX_DEPTH as usize),
            "{error:?}"
        );
        let error = Bincode::encode(&deeper, &mut vec![0; 1 << 20]);
        assert!(
            matches!(error, Err(EncodeError::TooDeep { .. })),
            "{error:?}"
        );
    });
}

#[test]
fn the_deepest_value_of_each_shape_fits_the_default_stack() {
    assert_limited::<Chain>();
    assert_limited::<Lists>();
    assert_limited::<Tree>();
    assert_limited::<Calls>();
    assert_limited::<Sorted>();
    assert_limited::<Hashed>();
    assert_limited::<Large>();
}

/// A peer may have written such bytes; `encode` does not.
#[test]
fn bytes_that_are_nested_sixty_thousand_levels_deep_are_an_error() {
    on_a_stack(STACK, || {
        // Nested `Some`.
        let error = <Bincode as Codec<Chain>>::decode(&vec![1; 60_000]).expect_err("too deep");
        assert!(error.is_too_deep(), "{error}");
        // Nested lists with one entry each.
        let lists = 1_u64.to_le_bytes().repeat(60_000);
        let error = <Bincode as Codec<Lists>>::decode(&lists).expect_err("too deep");
        assert!(error.is_too_deep(), "{error}");
        // Nested `Negated`.
        let tree = 1_u32.to_le_bytes().repeat(60_000);
        let error = <Bincode as Codec<Tree>>::decode(&tree).expect_err("too deep");
        assert!(error.is_too_deep(), "{error}");
        // Nested maps with one entry each, of key 0.
        let maps = [1_u64.to_le_bytes().as_slice(), &[0; 4]]
            .concat()
            .repeat(60_000);
        let error = <Bincode as Codec<Hashed>>::decode(&maps).expect_err("too deep");
        assert!(error.is_too_deep(), "{error}");
        let text = error.cause().to_string();
        assert!(
            text.contains("128 levels") && text.contains("flatter"),
            "{text}"
        );
        let other = <Bincode as Codec<Chain>>::decode(&[7]).expect_err("neither `None` nor `Some`");
        assert!(!other.is_too_deep(), "{other}");
    });
}
