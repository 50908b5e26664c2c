//! What ends a run before its time: a signal, or the death of a worker.

use crate::hash::Files;
use crate::list::Unfinished;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::iterator::{Handle, Signals};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::Duration;
use workring::pool::{Event, Pool, Shutdown};

/// Why a run was stopped.
#[derive(Debug)]
pub(crate) enum Reason {
    /// Somebody asked for it.
    Signal(i32),
    /// A worker died, and what it was doing is lost.
    Lost {
        worker: u32,
        status: Option<ExitStatus>,
    },
}

/// Whether the run is to stop: told by other threads, obeyed by the main one.
pub(crate) struct Stop {
    reason: OnceLock<Reason>,
    /// The reason as a byte in a pipe, which can be waited for along with other descriptors.
    told: PipeReader,
    tell: PipeWriter,
    /// Ends [`Stop::watch`].
    signals: Handle,
}

impl Stop {
    pub(crate) fn new(signals: Handle) -> io::Result<Self> {
        let (told, tell) = io::pipe()?;
        Ok(Self {
            reason: OnceLock::new(),
            told,
            tell,
            signals,
        })
    }

    pub(crate) fn reason(&self) -> Option<&Reason> {
        self.reason.get()
    }

    /// Only the first reason counts.
    fn because(&self, reason: Reason) {
        if self.reason.set(reason).is_ok() {
            // One byte in an empty pipe that this process holds both ends of.
            let _ = (&self.tell).write_all(&[0]);
        }
    }

    /// Hear what has happened to workers. None of them has a reason to end badly.
    pub(crate) fn heed(&self, event: &Event) {
        if let Event::Exited { pid, status, .. } = *event
            && !status.is_some_and(|status| status.success())
        {
            self.because(Reason::Lost {
                worker: pid,
                status,
            });
            self.end_watch();
        }
    }

    /// Wait for a signal, or for another reason to stop, and then end the pool; or until [`end_watch`](Stop::end_watch).
    pub(crate) fn watch(&self, mut signals: Signals, pool: &Pool<Files>) {
        if let Some(signal) = signals.forever().next() {
            self.because(Reason::Signal(signal));
        }
        if self.reason().is_some() {
            // It fails in forked children only.
            let _ = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
        }
    }

    pub(crate) fn end_watch(&self) {
        self.signals.close();
    }

    /// Wait until `file` takes more; an error if the run is stopped meanwhile.
    pub(crate) fn or_writable(&self, file: BorrowedFd<'_>) -> Result<(), Unfinished> {
        let mut files = [
            PollFd::new(file, PollFlags::POLLOUT),
            PollFd::new(self.told.as_fd(), PollFlags::POLLIN),
        ];
        loop {
            match poll(&mut files, PollTimeout::NONE) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(Unfinished::Output(error.into())),
            }
        }
        match self.reason() {
            Some(_) => Err(Unfinished::Stopped),
            None => Ok(()),
        }
    }
}
