//! Tasks for the pools of the tests: one kind for each thing that can happen to a task.
//!
//! A test that has to know when a task runs, or to control when it continues, uses [`Job::Meet`]: the task connects to
//! a [`Meeting`], reports its process, and follows orders.

use nix::{
    sys::signal::{SigHandler, Signal, raise, signal},
    unistd::Pid,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::{
    env,
    error::Error,
    fmt,
    fs::{self, File},
    hint,
    io::{self, BufRead, BufReader, Write},
    mem,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use workring::pool::{Context, Task};

/// The environment variable with the order that a worker follows while it is prepared: see `prepare`.
pub const PREPARE: &str = "POOLED_PREPARE";

/// Tells the worker program to do as one that does not know that it is a worker.
pub const FORGETS: &str = "POOLED_FORGETS";

/// Names a file: while that is there, the worker program ends before it has done anything.
pub const EXITS: &str = "POOLED_EXITS";

/// One kind of work for each thing that can happen to a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// Returns twice the number.
    Double(u64),
    /// Returns this many letters.
    Letters(usize),
    /// Has a payload of this length, and returns the length.
    Weigh(Vec<u8>),
    /// Fails with this error.
    Fail(String),
    /// Panics with this text.
    Panic(String),
    /// Ends its worker.
    Die(Death),
    /// Ends its worker in all attempts before this one, then returns the number of the attempt.
    DieUntil(u32, Death),
    /// Ends its worker when it is decoded, before it begins.
    Poison(Poison),
    /// Keeps a processor busy for this many microseconds, and returns their number.
    Busy(u64),
    /// Returns the process id of its worker.
    Pid,
    /// Returns the value of an environment variable, or fails.
    Variable(String),
    /// Returns the working directory.
    Directory,
    /// Returns the contents of a file.
    Read(PathBuf),
    /// Returns where a link leads.
    Follow(PathBuf),
    /// Writes this to the standard output, or, if so, to the standard error.
    Write(String, bool),
    /// Writes as many lines of 1 KiB to the standard output.
    Flood(usize),
    /// Runs a command of the shell, which must end without an error.
    Shell(String),
    /// Connects to a [`Meeting`], and follows the orders that it gets there.
    Meet(PathBuf),
    /// Does both, and returns the output of the second.
    Then(Box<Job>, Box<Job>),
    /// Does the same as another, and has a time limit of its own.
    Within(Duration, Box<Job>),
}

/// Ends whatever process decodes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Poison;

impl<'de> Deserialize<'de> for Poison {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        process::abort()
    }
}

/// How a worker can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    /// `exit`, with this code.
    Exit(i32),
    /// `_exit`, with this code: nothing is cleared up.
    ExitAtOnce(i32),
    /// `abort`.
    Abort,
    /// This signal.
    Signal(i32),
}

impl Death {
    /// End this process so.
    pub fn die(self) -> ! {
        match self {
            Self::Exit(code) => process::exit(code),
            Self::ExitAtOnce(code) => exit_at_once(code),
            Self::Abort => process::abort(),
            Self::Signal(number) => {
                let number = Signal::try_from(number).expect("a signal");
                by_default(number);
                raise(number).expect("raise");
                unreachable!("the signal has ended this process");
            }
        }
    }
}

/// The standard library has a handler for some, which tells stack overflows from other faults.
#[allow(unsafe_code, reason = "signal dispositions are the test's subject")]
fn by_default(number: Signal) {
    if number != Signal::SIGKILL {
        // SAFETY: the default is no handler of this program.
        unsafe { signal(number, SigHandler::SigDfl) }.expect("the default");
    }
}

#[allow(unsafe_code, reason = "a system call that never returns")]
fn exit_at_once(code: i32) -> ! {
    // SAFETY: it has no preconditions; what is not cleared up is the point.
    unsafe { nix::libc::_exit(code) }
}

impl Task for Job {
    type Output = String;
    type Error = String;

    fn run(self, context: &Context) -> Result<String, String> {
        match self {
            Self::Double(number) => Ok((2 * number).to_string()),
            Self::Letters(count) => Ok("x".repeat(count)),
            Self::Weigh(bytes) => Ok(bytes.len().to_string()),
            Self::Fail(error) => Err(error),
            Self::Panic(text) => panic!("{text}"),
            Self::Die(death) => death.die(),
            Self::DieUntil(attempt, death) => {
                if context.attempt() < attempt {
                    death.die();
                }
                Ok(context.attempt().to_string())
            }
            Self::Busy(microseconds) => {
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(microseconds) {
                    hint::spin_loop();
                }
                Ok(microseconds.to_string())
            }
            Self::Poison(Poison) => unreachable!("nobody can decode it"),
            Self::Pid => Ok(process::id().to_string()),
            Self::Variable(name) => env::var(name).map_err(|error| error.to_string()),
            Self::Directory => {
                let directory = env::current_dir().map_err(|error| error.to_string())?;
                Ok(directory.display().to_string())
            }
            Self::Read(path) => fs::read_to_string(path).map_err(|error| error.to_string()),
            Self::Follow(path) => {
                let target = fs::read_link(path).map_err(|error| error.to_string())?;
                Ok(target.display().to_string())
            }
            Self::Write(text, to_error) => write(&text, to_error),
            Self::Flood(lines) => flood(lines),
            Self::Shell(command) => shell(&command),
            Self::Meet(path) => meet(&path, context),
            Self::Then(first, second) => first.run(context).and_then(|_| second.run(context)),
            Self::Within(_, job) => job.run(context),
        }
    }

    fn time_limit(&self) -> Option<Duration> {
        match self {
            Self::Within(limit, _) => Some(*limit),
            _ => None,
        }
    }

    fn prepare_worker() -> Result<(), Box<dyn Error + Send + Sync>> {
        prepare(&env::var(PREPARE).unwrap_or_default())
    }
}

impl Job {
    /// The same, with a time limit of its own.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self::Within(limit, Box::new(self))
    }
}

/// An error whose text can't be had.
#[derive(Debug)]
struct Speechless;

impl fmt::Display for Speechless {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("there are no words for it")
    }
}

impl Error for Speechless {}

/// `fail`, `fail without words`, `panic`, `hang`, `exit`, `kill`; `kill until PATH` kills the first worker that does
/// not find this file, and makes it.
pub(crate) fn prepare(order: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    match order.split_once(" until ") {
        Some((order, path)) => {
            if File::create_new(path).is_ok() {
                return prepare(order);
            }
            Ok(())
        }
        None => match order {
            "" => Ok(()),
            "fail" => Err("it was told to fail".into()),
            "fail without words" => Err(Box::new(Speechless)),
            "panic" => panic!("it was told to panic"),
            "hang" => loop {
                thread::park();
            },
            "exit" => Death::ExitAtOnce(7).die(),
            "kill" => Death::Signal(Signal::SIGKILL as i32).die(),
            other => Err(format!("no such preparation: {other:?}").into()),
        },
    }
}

fn write(text: &str, to_error: bool) -> Result<String, String> {
    let written = if to_error {
        io::stderr().write_all(text.as_bytes())
    } else {
        let mut output = io::stdout().lock();
        let written = output.write_all(text.as_bytes());
        written.and_then(|()| output.flush())
    };
    written.map_err(|error| error.to_string())?;
    Ok(text.len().to_string())
}

fn flood(lines: usize) -> Result<String, String> {
    let mut line = "x".repeat(1023);
    line.push('\n');
    for _ in 0..lines {
        write(&line, false)?;
    }
    Ok(lines.to_string())
}

fn shell(command: &str) -> Result<String, String> {
    let mut shell = Command::new("sh");
    let status = shell.args(["-c", command]).status();
    let status = status.map_err(|error| error.to_string())?;
    status.success().then(String::new).ok_or(status.to_string())
}

/// The bytes that a task allocates by order of a meeting.
pub const TAKEN: usize = 128 << 20;

/// A task's side of a meeting.
fn meet(path: &Path, context: &Context) -> Result<String, String> {
    let mut stream = UnixStream::connect(path).map_err(|error| error.to_string())?;
    let hello = format!("{} {}\n", process::id(), context.id());
    stream.write_all(hello.as_bytes()).expect("say who it is");
    let mut told = BufReader::new(stream.try_clone().expect("another end")).lines();
    while let Some(Ok(order)) = told.next() {
        match order.as_str() {
            "done" => return Ok("done".to_owned()),
            "abort" => Death::Abort.die(),
            "be deaf to SIGTERM" => ignore_sigterm(),
            "await cancel" => {
                while !context.is_cancelled() {
                    thread::yield_now();
                }
                return Err("cancelled".to_owned());
            }
            "await cancel and say why" => {
                while !context.is_cancelled() {
                    thread::yield_now();
                }
                return Ok(format!("{:?}", context.cancel_reason()));
            }
            "loop" => loop {
                hint::spin_loop();
            },
            // Without `black_box` an optimised build makes no such vector.
            "take memory" => mem::forget(hint::black_box(vec![1_u8; TAKEN])),
            // More than it may have where there is a limit; not touched.
            "take addresses" => mem::forget(hint::black_box(Vec::<u8>::with_capacity(3 << 30))),
            "have a child" => {
                let child = Command::new("sleep")
                    .arg("1000")
                    .stdin(Stdio::null())
                    .spawn();
                let id = child.expect("a child").id();
                stream.write_all(format!("{id}\n").as_bytes()).expect("say");
            }
            other => return Err(format!("no such order: {other:?}")),
        }
        stream.write_all(b"ok\n").expect("say");
    }
    // No more orders will come: it waits for its end.
    loop {
        thread::park();
    }
}

#[allow(unsafe_code, reason = "signal dispositions are the test's subject")]
fn ignore_sigterm() {
    // SAFETY: no handler of this program.
    unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.expect("ignore");
}

/// A socket where running tasks connect and wait for orders.
#[derive(Debug)]
pub struct Meeting {
    listener: UnixListener,
    path: PathBuf,
}

/// One task at a meeting.
#[derive(Debug)]
pub struct Guest {
    /// The process id of its worker.
    pub pid: Pid,
    /// The id of the task.
    pub task: u64,
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Meeting {
    /// A place of its own for each test.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("workring-meeting-{}-{name}", process::id()));
        // Of a test that was killed.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        Self { listener, path }
    }

    /// Where it is, for tasks of another process.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A task that comes here.
    #[must_use]
    pub fn job(&self) -> Job {
        Job::Meet(self.path.clone())
    }

    /// Waits for the next task.
    #[must_use]
    pub fn guest(&self) -> Guest {
        let (stream, _) = self.listener.accept().expect("a guest");
        let mut lines = BufReader::new(stream.try_clone().expect("another end"));
        let mut hello = String::new();
        lines.read_line(&mut hello).expect("who it is");
        let (pid, task) = hello.trim_end().split_once(' ').expect("two numbers");
        Guest {
            pid: Pid::from_raw(pid.parse().expect("a pid")),
            task: task.parse().expect("a number"),
            stream,
            lines,
        }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Guest {
    /// Sends the task an order.
    pub fn tell(&mut self, order: &str) {
        let told = self.stream.write_all(format!("{order}\n").as_bytes());
        told.expect("the task listens");
    }

    /// Returns the next line of the task.
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}

/// Other tasks than [`Job`], for workers that do not fit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Other;

impl Task for Other {
    type Output = ();
    type Error = ();

    fn run(self, _: &Context) -> Result<(), ()> {
        Ok(())
    }
}
