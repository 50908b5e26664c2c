//! The worker program of the tests' pools.

use ipc_tests::jobs::Job;
use std::process::ExitCode;
use workring::workers::run_if_worker;

fn main() -> ExitCode {
    run_if_worker::<Job>();
    eprintln!("this program is a worker, and nothing else");
    ExitCode::FAILURE
}
