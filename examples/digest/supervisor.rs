//! The worker processes: started, watched, and ended with the run, whatever ends it.

use crate::list::Unfinished;
use crate::worker::{Done, RESULTS, TASKS, Task};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;
use std::error::Error;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use workring::{Handoff, Receiver, Sender};

/// Why a run was stopped.
#[derive(Debug)]
pub(crate) enum Reason {
    /// Somebody asked for it.
    Signal(i32),
    /// A worker died, and what it was doing is lost.
    Lost { worker: u32, how: String },
}

/// Whether the run is to stop: asked for by the supervising thread, obeyed by the main one.
pub(crate) struct Stop {
    reason: OnceLock<Reason>,
    /// The reason as a byte in a pipe, which can be waited for along with other descriptors.
    told: PipeReader,
    tell: PipeWriter,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        let (told, tell) = io::pipe()?;
        Ok(Self {
            reason: OnceLock::new(),
            told,
            tell,
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

/// The workers that have not been reaped; dropping them kills and reaps them.
pub(crate) struct Workers(Vec<Child>);

impl Workers {
    /// To be called on the main thread: the kernel kills the workers when the thread that started them ends.
    pub(crate) fn start(
        count: usize,
        tasks: &Receiver<Task>,
        results: &Sender<Done>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut workers = Self(Vec::with_capacity(count));
        for _ in 0..count {
            let mut command = Command::new(std::env::current_exe()?);
            command
                .args(["--worker-of", &std::process::id().to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                // Ctrl-C goes to all processes of a group. This one is the parent's to handle.
                .process_group(0);
            let child = Handoff::new()
                .give(TASKS, tasks)?
                .give(RESULTS, results)?
                .spawn(&mut command)?;
            workers.0.push(child);
        }
        Ok(workers)
    }

    /// Reap those who have ended. One that did not end well is a reason to stop.
    fn reap(&mut self) -> Option<Reason> {
        let mut reason = None;
        self.0.retain_mut(|child| {
            let ended = child.try_wait().transpose();
            reason = reason.take().or_else(|| lost(child, ended.as_ref()?));
            ended.is_none()
        });
        reason
    }

    /// Wait for all to end by themselves, as they do once there are no more tasks.
    pub(crate) fn wait(&mut self, stop: &Stop) {
        for child in &mut self.0 {
            let ended = child.wait();
            if let Some(reason) = lost(child, &ended) {
                stop.because(reason);
            }
        }
    }
}

/// A reason to stop, unless the child ended well.
fn lost(child: &Child, ended: &io::Result<ExitStatus>) -> Option<Reason> {
    let how = match ended {
        Ok(status) if status.success() => return None,
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let worker = child.id();
    Some(Reason::Lost { worker, how })
}

impl Drop for Workers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Killed and not asked, for a worker may be in the middle of a large file. Both calls fail only
            // for one that has ended and been reaped.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Watch over the workers until `signals` is closed, or there is a reason to stop: then end them, and have
/// the main thread find its queue closed. Gives back those who still run.
pub(crate) fn supervise(
    mut signals: Signals,
    mut workers: Workers,
    stop: &Stop,
    results: &Receiver<Done>,
) -> Workers {
    let reason = signals.forever().find_map(|signal| match signal {
        SIGCHLD => workers.reap(),
        signal => Some(Reason::Signal(signal)),
    });
    if let Some(reason) = reason {
        stop.because(reason);
        // One reason is enough: what the others end with now is our doing.
        workers = Workers(Vec::new());
        results.close();
    }
    workers
}
