//! Tasks that start pools and programs of their own, and leave their process group.
//!
//! The program (`src/bin/lineage.rs`) is run by wrapper scripts, which a test makes with [`wrapper`]: the arguments
//! that the script gives it decide whether it becomes a worker.

use serde::{Deserialize, Serialize};
use std::{
    env, fs,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    thread,
    time::Duration,
};
use workring::pool::{Context, Shutdown, Task, TypedPool};

/// Processes that a chain of starts may have before the program ends it.
pub const MOST: u64 = 12;

/// One kind of work for each thing that a task may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Returns the process id of its worker.
    Pid,
    /// Ends its worker in the first attempt, and returns the number of the attempt in later ones.
    SecondAttempt,
    /// Starts a pool of its own, of this program, and returns what a task of that pool returns.
    Pool,
    /// Runs a shell script, and returns its output.
    Shell(String),
    /// Returns the value of an environment variable, or an empty string.
    Variable(String),
    /// Takes this many bytes, writes to them, and keeps them.
    Keep(usize),
    /// Takes this many bytes, writes to them, and waits for its end.
    Take(usize),
    /// Does something about its process group or its descendants, says which processes are concerned in this file, and
    /// waits for its end.
    Escape(Escape, PathBuf),
}

/// A way to be out of reach of a signal to the process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Escape {
    /// The worker joins the group of the pool's process.
    Group,
    /// The worker joins a group, and the program that it starts leads a session of its own.
    GroupAndSession,
    /// A shell starts a program with a group of its own, and waits for it.
    Timeout,
    /// A program leads a session of its own.
    Session,
    /// The same, several generations deep.
    Generations,
    /// A program leads a session of its own, and its parent has ended.
    Orphan,
}

impl Task for Act {
    type Output = String;
    type Error = String;

    fn run(self, context: &Context) -> Result<String, String> {
        match self {
            Self::Pid => Ok(process::id().to_string()),
            Self::SecondAttempt if context.attempt() < 2 => process::exit(1),
            Self::SecondAttempt => Ok(context.attempt().to_string()),
            Self::Pool => run_pool(),
            Self::Shell(script) => shell(&script),
            Self::Variable(name) => Ok(env::var(name).unwrap_or_default()),
            Self::Keep(bytes) => {
                std::mem::forget(std::hint::black_box(vec![1_u8; bytes]));
                Ok(String::new())
            }
            Self::Take(bytes) => {
                let taken = vec![1_u8; bytes];
                wait_for_the_end(std::hint::black_box(&taken))
            }
            Self::Escape(how, file) => {
                let all = escape(how)?;
                let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                // Whole or not at all.
                let draft = file.with_extension("draft");
                fs::write(&draft, all.join(" ")).map_err(|error| error.to_string())?;
                fs::rename(&draft, &file).map_err(|error| error.to_string())?;
                wait_for_the_end(&[])
            }
        }
    }
}

fn wait_for_the_end(_taken: &[u8]) -> ! {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Starts a pool of one worker, of this program, runs a task, and ends it.
///
/// # Errors
///
/// What went wrong, as text.
pub fn run_pool() -> Result<String, String> {
    let pool = TypedPool::<Act>::builder()
        .workers(1)
        .start()
        .map_err(|error| error.to_string())?;
    let outcome = pool.submit(Act::Pid).map_err(|error| error.to_string())?;
    let outcome = outcome.wait().map_err(|error| error.to_string());
    pool.shutdown(Shutdown::Drain, Duration::from_mins(1))
        .map_err(|error| error.to_string())?;
    outcome
}

fn shell(script: &str) -> Result<String, String> {
    let output = Command::new("sh").args(["-c", script]).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        Ok(said)
    } else {
        let error = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}: {said} {error}", output.status))
    }
}

/// The processes that are out of reach of a signal to the worker's group.
fn escape(how: Escape) -> Result<Vec<u32>, String> {
    let me = process::id();
    let leave = || {
        let group = nix::unistd::getpgid(Some(nix::unistd::getppid()));
        let group = group.map_err(|error| error.to_string())?;
        nix::unistd::setpgid(nix::unistd::Pid::this(), group).map_err(|error| error.to_string())
    };
    Ok(match how {
        Escape::Group => {
            leave()?;
            vec![me]
        }
        Escape::GroupAndSession => {
            leave()?;
            let mut all = say("setsid sh -c 'echo $$; exec sleep 1000'")?;
            all.push(me);
            all
        }
        Escape::Timeout => say("timeout 1000 sh -c 'echo $$; echo $PPID; exec sleep 1000'")?,
        Escape::Session => say("setsid sh -c 'echo $$; exec sleep 1000'")?,
        Escape::Generations => say(
            "setsid -w sh -c 'echo $$; setsid -w sh -c \"echo \\$\\$; timeout 1000 sh -c \\\"echo \\\\\\$\\\\\\$; exec sleep 1000\\\"\"; echo no'",
        )?,
        Escape::Orphan => say("setsid sh -c 'echo $$; exec sleep 1000' & exit")?,
    })
}

/// Starts a script that says process ids, one a line, and runs on. Returns the ids that it has said once there are none
/// to come: it closes its output, or runs `sleep`.
fn say(script: &str) -> Result<Vec<u32>, String> {
    let wanted = script.matches("echo").count() - usize::from(script.contains("echo no"));
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let output = child.stdout.take().ok_or("no pipe")?;
    let mut lines = io::BufRead::lines(io::BufReader::new(output));
    let mut all = Vec::new();
    while all.len() < wanted {
        let line = lines
            .next()
            .ok_or("too few")?
            .map_err(|error| error.to_string())?;
        all.push(line.parse().map_err(|_| format!("no process id: {line}"))?);
    }
    Ok(all)
}

/// Makes an executable shell script in a directory. `{program}` in it stands for the program.
///
/// # Panics
///
/// If it can't be made.
#[must_use]
pub fn wrapper(directory: &Path, program: &str, script: &str) -> PathBuf {
    let path = directory.join("wrapper.sh");
    let script = script
        .replace("{program}", program)
        .replace("{script}", &path.display().to_string())
        .replace("{count}", &directory.join("count").display().to_string());
    // Written by another process: a descriptor for writing that a child of another thread has would make it busy.
    let mut writer = Command::new("sh");
    writer
        .args(["-c", "cat > \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped());
    let mut writer = writer.spawn().expect("a shell");
    let mut input = writer.stdin.take().expect("a pipe");
    input
        .write_all(format!("#!/bin/bash\n{script}\n").as_bytes())
        .expect("a shell that reads");
    drop(input);
    assert!(writer.wait().expect("an end").success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the script is ours");
    path
}

/// Counts this process in a file, and ends it if there are too many.
///
/// # Panics
///
/// If the file can't be written.
pub fn count_self(file: &Path) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .expect("a file");
    file.write_all(b"x").expect("counted");
    if file.metadata().expect("its length").len() > MOST {
        process::exit(9);
    }
}
