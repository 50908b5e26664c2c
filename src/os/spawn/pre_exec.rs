//! Code of the caller that a child runs between fork and exec.

use core::fmt;
use std::io;
use std::sync::Arc;

/// Code that a worker process runs before its program: see [`Builder::pre_exec`](crate::pool::Builder::pre_exec).
#[derive(Clone)]
pub struct PreExec(Arc<dyn Fn() -> io::Result<()> + Send + Sync>);

impl PreExec {
    /// Makes it of a closure. If that returns an error, or ends the process, the worker is not started, and the error is that of
    /// [`StartError::Spawn`](crate::pool::StartError::Spawn). An error without a number of the system becomes `EINVAL`.
    ///
    /// # Safety
    ///
    /// The closure runs in a copy of this process, made as by `fork(2)`, that has only the thread which runs the closure. A lock
    /// that another thread held at that moment stays locked there forever, that of the allocator included. So the
    /// closure may only call what is async-signal-safe (signal-safety(7)): it must not allocate, lock, or panic. It must end soon, since
    /// the thread that starts workers waits for it. That is the contract of
    /// [`CommandExt::pre_exec`](std::os::unix::process::CommandExt::pre_exec), too.
    ///
    /// # Examples
    ///
    /// ```
    /// use nix::sys::stat::{Mode, umask};
    /// use workring::pool::PreExec;
    ///
    /// // SAFETY: the closure makes one system call.
    /// let files_are_private = unsafe {
    ///     PreExec::new(|| {
    ///         umask(Mode::from_bits_truncate(0o077));
    ///         Ok(())
    ///     })
    /// };
    /// # drop(files_are_private);
    /// ```
    pub unsafe fn new(code: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(code))
    }

    pub(super) fn run(&self) -> io::Result<()> {
        (self.0)()
    }
}

impl fmt::Debug for PreExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreExec").finish_non_exhaustive()
    }
}
