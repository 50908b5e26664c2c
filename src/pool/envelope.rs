//! What travels through the two queues of a pool: the ticket of a task, and behind it the task or what it gave.
//!
//! | bytes | a task                          | a result                        |
//! |-------|---------------------------------|---------------------------------|
//! | 0-7   | number of the task              | the same                        |
//! | 8-9   | its attempt                     | the same                        |
//! | 10    | 0: one task; 1: a chunk         | what kind of result             |
//! | 11    | 0                               | 0                               |
//! | 12-   | the task, by the default codec  | what belongs to the kind        |
//!
//! A chunk is several tasks with consecutive numbers, of which the ticket has the first. From byte 12 on: how many there
//! are, in four bytes; then, for each, the length of the task in four bytes, and the task. They travel together, and
//! nothing more: each is run, answered and judged by itself.
//!
//! WIRE-1. To decode the ticket never fails for what a codec of this file has encoded, whatever follows it: a task or an
//!     output that can't be decoded is known by its ticket, and its caller gets an outcome. In a chunk, the other tasks are
//!     not concerned.
//! WIRE-2. A task that is sent again is not decoded: the parent may not be able to, and has no need.
//! WIRE-3. Receiving calls no code of the user. A worker decodes each task of a message when its turn comes, when it is on the
//!     board already; the parent keeps outputs and errors [encoded](Encoded) until they are claimed.

use super::panics::unwinding;
use super::task::{Outcome, OutcomeOf, Panic, Task, TaskError, TaskId};
use crate::codec::{Bincode, Codec, DecodeError, EncodeError};
use core::fmt;
use core::marker::PhantomData;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Which task, and which of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) id: TaskId,
    /// From 1.
    pub(super) attempt: u16,
}

const HEADER: usize = 12;
/// The kind of a message that holds one task.
const ONE_TASK: u8 = 0;
/// The kind of a message that holds several.
const CHUNK: u8 = 1;
/// Never sent: that of a chunk whose number of tasks makes no sense.
const BROKEN_CHUNK: u8 = u8::MAX;
/// What stands before each task of a chunk, and before all of them.
const COUNT: usize = size_of::<u32>();
/// More tasks than any chunk has.
const MANY: usize = 1 << 16;

impl Ticket {
    /// That of the `n`th task of a chunk whose first has this one.
    pub(super) const fn nth(self, n: usize) -> Self {
        Self {
            id: TaskId(self.id.0.wrapping_add(n as u64)),
            attempt: self.attempt,
        }
    }

    fn encode(self, kind: u8, into: &mut [u8]) -> Result<&mut [u8], EncodeError> {
        let (header, rest) = into
            .split_first_chunk_mut::<HEADER>()
            .ok_or(EncodeError::NoRoom)?;
        let word = u32::from(self.attempt) | u32::from(kind) << 16;
        let (first, second) = header.split_at_mut(8);
        first.copy_from_slice(&self.id.0.to_le_bytes());
        second.copy_from_slice(&word.to_le_bytes());
        Ok(rest)
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "each field is cut out of its word"
    )]
    fn decode(bytes: &[u8]) -> Result<(Self, u8, &[u8]), DecodeError> {
        let header = bytes.split_first_chunk::<8>();
        let header = header.and_then(|(id, rest)| Some((id, rest.split_first_chunk::<4>()?)));
        let Some((id, (word, rest))) = header else {
            return Err(DecodeError::new("a message shorter than a ticket"));
        };
        let word = u32::from_le_bytes(*word);
        let ticket = Self {
            id: TaskId(u64::from_le_bytes(*id)),
            attempt: word as u16,
        };
        Ok((ticket, (word >> 16) as u8, rest))
    }
}

/// A task on its way.
pub(super) struct Envelope<T> {
    pub(super) ticket: Ticket,
    pub(super) parcel: Parcel<T>,
}

/// What is in an envelope.
pub(super) enum Parcel<T> {
    Task(T),
    /// Several tasks, from the ticket's on.
    Chunk(Vec<T>),
    /// A task as it was encoded before (WIRE-2).
    Encoded(Vec<u8>),
    /// A task whose bytes can't be found in the letter that it was in, and why (WIRE-1).
    Broken(String),
}

impl<T> Envelope<T> {
    /// The tasks of a dead letter, each to be sent again as it is.
    pub(super) fn reopen(letter: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let tasks = Letter::open(letter)?;
        let envelope = |(ticket, task): (Ticket, Result<&[u8], DecodeError>)| Self {
            ticket,
            parcel: match task {
                Ok(bytes) => Parcel::Encoded(bytes.to_vec()),
                Err(error) => Parcel::Broken(reason(&error)),
            },
        };
        Ok(tasks.map(envelope).collect())
    }

    /// What a caller has given.
    pub(super) fn into_tasks(self) -> Vec<T> {
        match self.parcel {
            Parcel::Task(task) => vec![task],
            Parcel::Chunk(tasks) => tasks,
            Parcel::Encoded(_) | Parcel::Broken(_) => Vec::new(),
        }
    }

    /// As [`into_tasks`](Envelope::into_tasks), where it is one.
    pub(super) fn into_task(self) -> Option<T> {
        match self.parcel {
            Parcel::Task(task) => Some(task),
            _ => self.into_tasks().pop(),
        }
    }
}

/// A message of the tasks queue, as it lies in memory: its tasks one after the other, each with its ticket, none decoded
/// (WIRE-3).
pub(super) struct Letter<'a> {
    ticket: Ticket,
    next: usize,
    count: usize,
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Letter<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (ticket, kind, rest) = Ticket::decode(bytes)?;
        let (count, kind, rest) = match get(rest) {
            Some((count, rest)) if kind == CHUNK && count <= MANY => (count, kind, rest),
            // A chunk that says nonsense of itself is known by its first task.
            _ if kind == CHUNK => (1, BROKEN_CHUNK, rest),
            _ => (1, kind, rest),
        };
        Ok(Self {
            ticket,
            next: 0,
            count,
            kind,
            rest,
        })
    }

    fn task(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.kind {
            ONE_TASK => Ok(self.rest),
            CHUNK => {
                let found = get(self.rest);
                let found = found.and_then(|(length, rest)| rest.split_at_checked(length));
                self.rest = found.map_or(&[], |(_, rest)| rest);
                let task = found.map(|(task, _)| task);
                task.ok_or_else(|| DecodeError::new("a chunk that is cut off"))
            }
            BROKEN_CHUNK => Err(DecodeError::new("a chunk that does not say how long it is")),
            kind => Err(DecodeError::new(format!(
                "a message of the unknown kind {kind}"
            ))),
        }
    }
}

impl<'a> Iterator for Letter<'a> {
    type Item = (Ticket, Result<&'a [u8], DecodeError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            return None;
        }
        let ticket = self.ticket.nth(self.next);
        self.next += 1;
        Some((ticket, self.task()))
    }
}

/// Decodes a task of a [`Letter`].
pub(super) fn decode_task<T: Task>(bytes: &[u8]) -> Result<T, String> {
    <Bincode as Codec<T>>::decode(bytes).map_err(|error| reason(&error))
}

/// How tasks become bytes: see the table above.
pub(super) struct TaskCodec;

impl<T: Task> Codec<Envelope<T>> for TaskCodec {
    const NAME: &'static str =
        "tasks of workring, 1; bincode 2, serde, little-endian, fixed-width integers";

    #[inline]
    fn encode(envelope: &Envelope<T>, into: &mut [u8]) -> Result<usize, EncodeError> {
        let kind = match envelope.parcel {
            Parcel::Chunk(_) => CHUNK,
            _ => ONE_TASK,
        };
        let rest = envelope.ticket.encode(kind, into)?;
        Ok(HEADER
            + match &envelope.parcel {
                Parcel::Task(task) => Bincode::encode(task, rest)?,
                Parcel::Chunk(tasks) => encode_tasks(tasks, rest)?,
                Parcel::Encoded(bytes) => copy(bytes, rest)?,
                Parcel::Broken(what) => return Err(EncodeError::failed(what.as_str())),
            })
    }

    fn encoded_len(envelope: &Envelope<T>) -> Result<usize, EncodeError> {
        Ok(HEADER
            + match &envelope.parcel {
                Parcel::Task(task) => Bincode::encoded_len(task)?,
                Parcel::Chunk(tasks) => tasks.iter().try_fold(COUNT, |length, task| {
                    Ok(length + COUNT + Bincode::encoded_len(task)?)
                })?,
                Parcel::Encoded(bytes) => bytes.len(),
                Parcel::Broken(what) => return Err(EncodeError::failed(what.as_str())),
            })
    }

    /// Only for the trait's sake: both sides read a [`Letter`] (WIRE-3).
    fn decode(bytes: &[u8]) -> Result<Envelope<T>, DecodeError> {
        let task = Envelope::reopen(bytes)?.into_iter().next();
        task.ok_or_else(|| DecodeError::new("a chunk without tasks"))
    }
}

/// Write the tasks of a chunk, each behind its length. How many bytes that takes.
fn encode_tasks<T: Task>(tasks: &[T], into: &mut [u8]) -> Result<usize, EncodeError> {
    let room = into.len();
    let mut into = put(tasks.len(), into)?;
    for task in tasks {
        // The length is known only afterwards.
        let (length, rest) = into
            .split_first_chunk_mut::<COUNT>()
            .ok_or(EncodeError::NoRoom)?;
        let taken = Bincode::encode(task, rest)?;
        *length = number(taken)?.to_le_bytes();
        into = rest.get_mut(taken..).ok_or(EncodeError::NoRoom)?;
    }
    Ok(room - into.len())
}

fn put(count: usize, into: &mut [u8]) -> Result<&mut [u8], EncodeError> {
    let (first, rest) = into
        .split_first_chunk_mut::<COUNT>()
        .ok_or(EncodeError::NoRoom)?;
    *first = number(count)?.to_le_bytes();
    Ok(rest)
}

fn number(count: usize) -> Result<u32, EncodeError> {
    u32::try_from(count).map_err(EncodeError::failed)
}

fn get(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first_chunk::<COUNT>()?;
    Some((u32::from_le_bytes(*first) as usize, rest))
}

fn copy(bytes: &[u8], into: &mut [u8]) -> Result<usize, EncodeError> {
    into.get_mut(..bytes.len())
        .ok_or(EncodeError::NoRoom)?
        .copy_from_slice(bytes);
    Ok(bytes.len())
}

/// What a codec has said, without its own sentence about dead letters.
fn reason(error: &DecodeError) -> String {
    error.cause().to_string()
}

/// What became of a task that a worker was given, as the worker sends it.
pub(super) struct Answer<T: Task> {
    pub(super) ticket: Ticket,
    pub(super) done: Done<T::Output, T::Error>,
}

/// The same, as the parent receives it.
pub(super) struct Arrived {
    pub(super) ticket: Ticket,
    pub(super) done: Done<Encoded, Encoded>,
}

/// The kinds of results.
pub(super) enum Done<O, E> {
    Output(O),
    Failed(E),
    Panicked(Panic),
    /// It was cancelled before it was started.
    Cancelled,
    /// The task, or its output, is not what a codec can deal with.
    Transport(String),
}

const OUTPUT: u8 = 0;
const FAILED: u8 = 1;
const PANICKED: u8 = 2;
const CANCELLED: u8 = 3;
const NOT_CARRIED: u8 = 4;

/// How results become bytes: see the table above.
pub(super) struct ResultCodec<T>(PhantomData<T>);

impl<T: Task> Codec<Answer<T>> for ResultCodec<T> {
    const NAME: &'static str =
        "results of workring, 1; bincode 2, serde, little-endian, fixed-width integers";

    #[inline]
    fn encode(answer: &Answer<T>, into: &mut [u8]) -> Result<usize, EncodeError> {
        let ticket = answer.ticket;
        Ok(HEADER
            + match &answer.done {
                Done::Output(output) => Bincode::encode(output, ticket.encode(OUTPUT, into)?)?,
                Done::Failed(error) => Bincode::encode(error, ticket.encode(FAILED, into)?)?,
                Done::Panicked(panic) => {
                    Bincode::encode(&words(panic), ticket.encode(PANICKED, into)?)?
                }
                Done::Cancelled => ticket.encode(CANCELLED, into).map(|_| 0)?,
                Done::Transport(what) => Bincode::encode(what, ticket.encode(NOT_CARRIED, into)?)?,
            })
    }

    fn encoded_len(answer: &Answer<T>) -> Result<usize, EncodeError> {
        Ok(HEADER
            + match &answer.done {
                Done::Output(output) => Bincode::encoded_len(output)?,
                Done::Failed(error) => Bincode::encoded_len(error)?,
                Done::Panicked(panic) => Bincode::encoded_len(&words(panic))?,
                Done::Cancelled => 0,
                Done::Transport(what) => Bincode::encoded_len(what)?,
            })
    }

    /// Only for the trait's sake: the parent decodes by [`ArrivedCodec`] (WIRE-3).
    fn decode(_: &[u8]) -> Result<Answer<T>, DecodeError> {
        Err(DecodeError::new(
            "results are decoded when they are claimed",
        ))
    }
}

/// How the parent receives results: what the user's code would have to decode stays encoded (WIRE-3).
pub(super) struct ArrivedCodec;

impl Codec<Arrived> for ArrivedCodec {
    const NAME: &'static str = "results of workring, not decoded";

    fn encode(_: &Arrived, _: &mut [u8]) -> Result<usize, EncodeError> {
        Err(EncodeError::failed("what has arrived is not sent on"))
    }

    fn encoded_len(_: &Arrived) -> Result<usize, EncodeError> {
        Err(EncodeError::failed("what has arrived is not sent on"))
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Arrived, DecodeError> {
        let (ticket, kind, rest) = Ticket::decode(bytes)?;
        let done = match kind {
            OUTPUT => Done::Output(Encoded::new(rest)),
            FAILED => Done::Failed(Encoded::new(rest)),
            other => unusual(other, rest),
        };
        Ok(Arrived { ticket, done })
    }
}

/// A result of which nothing is the user's.
#[cold]
fn unusual(kind: u8, rest: &[u8]) -> Done<Encoded, Encoded> {
    let done = match kind {
        PANICKED => <Bincode as Codec<(String, String)>>::decode(rest)
            .map(|(message, place)| Done::Panicked(Panic { message, place })),
        CANCELLED => Ok(Done::Cancelled),
        NOT_CARRIED => <Bincode as Codec<String>>::decode(rest).map(Done::Transport),
        _ => Err(DecodeError::new(format!(
            "a result of the unknown kind {kind}"
        ))),
    };
    done.unwrap_or_else(|error| Done::Transport(reason(&error)))
}

/// Owned, as the codec wants it; nobody is in a hurry after a panic.
fn words(panic: &Panic) -> (String, String) {
    (panic.message.clone(), panic.place.clone())
}

/// An output or an error that is not decoded yet. Dropping it runs no code of the user.
pub(super) struct Encoded(Bytes);

enum Bytes {
    /// Most results are small: without memory of their own.
    Short {
        length: u8,
        bytes: [u8; SHORT],
    },
    Long(Box<[u8]>),
}

/// The longest result that is kept without memory of its own. With it an outcome has as many bytes as one whose output is
/// a `String`.
const SHORT: usize = 38;

impl Encoded {
    #[inline]
    fn new(from: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..from.len()), u8::try_from(from.len())) {
            (Some(short), Ok(length)) => {
                short.copy_from_slice(from);
                Self(Bytes::Short { length, bytes })
            }
            _ => Self(Bytes::Long(from.into())),
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Bytes::Long(bytes) => bytes,
        }
    }

    /// Decodes it: code of the user, which may take its time. If it panics, that is the reason why there is no value.
    fn decode<V: Serialize + DeserializeOwned>(&self) -> Result<V, String> {
        match unwinding(|| <Bincode as Codec<V>>::decode(self.bytes())) {
            Ok(decoded) => decoded.map_err(|error| reason(&error)),
            Err(said) => Err(format!("decoding it panicked: {said}")),
        }
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes().len())
    }
}

/// An outcome as the parent keeps it until it is claimed.
pub(super) type Sealed = Outcome<Encoded, Encoded>;

impl Sealed {
    /// Decodes what the task gave, for the caller who has claimed it.
    ///
    /// Not under a lock, nor as the leader: see [`Encoded::decode`].
    #[inline]
    pub(super) fn open<T: Task>(self) -> OutcomeOf<T> {
        let result = match self.result {
            Ok(output) => output.decode().map_err(not_carried),
            Err(error) => Err(error.open()),
        };
        Outcome {
            id: self.id,
            attempts: self.attempts,
            result,
        }
    }
}

impl TaskError<Encoded> {
    fn open<E: Serialize + DeserializeOwned>(self) -> TaskError<E> {
        match self {
            Self::Failed(error) => error.decode().map_or_else(not_carried, TaskError::Failed),
            Self::Panicked(panic) => TaskError::Panicked(panic),
            Self::Crashed { status } => TaskError::Crashed { status },
            Self::Cancelled => TaskError::Cancelled,
            Self::TimedOut => TaskError::TimedOut,
            Self::TooMuchMemory { resident } => TaskError::TooMuchMemory { resident },
            Self::NoWorkers { why } => TaskError::NoWorkers { why },
            Self::Transport { what } => TaskError::Transport { what },
            Self::Unknown { what } => TaskError::Unknown { what },
        }
    }
}

fn not_carried<E>(what: String) -> TaskError<E> {
    TaskError::Transport { what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Context;

    type Tasks = TaskCodec;

    impl Task for u32 {
        type Output = String;
        type Error = bool;
        fn run(self, _: &Context) -> Result<String, bool> {
            Err(false)
        }
    }

    const TICKET: Ticket = Ticket {
        id: TaskId(u64::MAX - 7),
        attempt: 0xfedc,
    };

    fn encoded<M, C: Codec<M>>(message: &M) -> Vec<u8> {
        let mut bytes = vec![0; C::encoded_len(message).expect("a length")];
        assert_eq!(C::encode(message, &mut bytes).expect("room"), bytes.len());
        let short = bytes.len() - 1;
        let cut = C::encode(message, &mut vec![0; short]);
        assert!(matches!(cut, Err(EncodeError::NoRoom)));
        bytes
    }

    /// What a worker finds in a letter.
    fn found(bytes: &[u8]) -> Vec<(Ticket, Result<u32, String>)> {
        let letter = Letter::open(bytes).expect("a ticket");
        let open = |task: Result<&[u8], DecodeError>| {
            task.map_err(|error| reason(&error)).and_then(decode_task)
        };
        letter.map(|(ticket, task)| (ticket, open(task))).collect()
    }

    fn one(task: u32) -> Envelope<u32> {
        Envelope {
            ticket: TICKET,
            parcel: Parcel::Task(task),
        }
    }

    #[test]
    fn a_task_arrives_as_it_was_sent_also_a_second_time() {
        let bytes = encoded::<_, Tasks>(&one(4711));
        assert_eq!(found(&bytes), [(TICKET, Ok(4711))]);
        let again = Envelope::<u32>::reopen(&bytes).expect("a letter").pop();
        let mut again = again.expect("one task");
        assert_eq!(again.ticket, TICKET);
        again.ticket.attempt = 3;
        let third = again.ticket;
        assert_eq!(found(&encoded::<_, Tasks>(&again)), [(third, Ok(4711))]);
    }

    #[test]
    fn a_task_that_cannot_be_decoded_is_known_by_its_ticket() {
        let mut bytes = encoded::<_, Tasks>(&one(4711));
        bytes.pop();
        assert!(matches!(found(&bytes).as_slice(), [(TICKET, Err(_))]));
        bytes.truncate(HEADER - 1);
        assert!(Letter::open(&bytes).is_err());
    }

    /// Five tasks of four bytes each.
    fn chunk() -> Envelope<u32> {
        Envelope {
            ticket: TICKET,
            parcel: Parcel::Chunk((0..5).map(|n| 10 * n).collect()),
        }
    }

    #[test]
    fn a_chunk_arrives_as_it_was_sent_and_can_be_sent_again_one_by_one() {
        let bytes = encoded::<_, Tasks>(&chunk());
        let expected: Vec<_> = (0..5)
            .map(|n| (TICKET.nth(n), Ok(10 * u32::try_from(n).expect("few"))))
            .collect();
        assert_eq!(found(&bytes), expected);
        let again = Envelope::<u32>::reopen(&bytes).expect("a letter");
        for (envelope, expected) in again.into_iter().zip(expected) {
            assert_eq!(found(&encoded::<_, Tasks>(&envelope)), [expected]);
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
            for (n, (ticket, task)) in tasks.iter().enumerate() {
                assert_eq!(*ticket, TICKET.nth(n));
                assert_eq!(task.is_ok(), n < whole_tasks, "{n} of {length}");
            }
            assert_eq!(Envelope::<u32>::reopen(bytes).expect("a ticket").len(), 5);
        }
        let mut absurd = whole;
        absurd.splice(HEADER..HEADER + COUNT, [0xff; COUNT]);
        assert!(matches!(found(&absurd).as_slice(), [(TICKET, Err(_))]));
    }

    fn arrived(done: Done<String, bool>) -> OutcomeOf<u32> {
        let bytes = encoded::<_, ResultCodec<u32>>(&Answer {
            ticket: TICKET,
            done,
        });
        let arrived = ArrivedCodec::decode(&bytes).expect("a result");
        assert_eq!(arrived.ticket, TICKET);
        let result = match arrived.done {
            Done::Output(output) => Ok(output),
            Done::Failed(error) => Err(TaskError::Failed(error)),
            Done::Panicked(panic) => Err(TaskError::Panicked(panic)),
            Done::Cancelled => Err(TaskError::Cancelled),
            Done::Transport(what) => Err(TaskError::Transport { what }),
        };
        let sealed = Sealed {
            id: TICKET.id,
            attempts: 1,
            result,
        };
        sealed.open::<u32>()
    }

    #[test]
    fn every_kind_of_result_arrives() {
        for length in [0, 1, SHORT - 9, SHORT - 8, SHORT - 7, SHORT, 300] {
            let output = "x".repeat(length);
            assert_eq!(
                arrived(Done::Output(output.clone())).result.ok(),
                Some(output)
            );
        }
        let error = |done| arrived(done).result.expect_err("no output");
        assert!(matches!(error(Done::Failed(true)), TaskError::Failed(true)));
        let panic = Panic {
            message: "so".to_owned(),
            place: "there".to_owned(),
        };
        match error(Done::Panicked(panic.clone())) {
            TaskError::Panicked(arrived) => assert_eq!(arrived, panic),
            other => panic!("{other:?}"),
        }
        assert!(matches!(error(Done::Cancelled), TaskError::Cancelled));
        match error(Done::Transport("why".to_owned())) {
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
        let said = Encoded::new(&[]).decode::<Bad>().err();
        assert!(said.is_some_and(|said| said.ends_with("panicked: of 7")));
    }
}
