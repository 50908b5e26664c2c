//! Runs the example under a watchdog, to its end or up to the middle.

use crate::tree::Tree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// An environment variable that has another value in each run, and so identifies the workers of a run.
const RUN: &str = "DIGEST_TEST_RUN";
/// An environment variable that only workers have.
const WORKER: &str = "WORKRING_WORKER";
const TIME_LIMIT: Duration = Duration::from_secs(2 * 60);

pub(crate) fn example() -> Command {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let test = std::env::current_exe().expect("this test's path");
    let target = test
        .parent()
        .and_then(Path::parent)
        .expect("target/debug/deps");
    let example = target.join("examples/digest");
    assert!(
        example.exists(),
        "{} is missing: `cargo test` builds it; before `cargo test --test digest`, build it with `cargo build --examples`",
        example.display()
    );
    let mut command = Command::new(example);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    command.env(RUN, format!("{} {number}", std::process::id()));
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Kills a run, its workers first, if it is not dropped in time. Then the test fails.
struct Watchdog {
    done: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    fn over(parent: Pid, run: OsString) -> Self {
        let (done, is_done) = mpsc::channel();
        let thread = thread::spawn(move || {
            if is_done.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout) {
                for process in workers_of(&run).into_iter().chain([parent]) {
                    let _ = kill(process, Signal::SIGKILL);
                }
                panic!("{parent} took longer than {TIME_LIMIT:?}, and was killed");
            }
        });
        Self {
            done: Some(done),
            thread: Some(thread),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.done.take());
        let was_in_time = self.thread.take().is_some_and(|it| it.join().is_ok());
        assert!(was_in_time || thread::panicking());
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().expect("process ids are positive"))
}

/// Returns the value of [`RUN`].
fn name(command: &Command) -> OsString {
    let value = command.get_envs().find(|(name, _)| *name == RUN);
    let value = value.and_then(|(_, value)| value);
    value.expect("each run has a name").to_owned()
}

/// Returns the workers of this run, by their environment, whether their parent lives or not.
fn workers_of(run: &OsString) -> Vec<Pid> {
    let this_run = [RUN.as_bytes(), b"=", run.as_bytes()].concat();
    let any_worker = [WORKER.as_bytes(), b"="].concat();
    let is_worker = |process: &Pid| {
        let variables = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let variables = variables.split(|&byte| byte == 0);
        let has = |is_it: &dyn Fn(&[u8]) -> bool| variables.clone().any(is_it);
        has(&|variable| variable == this_run) && has(&|variable| variable.starts_with(&any_worker))
    };
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .filter(is_worker)
        .collect()
}

/// Runs the example to its end.
pub(crate) fn run(command: &mut Command) -> io::Result<Output> {
    let child = command.spawn()?;
    let _watchdog = Watchdog::over(pid(&child), name(command));
    child.wait_with_output()
}

/// A run that has begun, in a process group of its own.
pub(crate) struct Run {
    name: OsString,
    pub(crate) child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: ChildStderr,
    watchdog: Watchdog,
}

impl Run {
    /// Starts a run, and waits for its first line.
    pub(crate) fn begun(tree: &Tree) -> Self {
        let mut command = example();
        command.args(["--workers", "2"]).arg(&tree.0);
        let mut child = command.process_group(0).spawn().expect("the example");
        let name = name(&command);
        let watchdog = Watchdog::over(pid(&child), name.clone());
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let stderr = child.stderr.take().expect("a pipe");
        let mut line = Vec::new();
        stdout.read_until(b'\n', &mut line).expect("a line");
        assert_eq!(line.last(), Some(&b'\n'), "it ended without a line");
        Self {
            name,
            child,
            stdout: Some(stdout),
            stderr,
            watchdog,
        }
    }

    pub(crate) fn id(&self) -> Pid {
        pid(&self.child)
    }

    pub(crate) fn workers(&self) -> Vec<Pid> {
        let workers = workers_of(&self.name);
        assert!(!workers.is_empty(), "a run in the middle has workers");
        workers
    }

    /// Closes the pipe that the run prints to.
    pub(crate) fn stop_reading(&mut self) {
        drop(self.stdout.take());
    }

    /// Waits until the run and its workers have ended by themselves. Returns its status and its standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("a child");
        assert_eq!(workers_of(&self.name), [], "left behind");
        (status, self.read_stderr())
    }

    /// Returns the standard error, when no process of the run is left.
    pub(crate) fn read_stderr(mut self) -> String {
        let mut words = String::new();
        self.stderr.read_to_string(&mut words).expect("text");
        drop((self.stdout, self.watchdog));
        words
    }
}
