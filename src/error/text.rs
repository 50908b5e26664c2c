//! Sentences that several error types share.

use core::fmt;
use std::error::Error;
use std::io;

pub(super) const CLOSED: &str = "the queue is closed: stop using it, or make a new one";
pub(super) const FORKED: &str = "this process is a forked child of the one that is attached to the queue: give it an \
                                 end of its own with `Handoff`";
pub(super) const INTERRUPTED: &str = "an `Interrupter` ended the wait: call again to go on waiting";
pub(super) const TIMEOUT: &str = "the time limit has passed: try again later, or wait longer";

pub(super) fn corrupt(f: &mut fmt::Formatter<'_>, what: &str) -> fmt::Result {
    write!(
        f,
        "the queue's shared memory is corrupt ({what}): make a new queue"
    )
}

pub(super) fn invalid_queue_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    write!(
        f,
        "{name:?} can't name a queue: use 1 to 200 ASCII letters, digits, `-`, `_` and `.`"
    )
}

// A queue that this process does not fit.

pub(super) fn version(f: &mut fmt::Formatter<'_>, theirs: u64, ours: u64) -> fmt::Result {
    write!(
        f,
        "the queue has version {theirs}, this process {ours}: build both with the same version of workring"
    )
}

pub(super) fn layout(f: &mut fmt::Formatter<'_>, theirs: u64, ours: u64) -> fmt::Result {
    write!(
        f,
        "the queue has layout {theirs:#x}, this process {ours:#x}: build both with the same version of workring"
    )
}

pub(super) fn message_type(f: &mut fmt::Formatter<'_>, theirs: &str, ours: &str) -> fmt::Result {
    write!(
        f,
        "the queue carries {theirs}, this process expects {ours}: use one type on both sides"
    )
}

pub(super) fn codec(f: &mut fmt::Formatter<'_>, theirs: &str, ours: &str) -> fmt::Result {
    write!(
        f,
        "the queue's codec is {theirs:?}, this process's {ours:?}: use one codec on both sides"
    )
}

pub(super) fn schema(
    f: &mut fmt::Formatter<'_>,
    theirs: Option<&str>,
    ours: Option<&str>,
) -> fmt::Result {
    match theirs {
        Some(theirs) => write!(f, "the queue has the schema {theirs:?}, ")?,
        None => f.write_str("the queue has no schema, ")?,
    }
    match ours {
        Some(ours) => write!(f, "this process names {ours:?}")?,
        None => f.write_str("this process names none")?,
    }
    f.write_str(": name the same schema on both sides, or on neither")
}

/// Writes the sentence for a request that the operating system refused.
pub(super) fn os(f: &mut fmt::Formatter<'_>, what: &str, source: &io::Error) -> fmt::Result {
    write!(f, "{what}: {}", remedy(source))
}

/// Returns what to do about an error of the operating system.
fn remedy(error: &io::Error) -> &'static str {
    /// Linux's number for too many processes.
    const EAGAIN: i32 = 11;
    /// Linux's number for too many open files on the machine.
    const ENFILE: i32 = 23;
    /// Linux's number for too many open files in this process.
    const EMFILE: i32 = 24;
    match error.raw_os_error() {
        Some(EAGAIN) => "raise the limit of processes, `ulimit -u`",
        Some(EMFILE) => "raise the limit of open files, `ulimit -n`",
        Some(ENFILE) => "raise the machine's limit of open files, `fs.file-max`",
        _ => match error.kind() {
            io::ErrorKind::OutOfMemory => "free some memory",
            io::ErrorKind::PermissionDenied => "check the permissions of this process",
            _ => "see the error of the operating system, which is the source of this one",
        },
    }
}

/// Returns the sentence of an error and those of its sources, joined by colons. For a text that replaces the error, as in
/// a message to another process.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
