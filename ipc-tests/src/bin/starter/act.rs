//! What the workers of the pools do.

use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use serde::{Deserialize, Serialize};
use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    process::{self, Command},
    thread,
};
use workring::pool::{Context, Task};

/// What a worker does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Act {
    Echo(u64),
    AwaitCancel,
    Abort,
    Exit(i32),
    /// Returns the output of a command.
    Command,
    /// Returns the signals that are ignored and blocked, as `/proc` shows them.
    Signals,
    /// Returns the name, the first argument and the executable of the process, one a line.
    Names,
    /// Returns the numbers of the descriptors below 3 that are open, and how many bytes standard input has.
    Streams,
    /// Reads from the terminal, sets its attributes and writes to it. Returns the error of the read.
    Terminal,
}

impl Task for Act {
    type Output = String;
    type Error = String;

    fn run(self, context: &Context) -> Result<String, String> {
        let done = match self {
            Self::Echo(number) => Ok(number.to_string()),
            Self::AwaitCancel => {
                while !context.is_cancelled() {
                    thread::yield_now();
                }
                Ok("cancelled".to_owned())
            }
            Self::Abort => process::abort(),
            Self::Exit(code) => process::exit(code),
            Self::Command => command(),
            Self::Signals => own_signals(),
            Self::Names => names(),
            Self::Streams => streams(),
            Self::Terminal => use_terminal(),
        };
        done.map_err(|error| error.to_string())
    }
}

fn command() -> io::Result<String> {
    let output = Command::new("echo").arg("hello").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the signals that this process ignores and blocks.
pub(crate) fn own_signals() -> io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let set = |name| status.lines().find_map(|line| line.strip_prefix(name));
    let set = |name| set(name).unwrap_or_default().trim().to_owned();
    Ok(format!("{} {}", set("SigIgn:"), set("SigBlk:")))
}

fn names() -> io::Result<String> {
    let name = fs::read_to_string("/proc/self/comm")?;
    let arguments = fs::read_to_string("/proc/self/cmdline")?;
    let first = arguments.split('\0').next().unwrap_or_default();
    let executable = env::current_exe()?;
    Ok(format!(
        "{}\n{first}\n{}",
        name.trim(),
        executable.display()
    ))
}

fn streams() -> io::Result<String> {
    let open = |number: &i32| fs::read_link(format!("/proc/self/fd/{number}")).is_ok();
    let open: Vec<i32> = (0..3).filter(open).collect();
    let read = io::stdin().read(&mut [0])?;
    Ok(format!("{open:?} {read}"))
}

fn use_terminal() -> io::Result<String> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let read = terminal
        .read(&mut [0])
        .expect_err("this process is in the background");
    let attributes = tcgetattr(&terminal)?;
    tcsetattr(&terminal, SetArg::TCSANOW, &attributes)?;
    terminal.write_all(b"written\n")?;
    Ok(read.raw_os_error().unwrap_or(0).to_string())
}
