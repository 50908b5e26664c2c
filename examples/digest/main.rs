//! The SHA-256 of every file under some paths, computed by one process for each core:
//!
//!     cargo run --release --example digest -- [--workers N] PATH...
//!
//! prints exactly what this does, only sooner:
//!
//!     find PATH... -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
//!
//! The parent finds and sorts the paths, the workers (this same program once more) hash, and the parent
//! prints in order. Two queues connect them:
//!
//!     parent: walk, `Feed`  -- tasks -->  workers: `hash`  -- results -->  parent: `list`, `Output`
//!
//! | what happens                        | how it ends                                                  |
//! |-------------------------------------|--------------------------------------------------------------|
//! | all is hashed                       | tasks are closed, so the workers end; 0, or 1 for unreadable |
//! | Ctrl-C, SIGTERM                     | `supervise` kills the workers, closes results; 130, 143      |
//! | a worker dies                       | the same; 2, and a line that says which                      |
//! | nobody reads what is printed        | as for a signal; 141, what a shell says of SIGPIPE           |
//! | the parent is killed                | the kernel kills the workers                                 |

mod feed;
mod list;
mod output;
mod supervisor;
mod walk;
mod worker;

use clap::Parser;
use indicatif::ProgressBar;
use list::Unfinished;
use output::{Output, report};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::error::Error;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use supervisor::{Reason, Stop, Workers, supervise};
use workring::Options;

/// Print the SHA-256 of every regular file under the paths, as `sha256sum` does, sorted by path.
///
/// Exit codes: 0; 1 if something could not be read; 2 if the list is not complete for another reason.
#[derive(Parser)]
#[command(name = "digest")]
struct Arguments {
    /// How many worker processes [default: one for each core]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,

    /// Files and directories; symbolic links are not followed
    #[arg(value_name = "PATH", required_unless_present = "worker_of")]
    paths: Vec<PathBuf>,

    /// Makes this process a worker of the one with that id
    #[arg(long, value_name = "PID", hide = true)]
    worker_of: Option<u32>,
}

const UNREADABLE: u8 = 1;
const INCOMPLETE: u8 = 2;
/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: i32 = 128;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.worker_of {
        Some(parent) => worker::run(parent).map(|()| ExitCode::SUCCESS),
        None => digest(&arguments),
    };
    ended.unwrap_or_else(|error| {
        report(format_args!("{error}"));
        ExitCode::from(INCOMPLETE)
    })
}

fn digest(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let count = match arguments.workers {
        Some(count) => count,
        None => thread::available_parallelism()?,
    }
    .get();
    // Two tasks for each worker: one in hand and one to go on with while the parent is busy printing.
    let (tasks, tasks_for_workers) = Options::new(2 * count).channel()?;
    let (results_of_workers, results) = Options::new(2 * count).channel()?;

    // Before the first worker starts, so that no death goes unnoticed.
    let signals = Signals::new([SIGINT, SIGTERM, SIGCHLD])?;
    let end_of_run = CloseOnDrop(signals.handle());
    let workers = Workers::start(count, &tasks_for_workers, &results_of_workers)?;
    // From here on only workers have these ends: when the last of them is gone, the queue closes.
    drop((tasks_for_workers, results_of_workers));

    let stop = Stop::new()?;
    let bar = ProgressBar::no_length();
    let (ended, workers) = thread::scope(|scope| {
        let supervisor = scope.spawn(|| supervise(signals, workers, &stop, &results));
        let ended = walk::files(&arguments.paths, &bar, &stop).and_then(|(paths, all_found)| {
            let mut output = Output::new(&bar, &stop)?;
            let all_read = list::list(&paths, count, tasks, &results, &mut output)?;
            Ok(all_found && all_read)
        });
        drop(end_of_run);
        (ended, supervisor.join())
    });
    bar.finish_and_clear();
    let mut workers = workers.map_err(|_| "the supervising thread panicked")?;
    if ended.is_ok() {
        workers.wait(&stop);
    }
    // Whoever still runs has nothing to do any more that anybody would read.
    drop(workers);
    Ok(exit_code(stop.reason(), ended))
}

/// Ends the supervising thread with the scope that it is used in, also if that panics.
struct CloseOnDrop(Handle);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn exit_code(stopped: Option<&Reason>, ended: Result<bool, Unfinished>) -> ExitCode {
    let signalled = |signal| ExitCode::from(u8::try_from(SIGNALLED + signal).unwrap_or(INCOMPLETE));
    match (stopped, ended) {
        (Some(Reason::Signal(signal)), _) => signalled(*signal),
        (Some(Reason::Lost { worker, how }), _) => {
            report(format_args!(
                "worker {worker} died unexpectedly ({how}): the list is not complete"
            ));
            ExitCode::from(INCOMPLETE)
        }
        (None, Ok(true)) => ExitCode::SUCCESS,
        (None, Ok(false)) => ExitCode::from(UNREADABLE),
        (None, Err(Unfinished::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => {
            signalled(SIGPIPE)
        }
        (None, Err(unfinished)) => {
            report(format_args!("{unfinished}"));
            ExitCode::from(INCOMPLETE)
        }
    }
}
