//! The steps of the child between `clone` and `execve`, prepared by the parent as C strings and numbers.

use super::c_strings::{CStrings, c_string, candidates, environment};
use super::pre_exec::PreExec;
use super::request::{Program, SELF, SpawnRequest, StreamTarget};
use super::signals::{NO_SIGNAL, mask_signals, reset_signals};
use crate::os::descriptor::beyond_stdio;
use crate::os::inherit::InheritedFiles;
use crate::os::process_limits::ProcessLimits;
use core::cell::Cell;
use core::ffi::{c_char, c_int};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal, setpgid};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// Everything that the child reads.
pub(super) struct ExecPlan<'a> {
    parent: Pid,
    null: OwnedFd,
    inherited: &'a InheritedFiles,
    stdout: &'a StreamTarget,
    stderr: &'a StreamTarget,
    limits: &'a ProcessLimits,
    directory: Option<CString>,
    /// Tried one after the other.
    files: Vec<CString>,
    /// Whether the program is that of this process. Then the next file is tried only if the one before does not exist.
    is_own: bool,
    arguments: CStrings,
    /// The arguments of a shell that runs a script without `#!`. The second one is set to the script's path.
    script_arguments: CStrings,
    environment: CStrings,
    pre_exec: &'a [PreExec],
    /// Written by the child (SPAWN-3).
    failed: &'a Cell<Option<StepError>>,
}

impl<'a> ExecPlan<'a> {
    pub(super) fn new(
        request: &'a SpawnRequest,
        inherited: &'a InheritedFiles,
        failed: &'a Cell<Option<StepError>>,
    ) -> io::Result<Self> {
        let environment = environment(request.clears_environment, &request.environment);
        let path = request.program.path().as_os_str();
        let files = match &request.program {
            Program::Own(path) => vec![CString::new(SELF)?, c_string(path.as_os_str())?],
            Program::File(_) => candidates(path, environment.get(OsStr::new("PATH")))?,
        };
        let arguments = request.arguments.iter().map(OsString::as_os_str);
        let variables = environment.iter().map(|(name, value)| {
            let mut variable = name.clone();
            variable.push("=");
            variable.push(value);
            variable
        });
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|error| with_context(&error.into(), "/dev/null can't be opened"))?;
        let directory = request.directory.as_ref();
        Ok(Self {
            parent: request.parent,
            null: beyond_stdio(null)?,
            inherited,
            stdout: &request.stdout,
            stderr: &request.stderr,
            limits: &request.limits,
            directory: directory
                .map(|path| c_string(path.as_os_str()))
                .transpose()?,
            files,
            is_own: matches!(request.program, Program::Own(_)),
            arguments: CStrings::new(core::iter::once(path).chain(arguments.clone()))?,
            script_arguments: CStrings::new(
                ["/bin/sh".as_ref(), path].into_iter().chain(arguments),
            )?,
            environment: CStrings::new(variables)?,
            pre_exec: &request.pre_exec,
            failed,
        })
    }

    /// Returns whether the child runs code of the caller, and so needs memory of its own.
    pub(super) const fn runs_foreign_code(&self) -> bool {
        !self.pre_exec.is_empty()
    }

    /// Returns why the child has failed; `None` if it runs its program. Call it in the parent, once the child has run
    /// its program or ended.
    pub(super) fn failure(&self) -> Option<StepError> {
        self.failed.get()
    }

    /// Carries out all steps in the child. Returns only if one fails, and has recorded the error then.
    pub(super) fn carry_out(&self) {
        let (Ok(error) | Err(error)) = self.steps();
        self.failed.set(Some(error));
    }

    /// Returns the error of `execve` as `Ok`, and that of an earlier step as `Err`.
    fn steps(&self) -> Result<StepError, StepError> {
        reset_signals().map_err(Step::Signals.error())?;
        setpgid(None, None).map_err(|error| Step::Group.error()(error.into()))?;
        self.bind_to_parent().map_err(Step::Parent.error())?;
        self.set_stdio().map_err(Step::Stdio.error())?;
        self.inherited.apply().map_err(Step::Inherit.error())?;
        if let Some(directory) = &self.directory {
            chdir(directory.as_c_str()).map_err(|error| Step::Directory.error()(error.into()))?;
        }
        let limits = self.limits;
        limits.apply_nice().map_err(Step::Nice.error())?;
        limits
            .apply_processors()
            .map_err(Step::Processors.error())?;
        limits.apply_resources().map_err(Step::Resources.error())?;
        mask_signals(NO_SIGNAL).map_err(Step::Signals.error())?;
        if self.runs_foreign_code() {
            self.run_foreign_code()?;
        }
        Ok(Step::Program.error()(self.run().into()))
    }

    /// Runs the code of the caller. Until it returns it counts as failed, since it may end the process.
    fn run_foreign_code(&self) -> Result<(), StepError> {
        let step = Step::PreExec;
        self.failed.set(Some(step.error()(Errno::CANCELED.into())));
        for code in self.pre_exec {
            code.run().map_err(step.error())?;
        }
        self.failed.set(None);
        // A change of the user has taken the request back.
        self.bind_to_parent().map_err(Step::Parent.error())
    }

    fn bind_to_parent(&self) -> io::Result<()> {
        if !mutant!(NoDeathSignal) {
            set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        // Checked after the request: the parent may have ended before it (CHILD-2 of `child`). A parent in another
        // namespace of process ids has no id here.
        if getppid().is_some_and(|now| now != self.parent) {
            return Err(Errno::SRCH.into());
        }
        Ok(())
    }

    fn set_stdio(&self) -> io::Result<()> {
        dup2_stdin(&self.null)?;
        if let Some(file) = self.target(self.stdout, libc::STDOUT_FILENO) {
            dup2_stdout(file)?;
        }
        if let Some(file) = self.target(self.stderr, libc::STDERR_FILENO) {
            dup2_stderr(file)?;
        }
        Ok(())
    }

    /// Returns the file that a standard stream has to be; `None` if it stays as it is.
    fn target<'b>(&'b self, target: &'b StreamTarget, number: c_int) -> Option<&'b OwnedFd> {
        match target {
            StreamTarget::Inherited => is_closed(number).then_some(&self.null),
            StreamTarget::Null => Some(&self.null),
            StreamTarget::File(file) => Some(file),
        }
    }

    /// Tries the files as `execvp(3)` does. Returns only if none can be run.
    fn run(&self) -> Errno {
        let mut denied = None;
        let mut last = Errno::NOENT;
        for file in &self.files {
            last = self.run_file(file);
            match last {
                Errno::NOENT | Errno::NOTDIR => {}
                error if self.is_own => return error,
                Errno::ACCESS => denied = Some(last),
                Errno::STALE | Errno::NODEV | Errno::TIMEDOUT => {}
                error => return error,
            }
        }
        denied.unwrap_or(last)
    }

    /// Runs a file, by a shell if it is a script without `#!`. Returns only if that fails.
    fn run_file(&self, file: &CString) -> Errno {
        let error = execve(file.as_ptr(), &self.arguments, &self.environment);
        if error != Errno::NOEXEC {
            return error;
        }
        let Some(shell) = self.script_arguments.set_second(file) else {
            return error;
        };
        execve(shell, &self.script_arguments, &self.environment)
    }
}

/// Returns whether a standard stream is closed. Its number may be open for some other file, which is close-on-exec
/// then.
fn is_closed(stream: c_int) -> bool {
    // SAFETY: the borrow only serves a call that fails if the descriptor is not open.
    let stream = unsafe { BorrowedFd::borrow_raw(stream) };
    let flags = fcntl(stream, FcntlArg::F_GETFD).map(FdFlag::from_bits_retain);
    flags.map_or(true, |flags| flags.contains(FdFlag::FD_CLOEXEC))
}

/// Calls `execve(2)`. Returns only if it fails.
fn execve(file: *const c_char, arguments: &CStrings, environment: &CStrings) -> Errno {
    // SAFETY: `file` is a C string of the plan, and both lists end with a null pointer and live as long as the plan.
    unsafe { libc::execve(file, arguments.first(), environment.first()) };
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// A step of the child that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Program,
    Signals,
    Group,
    Parent,
    Stdio,
    Inherit,
    Directory,
    Nice,
    Processors,
    Resources,
    PreExec,
}

impl Step {
    fn error(self) -> impl FnOnce(io::Error) -> StepError {
        move |error| StepError {
            step: self,
            errno: error.raw_os_error().unwrap_or(libc::EINVAL),
        }
    }
}

/// The step that failed, and the system's error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StepError {
    step: Step,
    errno: c_int,
}

impl StepError {
    /// Returns the error for the caller of [`spawn`](super::spawn).
    pub(super) fn into_io_error(self, request: &SpawnRequest) -> io::Error {
        let error = io::Error::from_raw_os_error(self.errno);
        let context = match self.step {
            // Unchanged: a caller may look at the error number.
            Step::Program | Step::Parent => return error,
            Step::Signals => "its signals can't be set",
            Step::Group => "it can't have a process group of its own",
            Step::Stdio => "its standard streams can't be opened",
            Step::Inherit => "its queues can't be handed over",
            Step::Nice => "its niceness can't be set",
            Step::Processors => "it can't be bound to its processors",
            Step::Resources => "its resource limits can't be set",
            Step::PreExec => "the code that it runs before its program has failed",
            Step::Directory => {
                let directory = request.directory.as_deref().unwrap_or(Path::new("."));
                let context = format!(
                    "its working directory {} can't be entered",
                    directory.display()
                );
                return with_context(&error, &context);
            }
        };
        with_context(&error, context)
    }
}

fn with_context(error: &io::Error, context: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{context}: {error}"))
}
