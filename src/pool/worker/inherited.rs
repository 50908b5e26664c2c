//! What a worker takes over from its parent: the queues of tasks, the board, and the values for its states.

use super::emitter::Emitter;
use crate::codec::{Bincode, Codec, Raw};
use crate::error::{InheritError, with_causes};
use crate::os::link::Link;
use crate::os::memory;
use crate::pool::context::WorkerShared;
use crate::pool::priority::{Levels, Priority};
use crate::pool::wire::messages::WorkerConfig;
use crate::pool::wire::result_message::{EncodedResult, EncodedResultCodec};
use crate::pool::wire::startup::{STATES, schema_of, tasks_of};
use crate::pool::wire::task_message::{EncodedTask, EncodedTaskCodec};
use crate::pool::worker_state::{GivenInit, States};
use crate::queue::{Receiver, Sender, inherit_fd, inherit_silent};
use crate::segment::board::Board;
use crate::sync::AtomicBool;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Takes tasks as bytes: they are decoded when they are on the board.
pub(super) type TaskReceiver = Receiver<Vec<u8>, Raw>;

/// Takes over the queues of tasks that this worker was given.
pub(super) fn inherit_tasks(schema: &str) -> Result<Levels<TaskReceiver>, String> {
    let inherit = |priority| {
        let schema = schema_of(priority, schema);
        let tasks: Receiver<EncodedTask, EncodedTaskCodec> =
            inherit_silent(tasks_of(priority), &schema)?;
        Ok(tasks.decoding::<Vec<u8>, Raw>())
    };
    let inherit_other = |priority| match inherit(priority) {
        Ok(tasks) => Ok(Some(tasks)),
        Err(InheritError::NotGiven { .. }) => Ok(None),
        Err(error) => Err(with_causes(&error)),
    };
    let normal = inherit(Priority::Normal).map_err(|error| with_causes(&error))?;
    let (low, high) = (
        inherit_other(Priority::Low)?,
        inherit_other(Priority::High)?,
    );
    Ok(Levels::from_parts(normal, low, high))
}

/// Returns the states that this worker is to build.
pub(super) fn given_states() -> Result<States, String> {
    let file = match inherit_fd(STATES) {
        Ok(file) => File::from(file),
        Err(InheritError::NotGiven { .. }) => return Ok(States::default()),
        Err(error) => return Err(with_causes(&error)),
    };
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; memory::sealed_size(&file)?.unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("the values for states: {error}"))?;
    let given = <Bincode as Codec<Vec<GivenInit>>>::decode(&bytes);
    let given = given.map_err(|error| with_causes(&error))?;
    Ok(States::new(given))
}

/// Makes what the threads of the worker of a slot share.
pub(super) fn shared_state(
    slot: u32,
    link: Arc<Link>,
    config: &WorkerConfig,
    board: Board,
    results: Sender<EncodedResult, EncodedResultCodec>,
) -> Result<Arc<WorkerShared>, String> {
    let (Some(flow), Ok(worker)) = (board.flow(slot), u16::try_from(slot)) else {
        return Err(format!("the board has no slot {slot}"));
    };
    let emitter = Emitter::new(worker, config.emissions, link, results, flow);
    Ok(Arc::new(WorkerShared {
        board,
        slot,
        stopping: AtomicBool::new(false),
        cancelled: AtomicBool::new(false),
        emitter: Box::new(emitter),
    }))
}
