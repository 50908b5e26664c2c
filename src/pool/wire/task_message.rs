//! The messages of the tasks queue, and the layout that both queues share: the [attempt](TaskAttempt), then the task or
//! its result.
//!
//! | bytes | a task                         | a result                  |
//! |-------|--------------------------------|---------------------------|
//! | 0-7   | id of the task                 | the same                  |
//! | 8-9   | the number of the attempt      | the same                  |
//! | 10    | 0: one task; 1: a chunk        | the kind of result        |
//! | 11    | 0                              | 0                         |
//! | 12-   | the task, by the default codec | the contents of this kind |
//!
//! A chunk is several tasks with consecutive ids; the message has the first id. From byte 12 on come the number of
//! tasks, in four bytes, then for each task its length, in four bytes, and the task. They only travel together: each
//! task runs, ends and counts by itself.
//!
//! WIRE-1. Decoding the attempt of a message that these codecs have encoded never fails. So the caller of a task or an
//!     output that cannot be decoded gets an outcome. The other tasks of a chunk are not affected.
//! WIRE-2. A task that is sent again is not decoded by the parent, which may be unable to decode it.
//! WIRE-3. Receiving runs no user code. A worker decodes each task just before it runs, when the task is on the board
//!     already. The parent keeps outputs and errors encoded until they are claimed.

use super::task_attempt::{HEADER, TaskAttempt, reason};
use crate::codec::{Bincode, Codec, DecodeError, EncodeError};
use crate::pool::task::Task;

/// The kind of a message that holds one task.
const ONE_TASK: u8 = 0;

/// The kind of a message that holds several.
const CHUNK: u8 = 1;

/// Never sent: the kind of a chunk with an impossible number of tasks.
const UNREADABLE_CHUNK: u8 = u8::MAX;

/// The length field before each task of a chunk, and before all of them.
pub(super) const COUNT: usize = size_of::<u32>();

/// More tasks than any chunk has.
const MANY: usize = 1 << 16;

/// A task that is to be sent, or several.
pub(crate) struct Envelope<T> {
    /// The attempt of the task, or of the first one.
    pub(crate) attempt: TaskAttempt,
    pub(crate) payload: Payload<T>,
}

/// The contents of an envelope.
pub(crate) enum Payload<T> {
    Task(T),
    /// Several tasks with consecutive ids; the envelope has the first id.
    Chunk(Vec<T>),
    /// A task in its earlier encoding (WIRE-2).
    Encoded(Vec<u8>),
    /// A task whose bytes were not found in its dead letter, and why (WIRE-1).
    Unreadable(String),
}

impl<T> Envelope<T> {
    /// Returns the tasks of a dead letter, each to be sent again as it is.
    pub(crate) fn from_dead_letter(letter: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let tasks = TaskMessage::open(letter)?;
        let envelope = |(attempt, task): (TaskAttempt, Result<&[u8], DecodeError>)| Self {
            attempt,
            payload: match task {
                Ok(bytes) => Payload::Encoded(bytes.to_vec()),
                Err(error) => Payload::Unreadable(reason(&error)),
            },
        };
        Ok(tasks.map(envelope).collect())
    }

    /// Returns the tasks of the caller.
    pub(crate) fn into_tasks(self) -> Vec<T> {
        match self.payload {
            Payload::Task(task) => vec![task],
            Payload::Chunk(tasks) => tasks,
            Payload::Encoded(_) | Payload::Unreadable(_) => Vec::new(),
        }
    }

    /// Returns the task of an envelope with a single one. See [`into_tasks`](Envelope::into_tasks).
    pub(crate) fn into_task(self) -> Option<T> {
        match self.payload {
            Payload::Task(task) => Some(task),
            _ => self.into_tasks().pop(),
        }
    }
}

/// The tasks of an encoded message of the tasks queue, each with its attempt, none decoded (WIRE-3).
pub(crate) struct TaskMessage<'a> {
    attempt: TaskAttempt,
    next: usize,
    count: usize,
    kind: u8,
    rest: &'a [u8],
}

impl<'a> TaskMessage<'a> {
    #[inline]
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (attempt, kind, rest) = TaskAttempt::decode(bytes)?;
        let (count, kind, rest) = match get(rest) {
            Some((count, rest)) if kind == CHUNK && count <= MANY => (count, kind, rest),
            // A chunk with an impossible number is reported for its first task.
            _ if kind == CHUNK => (1, UNREADABLE_CHUNK, rest),
            _ => (1, kind, rest),
        };
        Ok(Self {
            attempt,
            next: 0,
            count,
            kind,
            rest,
        })
    }

    #[inline]
    fn task(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.kind {
            ONE_TASK => Ok(self.rest),
            CHUNK => {
                let found = get(self.rest);
                let found = found.and_then(|(length, rest)| rest.split_at_checked(length));
                self.rest = found.map_or(&[], |(_, rest)| rest);
                let task = found.map(|(task, _)| task);
                task.ok_or_else(|| DecodeError::new("a truncated chunk"))
            }
            UNREADABLE_CHUNK => Err(DecodeError::new("a chunk without a valid length")),
            kind => Err(DecodeError::new(format!(
                "a message of the unknown kind {kind}"
            ))),
        }
    }
}

impl<'a> Iterator for TaskMessage<'a> {
    type Item = (TaskAttempt, Result<&'a [u8], DecodeError>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            return None;
        }
        let attempt = self.attempt.nth(self.next);
        self.next += 1;
        Some((attempt, self.task()))
    }
}

/// Decodes a task of a [`TaskMessage`].
#[inline]
pub(crate) fn decode_task<T: Task>(bytes: &[u8]) -> Result<T, String> {
    <Bincode as Codec<T>>::decode(bytes).map_err(|error| reason(&error))
}

/// The codec of tasks: see the table above.
pub(crate) struct TaskCodec;

/// The name of [`TaskCodec`].
pub(crate) const TASKS_CODEC: &str =
    "tasks of workring, 1; bincode 2, serde, little-endian, fixed-width integers";

impl<T: Task> Codec<Envelope<T>> for TaskCodec {
    const NAME: &'static str = TASKS_CODEC;

    #[inline]
    fn encode(envelope: &Envelope<T>, into: &mut [u8]) -> Result<usize, EncodeError> {
        let kind = match envelope.payload {
            Payload::Chunk(_) => CHUNK,
            _ => ONE_TASK,
        };
        let rest = envelope.attempt.encode(kind, into)?;
        Ok(HEADER
            + match &envelope.payload {
                Payload::Task(task) => Bincode::encode(task, rest)?,
                Payload::Chunk(tasks) => encode_tasks(tasks, rest)?,
                Payload::Encoded(bytes) => copy(bytes, rest)?,
                Payload::Unreadable(what) => return Err(EncodeError::failed(what.as_str())),
            })
    }

    fn encoded_len(envelope: &Envelope<T>) -> Result<usize, EncodeError> {
        Ok(HEADER
            + match &envelope.payload {
                Payload::Task(task) => Bincode::encoded_len(task)?,
                Payload::Chunk(tasks) => tasks.iter().try_fold(COUNT, |length, task| {
                    Ok(length + COUNT + Bincode::encoded_len(task)?)
                })?,
                Payload::Encoded(bytes) => bytes.len(),
                Payload::Unreadable(what) => return Err(EncodeError::failed(what.as_str())),
            })
    }

    /// Required by the trait only: both sides read a [`TaskMessage`] (WIRE-3).
    fn decode(bytes: &[u8]) -> Result<Envelope<T>, DecodeError> {
        let task = Envelope::from_dead_letter(bytes)?.into_iter().next();
        task.ok_or_else(|| DecodeError::new("a chunk without tasks"))
    }
}

/// Writes the tasks of a chunk, each after its length. Returns the number of bytes.
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

#[inline]
fn put(count: usize, into: &mut [u8]) -> Result<&mut [u8], EncodeError> {
    let (first, rest) = into
        .split_first_chunk_mut::<COUNT>()
        .ok_or(EncodeError::NoRoom)?;
    *first = number(count)?.to_le_bytes();
    Ok(rest)
}

#[inline]
fn number(count: usize) -> Result<u32, EncodeError> {
    u32::try_from(count).map_err(EncodeError::failed)
}

#[inline]
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
