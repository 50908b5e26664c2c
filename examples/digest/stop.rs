//! Stops a run early: because of a signal, or the death of a worker.

use crate::hash::Files;
use crate::unfinished::Unfinished;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::iterator::{Handle, Signals};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::Duration;
use workring::TypedPool;
use workring::pool::{Event, Shutdown};

/// Why a run was stopped.
#[derive(Debug)]
pub(crate) enum Reason {
    /// The program got this signal.
    Signal(i32),
    /// A worker died, and its task is lost.
    Lost {
        worker: u32,
        status: Option<ExitStatus>,
    },
}

/// Whether the run is to stop. Other threads set this, and the main thread checks it.
pub(crate) struct Stop {
    reason: OnceLock<Reason>,
    /// A pipe with one byte in it once the run is stopped, so that `poll(2)` can wait for a stop.
    stopped: PipeReader,
    set_stopped: PipeWriter,
    /// Ends [`Stop::watch`].
    signals: Handle,
}

impl Stop {
    pub(crate) fn new(signals: Handle) -> io::Result<Self> {
        let (stopped, set_stopped) = io::pipe()?;
        Ok(Self {
            reason: OnceLock::new(),
            stopped,
            set_stopped,
            signals,
        })
    }

    pub(crate) fn reason(&self) -> Option<&Reason> {
        self.reason.get()
    }

    /// Stops the run. Only the first reason counts.
    fn set_reason(&self, reason: Reason) {
        if self.reason.set(reason).is_ok() {
            // Cannot fail: the pipe is empty, and this process has both ends.
            let _ = (&self.set_stopped).write_all(&[0]);
        }
    }

    /// Handles an event of the pool: stops the run if a worker ends with an error or by a signal, which none should.
    pub(crate) fn handle(&self, event: &Event) {
        if let Event::Exited { pid, status, .. } = *event
            && !status.is_some_and(|status| status.success())
        {
            self.set_reason(Reason::Lost {
                worker: pid,
                status,
            });
            self.end_watch();
        }
    }

    /// Waits for a signal or for [`end_watch`](Stop::end_watch). Ends the pool if there is a reason to stop.
    pub(crate) fn watch(&self, mut signals: Signals, pool: &TypedPool<Files>) {
        if let Some(signal) = signals.forever().next() {
            self.set_reason(Reason::Signal(signal));
        }
        if self.reason().is_some() {
            // Fails only in a forked child, which this is not.
            let _ = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
        }
    }

    pub(crate) fn end_watch(&self) {
        self.signals.close();
    }

    /// Waits until `file` can be written to. Fails if the run is stopped meanwhile.
    pub(crate) fn wait_writable(&self, file: BorrowedFd<'_>) -> Result<(), Unfinished> {
        let mut files = [
            PollFd::new(file, PollFlags::POLLOUT),
            PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN),
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
