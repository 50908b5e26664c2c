//! The tasks: workers read files and hash them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use workring::{Context, Task};

/// A task: hash these files. Paths are bytes, because they need not be UTF-8.
#[derive(Serialize, Deserialize)]
pub(crate) struct Files(pub(crate) Vec<Vec<u8>>);

/// The SHA-256 of a file, or the reason why it could not be read.
pub(crate) type Hashed = Result<[u8; 32], String>;

/// The error of a task that was cancelled.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stopped;

/// Bytes to read at a time: large enough for most files, small enough for the cache of one core.
const BUFFER_SIZE: usize = 128 * 1024;

impl Task for Files {
    /// One entry for each path.
    type Output = Vec<Hashed>;
    type Error = Stopped;

    fn run(self, context: &Context) -> Result<Vec<Hashed>, Stopped> {
        let mut buffer = vec![0; BUFFER_SIZE];
        let hash = |path: Vec<u8>| match hash(&path, &mut buffer, context) {
            Ok(Some(sum)) => Ok(Ok(sum)),
            Ok(None) => Err(Stopped),
            Err(error) => Ok(Err(error.to_string())),
        };
        self.0.into_iter().map(hash).collect()
    }
}

/// Returns `None` if the task was cancelled.
fn hash(path: &[u8], buffer: &mut [u8], context: &Context) -> io::Result<Option<[u8; 32]>> {
    let mut file = File::open(OsStr::from_bytes(path))?;
    let mut hasher = Sha256::new();
    while !context.is_cancelled() {
        match file.read(buffer) {
            Ok(0) => return Ok(Some(hasher.finalize().into())),
            Ok(length) => hasher.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
