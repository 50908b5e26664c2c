//! The table of `Codec` on what each codec carries: a test for each row.

use super::{Bincode, Codec, Coded, EncodeError, Json, Postcard};
use crate::queue::Options;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// How far a message gets.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    /// Another value arrives.
    Misread,
    NotDecoded,
    NotSent,
}

/// Sends a message through a queue with this codec.
fn fate<C, T>(message: &T) -> Fate
where
    T: Clone + PartialEq + Debug + Serialize + DeserializeOwned,
    C: Codec<T>,
{
    let (tx, rx) = Options::new(4).channel_with::<T, C>().expect("a queue");
    if tx.try_send(message.clone()).is_err() {
        return Fate::NotSent;
    }
    match rx.try_recv() {
        Ok(arrived) if arrived == *message => Fate::Arrives,
        Ok(_) => Fate::Misread,
        Err(_) => {
            assert_eq!(rx.dead_letters().count(), 1, "it is a dead letter");
            Fate::NotDecoded
        }
    }
}

/// Returns the fates of a message by `Bincode`, `Postcard` and `Json`.
fn fates<T>(message: &T) -> [Fate; 3]
where
    T: Clone + PartialEq + Debug + Serialize + DeserializeOwned,
{
    [
        fate::<Bincode, T>(message),
        fate::<Postcard, T>(message),
        fate::<Json, T>(message),
    ]
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    id: u64,
    text: String,
    kind: Kind,
    parts: Vec<Option<i16>>,
    by_name: BTreeMap<String, (bool, char)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Sized { width: u32, height: u32 },
}

fn job() -> Job {
    Job {
        id: u64::MAX,
        text: "Größe".to_owned(),
        kind: Kind::Sized {
            width: 640,
            height: 0,
        },
        parts: vec![None, Some(-1)],
        by_name: [("a".to_owned(), (true, 'ß'))].into(),
    }
}

#[test]
fn all_codecs_carry_plain_types() {
    assert_eq!(fates(&job()), [Fate::Arrives, Fate::Arrives, Fate::Arrives]);
    assert_eq!(
        fates(&Kind::Plain),
        [Fate::Arrives, Fate::Arrives, Fate::Arrives]
    );
}

#[test]
fn only_json_carries_a_value_of_json() {
    let value = json!({ "a": [1, null, "x"] });
    assert_eq!(
        fates(&value),
        [Fate::NotDecoded, Fate::NotDecoded, Fate::Arrives]
    );
}

#[test]
fn only_json_carries_a_struct_that_leaves_out_fields() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Sparse {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        name: String,
    }
    let sparse = |limit| Sparse {
        limit,
        name: "x".to_owned(),
    };
    let [bincode, postcard, json] = fates(&sparse(None));
    assert_ne!(bincode, Fate::Arrives);
    assert_ne!(postcard, Fate::Arrives);
    assert_eq!(json, Fate::Arrives);
    assert_eq!(fate::<Json, _>(&sparse(Some(7))), Fate::Arrives);
}

#[test]
fn only_json_carries_enums_whose_variant_the_message_does_not_name() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u64),
        Text(String),
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Move { by: i32 },
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        id: u32,
        #[serde(flatten)]
        more: BTreeMap<String, u32>,
    }
    for message in [Untagged::Number(7), Untagged::Text("seven".to_owned())] {
        assert_eq!(
            fates(&message),
            [Fate::NotDecoded, Fate::NotDecoded, Fate::Arrives]
        );
    }
    let flat = Flat {
        id: 1,
        more: [("a".to_owned(), 2)].into(),
    };
    for fates in [fates(&Tagged::Move { by: -1 }), fates(&flat)] {
        let [bincode, postcard, json] = fates;
        assert!(
            matches!(bincode, Fate::NotDecoded | Fate::NotSent),
            "{bincode:?}"
        );
        assert!(
            matches!(postcard, Fate::NotDecoded | Fate::NotSent),
            "{postcard:?}"
        );
        assert_eq!(json, Fate::Arrives);
    }
}

#[test]
fn json_has_no_form_for_some_values() {
    let by_pair: BTreeMap<(u8, u8), u8> = [((1, 2), 3)].into();
    assert_eq!(
        fates(&by_pair),
        [Fate::Arrives, Fate::Arrives, Fate::NotSent]
    );
    assert_eq!(
        fates(&f64::INFINITY),
        [Fate::Arrives, Fate::Arrives, Fate::NotDecoded]
    );
}

#[test]
fn a_coded_value_arrives_whatever_the_codec_of_the_queue() {
    let message = (
        "before".to_owned(),
        Coded::<Value, Json>::new(json!([1, { "a": null }])),
        7,
    );
    assert_eq!(
        fates(&message),
        [Fate::Arrives, Fate::Arrives, Fate::Arrives]
    );
    let inner = Coded::<_, Postcard>::new(job());
    assert_eq!(fates(&inner), [Fate::Arrives, Fate::Arrives, Fate::Arrives]);
}

#[test]
fn an_error_of_a_coded_value_has_the_text_of_its_codec() {
    let (tx, rx) = Options::new(4)
        .channel::<Coded<f64, Json>>()
        .expect("a queue");
    tx.send(f64::NAN.into()).expect("`null` is sent");
    let error = rx.recv().expect_err("`null` is no number");
    let text = crate::error::with_causes(&error);
    assert!(text.contains("null"), "{text}");

    let (tx, _rx) = Options::new(4)
        .channel::<Coded<BTreeMap<(u8, u8), u8>, Json>>()
        .expect("a queue");
    let by_pair: BTreeMap<(u8, u8), u8> = [((1, 2), 3)].into();
    let error = tx.send(by_pair.into()).expect_err("no key of JSON");
    let text = crate::error::with_causes(&error);
    assert!(text.contains("key must be a string"), "{text}");
}

/// Each codec reports that the room is too small, and then how much it needs.
#[test]
fn the_length_of_a_message_is_the_least_room_for_it() {
    fn check<C: Codec<Job>>() {
        let length = C::encoded_len(&job()).expect("a length");
        for short in 0..length {
            let error = C::encode(&job(), &mut vec![0; short]).expect_err("too little room");
            assert_eq!(error, EncodeError::NoRoom);
        }
        let mut room = vec![0; length];
        assert_eq!(C::encode(&job(), &mut room), Ok(length));
        assert_eq!(C::decode(&room).expect("a job"), job());
        room.push(0);
        assert!(C::decode(&room).is_err(), "a byte too many");
    }
    check::<Postcard>();
    check::<Json>();
    check::<Bincode>();
}

/// Messages of a peer that nest deep must not overflow the stack.
#[test]
fn bytes_that_nest_without_end_are_an_error() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct List(Vec<List>);
    let deep = vec![1; 1 << 20];
    assert!(<Postcard as Codec<List>>::decode(&deep).is_err());
    let deep = vec![b'['; 1 << 20];
    assert!(<Json as Codec<List>>::decode(&deep).is_err());
    let within = (0..100).fold(List(Vec::new()), |list, _| List(vec![list]));
    assert_eq!(fate::<Json, _>(&within), Fate::Arrives);
}
