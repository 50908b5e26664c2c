//! What the caller wants to start: a program, its arguments, environment and working directory.

use super::pre_exec::PreExec;
use crate::os::process_limits::ProcessLimits;
use rustix::process::{Pid, getpid};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The program of this process, whatever its path, even after its file was removed or replaced.
pub(super) const SELF: &str = "/proc/self/exe";
/// The name that the kernel gives to a process which runs [`SELF`].
pub(super) const NAME_OF_SELF: &[u8] = b"exe";

/// The program that a child runs.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// The program of this process, whatever has happened to its file. Run by its path where `/proc` is not mounted.
    Own(PathBuf),
    /// The file at a path. A name without a slash is searched for in the child's `PATH`.
    File(PathBuf),
}

impl Program {
    /// Returns the program of this process.
    pub(crate) fn own() -> io::Result<Self> {
        /// What `/proc` appends to the path of a file that was removed.
        const REMOVED: &[u8] = b" (deleted)";
        let path = std::env::current_exe()?;
        let bytes = path.as_os_str().as_bytes();
        let path = match bytes.strip_suffix(REMOVED) {
            Some(stem) if !path.exists() => PathBuf::from(OsStr::from_bytes(stem)),
            _ => path,
        };
        Ok(Self::Own(path))
    }

    /// Returns the path, which is also the child's argument 0.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Own(path) | Self::File(path) => path,
        }
    }
}

/// Where a standard stream of a child goes.
#[derive(Debug)]
pub(crate) enum StreamTarget {
    /// Where that of this process goes, or to `/dev/null` if that is closed.
    Inherited,
    Null,
    File(OwnedFd),
}

/// A program to start as a child, and how.
#[derive(Debug)]
pub(crate) struct SpawnRequest {
    pub(crate) program: Program,
    /// The arguments after argument 0.
    pub(crate) arguments: Vec<OsString>,
    /// Whether the child gets no variable of this process's environment.
    pub(crate) clears_environment: bool,
    /// Changes to this process's environment, applied in this order; `None` removes a variable.
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
    pub(crate) stdout: StreamTarget,
    pub(crate) stderr: StreamTarget,
    pub(crate) limits: ProcessLimits,
    /// The working directory; `None` is that of this process.
    pub(crate) directory: Option<PathBuf>,
    /// What the child runs before its program. With any, it gets a copy of this process's memory, which takes time.
    pub(crate) pre_exec: Vec<PreExec>,
    /// The child runs its program only if this is its parent.
    pub(crate) parent: Pid,
}

impl SpawnRequest {
    /// Requests `program` without arguments, in the environment and directory of this process.
    pub(crate) fn new(program: Program) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            clears_environment: false,
            environment: Vec::new(),
            stdout: StreamTarget::Inherited,
            stderr: StreamTarget::Inherited,
            limits: ProcessLimits::default(),
            directory: None,
            pre_exec: Vec::new(),
            parent: getpid(),
        }
    }
}
