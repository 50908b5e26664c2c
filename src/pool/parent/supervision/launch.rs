//! Starting a worker process.

use crate::error::StartError;
use crate::os::child::ChildProcess;
use crate::os::link::Link;
use crate::os::spawn::{Program, SpawnRequest};
use crate::pool::parent::shared::Shared;
use crate::pool::task::Task;
use crate::pool::wire::result_message::{ResultCodec, ResultMessage};
use crate::pool::wire::startup::{Assignment, BOARD, LINK, RESULTS, Starter, TASKS, VARIABLE};
use crate::pool::wire::task_message::{Envelope, TaskCodec};
use crate::queue::{Handoff, Receiver, Sender};
use core::any::type_name;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// What every worker is started with.
pub(crate) struct Launcher<T: Task> {
    pub(crate) shared: Arc<Shared<T>>,
    program: Program,
    starter: Starter,
    /// The ends that workers get. The parent reads dead letters through the first, and never receives.
    pub(crate) to_do: Receiver<Envelope<T>, TaskCodec>,
    done: Sender<ResultMessage<T>, ResultCodec<T>>,
}

impl<T: Task> Launcher<T> {
    pub(crate) fn new(
        shared: Arc<Shared<T>>,
        to_do: Receiver<Envelope<T>, TaskCodec>,
        done: Sender<ResultMessage<T>, ResultCodec<T>>,
    ) -> io::Result<Self> {
        let program = match &shared.settings.program {
            Some(program) => Program::File(program.clone()),
            None => Program::own()?,
        };
        Ok(Self {
            shared,
            program,
            starter: Starter::here()?,
            to_do,
            done,
        })
    }

    /// Start the worker of a slot. To be called on the thread that outlives all workers: they end with it.
    pub(crate) fn launch(&self, slot: u32) -> Result<(Link, ChildProcess), StartError> {
        let os = |what| move |source| StartError::Os { what, source };
        let (ours, theirs) = Link::pair().map_err(os("no socket for a worker"))?;
        ours.enable_credentials()
            .map_err(os("a worker's socket does not say who sends"))?;
        let board = self.shared.board.as_fd().try_clone_to_owned();
        let board = board.map_err(os("no descriptor for a worker"))?;
        let given = Handoff::new()
            .give(TASKS, &self.to_do)
            .and_then(|handoff| handoff.give(RESULTS, &self.done))
            .and_then(|handoff| handoff.give_fd(LINK, theirs.into()))
            .and_then(|handoff| handoff.give_fd(BOARD, board));
        let given = given.map_err(|error| StartError::Os {
            what: "a worker could not be given its queues",
            source: io::Error::other(error),
        })?;
        let process = given.start(self.order(slot));
        let process = process.map_err(|source| StartError::Spawn {
            program: self.program.path().to_owned(),
            source,
        })?;
        Ok((ours, process))
    }

    fn order(&self, slot: u32) -> SpawnRequest {
        let settings = &self.shared.settings;
        let mut order = SpawnRequest::new(self.program.clone());
        order.environment.clone_from(&settings.environment);
        order.directory.clone_from(&settings.current_dir);
        // Last, and whatever this process was started with.
        let assignment = Assignment {
            slot,
            starter: self.starter,
            task_type: type_name::<T>().to_owned(),
        };
        let variable = assignment.to_text();
        order
            .environment
            .push((VARIABLE.into(), Some(variable.into())));
        order
    }
}
