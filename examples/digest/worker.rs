//! What a worker process does: receive tasks, hash, send results, until there are no more tasks.

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::parent_id;
use workring::{Receiver, SendError, Sender};

/// What the parent gives its workers, and under which names.
pub(crate) const TASKS: &str = "tasks";
pub(crate) const RESULTS: &str = "results";

/// Files to be hashed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Task {
    /// The place of the first one in the list.
    pub(crate) first: usize,
    /// Their paths, which need not be UTF-8.
    pub(crate) paths: Vec<Vec<u8>>,
}

/// A task that has been done.
#[derive(Serialize, Deserialize)]
pub(crate) struct Done {
    /// As in the task.
    pub(crate) first: usize,
    /// One for each path.
    pub(crate) hashed: Vec<Hashed>,
}

/// The SHA-256 of a file, or why it could not be read.
pub(crate) type Hashed = Result<[u8; 32], String>;

/// Large enough for most files in one go, small enough for the processor's own cache.
const BUFFER: usize = 128 * 1024;

pub(crate) fn run(parent: u32) -> Result<(), Box<dyn Error>> {
    // Nobody but the parent ends its workers, so nobody would if it were killed. The kernel watches the
    // thread that started this process: the parent's first, which lives as long as the parent.
    set_pdeathsig(Signal::SIGKILL)?;
    if parent_id() != parent {
        // It died before that.
        return Ok(());
    }
    let tasks: Receiver<Task> = workring::inherit(TASKS)?;
    let results: Sender<Done> = workring::inherit(RESULTS)?;

    let mut buffer = vec![0; BUFFER];
    for task in tasks {
        let Task { first, paths } = task?;
        let mut hash = |path: &Vec<u8>| hash(path, &mut buffer).map_err(|error| error.to_string());
        let hashed = paths.iter().map(&mut hash).collect();
        match results.send(Done { first, hashed }) {
            // The parent does not want any more.
            Err(SendError::Closed(_)) => break,
            sent => sent?,
        }
    }
    Ok(())
}

fn hash(path: &[u8], buffer: &mut [u8]) -> io::Result<[u8; 32]> {
    let mut file = File::open(OsStr::from_bytes(path))?;
    let mut hasher = Sha256::new();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(length) => hasher.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
