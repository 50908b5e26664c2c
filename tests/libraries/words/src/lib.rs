//! Another library that works in processes of its own, with a task of the same name as one of the other library.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fs, io};
use workring::{Context, Failure, Pool};

workring::auto_worker!();

/// Returns a word twice.
#[must_use]
#[workring::task]
pub fn square(word: String) -> String {
    format!("{word}{word}")
}

/// Counts the words of a file. The error is not the default one.
#[workring::task]
fn count(context: &Context, path: PathBuf) -> io::Result<usize> {
    let text = fs::read_to_string(path)?;
    let words = text
        .split_whitespace()
        .take_while(|_| !context.is_cancelled());
    Ok(words.count())
}

/// Returns a word twice, by another process.
///
/// # Errors
///
/// The process can't be started.
pub fn twice(word: &str) -> Result<String, Box<dyn Error>> {
    Ok(Pool::start(1)?
        .submit(square::new(word.to_owned()))?
        .wait()?)
}

/// Counts the words of a file, by another process.
///
/// # Errors
///
/// The file can't be read, or the process can't be started. What the first of these says is in the failure's kind.
pub fn words(path: &Path) -> Result<usize, Failure> {
    let count = Pool::start(1)?.submit(count::new(path.to_owned()))?.wait();
    count.map_err(|error| match error {
        workring::TaskError::Failed(failure) => failure,
        other => Failure::from(other),
    })
}
