//! The worker program of the tests' pools.

use ipc_tests::{
    jobs::{Death, EXITS, FORGETS, Job},
    quirks::{self, Deep, Quirk},
};
use std::{env, path::Path, process::ExitCode};
use workring::pool::{Pool, StartError, run_if_worker};

fn main() -> ExitCode {
    if env::var_os(FORGETS).is_some() {
        return forget();
    }
    if env::var_os(EXITS).is_some_and(|mark| Path::new(&mark).exists()) {
        Death::ExitAtOnce(0).die();
    }
    quirks::act();
    run_if_worker::<(Job, Quirk, Deep)>();
    eprintln!("this program is a worker, and nothing else");
    ExitCode::FAILURE
}

/// What a program does that has not heard of workers, and goes on to make a pool, which would run it again, and so on.
fn forget() -> ExitCode {
    match Pool::<Job>::builder().workers(1).start() {
        Err(StartError::StartedAsWorker) => ExitCode::from(3),
        other => {
            eprintln!("{other:?}");
            ExitCode::FAILURE
        }
    }
}
