use super::result_message::{
    Encoded, EncodedResultCodec, ResultCodec, ResultMessage, SHORT, WorkerResult,
};
use super::task_attempt::{HEADER, TaskAttempt, reason};
use super::task_message::{
    COUNT, EncodedTask, EncodedTaskCodec, Envelope, Payload, TaskCodec, TaskKey, TaskMessage,
    decode_task,
};
use crate::codec::{Codec, DecodeError, EncodeError};
use crate::pool::Context;
use crate::pool::outcome::{Panic, TaskError, TaskId};
use crate::pool::task::{OutcomeOf, Task};
use serde::Serialize;

type Tasks = TaskCodec;

impl Task for u32 {
    type Output = String;
    type Error = bool;
    fn run(self, _: &Context) -> Result<String, bool> {
        Err(false)
    }
}

const ATTEMPT: TaskAttempt = TaskAttempt {
    id: TaskId(u64::MAX - 7),
    number: 0xfedc,
};

fn encoded<M, C: Codec<M>>(message: &M) -> Vec<u8> {
    let mut bytes = vec![0; C::encoded_len(message).expect("a length")];
    assert_eq!(C::encode(message, &mut bytes).expect("room"), bytes.len());
    let short = bytes.len() - 1;
    let cut = C::encode(message, &mut vec![0; short]);
    assert!(matches!(cut, Err(EncodeError::NoRoom)));
    bytes
}

/// Returns what a worker finds in a message.
fn found(bytes: &[u8]) -> Vec<(TaskAttempt, Result<u32, String>)> {
    let tasks = TaskMessage::open(bytes).expect("a header");
    let open = |task: Result<&[u8], DecodeError>| {
        task.map_err(|error| reason(&error)).and_then(decode_task)
    };
    tasks.map(|(attempt, task)| (attempt, open(task))).collect()
}

fn one(task: u32) -> Envelope<u32> {
    Envelope {
        attempt: ATTEMPT,
        key: TaskKey::NONE,
        payload: Payload::Task(task),
    }
}

#[test]
fn a_task_arrives_as_it_was_sent_even_a_second_time() {
    let bytes = encoded::<_, Tasks>(&one(4711));
    assert_eq!(found(&bytes), [(ATTEMPT, Ok(4711))]);
    let again = EncodedTask::all_of(&bytes).expect("a message").pop();
    let mut again = again.expect("one task");
    assert_eq!(again.attempt, ATTEMPT);
    again.attempt.number = 3;
    let third = again.attempt;
    assert_eq!(
        found(&encoded::<_, EncodedTaskCodec>(&again)),
        [(third, Ok(4711))]
    );
}

#[test]
fn the_key_of_a_registered_task_survives_being_sent_again() {
    let key = TaskKey::of("program::square");
    assert_ne!(key, TaskKey::of("program::cube"));
    for mut envelope in [one(4711), chunk()] {
        envelope.key = key;
        let bytes = encoded::<_, Tasks>(&envelope);
        assert_eq!(TaskMessage::open(&bytes).expect("a header").key(), key);
        let tasks = found(&bytes);
        let again = EncodedTask::all_of(&bytes).expect("a message");
        assert_eq!(again.len(), tasks.len());
        for (task, first) in again.iter().zip(tasks) {
            let bytes = encoded::<_, EncodedTaskCodec>(task);
            assert_eq!(TaskMessage::open(&bytes).expect("a header").key(), key);
            assert_eq!(found(&bytes), [first]);
        }
    }
}

#[test]
fn a_task_that_cannot_be_decoded_is_known_by_its_id() {
    let mut bytes = encoded::<_, Tasks>(&one(4711));
    bytes.pop();
    assert!(matches!(found(&bytes).as_slice(), [(ATTEMPT, Err(_))]));
    bytes.truncate(HEADER - 1);
    assert!(TaskMessage::open(&bytes).is_err());
}

/// Five tasks of four bytes each.
fn chunk() -> Envelope<u32> {
    Envelope {
        attempt: ATTEMPT,
        key: TaskKey::NONE,
        payload: Payload::Chunk((0..5).map(|n| 10 * n).collect()),
    }
}

#[test]
fn a_chunk_arrives_as_it_was_sent_and_can_be_sent_again_one_by_one() {
    let bytes = encoded::<_, Tasks>(&chunk());
    let expected: Vec<_> = (0..5)
        .map(|n| (ATTEMPT.nth(n), Ok(10 * u32::try_from(n).expect("few"))))
        .collect();
    assert_eq!(found(&bytes), expected);
    let again = EncodedTask::all_of(&bytes).expect("a message");
    for (envelope, expected) in again.into_iter().zip(expected) {
        assert_eq!(
            found(&encoded::<_, EncodedTaskCodec>(&envelope)),
            [expected]
        );
    }
}

#[test]
fn a_chunk_that_is_cut_off_spoils_only_the_tasks_that_are_missing() {
    let whole = encoded::<_, Tasks>(&chunk());
    for length in HEADER + COUNT..whole.len() {
        let bytes = whole.get(..length).expect("a part of it");
        let whole_tasks = (length - HEADER - COUNT) / (COUNT + size_of::<u32>());
        let tasks = found(bytes);
        assert_eq!(tasks.len(), 5);
        for (n, (attempt, task)) in tasks.iter().enumerate() {
            assert_eq!(*attempt, ATTEMPT.nth(n));
            assert_eq!(task.is_ok(), n < whole_tasks, "{n} of {length}");
        }
        assert_eq!(EncodedTask::all_of(bytes).expect("a header").len(), 5);
    }
    let mut absurd = whole;
    absurd.splice(HEADER..HEADER + COUNT, [0xff; COUNT]);
    assert!(matches!(found(&absurd).as_slice(), [(ATTEMPT, Err(_))]));
}

fn arrived(result: WorkerResult<String, bool>) -> OutcomeOf<u32> {
    let started = u32::from(!matches!(result, WorkerResult::Cancelled));
    let bytes = encoded::<_, ResultCodec>(&ResultMessage {
        attempt: ATTEMPT,
        result,
    });
    let mut arrived = EncodedResultCodec::decode(&bytes).expect("a result");
    assert_eq!(
        (
            arrived.outcome.id,
            arrived.attempt,
            arrived.outcome.attempts
        ),
        (ATTEMPT.id, ATTEMPT.number, started)
    );
    arrived.outcome.decode::<u32>()
}

#[test]
fn every_kind_of_result_arrives() {
    for length in [0, 1, SHORT - 9, SHORT - 8, SHORT - 7, SHORT, 300] {
        let output = "x".repeat(length);
        assert_eq!(
            arrived(WorkerResult::Output(output.clone())).result.ok(),
            Some(output)
        );
    }
    let error = |done| arrived(done).result.expect_err("no output");
    assert!(matches!(
        error(WorkerResult::Failed(true)),
        TaskError::Failed(true)
    ));
    let panic = Panic {
        message: "so".to_owned(),
        place: "there".to_owned(),
    };
    match error(WorkerResult::Panicked(panic.clone())) {
        TaskError::Panicked(arrived) => assert_eq!(arrived, panic),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        error(WorkerResult::Cancelled),
        TaskError::Cancelled
    ));
    match error(WorkerResult::Transport("why".to_owned())) {
        TaskError::Transport { what } => assert_eq!(what, "why"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_output_whose_decoding_panics_is_an_outcome() {
    struct Bad;
    impl Serialize for Bad {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }
    impl<'de> serde::Deserialize<'de> for Bad {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("of {}", 7)
        }
    }
    let message = Encoded::new(&[]).decode::<Bad>().err();
    assert!(message.is_some_and(|message| message.ends_with("panicked: of 7")));
}
