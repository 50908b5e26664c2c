//! A whole program: prints the SHA-256 of every file under some paths, computed by one process for each core.
//!
//!     cargo run --release --example digest -- [--workers N] PATH...
//!
//! The output is the same as that of
//!
//!     find PATH... -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
//!
//! Shows how a program with a pool ends properly in every case, and tells the user why:
//!
//! | what happens                   | what the program does                              | exit code             |
//! |--------------------------------|----------------------------------------------------|-----------------------|
//! | all files are hashed           | shuts the pool down                                | 0; 1: some unreadable |
//! | Ctrl-C, SIGTERM                | cancels all tasks and shuts the pool down at once  | 130, 143, as a shell  |
//! | a worker dies                  | the same, and says which worker died               | 2                     |
//! | the reader of the output ends  | the same as for a signal                           | 141, as for SIGPIPE   |
//! | the program itself is killed   | its workers end                                    |                       |
//!
//! | file         | contents                                                                             |
//! |--------------|--------------------------------------------------------------------------------------|
//! | `main`       | arguments, signals, the pool, exit codes                                             |
//! | `walk`       | finds the files                                                                      |
//! | `hash`       | the tasks, which run in the workers                                                  |
//! | `list`       | the main loop: submits tasks and prints hashes in order                              |
//! | `output`     | standard output and standard error                                                   |
//! | `stop`       | stops a run early                                                                    |
//! | `unfinished` | why a run ends without a complete list                                               |

mod hash;
mod list;
mod output;
mod stop;
mod unfinished;
mod walk;

use clap::Parser;
use hash::Files;
use indicatif::ProgressBar;
use output::{Output, report};
use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::Signals;
use std::error::Error;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use stop::{Reason, Stop};
use unfinished::Unfinished;
use workring::pool::Shutdown;
use workring::{TypedPool, run_if_worker_for};

/// Prints the SHA-256 of every regular file under the paths, as `sha256sum` does, sorted by path.
///
/// Exit codes: 0; 1 if a file or directory could not be read; 2 if the list is incomplete for another reason.
#[derive(Parser)]
#[command(name = "digest")]
struct Arguments {
    /// The number of worker processes [default: one for each core]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,

    /// Files and directories; symbolic links are not followed
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

const UNREADABLE: u8 = 1;
const INCOMPLETE: u8 = 2;
/// What a shell adds to the number of a signal to get the exit code of a program that the signal has ended.
const SIGNALLED: i32 = 128;

fn main() -> ExitCode {
    run_if_worker_for::<Files>();

    digest(&Arguments::parse()).unwrap_or_else(|error| {
        report(format_args!("{error}"));
        let mut cause = error.source();
        while let Some(error) = cause {
            report(format_args!("because: {error}"));
            cause = error.source();
        }
        ExitCode::from(INCOMPLETE)
    })
}

fn digest(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let count = match arguments.workers {
        Some(count) => count,
        None => thread::available_parallelism()?,
    }
    .get();
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let stop = Arc::new(Stop::new(signals.handle())?);
    let on_event = Arc::clone(&stop);
    let pool = TypedPool::<Files>::builder()
        .workers(count)
        .on_event(move |event| on_event.handle(event))
        .start()?;

    let bar = ProgressBar::no_length();
    let ended = thread::scope(|scope| {
        let _end = EndWatch(&stop);
        scope.spawn(|| stop.watch(signals, &pool));
        let (paths, all_found) = walk::files(&arguments.paths, &bar, &stop)?;
        let mut output = Output::new(&bar, &stop)?;
        let all_read = list::list(&paths, count, &pool, &mut output)?;
        Ok(all_found && all_read)
    });
    bar.finish_and_clear();
    // All outcomes that will be printed are printed.
    pool.shutdown(Shutdown::Cancel, Duration::ZERO)?;
    Ok(exit_code(stop.reason(), ended))
}

/// Ends the thread that waits for signals when it is dropped, however its scope is left.
struct EndWatch<'a>(&'a Stop);

impl Drop for EndWatch<'_> {
    fn drop(&mut self) {
        self.0.end_watch();
    }
}

fn exit_code(stopped: Option<&Reason>, ended: Result<bool, Unfinished>) -> ExitCode {
    let signalled = |signal| ExitCode::from(u8::try_from(SIGNALLED + signal).unwrap_or(INCOMPLETE));
    match (stopped, ended) {
        (_, Err(Unfinished::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => {
            signalled(SIGPIPE)
        }
        (Some(Reason::Signal(signal)), _) => signalled(*signal),
        (Some(Reason::Lost { worker, status }), Ok(_) | Err(Unfinished::Stopped)) => {
            let how = status.map_or("unknown".to_owned(), |status| status.to_string());
            report(format_args!(
                "worker {worker} died unexpectedly ({how}): the list is not complete"
            ));
            ExitCode::from(INCOMPLETE)
        }
        (_, Err(unfinished)) => {
            report(format_args!("{unfinished}"));
            ExitCode::from(INCOMPLETE)
        }
        (None, Ok(true)) => ExitCode::SUCCESS,
        (None, Ok(false)) => ExitCode::from(UNREADABLE),
    }
}
