//! Tasks that trouble the pool's supervisor: they flood the link, ignore every order, or die at a chosen step.

use crate::{
    deeds::{BEGUN, LEDGER, links},
    ledger::Ledger,
};
use nix::{
    sys::signal::{Signal, raise},
    unistd::{ForkResult, fork, setsid},
};
use serde::{Deserialize, Serialize, Serializer};
use std::{
    env,
    error::Error,
    fs::File,
    hint,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use workring::pool::{Context, Task};

/// The environment variable with an order for `prepare_worker`: `fail while PATH` and `kill while PATH`, as long as
/// there is such a file; `die when ready after PATH`, where the first worker makes the file and is never prepared.
pub const PREPARE: &str = "TROUBLE_PREPARE";

/// Set in worker processes only: an [`Output`] is harmless in the parent.
static IS_WORKER: AtomicBool = AtomicBool::new(false);

/// One kind of trouble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// None: returns the number.
    Echo(u64),
    /// Ends the worker with this exit code.
    Exit(i32),
    /// Loops forever and ignores every order.
    Loop,
    /// Stops its process.
    Stop,
    /// Returns the number when there is no such file any more.
    EchoAfter(u64, PathBuf),
    /// Forks this many children that flood the link forever. The worker lives.
    Flood(u32),
    /// As `Flood`; then the worker exits with code 3. `leave` moves the children to sessions of their own.
    FloodAndDie {
        /// How many children.
        children: u32,
        /// Whether they leave the worker's session and group.
        leave: bool,
    },
    /// Enters its start in the ledger of this directory; its output kills the worker at this step.
    Break(PathBuf, Step),
}

/// When an [`Output`] kills the worker that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Never.
    NonBlocking,
    /// While it is encoded: before the result is sent.
    Encode,
    /// When it is dropped: after the result was sent, and before the task is acknowledged.
    Drop,
}

/// What a task returns.
#[derive(Debug, Deserialize)]
pub struct Output {
    /// The number of a [`Trouble::Echo`], or the attempt of another task.
    pub number: u64,
    step: Step,
}

impl Output {
    fn kill_worker_at(&self, step: Step) {
        if self.step == step && IS_WORKER.load(Ordering::Relaxed) {
            process::abort();
        }
    }
}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.kill_worker_at(Step::Encode);
        (self.number, self.step).serialize(serializer)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.kill_worker_at(Step::Drop);
    }
}

impl Task for Trouble {
    type Output = Output;
    type Error = String;

    fn run(self, context: &Context) -> Result<Output, String> {
        let mut output = Output {
            number: context.attempt().into(),
            step: Step::NonBlocking,
        };
        match self {
            Self::Echo(number) => output.number = number,
            Self::EchoAfter(number, path) => {
                while path.exists() {
                    thread::yield_now();
                }
                output.number = number;
            }
            Self::Exit(code) => process::exit(code),
            Self::Loop => loop {
                hint::spin_loop();
            },
            Self::Stop => raise(Signal::SIGSTOP).map_err(|error| error.to_string())?,
            Self::Flood(children) => flood(children, false)?,
            Self::FloodAndDie { children, leave } => {
                flood(children, leave)?;
                process::exit(3);
            }
            Self::Break(directory, step) => {
                let ledger =
                    Ledger::create(directory, LEDGER).map_err(|error| error.to_string())?;
                ledger.note(BEGUN, context.id().get());
                output.step = step;
            }
        }
        Ok(output)
    }

    fn prepare_worker() -> Result<(), Box<dyn Error + Send + Sync>> {
        IS_WORKER.store(true, Ordering::Relaxed);
        let order = env::var(PREPARE).unwrap_or_default();
        match order.split_once(" while ") {
            Some(("fail", path)) if Path::new(path).exists() => Err("it was told to fail".into()),
            Some(("kill", path)) if Path::new(path).exists() => process::abort(),
            _ => match order.split_once("die when ready after ") {
                Some((_, path)) => {
                    die_when_ready(Path::new(path));
                    Ok(())
                }
                None => Ok(()),
            },
        }
    }
}

/// The first call waits forever. The others end some time after they have said that they are ready.
fn die_when_ready(mark: &Path) {
    if File::create_new(mark).is_ok() {
        loop {
            thread::park();
        }
    }
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(100));
        process::exit(1)
    });
}

/// Forks children that send messages on this worker's link until the parent closes it.
#[allow(unsafe_code, reason = "a fork without exec is the test's subject")]
fn flood(children: u32, leave: bool) -> Result<(), String> {
    /// The message `Began`, of task 0.
    const BEGAN: [u8; 9] = [4, 0, 0, 0, 0, 0, 0, 0, 0];
    let link = links().pop().ok_or("there is no link")?;
    for _ in 0..children {
        // SAFETY: the child makes system calls only, and never returns from here.
        if let Ok(ForkResult::Child) = unsafe { fork() } {
            if leave {
                let _ = setsid();
            }
            // An error: the parent has closed its end.
            while link.send(&BEGAN).is_ok() {}
            // SAFETY: it has no preconditions.
            unsafe { nix::libc::_exit(0) }
        }
    }
    Ok(())
}
