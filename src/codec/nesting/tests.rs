//! Values of many shapes, nested as deep as is allowed and deeper, on threads with the stack that Rust gives a thread.

use super::LEVELS;
use crate::codec::{Bincode, Codec, EncodeError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::thread;

/// What `std::thread` gives a thread, and so what most threads of a program have.
const STACK: usize = 2 << 20;

/// Runs `test` on a thread with a stack of its own, so that an overflow ends the test binary.
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

/// A type that refers to itself.
trait Deep: Serialize + DeserializeOwned + PartialEq + Debug + Send {
    /// How many levels one more `around` opens.
    const LEVELS_EACH: u32;
    /// A value with no other inside, and how many levels it opens.
    fn innermost() -> (Self, u32);
    fn around(inner: Self) -> Self;

    /// Nested `times` times.
    fn nested(times: u32) -> Self {
        (0..times).fold(Self::innermost().0, |inner, _| Self::around(inner))
    }

    /// How often a value may be nested.
    fn most() -> u32 {
        (LEVELS - Self::innermost().1) / Self::LEVELS_EACH
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

/// As of a language's syntax tree: a level each, with much in it.
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

/// A kibibyte a node, which each call on the way may hold several times.
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

/// The deepest value that is allowed is encoded, decoded and dropped; one level more is refused.
fn check<T: Deep>() {
    on_a_stack(STACK, || {
        let deepest = T::nested(T::most());
        let bytes = encoded(&deepest).expect("within the limit");
        let decoded = <Bincode as Codec<T>>::decode(&bytes).expect("within the limit");
        assert!(decoded == deepest);
        drop(deepest);
        drop(decoded);
        let deeper = T::nested(T::most() + 1);
        let refused = encoded(&deeper);
        assert!(
            matches!(refused, Err(EncodeError::TooDeep { limit }) if limit == LEVELS as usize),
            "{refused:?}"
        );
        let refused = Bincode::encode(&deeper, &mut vec![0; 1 << 20]);
        assert!(
            matches!(refused, Err(EncodeError::TooDeep { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn the_deepest_value_of_any_shape_fits_the_stack_of_a_thread() {
    check::<Chain>();
    check::<Lists>();
    check::<Tree>();
    check::<Calls>();
    check::<Sorted>();
    check::<Hashed>();
    check::<Large>();
}

/// Bytes that a peer may have written: no `encode` makes them.
#[test]
fn bytes_that_are_nested_sixty_thousand_deep_are_refused() {
    on_a_stack(STACK, || {
        // `Some`, again and again.
        let refused = <Bincode as Codec<Chain>>::decode(&vec![1; 60_000]).expect_err("too deep");
        assert!(refused.is_too_deep(), "{refused}");
        // Lists with one entry each.
        let lists = 1_u64.to_le_bytes().repeat(60_000);
        let refused = <Bincode as Codec<Lists>>::decode(&lists).expect_err("too deep");
        assert!(refused.is_too_deep(), "{refused}");
        // `Negated`.
        let tree = 1_u32.to_le_bytes().repeat(60_000);
        let refused = <Bincode as Codec<Tree>>::decode(&tree).expect_err("too deep");
        assert!(refused.is_too_deep(), "{refused}");
        // Maps with one entry each, of key 0.
        let maps = [1_u64.to_le_bytes().as_slice(), &[0; 4]]
            .concat()
            .repeat(60_000);
        let refused = <Bincode as Codec<Hashed>>::decode(&maps).expect_err("too deep");
        assert!(refused.is_too_deep(), "{refused}");
        let text = refused.to_string();
        assert!(
            text.contains("128 levels") && text.contains("flatter"),
            "{text}"
        );
        let other = <Bincode as Codec<Chain>>::decode(&[7]).expect_err("no such option");
        assert!(!other.is_too_deep(), "{other}");
    });
}
