//! Arguments and outputs that the default codec cannot carry, by another codec.

use crate::close;
use ipc_tests::{guarded, support::LIMIT};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use workring::queue::{Coded, Json, Postcard};
use workring::{Pool, TaskError};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

#[workring::task]
fn plain(value: Value) -> String {
    value.to_string()
}

#[workring::task]
fn echo_value(value: Coded<Value, Json>) -> Coded<Value, Json> {
    value
}

#[workring::task]
fn echo_sparse(value: Coded<Sparse, Json>) -> Coded<Sparse, Json> {
    value
}

#[workring::task]
fn echo_untagged(value: Coded<Untagged, Json>) -> Coded<Untagged, Json> {
    value
}

#[workring::task]
fn echo_postcard(value: Coded<(u64, String), Postcard>) -> Coded<(u64, String), Postcard> {
    value
}

#[workring::task]
fn not_a_number() -> Coded<f64, Json> {
    f64::NAN.into()
}

#[test]
fn what_the_default_codec_cannot_carry_is_carried_by_another() {
    guarded(LIMIT, || {
        let pool = Pool::start(1).expect("a pool");
        let value = json!({ "a": [1, null] });
        let refused = pool.submit(plain::new(value.clone())).expect("sent").wait();
        assert!(
            matches!(refused, Err(TaskError::Transport { .. })),
            "{refused:?}"
        );

        let task = echo_value::new(value.clone().into());
        let found = pool.submit(task).expect("sent").wait().expect("an output");
        assert_eq!(found.into_inner(), value);
        for limit in [None, Some(7)] {
            let name = "x".to_owned();
            let value = Sparse { limit, name };
            let task = echo_sparse::new(value.clone().into());
            let found = pool.submit(task).expect("sent").wait().expect("an output");
            assert_eq!(*found, value);
        }
        for value in [Untagged::Number(7), Untagged::Text("seven".to_owned())] {
            let task = echo_untagged::new(value.clone().into());
            let found = pool.submit(task).expect("sent").wait().expect("an output");
            assert_eq!(*found, value);
        }
        let value = (7, "postcard".to_owned());
        let task = echo_postcard::new(value.clone().into());
        let found = pool.submit(task).expect("sent").wait().expect("an output");
        assert_eq!(*found, value);
        close(&pool);
    });
}

#[test]
fn an_output_that_its_codec_cannot_carry_is_an_error_of_that_task_alone() {
    guarded(LIMIT, || {
        let pool = Pool::start(1).expect("a pool");
        let found = pool.submit(not_a_number::new()).expect("sent").wait();
        match found {
            Err(TaskError::Transport { what, .. }) => assert!(what.contains("null"), "{what}"),
            other => panic!("{other:?}"),
        }
        let task = echo_value::new(json!(1).into());
        let found = pool.submit(task).expect("sent").wait().expect("an output");
        assert_eq!(*found, 1);
        close(&pool);
    });
}
