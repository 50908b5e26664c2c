//! The messages of the results queue.

use super::panics::catch_panic_message;
use super::task_attempt::{HEADER, TaskAttempt, reason};
use crate::codec::{Bincode, Codec, DecodeError, EncodeError};
use crate::pool::outcome::{Outcome, Panic, TaskError, TaskId};
use crate::pool::task::{OutcomeOf, Task};
use core::fmt;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The outcome of a task, as the worker sends it.
pub(crate) struct ResultMessage<O, E> {
    pub(crate) attempt: TaskAttempt,
    pub(crate) result: WorkerResult<O, E>,
}

/// The outcome of a task, as the parent receives it: still encoded.
pub(crate) struct EncodedResult {
    /// The [number](TaskAttempt::number) of the attempt.
    pub(crate) attempt: u16,
    /// The outcome of this attempt. Its `attempts` count this one only, if it was started.
    pub(crate) outcome: EncodedOutcome,
}

/// The kinds of results.
pub(crate) enum WorkerResult<O, E> {
    Output(O),
    Failed(E),
    Panicked(Panic),
    /// It was cancelled before it was started.
    Cancelled,
    /// The task or its output could not be encoded or decoded.
    Transport(String),
}

/// The name of the codec of the queue of results.
pub(crate) const RESULTS_CODEC: &str =
    "results of workring, 1; bincode 2, serde, little-endian, fixed-width integers";

const OUTPUT: u8 = 0;

const FAILED: u8 = 1;

const PANICKED: u8 = 2;

const CANCELLED: u8 = 3;

const TRANSPORT: u8 = 4;

/// Not a result, but a value that a task has emitted: see [`super::emission`].
pub(super) const EMISSION: u8 = 5;

/// The attempt of emissions, which no result has. So the table of tasks takes one for no result.
pub(crate) const NO_ATTEMPT: u16 = 0;

/// The worker's codec of results: see the table in `task_message`.
pub(crate) struct ResultCodec;

impl<O, E> Codec<ResultMessage<O, E>> for ResultCodec
where
    O: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    const NAME: &'static str = RESULTS_CODEC;

    #[inline]
    fn encode(message: &ResultMessage<O, E>, into: &mut [u8]) -> Result<usize, EncodeError> {
        let attempt = message.attempt;
        Ok(HEADER
            + match &message.result {
                WorkerResult::Output(output) => {
                    Bincode::encode(output, attempt.encode(OUTPUT, into)?)?
                }
                WorkerResult::Failed(error) => {
                    Bincode::encode(error, attempt.encode(FAILED, into)?)?
                }
                WorkerResult::Panicked(panic) => {
                    Bincode::encode(&text_of(panic), attempt.encode(PANICKED, into)?)?
                }
                WorkerResult::Cancelled => attempt.encode(CANCELLED, into).map(|_| 0)?,
                WorkerResult::Transport(what) => {
                    Bincode::encode(what, attempt.encode(TRANSPORT, into)?)?
                }
            })
    }

    fn encoded_len(message: &ResultMessage<O, E>) -> Result<usize, EncodeError> {
        Ok(HEADER
            + match &message.result {
                WorkerResult::Output(output) => Bincode::encoded_len(output)?,
                WorkerResult::Failed(error) => Bincode::encoded_len(error)?,
                WorkerResult::Panicked(panic) => Bincode::encoded_len(&text_of(panic))?,
                WorkerResult::Cancelled => 0,
                WorkerResult::Transport(what) => Bincode::encoded_len(what)?,
            })
    }

    /// Required by the trait only: the parent decodes by [`EncodedResultCodec`] (WIRE-3).
    fn decode(_: &[u8]) -> Result<ResultMessage<O, E>, DecodeError> {
        Err(DecodeError::new(
            "results are decoded when they are claimed",
        ))
    }
}

/// The codec of the queue of results, and of the parent: it leaves outputs and errors encoded, so that it runs no user code (WIRE-3).
pub(crate) struct EncodedResultCodec;

impl Codec<EncodedResult> for EncodedResultCodec {
    const NAME: &'static str = RESULTS_CODEC;

    fn encode(_: &EncodedResult, _: &mut [u8]) -> Result<usize, EncodeError> {
        Err(EncodeError::failed("the parent sends no results"))
    }

    fn encoded_len(_: &EncodedResult) -> Result<usize, EncodeError> {
        Err(EncodeError::failed("the parent sends no results"))
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<EncodedResult, DecodeError> {
        let (attempt, kind, rest) = TaskAttempt::decode(bytes)?;
        let result = if kind == OUTPUT {
            Ok(Encoded::new(rest))
        } else if kind == EMISSION {
            return Ok(emission(attempt.id, rest));
        } else {
            Err(without_output(kind, rest))
        };
        let started = u32::from(kind != CANCELLED);
        Ok(EncodedResult {
            attempt: attempt.number,
            outcome: Outcome::new(attempt.id, started, result),
        })
    }
}

/// Returns what the parent receives for a value that a task has emitted, which stays encoded.
#[cold]
fn emission(task: TaskId, contents: &[u8]) -> EncodedResult {
    EncodedResult {
        attempt: NO_ATTEMPT,
        outcome: Outcome::new(task, 0, Ok(Encoded::new(contents))),
    }
}

/// Decodes the reason why there is no output. An error of the task itself stays encoded.
#[cold]
fn without_output(kind: u8, rest: &[u8]) -> TaskError<Encoded> {
    let error = match kind {
        FAILED => Ok(TaskError::Failed(Encoded::new(rest))),
        PANICKED => <Bincode as Codec<(String, String)>>::decode(rest)
            .map(|(message, place)| TaskError::Panicked(Panic { message, place })),
        CANCELLED => Ok(TaskError::Cancelled),
        TRANSPORT => {
            <Bincode as Codec<String>>::decode(rest).map(|what| TaskError::Transport { what })
        }
        _ => Err(DecodeError::new(format!(
            "a result of the unknown kind {kind}"
        ))),
    };
    error.unwrap_or_else(|error| transport(reason(&error)))
}

/// Returns the message and the place. Owned, as the codec requires; this path is cold.
fn text_of(panic: &Panic) -> (String, String) {
    (panic.message.clone(), panic.place.clone())
}

/// An output or an error that is not decoded yet. Dropping it runs no code of the user.
pub(crate) struct Encoded(Bytes);

enum Bytes {
    /// A small result, stored inline.
    Short {
        length: u8,
        bytes: Aligned,
    },
    Long(Box<[u8]>),
}

/// The longest result that is stored inline, without an allocation: all but the four longest lengths that a cell of the results
/// queue has room for. With its length and kind, a result is eleven words.
pub(super) const SHORT: usize = 80;

/// The bytes of a short result. They are copied here, and at once moved on in pieces of 16 bytes. Aligned, because a processor has
/// to wait before it can load such a piece if several stores have written it.
#[repr(align(8))]
struct Aligned([u8; SHORT]);

const _: () = assert!(size_of::<Encoded>() == 88);

impl Encoded {
    #[inline]
    pub(super) fn new(from: &[u8]) -> Self {
        let mut bytes = Aligned([0; SHORT]);
        match (bytes.0.get_mut(..from.len()), u8::try_from(from.len())) {
            (Some(short), Ok(length)) => {
                short.copy_from_slice(from);
                Self(Bytes::Short { length, bytes })
            }
            _ => Self(Bytes::Long(from.into())),
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { length, bytes } => {
                bytes.0.get(..usize::from(*length)).unwrap_or_default()
            }
            Bytes::Long(bytes) => bytes,
        }
    }

    /// Decodes the value, which runs user code. If that panics, the panic is the reason why there is no value.
    pub(super) fn decode<V: Serialize + DeserializeOwned>(&self) -> Result<V, String> {
        let mut result = Err(String::new());
        self.decode_into(&mut result, |what| what);
        result
    }

    /// Decodes the value to the place where the caller needs it: a large one is moved only once. `error` makes an error
    /// of the reason why there is no value.
    #[inline]
    fn decode_into<V: Serialize + DeserializeOwned, E>(
        &self,
        result: &mut Result<V, E>,
        error: impl Fn(String) -> E,
    ) {
        let decode = || match <Bincode as Codec<V>>::decode(self.bytes()) {
            Ok(value) => *result = Ok(value),
            Err(failed) => *result = Err(error(reason(&failed))),
        };
        if let Err(message) = catch_panic_message(decode) {
            *result = Err(error(format!("decoding it panicked: {message}")));
        }
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes().len())
    }
}

/// An unclaimed outcome in the parent.
pub(crate) type EncodedOutcome = Outcome<Encoded, Encoded>;

impl EncodedOutcome {
    /// Takes the outcome out of a place that is about to be dropped or used again.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new(self.id, 0, Err(TaskError::Cancelled)))
    }

    /// Decodes the outcome for the caller that has claimed it. What is left is of no use.
    ///
    /// Must not be called under a lock, nor by the leader: see [`Encoded::decode`].
    #[inline]
    pub(crate) fn decode<T: Task>(&mut self) -> OutcomeOf<T> {
        let mut outcome = Outcome::new(self.id, self.attempts, Err(TaskError::Cancelled));
        outcome.carried = self.carried.take();
        match &self.result {
            Ok(output) => output.decode_into(&mut outcome.result, transport),
            Err(_) => {
                if let Err(error) = self.take().result {
                    outcome.result = Err(error.decode());
                }
            }
        }
        if outcome.result.is_ok()
            && let Some(carried) = outcome.carried.take()
        {
            outcome.carried = carried.without_task();
        }
        outcome
    }
}

#[cfg(feature = "macros")]
impl EncodedOutcome {
    /// Returns the outcome without the output and the task's error.
    pub(crate) fn status(&self) -> Outcome<(), ()> {
        let result = self.result.as_ref().map(|_| ()).map_err(TaskError::status);
        Outcome::new(self.id, self.attempts, result)
    }
}

impl TaskError<Encoded> {
    #[cfg(feature = "macros")]
    fn status(&self) -> TaskError<()> {
        match self {
            Self::Failed(_) => TaskError::Failed(()),
            Self::Panicked(panic) => TaskError::Panicked(panic.clone()),
            Self::Crashed { status } => TaskError::Crashed { status: *status },
            Self::Cancelled => TaskError::Cancelled,
            Self::TimedOut => TaskError::TimedOut,
            Self::TooMuchMemory { resident } => TaskError::TooMuchMemory {
                resident: *resident,
            },
            Self::NoWorkers { why } => TaskError::NoWorkers { why: why.clone() },
            Self::Transport { what } => TaskError::Transport { what: what.clone() },
            Self::Unknown { what } => TaskError::Unknown { what },
        }
    }

    #[cold]
    fn decode<E: Serialize + DeserializeOwned>(self) -> TaskError<E> {
        match self {
            Self::Failed(error) => error.decode().map_or_else(transport, TaskError::Failed),
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

#[cold]
fn transport<E>(what: String) -> TaskError<E> {
    TaskError::Transport { what }
}
