//! Starting a program at a cost that does not depend on how much memory this process has.
//!
//! `fork(2)` copies the page tables of the parent: with 6 GiB in use that takes most of a second. A child made with
//! `CLONE_VM | CLONE_VFORK` copies nothing. It runs in its parent's memory, on a stack of its own, and the thread that
//! started it waits until it has run its program or ended. So everything that the child does is prepared before:
//! [`Order`] is what the caller wants, [`Plan`] the same as bytes and numbers, which the child only reads.
//!
//! | step of the child                    | why                                                                      |
//! |--------------------------------------|--------------------------------------------------------------------------|
//! | default signal dispositions          | an ignored `SIGCHLD` would be inherited; a handler would run in the parent's memory |
//! | `SIGTTIN` and `SIGTTOU` ignored      | a background process that touches the terminal gets an error, and is not stopped |
//! | the mark of [`evidence`](super::evidence) | it, and what runs in its place, can tell that it was started so  |
//! | process group of its own             | signals of the terminal do not reach it; it is killed with all that it starts |
//! | parent-death signal, parent checked  | see CHILD-2 of [`child`](super::child)                                         |
//! | standard input from `/dev/null`      | and the other two, where the parent has them closed                      |
//! | inherited descriptors                | see [`inherit`](super::inherit)                                          |
//! | working directory                    |                                                                          |
//! | no signal blocked, exec              |                                                                          |
//!
//! SPAWN-1. The child allocates nothing, takes no lock, does not panic, and calls only what is async-signal-safe.
//! SPAWN-2. Every signal is blocked from before the child is made until it has reset all dispositions: a handler of the
//!          parent never runs in the child. The parent's thread gets its own mask back afterwards.
//! SPAWN-3. A failure is reported in `Plan::failed`, which both share. It is written before the child ends and read
//!          after the kernel has let the parent go on, which orders the two. Where an emulator turns this into a plain
//!          fork, a failure shows as a child that ends with [`FAILED`].
//! SPAWN-4. `SIGHUP` stays ignored if it was: `nohup` is meant for everything that a program starts.
//!
//! What is set in the child is data, so that a limit or a priority can be added here. A closure of the user's would run
//! under SPAWN-1, which only `unsafe` could promise: that is what `Command::pre_exec`, and with it a fork, is for.

mod c_strings;
mod signals;

use super::descriptor::beyond_stdio;
use super::inherit::Inheritance;
use c_strings::{CStrings, candidates, environment, text};
use core::cell::Cell;
use core::ffi::{c_char, c_int, c_void};
use core::num::NonZeroUsize;
use core::ptr::{self, NonNull};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, getppid, pidfd_open,
    set_parent_process_death_signal, setpgid, waitid,
};
use signals::{Blocked, NO_SIGNAL, mask_signals, reset_signals};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The program of this process, under whatever name, also after its file was removed or replaced.
const SELF: &str = "/proc/self/exe";
/// The name that the kernel gives a process which runs [`SELF`].
const NAME_OF_SELF: &str = "exe";
/// What a child ends with that could not run its program, as that of a shell.
const FAILED: c_int = 127;

/// Which program a child runs.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// That of this process, whatever has become of its file. Run by its path where `/proc` is not mounted.
    Own(PathBuf),
    /// The file at a path; without a slash, it is searched for in the child's `PATH`.
    File(PathBuf),
}

impl Program {
    /// Returns the program of this process.
    pub(crate) fn own() -> io::Result<Self> {
        /// What `/proc` adds to the path of a file that was removed.
        const REMOVED: &[u8] = b" (deleted)";
        let path = std::env::current_exe()?;
        let bytes = path.as_os_str().as_bytes();
        let path = match bytes.strip_suffix(REMOVED) {
            Some(stem) if !path.exists() => PathBuf::from(OsStr::from_bytes(stem)),
            _ => path,
        };
        Ok(Self::Own(path))
    }

    /// Returns the path, which is also the child's first argument.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Own(path) | Self::File(path) => path,
        }
    }
}

/// What is to be started, and how.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) program: Program,
    pub(crate) arguments: Vec<OsString>,
    /// Changes to the environment of this process, in this order; `None` removes.
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
    /// By default, that of this process.
    pub(crate) directory: Option<PathBuf>,
    /// The child runs only if this is its parent.
    pub(crate) parent: Pid,
}

impl Order {
    /// Runs `program`, with nothing changed, as a child of this process.
    pub(crate) fn new(program: Program) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            parent: getpid(),
        }
    }
}

/// A child that has run its program.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) id: Pid,
    pub(crate) pidfd: OwnedFd,
}

/// Starts a child and waits until it has run its program. It is killed when this thread ends.
///
/// # Errors
///
/// What the system says of the program is passed on as it is; an error of another step names that step.
pub(crate) fn start(order: &Order, inheritance: &Inheritance) -> io::Result<Started> {
    let plan = Plan::new(order, inheritance)?;
    let stack = Stack::new()?;
    let (id, pidfd) = {
        let _blocked = Blocked::all()?;
        clone(&plan, &stack)?
    };
    if let Some(failure) = plan.failed.get() {
        reap(id);
        return Err(failure.into_error(order));
    }
    let pidfd = match pidfd {
        Some(pidfd) => pidfd,
        // Before Linux 5.2.
        None => pidfd_open(id, PidfdFlags::empty()).inspect_err(|_| kill_and_reap(id))?,
    };
    let pidfd = beyond_stdio(pidfd).inspect_err(|_| kill_and_reap(id))?;
    Ok(Started { id, pidfd })
}

/// Gives this process its program's name again, if it runs as [`SELF`]: tools would show "exe".
pub(crate) fn restore_name() {
    let is_nameless =
        prctl::get_name().is_ok_and(|name| name.as_bytes() == NAME_OF_SELF.as_bytes());
    let path = std::env::args_os().next().map(PathBuf::from);
    let name = path.as_deref().and_then(Path::file_name);
    if let (true, Some(name)) = (
        is_nameless,
        name.and_then(|name| CString::new(name.as_bytes()).ok()),
    ) {
        // The kernel takes the first 15 bytes. An error leaves the name as it is.
        let _ = prctl::set_name(&name);
    }
}

/// What the child does, as bytes and numbers.
struct Plan<'a> {
    parent: Pid,
    null: OwnedFd,
    inheritance: &'a Inheritance,
    directory: Option<CString>,
    /// Tried one after the other.
    files: Vec<CString>,
    /// Whether the next file is tried only if this one is not there.
    is_own: bool,
    arguments: CStrings,
    /// Of a shell that runs a script without `#!`; the second one is the file.
    script: CStrings,
    environment: CStrings,
    /// Written by the child.
    failed: Cell<Option<Failure>>,
}

impl<'a> Plan<'a> {
    fn new(order: &Order, inheritance: &'a Inheritance) -> io::Result<Self> {
        let environment = environment(&order.environment);
        let path = order.program.path().as_os_str();
        let files = match &order.program {
            Program::Own(path) => vec![CString::new(SELF)?, text(path.as_os_str())?],
            Program::File(_) => candidates(path, environment.get(OsStr::new("PATH")))?,
        };
        let arguments = order.arguments.iter().map(OsString::as_os_str);
        let variables = environment.iter().map(|(name, value)| {
            let mut variable = name.clone();
            variable.push("=");
            variable.push(value);
            variable
        });
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|error| explained(&error.into(), "/dev/null can't be opened"))?;
        Ok(Self {
            parent: order.parent,
            null: beyond_stdio(null)?,
            inheritance,
            directory: order
                .directory
                .as_ref()
                .map(|path| text(path.as_os_str()))
                .transpose()?,
            files,
            is_own: matches!(order.program, Program::Own(_)),
            arguments: CStrings::new(core::iter::once(path).chain(arguments.clone()))?,
            script: CStrings::new(["/bin/sh".as_ref(), path].into_iter().chain(arguments))?,
            environment: CStrings::new(variables)?,
            failed: Cell::new(None),
        })
    }

    /// Runs the program. Returns only if that fails. To be called in the child.
    fn carry_out(&self) -> Failure {
        let steps = || -> Result<Failure, Failure> {
            reset_signals().map_err(Step::Signals.failed())?;
            setpgid(None, None).map_err(|error| Step::Group.failed()(error.into()))?;
            self.bind_to_parent().map_err(Step::Parent.failed())?;
            self.set_stdio().map_err(Step::Stdio.failed())?;
            self.inheritance
                .apply()
                .map_err(Step::Inheritance.failed())?;
            if let Some(directory) = &self.directory {
                chdir(directory.as_c_str())
                    .map_err(|error| Step::Directory.failed()(error.into()))?;
            }
            mask_signals(NO_SIGNAL).map_err(Step::Signals.failed())?;
            Ok(Step::Program.failed()(self.run().into()))
        };
        match steps() {
            Ok(failure) | Err(failure) => failure,
        }
    }

    fn bind_to_parent(&self) -> io::Result<()> {
        if !mutant!(NoDeathSignal) {
            set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        // After that: see CHILD-2 of `child`. A parent in another namespace of process ids has no id here.
        if getppid().is_some_and(|now| now != self.parent) {
            return Err(Errno::SRCH.into());
        }
        Ok(())
    }

    fn set_stdio(&self) -> io::Result<()> {
        dup2_stdin(&self.null)?;
        if is_closed(libc::STDOUT_FILENO) {
            dup2_stdout(&self.null)?;
        }
        if is_closed(libc::STDERR_FILENO) {
            dup2_stderr(&self.null)?;
        }
        Ok(())
    }

    /// Tries the files as `execvp(3)` does.
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

    fn run_file(&self, file: &CString) -> Errno {
        let error = execute(file.as_ptr(), self.arguments.first(), &self.environment);
        if error != Errno::NOEXEC {
            return error;
        }
        let Some(shell) = self.script.set_second(file) else {
            return error;
        };
        execute(shell, self.script.first(), &self.environment)
    }
}

/// Whether a standard stream is not open, or is some other file's number: then it is closed on exec.
fn is_closed(stream: c_int) -> bool {
    // SAFETY: only lent to a call which fails if it is not open.
    let stream = unsafe { BorrowedFd::borrow_raw(stream) };
    let flags = fcntl(stream, FcntlArg::F_GETFD).map(FdFlag::from_bits_retain);
    flags.map_or(true, |flags| flags.contains(FdFlag::FD_CLOEXEC))
}

fn execute(file: *const c_char, arguments: *const *const c_char, environment: &CStrings) -> Errno {
    // SAFETY: a string, and two lists of strings with a null at their ends, which the plan keeps.
    unsafe { libc::execve(file, arguments, environment.first()) };
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// What the child was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Program,
    Signals,
    Group,
    Parent,
    Stdio,
    Inheritance,
    Directory,
}

impl Step {
    fn failed(self) -> impl FnOnce(io::Error) -> Failure {
        move |error| Failure {
            step: self,
            error: error.raw_os_error().unwrap_or(libc::EINVAL),
        }
    }
}

/// A step, and what the system said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure {
    step: Step,
    error: c_int,
}

impl Failure {
    fn into_error(self, order: &Order) -> io::Error {
        let error = io::Error::from_raw_os_error(self.error);
        let what = match self.step {
            // As the system put it: a caller may look for the number.
            Step::Program | Step::Parent => return error,
            Step::Signals => "its signals can't be set",
            Step::Group => "it can't have a process group of its own",
            Step::Stdio => "its standard streams can't be opened",
            Step::Inheritance => "its queues can't be handed over",
            Step::Directory => {
                let directory = order.directory.as_deref().unwrap_or(Path::new("."));
                let what = format!(
                    "its working directory {} can't be entered",
                    directory.display()
                );
                return explained(&error, &what);
            }
        };
        explained(&error, what)
    }
}

fn explained(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// A stack for the child, above a page that can't be touched.
struct Stack {
    start: NonNull<c_void>,
}

impl Stack {
    /// A multiple of the page size of any machine, twice.
    const GUARD: NonZeroUsize = NonZeroUsize::new(64 << 10).expect("not zero");
    const LENGTH: NonZeroUsize = NonZeroUsize::new(256 << 10).expect("not zero");

    fn new() -> io::Result<Self> {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_STACK | MapFlags::MAP_NORESERVE;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
        let start = unsafe { mmap_anonymous(None, Self::LENGTH, access, flags) }?;
        let stack = Self { start };
        // SAFETY: the mapping is ours, and nothing is in it yet.
        unsafe { mprotect(start, Self::GUARD.get(), ProtFlags::PROT_NONE) }?;
        Ok(stack)
    }

    /// Its end: it grows downwards. A multiple of 16, as it has to be.
    fn top(&self) -> *mut c_void {
        // SAFETY: one past the end of the mapping.
        unsafe { self.start.as_ptr().byte_add(Self::LENGTH.get()) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the child has left it: it runs its program, or has ended.
        let _ = unsafe { munmap(self.start, Self::LENGTH.get()) };
    }
}

/// Returns the child once it has run its program or ended, and a descriptor of it where the kernel can make one.
fn clone(plan: &Plan<'_>, stack: &Stack) -> io::Result<(Pid, Option<OwnedFd>)> {
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let argument = ptr::from_ref(plan).cast_mut().cast::<c_void>();
    // SAFETY: the child runs on a stack of its own and only reads what the plan has, apart from cells that this thread
    // does not look at meanwhile, for it waits; and the plan outlives it. See SPAWN-1 and SPAWN-2.
    let id = unsafe { libc::clone(child_main, stack.top(), flags, argument, &raw mut pidfd) };
    let id = Pid::from_raw(id).filter(|_| id > 0);
    let id = id.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the call has just made it, for this owner.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok((id, pidfd))
}

extern "C" fn child_main(plan: *mut c_void) -> c_int {
    // SAFETY: `clone` passes a plan, which lives until the child has gone.
    let plan: &Plan<'_> = unsafe { &*plan.cast_const().cast() };
    plan.failed.set(Some(plan.carry_out()));
    FAILED
}

/// Waits for the end of a child that is ending.
fn reap(id: Pid) {
    while let Err(Errno::INTR) = waitid(WaitId::Pid(id), WaitIdOptions::EXITED) {}
}

fn kill_and_reap(id: Pid) {
    let _ = rustix::process::kill_process_group(id, Signal::KILL);
    reap(id);
}

#[cfg(test)]
mod tests;
