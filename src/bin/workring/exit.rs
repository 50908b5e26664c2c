//! How a command ends: its exit code, and one line on standard error that says what to do.

use std::fmt;
use std::io;
use std::process::ExitCode;
use workring::error::OpenError;

/// What the manual page and `--help` say of exit codes.
pub(crate) const CODES: &str = "\
Exit codes:
  0    done; for recv without a count: the queue is closed, and all of it was received
  1    something failed: one line on standard error says what, and what to do
  2    the command line is wrong
  3    there is no such queue
  4    the queue is closed: nothing more can be sent, or fewer messages came than were asked for
  5    the time limit has passed
  6    nothing was there: the queue is empty, or full, with --no-wait; nothing was found
  7    refused: the queue is in use, of another type, codec or version, or of another user
  130  ended by Ctrl-C; 143: by SIGTERM; 141: by a reader that closed the pipe.
       Messages that were not written out are back in the queue.";

/// How a command ended.
#[derive(Debug)]
pub(crate) enum End {
    Done,
    /// Something failed.
    Failed(String),
    NotFound(String),
    Closed(String),
    Timeout(String),
    Empty(String),
    Refused(String),
    /// A signal ended it.
    Signal(i32),
    /// The reader of standard output is gone.
    Pipe,
}

impl End {
    const fn code(&self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed(_) => 1,
            Self::NotFound(_) => 3,
            Self::Closed(_) => 4,
            Self::Timeout(_) => 5,
            Self::Empty(_) => 6,
            Self::Refused(_) => 7,
            Self::Signal(2) => 130,
            Self::Signal(_) => 143,
            Self::Pipe => 141,
        }
    }

    const fn text(&self) -> Option<&String> {
        match self {
            Self::Failed(text)
            | Self::NotFound(text)
            | Self::Closed(text)
            | Self::Timeout(text)
            | Self::Empty(text)
            | Self::Refused(text) => Some(text),
            Self::Done | Self::Signal(_) | Self::Pipe => None,
        }
    }

    /// Returns the failure of an operation on the queue of this name.
    pub(crate) fn failed(name: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Failed(format!("{name}: {error}"))
    }

    /// Returns why a queue could not be opened.
    pub(crate) fn not_opened(name: impl fmt::Display, error: &OpenError) -> Self {
        let text = format!("{name}: {}", with_causes(error));
        match error {
            OpenError::NotFound { .. } => Self::NotFound(format!(
                "{name}: there is no such queue: `workring ls` lists those that there are"
            )),
            OpenError::Os { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Self::NotFound(format!("{name}: no process has this descriptor open now"))
            }
            OpenError::Closed => Self::Closed(text),
            OpenError::NotPrivate { .. }
            | OpenError::Version { .. }
            | OpenError::Layout { .. }
            | OpenError::Type { .. }
            | OpenError::Codec { .. }
            | OpenError::Schema { .. }
            | OpenError::BeingRemoved { .. } => Self::Refused(text),
            _ => Self::Failed(text),
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Pipe
        } else {
            Self::Failed(error.to_string())
        }
    }
}

/// Returns an error with its causes, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text} ({error})");
        cause = error.source();
    }
    text
}

/// Prints what there is to say, and returns the exit code.
pub(crate) fn report(end: &End) -> ExitCode {
    if let Some(text) = end.text() {
        let line = text.replace('\n', " ");
        // If standard error is closed, the exit code has to do.
        let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("workring: {line}\n"));
    }
    ExitCode::from(end.code())
}
