//! The parent's main loop: hand the paths in, wait for what the workers have hashed, print it in order.

use crate::hash::Files;
use crate::output::{Output, quoted};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use workring::pool::{Pool, TaskError};

/// To hash a file of a few KiB takes no longer than to wake a process for it, so a task is several of them:
/// one at a time makes the whole run some 30% slower, and more than these no faster.
const FILES_PER_TASK: usize = 64;
/// Towards the end, tasks get smaller, lest one worker be busy with the last large one alone.
const TASKS_LEFT_PER_WORKER: usize = 4;
/// How far hashing may run ahead of printing, in tasks: what is hashed already waits while one large file
/// comes before it.
const AHEAD: usize = 1000;

/// Why there is no complete list.
pub(crate) enum Unfinished {
    /// The run was stopped from outside; `Stop` says why.
    Stopped,
    /// It could not be printed.
    Output(io::Error),
    /// The pool failed.
    Pool(String),
}

impl From<io::Error> for Unfinished {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the workers ended before all was hashed"),
            Self::Output(error) => write!(f, "standard output: {error}"),
            Self::Pool(error) => f.write_str(error),
        }
    }
}

/// Have `paths` hashed and print the list; whether all could be read.
pub(crate) fn list(
    paths: &[Vec<u8>],
    workers: usize,
    pool: &Pool<Files>,
    output: &mut Output<'_>,
) -> Result<bool, Unfinished> {
    let mut to_hand_in = paths;
    let mut to_print = paths.iter();
    let mut handles = VecDeque::new();
    let mut printed = 0;
    let mut all_read = true;
    loop {
        while !to_hand_in.is_empty() && handles.len() < AHEAD {
            let files = cut(&mut to_hand_in, workers);
            // It is refused if the run was stopped.
            let handle = pool.submit(Files(files)).map_err(|error| {
                if error.is_closed() {
                    Unfinished::Stopped
                } else {
                    Unfinished::Pool(error.to_string())
                }
            });
            handles.push_back(handle?);
        }
        let Some(next) = handles.pop_front() else {
            break;
        };
        if !next.is_finished() {
            // What there is to print is printed before a wait.
            output.flush()?;
        }
        let sums = next.wait().map_err(|error| match error {
            TaskError::Panicked(_) | TaskError::Transport { .. } => {
                Unfinished::Pool(format!("{error:?}"))
            }
            _ => Unfinished::Stopped,
        })?;
        for (sum, path) in sums.into_iter().zip(&mut to_print) {
            printed += 1;
            match sum {
                Ok(sum) => output.line(&sum, path)?,
                Err(reason) => {
                    all_read = false;
                    output.complain(format_args!("{}: {reason}", quoted(path)));
                }
            }
        }
        output.progress(printed);
    }
    output.flush()?;
    Ok(all_read)
}

/// The first of what is left.
fn cut(rest: &mut &[Vec<u8>], workers: usize) -> Vec<Vec<u8>> {
    let share = rest.len() / (TASKS_LEFT_PER_WORKER * workers);
    let count = share.clamp(1, FILES_PER_TASK).min(rest.len());
    let (files, others) = rest.split_at(count);
    *rest = others;
    files.to_vec()
}
