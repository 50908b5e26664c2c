//! A worker that begins before `main` is as one that begins in `main`, but for what the documents say.

use crate::close;
use crate::tasks::{ignored_signals, overflow};
use ipc_tests::{guarded, support::LIMIT};
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;
use workring::{Pool, TaskError};

#[test]
fn it_ignores_broken_pipes_as_rust_programs_do() {
    guarded(LIMIT, || {
        let pool = Pool::start(1).expect("a pool");
        let ignored = pool.submit(ignored_signals::new()).expect("open").wait();
        let bit = 1 << (Signal::SIGPIPE as u32 - 1);
        assert_ne!(ignored.expect("an output") & bit, 0);
        close(&pool);
    });
}

#[test]
fn a_stack_overflow_in_it_aborts_it() {
    guarded(LIMIT, || {
        let pool = Pool::start(1).expect("a pool");
        match pool.submit(overflow::new(0)).expect("open").wait() {
            Err(TaskError::Crashed { status, .. }) => {
                let signal = status.and_then(|status| status.signal());
                assert_eq!(signal, Some(Signal::SIGABRT as i32));
            }
            other => panic!("{other:?}"),
        }
        close(&pool);
    });
}
