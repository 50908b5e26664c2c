//! The messages of the tasks queue, and the layout that both queues share: the [attempt](TaskAttempt), then the task or
//! its result.
//!
//! | bytes | a task                         | a result                  |
//! |-------|--------------------------------|---------------------------|
//! | 0-7   | id of the task                 | the same                  |
//! | 8-9   | the number of the attempt      | the same                  |
//! | 10    | 0: one task; 1: a chunk; plus  | the kind of result        |
//! |       | 64 if it has a key             |                           |
//! | 11    | 0                              | 0                         |
//! | 12-   | the key, if any; then the task | the contents of this kind |
//! |       | by the default codec           |                           |
//!
//! The [key](TaskKey) says which registered task it is; messages of a pool of one type have none.
//!
//! A chunk is several tasks with consecutive ids; the message has the first id. From byte 12 on, or after the key, come the number
//! of tasks, in four bytes, then for each task its length, in four bytes, and the task. They only travel together: each
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

/// The length of a [`TaskKey`].
const KEY: usize = size_of::<u64>();

/// The name of the codec of the queue of tasks.
pub(crate) const TASKS_CODEC: &str =
    "tasks of workring, 2; bincode 2, serde, little-endian, fixed-width integers";

/// More tasks than any chunk has.
const MAX_COUNT: usize = 1 << 16;

/// Added to the kind of a message that has a [key](TaskKey).
const KEYED: u8 = 64;

/// Which registered task a message holds: a hash of its name. The same in every build of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskKey(u64);

impl TaskKey {
    /// The key of tasks of a pool of one type, which needs none.
    pub(crate) const NONE: Self = Self(0);

    /// Returns the key as a number.
    #[cfg(feature = "macros")]
    pub(crate) const fn number(self) -> u64 {
        self.0
    }

    /// Returns the key of the task with this name, which is not [`NONE`](TaskKey::NONE).
    #[cfg(any(feature = "macros", test))]
    pub(crate) const fn of(name: &str) -> Self {
        // FNV-1a.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut bytes = name.as_bytes();
        while let [first, rest @ ..] = bytes {
            hash = (hash ^ *first as u64).wrapping_mul(0x0000_0100_0000_01b3);
            bytes = rest;
        }
        Self(if hash == 0 { 1 } else { hash })
    }
}

/// A task that is to be sent, or several.
pub(crate) struct Envelope<T> {
    /// The attempt of the task, or of the first one.
    pub(crate) attempt: TaskAttempt,
    pub(crate) key: TaskKey,
    pub(crate) payload: Payload<T>,
}

/// The contents of an envelope.
pub(crate) enum Payload<T> {
    Task(T),
    /// Several tasks with consecutive ids; the envelope has the first id.
    Chunk(Vec<T>),
}

impl<T> Envelope<T> {
    /// Returns the tasks.
    pub(crate) fn into_tasks(self) -> Vec<T> {
        match self.payload {
            Payload::Task(task) => vec![task],
            Payload::Chunk(tasks) => tasks,
        }
    }

    /// Returns the task of an envelope with a single one. See [`into_tasks`](Envelope::into_tasks).
    pub(crate) fn into_task(self) -> Option<T> {
        match self.payload {
            Payload::Task(task) => Some(task),
            Payload::Chunk(mut tasks) => tasks.pop(),
        }
    }
}

/// A task in the encoding in which it was found in a message of the queue.
pub(crate) struct EncodedTask {
    pub(crate) attempt: TaskAttempt,
    pub(crate) key: TaskKey,
    /// Its bytes (WIRE-2), or why they were not found in its dead letter (WIRE-1).
    bytes: Result<Vec<u8>, String>,
}

impl EncodedTask {
    /// Returns the tasks of a message of the queue, such as a dead letter, each to be sent again as it is.
    pub(crate) fn all_of(message: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let tasks = TaskMessage::open(message)?;
        let key = tasks.key;
        let encoded = |(attempt, task): (TaskAttempt, Result<&[u8], DecodeError>)| Self {
            attempt,
            key,
            bytes: task.map(<[u8]>::to_vec).map_err(|error| reason(&error)),
        };
        Ok(tasks.map(encoded).collect())
    }

    /// Encodes a single task, to be sent later. Returns it with the length of its message. Runs the program's `Serialize`.
    pub(crate) fn encode<T: Task>(envelope: &Envelope<T>) -> Result<(Self, usize), EncodeError> {
        let mut message = vec![0; TaskCodec::encoded_len(envelope)?];
        let length = TaskCodec::encode(envelope, &mut message)?;
        let message = message.get(..length).ok_or(EncodeError::NoRoom)?;
        let task = Self::all_of(message).map_err(EncodeError::failed)?;
        let task = task.into_iter().next().ok_or(EncodeError::NoRoom)?;
        Ok((task, length))
    }

    fn bytes(&self) -> Result<&[u8], EncodeError> {
        match &self.bytes {
            Ok(bytes) => Ok(bytes),
            Err(what) => Err(EncodeError::failed(what.as_str())),
        }
    }
}

/// The tasks of an encoded message of the tasks queue, each with its attempt, none decoded (WIRE-3).
pub(crate) struct TaskMessage<'a> {
    attempt: TaskAttempt,
    key: TaskKey,
    next: usize,
    count: usize,
    kind: u8,
    rest: &'a [u8],
}

impl<'a> TaskMessage<'a> {
    #[inline]
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (attempt, kind, rest) = TaskAttempt::decode(bytes)?;
        let (key, kind, rest) = match rest.split_first_chunk() {
            Some((key, rest)) if kind & KEYED != 0 => {
                (TaskKey(u64::from_le_bytes(*key)), kind - KEYED, rest)
            }
            _ => (TaskKey::NONE, kind, rest),
        };
        let (count, kind, rest) = match get(rest) {
            Some((count, rest)) if kind == CHUNK && count <= MAX_COUNT => (count, kind, rest),
            // A chunk with an impossible number is reported for its first task.
            _ if kind == CHUNK => (1, UNREADABLE_CHUNK, rest),
            _ => (1, kind, rest),
        };
        Ok(Self {
            attempt,
            key,
            next: 0,
            count,
            kind,
            rest,
        })
    }

    /// Returns which registered task it holds.
    #[inline]
    pub(crate) const fn key(&self) -> TaskKey {
        self.key
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

/// Writes the attempt, the kind and the key of a message. Returns the rest of the room, and how many bytes were written.
#[inline]
fn encode_head(
    attempt: TaskAttempt,
    key: TaskKey,
    kind: u8,
    into: &mut [u8],
) -> Result<(usize, &mut [u8]), EncodeError> {
    if key == TaskKey::NONE {
        return Ok((HEADER, attempt.encode(kind, into)?));
    }
    let rest = attempt.encode(kind | KEYED, into)?;
    let (place, rest) = rest.split_first_chunk_mut().ok_or(EncodeError::NoRoom)?;
    *place = key.0.to_le_bytes();
    Ok((HEADER + KEY, rest))
}

/// Returns the length of what [`encode_head`] writes.
fn head_len(key: TaskKey) -> usize {
    HEADER + if key == TaskKey::NONE { 0 } else { KEY }
}

/// The codec of callers' tasks: see the table above.
pub(crate) struct TaskCodec;

impl<T: Task> Codec<Envelope<T>> for TaskCodec {
    const NAME: &'static str = TASKS_CODEC;

    #[inline]
    fn encode(envelope: &Envelope<T>, into: &mut [u8]) -> Result<usize, EncodeError> {
        let kind = match envelope.payload {
            Payload::Chunk(_) => CHUNK,
            Payload::Task(_) => ONE_TASK,
        };
        let (head, rest) = encode_head(envelope.attempt, envelope.key, kind, into)?;
        Ok(head
            + match &envelope.payload {
                Payload::Task(task) => Bincode::encode(task, rest)?,
                Payload::Chunk(tasks) => encode_tasks(tasks, rest)?,
            })
    }

    fn encoded_len(envelope: &Envelope<T>) -> Result<usize, EncodeError> {
        Ok(head_len(envelope.key)
            + match &envelope.payload {
                Payload::Task(task) => Bincode::encoded_len(task)?,
                Payload::Chunk(tasks) => tasks.iter().try_fold(COUNT, |length, task| {
                    Ok(length + COUNT + Bincode::encoded_len(task)?)
                })?,
            })
    }

    /// Required by the trait only: both sides read a [`TaskMessage`] (WIRE-3).
    fn decode(_: &[u8]) -> Result<Envelope<T>, DecodeError> {
        Err(DecodeError::new("a worker decodes a task when it runs it"))
    }
}

/// The codec of the queue of tasks, whatever their type: it encodes tasks that are sent again.
pub(crate) struct EncodedTaskCodec;

impl Codec<EncodedTask> for EncodedTaskCodec {
    const NAME: &'static str = TASKS_CODEC;

    fn encode(task: &EncodedTask, into: &mut [u8]) -> Result<usize, EncodeError> {
        let bytes = task.bytes()?;
        let (head, rest) = encode_head(task.attempt, task.key, ONE_TASK, into)?;
        Ok(head + copy(bytes, rest)?)
    }

    fn encoded_len(task: &EncodedTask) -> Result<usize, EncodeError> {
        let bytes = task.bytes()?;
        Ok(head_len(task.key) + bytes.len())
    }

    /// Required by the trait only, as above.
    fn decode(bytes: &[u8]) -> Result<EncodedTask, DecodeError> {
        let task = EncodedTask::all_of(bytes)?.into_iter().next();
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
