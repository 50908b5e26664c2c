//! Running the example, to the end or up to the middle, under a watchdog.

use crate::tree::Tree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const TIME_LIMIT: Duration = Duration::from_mins(2);

pub(crate) fn example() -> Command {
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
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Kills a run, its workers first, unless dropped in time; then the test fails.
struct Watchdog {
    done: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    fn over(parent: Pid) -> Self {
        let (done, is_done) = mpsc::channel();
        let thread = thread::spawn(move || {
            if is_done.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout) {
                for process in workers_of(parent).into_iter().chain([parent]) {
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

/// The processes whose command line says that they are workers of `parent`, be it alive or not.
pub(crate) fn workers_of(parent: Pid) -> Vec<Pid> {
    let parent = parent.to_string();
    let is_worker = |process: &Pid| {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let mut words = line.split(|&byte| byte == 0);
        words.any(|word| word == b"--worker-of") && words.next() == Some(parent.as_bytes())
    };
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .filter(is_worker)
        .collect()
}

/// Run to the end.
pub(crate) fn run(command: &mut Command) -> io::Result<Output> {
    let child = command.spawn()?;
    let _watchdog = Watchdog::over(pid(&child));
    child.wait_with_output()
}

/// A run in the middle, in a process group of its own.
pub(crate) struct Run {
    pub(crate) child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: ChildStderr,
    watchdog: Watchdog,
}

impl Run {
    /// Start, and wait for the first line.
    pub(crate) fn begun(tree: &Tree) -> Self {
        let mut command = example();
        command.args(["--workers", "2"]).arg(&tree.0);
        let mut child = command.process_group(0).spawn().expect("the example");
        let watchdog = Watchdog::over(pid(&child));
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let stderr = child.stderr.take().expect("a pipe");
        let mut line = Vec::new();
        stdout.read_until(b'\n', &mut line).expect("a line");
        assert_eq!(line.last(), Some(&b'\n'), "it ended without a line");
        Self {
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
        let workers = workers_of(self.id());
        assert!(!workers.is_empty(), "a run in the middle has workers");
        workers
    }

    /// Close the pipe that it prints to.
    pub(crate) fn stop_reading(&mut self) {
        drop(self.stdout.take());
    }

    /// Wait for it to end by itself, which includes its workers: how it ended, and what it said.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("a child");
        assert_eq!(workers_of(self.id()), [], "left behind");
        (status, self.last_words())
    }

    /// Standard error to its end: returns when no process of the run is left.
    pub(crate) fn last_words(mut self) -> String {
        let mut words = String::new();
        self.stderr.read_to_string(&mut words).expect("text");
        drop((self.stdout, self.watchdog));
        words
    }
}
