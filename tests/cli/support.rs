//! Running the program, and what tests share.

use serde_json::Value;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Output, Stdio};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// Aborts this test program if the test takes longer.
#[must_use = "it watches until it is dropped"]
pub struct Watchdog(#[expect(dead_code, reason = "dropped to end the watch")] Sender<()>);

impl Watchdog {
    pub fn start() -> Self {
        Self::with_limit(Duration::from_secs(120))
    }

    pub fn with_limit(limit: Duration) -> Self {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            if receiver.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                // The test runner keeps back what `eprintln!` prints, and an abort discards it.
                let _ = writeln!(io::stderr(), "{test} takes longer than {limit:?}");
                remove_what_is_left();
                process::abort();
            }
        });
        Self(sender)
    }
}

/// Ends the terminals and removes the queues of this process: an abort drops nothing.
fn remove_what_is_left() {
    let mine = format!("-{}-", process::id());
    let of = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.contains("cli-") && name.contains(&mine)
            })
            .collect()
    };
    for socket in of(&std::env::temp_dir()) {
        let mut tmux = Command::new("tmux");
        let _ = tmux.arg("-S").arg(&socket).arg("kill-server").output();
        let _ = fs::remove_file(socket);
    }
    for queue in of(Path::new("/dev/shm")) {
        let _ = fs::remove_file(queue);
    }
}

/// Locked for writing by a test that makes a thousand queues, so that a look at all of them takes long, and for reading by
/// tests with a program that looks at all of them again and again.
pub static CROWD: RwLock<()> = RwLock::new(());

/// The name of a queue, which is removed at the end.
pub struct Name(pub String);

impl Name {
    pub fn new(what: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("cli-{what}-{}-{number}", process::id()))
    }

    pub fn file(&self) -> String {
        let user = fs::metadata("/proc/self").expect("/proc").uid();
        format!("/dev/shm/workring-{user}-{}", self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.file());
    }
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_workring"));
    command.stdin(Stdio::null());
    command
}

/// Runs the program with these arguments.
pub fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().expect("the program")
}

/// Runs the program with this standard input.
pub fn run_with(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = spawn(program().args(arguments).stdin(Stdio::piped()));
    let mut pipe = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        // The program may end before it has read all.
        let _ = pipe.write_all(&input);
    });
    let output = child.wait_with_output().expect("the program");
    writer.join().expect("the writer");
    output
}

pub fn spawn(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program")
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs the program, which must succeed, and returns what it prints.
pub fn ok(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    stdout(&output)
}

/// Runs the program, which must end with this code, and one line on standard error.
pub fn fails(arguments: &[&str], expected: i32) -> String {
    let output = run(arguments);
    assert_eq!(code(&output), expected, "{arguments:?}: {output:?}");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if expected != 2 {
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
        assert!(error.starts_with("workring: "), "{error}");
    }
    error
}

/// Runs the program, which must succeed, and returns the JSON that it prints, of this definition of the schema.
pub fn json(definition: &str, arguments: &[&str]) -> Value {
    let value = serde_json::from_str(&ok(arguments)).expect("JSON");
    super::schema::check(definition, &value);
    value
}

/// Returns the entry of a queue in the output of `ls --json`.
pub fn listed(name: &str) -> Option<Value> {
    let all = json("ls", &["ls", "--json"]);
    let queues = all["queues"].as_array().expect("queues");
    queues.iter().find(|queue| queue["name"] == name).cloned()
}

pub fn stat(name: &str) -> Value {
    json("queue", &["stat", name, "--json", "--sample", "0"])
}

/// Returns the number of rounds: the long form if the environment asks for it.
pub fn rounds(short: u32, full: u32) -> u32 {
    let is_full = std::env::var("WORKRING_TEST_FULL").is_ok_and(|value| value == "1");
    let rounds = if is_full { full } else { short };
    println!("rounds: {rounds}; WORKRING_TEST_FULL=1 runs {full}");
    rounds
}
