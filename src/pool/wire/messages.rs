//! The messages between a parent and a worker over their link.
//!
//! | from   | message         | meaning                                               | answer                     |
//! |--------|-----------------|-------------------------------------------------------|----------------------------|
//! | worker | `Process`       | before `Hello`: its process id, in its own namespace  |                            |
//! | worker | `Hello`         | its version and types                                 | `Welcome`, or it is killed |
//! | parent | `Welcome`       | parent and worker fit                                 | `Ready` or `CannotPrepare` |
//! | worker | `StartsPool`    | it starts a pool before it has become a worker        |                            |
//! | worker | `Ready`         | it is prepared, and takes tasks                       |                            |
//! | worker | `CannotPrepare` | its preparation failed, and why; it ends              |                            |
//! | worker | `TaskStarted`   | a task has started, if there is a listener            |                            |
//! | worker | `TaskEnded`     | its result was sent, if there is a listener           |                            |
//! | worker | `EmissionWaits` | what a task emits waits to be received                |                            |
//! | worker | `Log`           | a log event                                           |                            |
//! | parent | `Stop`          | take no more tasks                                    | `Stopping`                 |
//! | parent | `Cancel`        | also cancel the running task                          |                            |
//! | worker | `Stopping`      | it takes no more tasks                                | `Farewell`                 |
//! | parent | `Farewell`      | the parent needs nothing more                         | it exits                   |
//! | parent | `EndGroup`      | kill your process group, if the parent may not signal | it kills its own group     |
//!
//! A message is one datagram: a byte for its kind, then its parts by the default codec. A malformed message is logged
//! and skipped. Parent and worker may be of different versions; every version understands `Hello`.

use super::shape::shape;
use crate::codec::{Bincode, Codec, DecodeError};
use crate::os::program;
use crate::pool::task::Task;
use crate::segment::board::EmissionLimits;
use core::any::type_name;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a worker of a pool of all registered tasks has in place of the name of a type.
pub(crate) const REGISTERED: &str = "all registered tasks";

/// The version of this protocol. Raised with every change of a message or its meaning.
pub(crate) const PROTOCOL_VERSION: u32 = 6;

/// The length of the longest datagram.
pub(crate) const MAX_LEN: usize = 16 << 10;

/// The version and the types of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) protocol: u32,
    pub(crate) version: String,
    pub(crate) schema: u64,
    pub(crate) task: String,
    pub(crate) output: String,
    pub(crate) error: String,
    /// The [shapes](shape) of these types; empty if others have them.
    pub(crate) shapes: String,
    /// The build id of the program, if it has one. Programs of one build fit; others are compared.
    pub(crate) build: Option<String>,
}

impl Identity {
    /// Returns the identity of this program, for tasks of type `T`.
    pub(crate) fn of<T: Task>() -> Self {
        Self {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: T::SCHEMA,
            task: type_name::<T>().to_owned(),
            output: type_name::<T::Output>().to_owned(),
            error: type_name::<T::Error>().to_owned(),
            shapes: truncated(shapes_of::<T>()),
            build: own_build(),
        }
    }

    /// Returns the schema of the queues of the pool, which a worker names to inherit its ends.
    pub(crate) fn queue_schema(&self) -> String {
        format!("{} (schema {})", self.task, self.schema)
    }

    /// Compares with another side's identity. Returns the first difference: what differs, theirs, ours.
    pub(crate) fn mismatch(&self, theirs: &Self) -> Option<(&'static str, String, String)> {
        let number = |number: &dyn ToString| number.to_string();
        // A pool of all registered tasks lists them there.
        let of_output = if self.task == REGISTERED {
            "list of registered tasks"
        } else {
            "type of output"
        };
        let all = [
            ("protocol", number(&theirs.protocol), number(&self.protocol)),
            (
                "version of workring",
                theirs.version.clone(),
                self.version.clone(),
            ),
            ("type of task", theirs.task.clone(), self.task.clone()),
            (of_output, theirs.output.clone(), self.output.clone()),
            ("type of error", theirs.error.clone(), self.error.clone()),
            ("schema", number(&theirs.schema), number(&self.schema)),
            (
                "layout of the task",
                theirs.shapes.clone(),
                self.shapes.clone(),
            ),
        ];
        all.into_iter().find(|(_, theirs, ours)| theirs != ours)
    }
}

/// Returns the shapes of a task, its output and its error.
pub(crate) fn shapes_of<T: Task>() -> String {
    let (output, error) = (shape::<T::Output>(), shape::<T::Error>());
    format!("{} -> {output}, {error}", T::__shape())
}

/// Returns the build id of this program.
pub(crate) fn own_build() -> Option<String> {
    program::build_id().map(str::to_owned)
}

/// The level of a log event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// A log event of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogRecord {
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) message: String,
    /// Its fields, as text.
    pub(crate) fields: String,
    /// The spans around it, as text.
    pub(crate) spans: String,
    /// The task that the worker was running, and the number of the event among those of the task's thread; 0 if it is of
    /// another thread, or if events are not counted.
    pub(crate) task: Option<(u64, u64)>,
}

impl LogRecord {
    /// Returns an event of the crate itself.
    pub(crate) fn of_crate(level: Level, message: String) -> Self {
        Self {
            level,
            target: "workring".to_owned(),
            message: truncated(message),
            fields: String::new(),
            spans: String::new(),
            task: None,
        }
    }
}

const LEVELS: [Level; 5] = [
    Level::Error,
    Level::Warn,
    Level::Info,
    Level::Debug,
    Level::Trace,
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FromWorker {
    /// Its process id in its own namespace. The kernel adds the id that the parent sees.
    Process {
        pid: u32,
    },
    Hello(Identity),
    /// It starts a pool instead of becoming a worker.
    StartsPool,
    Ready,
    CannotPrepare {
        what: String,
    },
    TaskStarted {
        task: u64,
    },
    TaskEnded {
        task: u64,
    },
    /// What its task emits waits to be taken from the results queue.
    EmissionWaits,
    Log(LogRecord),
    Stopping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FromParent {
    Welcome(WorkerConfig),
    Stop,
    Cancel,
    Farewell,
    EndGroup,
}

/// The parent's settings for a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerConfig {
    /// Report the start and end of each task.
    pub(crate) reports_tasks: bool,
    /// The lowest level of log events to send; `None` sends none.
    pub(crate) verbosity: Option<Level>,
    /// Stop after this many tasks.
    pub(crate) max_tasks: Option<u64>,
    /// Stop after a task when more than this many bytes of memory are in use.
    pub(crate) max_memory: Option<u64>,
    /// The limit of the address space, in bytes.
    pub(crate) address_space: Option<u64>,
    /// Adopt orphaned descendants.
    pub(crate) adopts_orphans: bool,
    /// How much a task may emit before it waits.
    pub(crate) emissions: EmissionLimits,
}

const HELLO: u8 = 1;
const READY: u8 = 2;
const CANNOT_PREPARE: u8 = 3;
const TASK_STARTED: u8 = 4;
const TASK_ENDED: u8 = 5;
const LOG: u8 = 6;
const STOPPING: u8 = 7;
const STARTS_POOL: u8 = 8;
const PROCESS: u8 = 9;
const EMISSION_WAITS: u8 = 10;
const WELCOME: u8 = 65;
const STOP: u8 = 66;
const CANCEL: u8 = 67;
const FAREWELL: u8 = 68;
const END_GROUP: u8 = 69;

impl FromWorker {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(is) => {
                let names = (is.version.clone(), is.task.clone(), is.output.clone());
                let rest = (is.error.clone(), is.shapes.clone(), is.build.clone());
                message(HELLO, &(is.protocol, is.schema, names, rest))
            }
            Self::Process { pid } => message(PROCESS, pid),
            Self::StartsPool => vec![STARTS_POOL],
            Self::Ready => vec![READY],
            Self::CannotPrepare { what } => message(CANNOT_PREPARE, what),
            Self::TaskStarted { task } => message(TASK_STARTED, task),
            Self::TaskEnded { task } => message(TASK_ENDED, task),
            Self::EmissionWaits => vec![EMISSION_WAITS],
            Self::Log(log) => {
                let texts = (log.target.clone(), log.message.clone());
                let context = (log.fields.clone(), log.spans.clone(), log.task);
                message(LOG, &(log.level as u8, texts, context))
            }
            Self::Stopping => vec![STOPPING],
        }
    }

    /// Decodes a message. Returns `None` if these bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        Some(match kind {
            HELLO => {
                let (protocol, schema, (version, task, output), rest) = parts(rest).ok()?;
                let (error, shapes, build) = rest;
                Self::Hello(Identity {
                    protocol,
                    version,
                    schema,
                    task,
                    output,
                    error,
                    shapes,
                    build,
                })
            }
            PROCESS => Self::Process {
                pid: parts(rest).ok()?,
            },
            STARTS_POOL if rest.is_empty() => Self::StartsPool,
            READY if rest.is_empty() => Self::Ready,
            CANNOT_PREPARE => Self::CannotPrepare {
                what: parts(rest).ok()?,
            },
            TASK_STARTED => Self::TaskStarted {
                task: parts(rest).ok()?,
            },
            TASK_ENDED => Self::TaskEnded {
                task: parts(rest).ok()?,
            },
            EMISSION_WAITS if rest.is_empty() => Self::EmissionWaits,
            LOG => {
                let (level, (target, message), (fields, spans, task)) = parts(rest).ok()?;
                let level: u8 = level;
                Self::Log(LogRecord {
                    level: *LEVELS.get(usize::from(level))?,
                    target,
                    message,
                    fields,
                    spans,
                    task,
                })
            }
            STOPPING if rest.is_empty() => Self::Stopping,
            _ => return None,
        })
    }
}

impl FromParent {
    pub(crate) fn encode(self) -> Vec<u8> {
        match self {
            Self::Welcome(config) => {
                let tells = (
                    config.reports_tasks,
                    config.verbosity.map(|level| level as u8),
                );
                let bytes = (config.max_memory, config.address_space);
                let emissions = (config.emissions.in_queue, config.emissions.unread);
                let rest = (config.adopts_orphans, emissions);
                message(WELCOME, &(tells, config.max_tasks, bytes, rest))
            }
            Self::Stop => vec![STOP],
            Self::Cancel => vec![CANCEL],
            Self::Farewell => vec![FAREWELL],
            Self::EndGroup => vec![END_GROUP],
        }
    }

    /// Decodes a message. Returns `None` if these bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        Some(match kind {
            WELCOME => {
                let (tells, max_tasks, (max_memory, address_space), rest) = parts(rest).ok()?;
                let (adopts_orphans, (in_queue, unread)) = rest;
                let (reports_tasks, verbosity): (_, Option<u8>) = tells;
                let verbosity = match verbosity {
                    Some(level) => Some(*LEVELS.get(usize::from(level))?),
                    None => None,
                };
                Self::Welcome(WorkerConfig {
                    reports_tasks,
                    verbosity,
                    max_tasks,
                    max_memory,
                    address_space,
                    adopts_orphans,
                    emissions: EmissionLimits { in_queue, unread },
                })
            }
            STOP if rest.is_empty() => Self::Stop,
            CANCEL if rest.is_empty() => Self::Cancel,
            FAREWELL if rest.is_empty() => Self::Farewell,
            END_GROUP if rest.is_empty() => Self::EndGroup,
            _ => return None,
        })
    }
}

/// Encodes a message. Parts that are too long, or that the codec refuses, are left out; the receiver then skips the
/// message.
fn message<P: Serialize + DeserializeOwned>(kind: u8, parts: &P) -> Vec<u8> {
    let length = Bincode::encoded_len(parts).unwrap_or_default();
    let mut bytes = vec![0; 1 + length.min(MAX_LEN - 1)];
    if let Some((first, rest)) = bytes.split_first_mut() {
        *first = kind;
        let _ = Bincode::encode(parts, rest);
    }
    bytes
}

fn parts<P: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<P, DecodeError> {
    Bincode::decode(bytes)
}

/// Cuts a text to what a message has room for.
pub(crate) fn truncated(text: String) -> String {
    truncated_to(text, MAX_LEN / 2)
}

/// Cuts a text to this many bytes, and a mark.
pub(crate) fn truncated_to(mut text: String, room: usize) -> String {
    if text.len() > room {
        let end = (0..=room).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or_default());
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_arrives_and_a_cut_one_makes_no_sense() {
        let identity = Identity {
            protocol: PROTOCOL_VERSION,
            version: "0.1.0".to_owned(),
            schema: 7,
            task: "a::Task".to_owned(),
            output: "u32".to_owned(),
            error: "String".to_owned(),
            shapes: "a::Task { b, c }".to_owned(),
            build: Some("0123abcd".to_owned()),
        };
        let log = |level| {
            FromWorker::Log(LogRecord {
                level,
                target: "there".to_owned(),
                message: "this".to_owned(),
                fields: "a=1".to_owned(),
                spans: "outer{b=2}".to_owned(),
                task: Some((7, 1)),
            })
        };
        let mut all = vec![
            FromWorker::Hello(identity),
            FromWorker::Process { pid: 4711 },
            FromWorker::StartsPool,
            FromWorker::Ready,
            FromWorker::CannotPrepare {
                what: "no".to_owned(),
            },
            FromWorker::TaskStarted { task: 1 },
            FromWorker::TaskEnded { task: u64::MAX },
            FromWorker::EmissionWaits,
            FromWorker::Stopping,
        ];
        all.extend(LEVELS.map(log));
        for sent in all {
            let bytes = sent.encode();
            assert_eq!(FromWorker::decode(&bytes), Some(sent));
            let cut = bytes.get(..bytes.len() - 1).expect("a byte");
            assert_eq!(FromWorker::decode(cut), None);
            assert_eq!(FromParent::decode(&bytes), None);
        }
        for sent in [
            FromParent::Welcome(WorkerConfig {
                reports_tasks: true,
                verbosity: None,
                max_tasks: Some(7),
                max_memory: None,
                address_space: Some(u64::MAX),
                adopts_orphans: true,
                emissions: EmissionLimits {
                    in_queue: 16,
                    unread: Some(1),
                },
            }),
            FromParent::Welcome(WorkerConfig {
                reports_tasks: false,
                verbosity: Some(Level::Trace),
                max_tasks: None,
                max_memory: Some(0),
                address_space: None,
                adopts_orphans: false,
                emissions: EmissionLimits::default(),
            }),
            FromParent::Stop,
            FromParent::Cancel,
            FromParent::Farewell,
            FromParent::EndGroup,
        ] {
            let bytes = sent.encode();
            assert_eq!(FromParent::decode(&bytes), Some(sent));
            assert_eq!(FromWorker::decode(&bytes), None);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_two_letters() {
        let long = "ä".repeat(MAX_LEN);
        let cut = truncated(long.clone());
        let kept = cut.strip_suffix(" ...").expect("a mark");
        assert!(kept.len() <= MAX_LEN / 2 && long.starts_with(kept));
        let message = FromWorker::CannotPrepare { what: cut };
        assert_eq!(FromWorker::decode(&message.encode()), Some(message));
    }
}
