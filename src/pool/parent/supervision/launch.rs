//! Launching a worker process, with the ends of the queues, the board, and a link.

use super::captured::{CapturedStream, StandardStream};
use crate::error::StartError;
use crate::os::child::ChildProcess;
use crate::os::link::Link;
use crate::os::pipe::OutputPipe;
use crate::os::spawn::{Program, SpawnRequest, StreamTarget};
use crate::pool::parent::settings::WorkerOutput;
use crate::pool::parent::shared::Shared;
use crate::pool::priority::{Levels, Priority};
use crate::pool::wire::result_message::{EncodedResult, EncodedResultCodec};
use crate::pool::wire::startup::{
    Assignment, BOARD, LINK, RESULTS, STATES, Starter, VARIABLE, tasks_of,
};
use crate::pool::wire::task_message::{EncodedTask, EncodedTaskCodec};
use crate::queue::{Handoff, Receiver, Sender};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// A worker that was started.
pub(super) struct Launched {
    pub(super) link: Link,
    pub(super) process: ChildProcess,
    /// The streams that are captured.
    pub(super) output: Vec<CapturedStream>,
}

/// What each worker is started with.
pub(crate) struct Launcher {
    pub(crate) shared: Arc<Shared>,
    program: Program,
    starter: Starter,
    /// The workers' ends of the queues of tasks. The parent uses it only to read dead letters, and to take back queued
    /// tasks during an outage.
    pub(super) tasks: Levels<Receiver<EncodedTask, EncodedTaskCodec>>,
    /// The workers' end of the queue of results.
    results: Sender<EncodedResult, EncodedResultCodec>,
}

impl Launcher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        tasks: Levels<Receiver<EncodedTask, EncodedTaskCodec>>,
        results: Sender<EncodedResult, EncodedResultCodec>,
    ) -> io::Result<Self> {
        let program = match &shared.settings.program {
            Some(program) => Program::File(program.clone()),
            None => Program::own()?,
        };
        Ok(Self {
            shared,
            program,
            starter: Starter::here()?,
            tasks,
            results,
        })
    }

    /// Returns whether workers run another program than that of this process, by its path.
    pub(super) const fn runs_other_program(&self) -> bool {
        matches!(self.program, Program::File(_))
    }

    /// Starts the worker of a slot. Must be called on the supervisor thread, since workers end with the thread that
    /// started them.
    pub(super) fn launch(&self, slot: u32) -> Result<Launched, StartError> {
        let os = |what| move |source| StartError::Os { what, source };
        let (ours, theirs) = Link::pair().map_err(os("no socket for a worker"))?;
        ours.enable_credentials()
            .map_err(os("the socket of a worker can't report the sender"))?;
        let board = self.shared.board.as_fd().try_clone_to_owned();
        let board = board.map_err(os("no descriptor for a worker"))?;
        let handoff = Handoff::new()
            .give(tasks_of(Priority::Normal), &self.tasks.normal)
            .and_then(|handoff| handoff.give(RESULTS, &self.results))
            .and_then(|handoff| handoff.give_fd(LINK, theirs.into()))
            .and_then(|handoff| handoff.give_fd(BOARD, board));
        let other_levels = [Priority::Low, Priority::High].into_iter();
        let handoff = other_levels.fold(handoff, |handoff, level| match self.tasks.of(level) {
            Some(tasks) => handoff.and_then(|handoff| handoff.give(tasks_of(level), tasks)),
            None => handoff,
        });
        let states = self.shared.states.as_ref().map(OwnedFd::try_clone);
        let states = states
            .transpose()
            .map_err(os("no descriptor for a worker"))?;
        let handoff = match states {
            Some(states) => handoff.and_then(|handoff| handoff.give_fd(STATES, states)),
            None => handoff,
        };
        let handoff = handoff.map_err(|error| StartError::Os {
            what: "the queues could not be given to a worker",
            source: io::Error::other(error),
        })?;
        let mut request = self.request(slot);
        let output = self
            .capture(&mut request)
            .map_err(os("no pipe for the output of a worker"))?;
        let process = handoff.start(request);
        let process = process.map_err(|source| StartError::Spawn {
            program: self.program.path().to_owned(),
            source,
        })?;
        Ok(Launched {
            link: ours,
            process,
            output,
        })
    }

    /// Sets where the standard streams of a worker go. Returns those that are captured.
    fn capture(&self, request: &mut SpawnRequest) -> io::Result<Vec<CapturedStream>> {
        let settings = &self.shared.settings;
        let mut captured = Vec::new();
        for (stream, output, target) in [
            (StandardStream::Output, settings.stdout, &mut request.stdout),
            (StandardStream::Error, settings.stderr, &mut request.stderr),
        ] {
            *target = if output.is_captured() {
                let (pipe, theirs) = OutputPipe::new()?;
                captured.push(CapturedStream::new(stream, pipe));
                StreamTarget::File(theirs)
            } else if output == WorkerOutput::Discard {
                StreamTarget::Null
            } else {
                StreamTarget::Inherited
            };
        }
        Ok(captured)
    }

    fn request(&self, slot: u32) -> SpawnRequest {
        let settings = &self.shared.settings;
        let mut request = SpawnRequest::new(self.program.clone());
        request.clears_environment = settings.clears_environment;
        request.environment.clone_from(&settings.environment);
        request.directory.clone_from(&settings.current_dir);
        request.limits.clone_from(&settings.process_limits);
        request.pre_exec.clone_from(&settings.pre_exec);
        // Last, so that it replaces any variable of this name.
        let assignment = Assignment {
            slot,
            starter: self.starter,
            task_type: self.shared.identity.task.clone(),
        };
        let variable = assignment.to_text();
        request
            .environment
            .push((VARIABLE.into(), Some(variable.into())));
        request
    }
}
