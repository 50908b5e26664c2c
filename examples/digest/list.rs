//! The parent's main loop: submits the paths, waits for the hashes, and prints them in order.

use crate::hash::Files;
use crate::output::{Output, quoted};
use crate::unfinished::Unfinished;
use std::collections::VecDeque;
use workring::{TaskError, TypedPool};

/// How many files a task has at most. Hashing a file of a few KiB takes no longer than waking a process for it: one
/// file a task makes the whole run some 30% slower, and more than this many make it no faster.
const MAX_FILES_PER_TASK: usize = 64;
/// How many tasks for each worker the rest of the files is split into. So tasks get smaller towards the end, and no
/// worker is left alone with a large last one.
const TASKS_LEFT_PER_WORKER: usize = 4;
/// How many tasks hashing may be ahead of printing: hashes wait while a large file before them is being hashed.
const AHEAD: usize = 1000;

/// Has `paths` hashed, and prints the list. Returns whether all files could be read.
pub(crate) fn list(
    paths: &[Vec<u8>],
    workers: usize,
    pool: &TypedPool<Files>,
    output: &mut Output<'_>,
) -> Result<bool, Unfinished> {
    let mut to_submit = paths;
    let mut to_print = paths.iter();
    let mut handles = VecDeque::new();
    let mut printed = 0;
    let mut all_read = true;
    loop {
        while !to_submit.is_empty() && handles.len() < AHEAD {
            let files = take_share(&mut to_submit, workers);
            // The pool is closed if the run was stopped.
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
            // Before a wait, prints what is ready.
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
                    output.report(format_args!("{}: {reason}", quoted(path)));
                }
            }
        }
        output.progress(printed);
    }
    output.flush()?;
    Ok(all_read)
}

/// Removes the files of the next task from those that are left.
fn take_share(rest: &mut &[Vec<u8>], workers: usize) -> Vec<Vec<u8>> {
    let share = rest.len() / (TASKS_LEFT_PER_WORKER * workers);
    let count = share.clamp(1, MAX_FILES_PER_TASK).min(rest.len());
    let (files, others) = rest.split_at(count);
    *rest = others;
    files.to_vec()
}
