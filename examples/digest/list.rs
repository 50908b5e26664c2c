//! The parent's main loop: feed the workers, receive what they have hashed, print it in order.

use crate::feed::Feed;
use crate::output::{Output, quoted};
use crate::worker::{Done, Hashed, Task};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use workring::{Receiver, RecvError, Sender, TryRecvError};

/// Why there is no complete list.
pub(crate) enum Unfinished {
    /// The run was stopped from outside; `Stop` says why.
    Stopped,
    /// It could not be printed.
    Output(io::Error),
    /// A queue failed.
    Queue(String),
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
            Self::Queue(error) => f.write_str(error),
        }
    }
}

/// Have `paths` hashed and print the list; whether all could be read.
pub(crate) fn list(
    paths: &[Vec<u8>],
    workers: usize,
    tasks: Sender<Task>,
    results: &Receiver<Done>,
    output: &mut Output<'_>,
) -> Result<bool, Unfinished> {
    let mut feed = Feed::new(paths, workers, tasks);
    let mut early = Early::default();
    let mut all_read = true;
    let mut to_print = paths.iter();
    while !to_print.as_slice().is_empty() {
        feed.send_more(early.taken)?;
        early.put(receive(results, output)?);
        while let Some(hashed) = early.take() {
            let path = to_print.next().map_or(&[][..], Vec::as_slice);
            match hashed {
                Ok(sum) => output.line(&sum, path)?,
                Err(reason) => {
                    all_read = false;
                    output.complain(format_args!("{}: {reason}", quoted(path)));
                }
            }
        }
        output.progress(early.taken);
    }
    output.flush()?;
    Ok(all_read)
}

/// The next result, from whichever worker. What there is to print is printed before a wait.
fn receive(results: &Receiver<Done>, output: &mut Output<'_>) -> Result<Done, Unfinished> {
    match results.try_recv() {
        Err(TryRecvError::Empty) => {}
        Ok(done) => return Ok(done),
        Err(TryRecvError::Closed) => return Err(Unfinished::Stopped),
        Err(error) => return Err(Unfinished::Queue(error.to_string())),
    }
    output.flush()?;
    results.recv().map_err(|error| match error {
        RecvError::Closed => Unfinished::Stopped,
        error => Unfinished::Queue(error.to_string()),
    })
}

/// What came before its turn.
#[derive(Default)]
struct Early {
    /// How many have had their turn.
    taken: usize,
    /// The ones after that, as far as there are any.
    waiting: VecDeque<Option<Hashed>>,
}

impl Early {
    fn put(&mut self, done: Done) {
        let start = done.first.saturating_sub(self.taken);
        let end = start + done.hashed.len();
        if self.waiting.len() < end {
            self.waiting.resize(end, None);
        }
        for (place, hashed) in self.waiting.range_mut(start..end).zip(done.hashed) {
            *place = Some(hashed);
        }
    }

    /// The next one in order, if it has come.
    fn take(&mut self) -> Option<Hashed> {
        let hashed = self.waiting.pop_front_if(|next| next.is_some())??;
        self.taken += 1;
        Some(hashed)
    }
}
