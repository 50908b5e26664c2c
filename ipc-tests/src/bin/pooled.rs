//! The worker program of most tests' pools.
//!
//! Pools start it, and it runs the tasks [`Job`], [`Quirk`], [`Deep`] and [`Emitting`]. Environment variables make it misbehave
//! before that: see [`ipc_tests::jobs`] and [`ipc_tests::quirks`]. The exit code is 1 if no pool has started it.

use ipc_tests::{
    emitting::Emitting,
    jobs::{Death, EXITS, FORGETS, Job},
    quirks::{self, Deep, Quirk},
};
use std::{env, path::Path, process::ExitCode};
use workring::pool::{StartError, TypedPool, run_if_worker_for};

fn main() -> ExitCode {
    if env::var_os(FORGETS).is_some() {
        return forget();
    }
    if env::var_os(EXITS).is_some_and(|mark| Path::new(&mark).exists()) {
        Death::ExitAtOnce(0).die();
    }
    quirks::become_worker();
    run_if_worker_for::<(Job, Quirk, Deep, Emitting)>();
    eprintln!("this program is only a worker");
    ExitCode::FAILURE
}

/// Makes a pool instead of becoming a worker, as a program does that forgets `run_if_worker`. Each worker would do the
/// same, without end. The exit code is 3 if the pool detects that.
fn forget() -> ExitCode {
    match TypedPool::<Job>::builder().workers(1).start() {
        Err(StartError::StartedAsWorker) => ExitCode::from(3),
        other => {
            eprintln!("{other:?}");
            ExitCode::FAILURE
        }
    }
}
