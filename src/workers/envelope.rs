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
//! E1. To decode the ticket never fails for what a codec of this file has encoded, whatever follows it: a task or an
//!     output that can't be decoded is known by its ticket, and its caller gets an outcome. In a chunk, the other tasks are
//!     not concerned.
//! E2. A task that is sent again is not decoded: the parent may not be able to, and has no need.

use super::task::{Panic, Task, TaskId};
use crate::codec::{Bincode, Codec, DecodeError, EncodeError};
use core::marker::PhantomData;

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
    Chunk(Vec<Part<T>>),
    /// A task as it was encoded before (E2).
    Encoded(Vec<u8>),
    /// A task that can't be decoded here, and why (E1).
    Broken(String),
}

/// A task of a chunk, or why it can't be decoded here (E1).
pub(super) type Part<T> = Result<T, String>;

impl<T> From<Part<T>> for Parcel<T> {
    fn from(part: Part<T>) -> Self {
        part.map_or_else(Self::Broken, Self::Task)
    }
}

impl<T> Envelope<T> {
    pub(super) fn new(ticket: Ticket, task: T) -> Self {
        Self {
            ticket,
            parcel: Parcel::Task(task),
        }
    }

    /// The tasks of a dead letter, each to be sent again as it is.
    pub(super) fn reopen(letter: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let (ticket, kind, rest) = Ticket::decode(letter)?;
        if kind != CHUNK {
            let parcel = Parcel::Encoded(rest.to_vec());
            return Ok(vec![Self { ticket, parcel }]);
        }
        let parts = parts(rest, |bytes| Ok(bytes.to_vec()))?;
        let parcels = parts
            .into_iter()
            .map(|part| part.map_or_else(Parcel::Broken, Parcel::Encoded));
        Ok((0..)
            .zip(parcels)
            .map(|(n, parcel)| Self {
                ticket: ticket.nth(n),
                parcel,
            })
            .collect())
    }

    /// The task, which is there unless this is a copy of a letter.
    pub(super) fn into_task(self) -> Option<T> {
        match self.parcel {
            Parcel::Task(task) => Some(task),
            Parcel::Chunk(_) | Parcel::Encoded(_) | Parcel::Broken(_) => None,
        }
    }
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
                Parcel::Chunk(parts) => encode_parts(parts, rest)?,
                Parcel::Encoded(bytes) => copy(bytes, rest)?,
                Parcel::Broken(what) => return Err(EncodeError::failed(what.as_str())),
            })
    }

    fn encoded_len(envelope: &Envelope<T>) -> Result<usize, EncodeError> {
        Ok(HEADER
            + match &envelope.parcel {
                Parcel::Task(task) => Bincode::encoded_len(task)?,
                Parcel::Chunk(parts) => parts.iter().try_fold(COUNT, |length, part| {
                    Ok(length + COUNT + Bincode::encoded_len(decoded(part)?)?)
                })?,
                Parcel::Encoded(bytes) => bytes.len(),
                Parcel::Broken(what) => return Err(EncodeError::failed(what.as_str())),
            })
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Envelope<T>, DecodeError> {
        let (ticket, kind, rest) = Ticket::decode(bytes)?;
        let parcel = match kind {
            ONE_TASK => <Bincode as Codec<T>>::decode(rest)
                .map_or_else(|error| broken(&error), Parcel::Task),
            CHUNK => parts(rest, <Bincode as Codec<T>>::decode)
                .map_or_else(|error| broken(&error), Parcel::Chunk),
            _ => Parcel::Broken(format!("a message of the unknown kind {kind}")),
        };
        Ok(Envelope { ticket, parcel })
    }
}

#[cold]
fn broken<T>(error: &DecodeError) -> Parcel<T> {
    Parcel::Broken(reason(error))
}

fn decoded<T>(part: &Part<T>) -> Result<&T, EncodeError> {
    part.as_ref()
        .map_err(|what| EncodeError::failed(what.as_str()))
}

/// Write the tasks of a chunk, each behind its length. How many bytes that takes.
fn encode_parts<T: Task>(parts: &[Part<T>], into: &mut [u8]) -> Result<usize, EncodeError> {
    let room = into.len();
    let mut into = put(parts.len(), into)?;
    for part in parts {
        // The length is known only afterwards.
        let (length, rest) = into
            .split_first_chunk_mut::<COUNT>()
            .ok_or(EncodeError::NoRoom)?;
        let taken = Bincode::encode(decoded(part)?, rest)?;
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

/// What `open` makes of each task of a chunk. Those whose bytes can't be found can't be decoded either.
fn parts<R>(
    bytes: &[u8],
    mut open: impl FnMut(&[u8]) -> Result<R, DecodeError>,
) -> Result<Vec<Part<R>>, DecodeError> {
    let (count, mut rest) = get(bytes).ok_or_else(|| DecodeError::new("a chunk without end"))?;
    if count > MANY {
        return Err(DecodeError::new(format!("a chunk of {count} tasks")));
    }
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let found = get(rest).and_then(|(length, rest)| rest.split_at_checked(length));
        let part = found.map_or_else(
            || Err(DecodeError::new("a chunk that is cut off")),
            |(part, _)| open(part),
        );
        rest = found.map_or(&[], |(_, rest)| rest);
        parts.push(part.map_err(|error| reason(&error)));
    }
    Ok(parts)
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
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// What became of a task that a worker was given.
pub(super) struct Answer<T: Task> {
    pub(super) ticket: Ticket,
    pub(super) done: Done<T>,
}

/// The kinds of results.
pub(super) enum Done<T: Task> {
    Output(T::Output),
    Failed(T::Error),
    Panicked(Panic),
    /// It was cancelled before it was started.
    Cancelled,
    /// The task, or its output, is not what a codec can deal with.
    NotCarried(String),
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
                Done::NotCarried(what) => Bincode::encode(what, ticket.encode(NOT_CARRIED, into)?)?,
            })
    }

    fn encoded_len(answer: &Answer<T>) -> Result<usize, EncodeError> {
        Ok(HEADER
            + match &answer.done {
                Done::Output(output) => Bincode::encoded_len(output)?,
                Done::Failed(error) => Bincode::encoded_len(error)?,
                Done::Panicked(panic) => Bincode::encoded_len(&words(panic))?,
                Done::Cancelled => 0,
                Done::NotCarried(what) => Bincode::encoded_len(what)?,
            })
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Answer<T>, DecodeError> {
        let (ticket, kind, rest) = Ticket::decode(bytes)?;
        let done = match kind {
            OUTPUT => <Bincode as Codec<T::Output>>::decode(rest).map(Done::Output),
            FAILED => <Bincode as Codec<T::Error>>::decode(rest).map(Done::Failed),
            PANICKED => <Bincode as Codec<(String, String)>>::decode(rest)
                .map(|(message, place)| Done::Panicked(Panic { message, place })),
            CANCELLED => Ok(Done::Cancelled),
            NOT_CARRIED => <Bincode as Codec<String>>::decode(rest).map(Done::NotCarried),
            _ => Err(DecodeError::new(format!(
                "a result of the unknown kind {kind}"
            ))),
        };
        let done = done.unwrap_or_else(|error| Done::NotCarried(reason(&error)));
        Ok(Answer { ticket, done })
    }
}

/// Owned, as the codec wants it; nobody is in a hurry after a panic.
fn words(panic: &Panic) -> (String, String) {
    (panic.message.clone(), panic.place.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::Context;

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

    #[test]
    fn a_task_arrives_as_it_was_sent_also_a_second_time() {
        let bytes = encoded::<_, Tasks>(&Envelope::new(TICKET, 4711_u32));
        let again = Envelope::<u32>::reopen(&bytes).expect("a letter").pop();
        let mut again = again.expect("one task");
        assert_eq!(again.ticket, TICKET);
        again.ticket.attempt = 3;
        let arrived: Envelope<u32> = Tasks::decode(&encoded::<_, Tasks>(&again)).expect("a task");
        assert_eq!((arrived.ticket.id, arrived.ticket.attempt), (TICKET.id, 3));
        assert_eq!(arrived.into_task(), Some(4711));
    }

    #[test]
    fn a_task_that_cannot_be_decoded_is_known_by_its_ticket() {
        let mut bytes = encoded::<_, Tasks>(&Envelope::new(TICKET, 4711_u32));
        bytes.pop();
        let arrived: Envelope<u32> = Tasks::decode(&bytes).expect("a ticket");
        assert_eq!(arrived.ticket, TICKET);
        assert!(matches!(arrived.parcel, Parcel::Broken(_)));
        bytes.truncate(HEADER - 1);
        assert!(<Tasks as Codec<Envelope<u32>>>::decode(&bytes).is_err());
    }

    fn chunk() -> Envelope<u32> {
        Envelope {
            ticket: TICKET,
            parcel: Parcel::Chunk((0..5).map(|n| Ok(10 * n)).collect()),
        }
    }

    #[test]
    fn the_tasks_of_a_chunk_arrive_together_and_are_sent_again_one_by_one() {
        let bytes = encoded::<_, Tasks>(&chunk());
        let arrived: Envelope<u32> = Tasks::decode(&bytes).expect("a ticket");
        assert_eq!(arrived.ticket, TICKET);
        let Parcel::Chunk(parts) = arrived.parcel else {
            panic!("no chunk");
        };
        assert_eq!(parts, [0, 10, 20, 30, 40].map(Ok));
        let again = Envelope::<u32>::reopen(&bytes).expect("a letter");
        for (n, envelope) in again.into_iter().enumerate() {
            assert_eq!(envelope.ticket, TICKET.nth(n));
            let arrived: Envelope<u32> =
                Tasks::decode(&encoded::<_, Tasks>(&envelope)).expect("a task");
            assert_eq!(arrived.ticket.id.0, TICKET.id.0 + n as u64);
            assert_eq!(
                arrived.into_task(),
                Some(10 * u32::try_from(n).expect("few"))
            );
        }
    }

    #[test]
    fn a_chunk_that_is_cut_off_spoils_only_the_tasks_that_are_missing() {
        let whole = encoded::<_, Tasks>(&chunk());
        for length in HEADER + COUNT..whole.len() {
            let bytes = whole.get(..length).expect("a part of it");
            let whole_tasks = (length - HEADER - COUNT) / (COUNT + size_of::<u32>());
            let arrived: Envelope<u32> = Tasks::decode(bytes).expect("a ticket");
            let Parcel::Chunk(parts) = arrived.parcel else {
                panic!("no chunk");
            };
            assert_eq!(parts.len(), 5);
            for (n, part) in parts.iter().enumerate() {
                assert_eq!(part.is_ok(), n < whole_tasks, "{n} of {length}");
            }
            assert_eq!(Envelope::<u32>::reopen(bytes).expect("a ticket").len(), 5);
        }
        let mut absurd = whole;
        absurd.splice(HEADER..HEADER + COUNT, [0xff; COUNT]);
        let arrived: Envelope<u32> = Tasks::decode(&absurd).expect("a ticket");
        assert!(matches!(arrived.parcel, Parcel::Broken(_)));
    }

    #[test]
    fn every_kind_of_result_arrives() {
        let panic = Panic {
            message: "so".to_owned(),
            place: "there".to_owned(),
        };
        let all: [Done<u32>; 5] = [
            Done::Output("out".to_owned()),
            Done::Failed(true),
            Done::Panicked(panic.clone()),
            Done::Cancelled,
            Done::NotCarried("why".to_owned()),
        ];
        for done in all {
            let sent = Answer {
                ticket: TICKET,
                done,
            };
            let bytes = encoded::<_, ResultCodec<u32>>(&sent);
            let arrived: Answer<u32> = ResultCodec::decode(&bytes).expect("a result");
            assert_eq!(arrived.ticket, TICKET);
            match (sent.done, arrived.done) {
                (Done::Failed(sent), Done::Failed(arrived)) => assert_eq!(sent, arrived),
                (Done::Panicked(sent), Done::Panicked(arrived)) => assert_eq!(sent, arrived),
                (Done::Output(sent), Done::Output(arrived))
                | (Done::NotCarried(sent), Done::NotCarried(arrived)) => assert_eq!(sent, arrived),
                (Done::Cancelled, Done::Cancelled) => {}
                _ => panic!("another kind has arrived"),
            }
        }
    }
}
