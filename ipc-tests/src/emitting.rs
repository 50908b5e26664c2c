//! Tasks that emit values while they run.

use crate::jobs::Death;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process, thread,
};
use workring::pool::{Context, EmitError, Task};

/// What a task emits, and how it ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Emitting {
    /// The numbers below this one, then the end.
    Numbers(u64, End),
    /// The same, and after each of them a byte into this file.
    Noted(u64, PathBuf),
    /// The number of the attempt, twice. Then its worker dies, in all attempts before this one.
    Attempts(u32),
    /// The process id of its worker, until it gets an error.
    Pids,
    /// This text.
    Text(String),
    /// Three times [`Trap`], of which the second panics when it is decoded.
    Trap,
    /// A text that is too large, and then another.
    TooLarge(usize),
    /// [`Unspeakable`], after a number.
    Unspeakable,
    /// The numbers below this one, from each of two threads.
    Threads(u64),
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// With an output.
    Output,
    /// With an error.
    Error,
    /// With a panic.
    Panic,
    /// With its worker.
    Death,
    /// Not before it is killed.
    Never,
    /// When it is cancelled.
    Cancel,
}

/// A number that panics when it is decoded, if it is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Trap(pub u8);

/// Panics when it is encoded.
#[derive(Debug, Deserialize)]
pub struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("it has no name")
    }
}

/// The number that panics.
pub const TRAPPED: u8 = 13;

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        match u8::deserialize(source)? {
            TRAPPED => panic!("unlucky"),
            14 => Err(D::Error::custom("not a number that it likes")),
            other => Ok(Self(other)),
        }
    }
}

impl Task for Emitting {
    type Output = u64;
    type Error = String;

    fn run(self, context: &Context) -> Result<u64, String> {
        self.emit(context).map_err(|error| error.to_string())?
    }
}

impl Emitting {
    fn emit(self, context: &Context) -> Result<Result<u64, String>, EmitError> {
        match self {
            Self::Numbers(count, end) => {
                (0..count).try_for_each(|number| context.emit(number))?;
                Ok(end.come(count, context))
            }
            Self::Noted(count, path) => {
                let mut file = note(&path);
                for number in 0..count {
                    context.emit(number)?;
                    file.write_all(b"x").expect("write");
                }
                Ok(Ok(count))
            }
            Self::Attempts(last) => {
                context.emit(context.attempt())?;
                context.emit(context.attempt())?;
                if context.attempt() < last {
                    Death::Abort.die();
                }
                Ok(Ok(last.into()))
            }
            Self::Pids => loop {
                context.emit(process::id())?;
            },
            Self::Text(text) => context.emit(text).map(|()| Ok(0)),
            Self::Trap => {
                for number in [12, TRAPPED, 14, 15] {
                    context.emit(Trap(number))?;
                }
                Ok(Ok(0))
            }
            Self::TooLarge(length) => {
                let refused = context.emit("x".repeat(length));
                context.emit("small".to_owned())?;
                Ok(match refused {
                    Err(EmitError::TooLarge { len, .. }) => Ok(len as u64),
                    other => Err(format!("{other:?}")),
                })
            }
            Self::Unspeakable => {
                context.emit(1_u64)?;
                context.emit(Unspeakable).map(|()| Ok(0))
            }
            Self::Threads(count) => thread::scope(|scope| {
                let emit = || (0..count).try_for_each(|number| context.emit(number));
                let other = scope.spawn(emit);
                emit()?;
                other.join().expect("join")?;
                Ok(Ok(2 * count))
            }),
        }
    }
}

impl End {
    fn come(self, count: u64, context: &Context) -> Result<u64, String> {
        match self {
            Self::Output => Ok(count),
            Self::Error => Err("it failed".to_owned()),
            Self::Panic => panic!("it panicked"),
            Self::Death => Death::Abort.die(),
            Self::Never => loop {
                thread::park();
            },
            Self::Cancel => {
                while !context.is_cancelled() {
                    thread::yield_now();
                }
                Err("cancelled".to_owned())
            }
        }
    }
}

fn note(path: &Path) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.expect("a file")
}
