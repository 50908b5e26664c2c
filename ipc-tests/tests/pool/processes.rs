//! What a worker process begins with: its environment, and what code of the program has done before it.
#![allow(unsafe_code, reason = "what runs between fork and exec is the subject")]

use ipc_tests::support::LIMIT;
use ipc_tests::{guarded, lineage::Act, program};
use nix::libc;
use nix::sys::stat::{Mode, umask};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use workring::pool::{Builder, PreExec, Shutdown, StartError, TypedPool};

fn acts(workers: usize) -> Builder<TypedPool<Act>> {
    TypedPool::builder()
        .program(program("lineage"))
        .workers(workers)
}

fn run(pool: &TypedPool<Act>, act: Act) -> String {
    let handle = pool.submit(act).expect("open");
    handle.wait().expect("an output")
}

fn end(pool: &TypedPool<Act>) {
    let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
    assert!(report.is_balanced(), "{report}");
}

fn pre_exec(code: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> PreExec {
    // SAFETY: the closures below only make system calls and use atomics.
    unsafe { PreExec::new(code) }
}

#[test]
fn a_cleared_environment_has_only_what_is_set_after_it() {
    guarded(LIMIT, || {
        let pool = acts(1)
            .env("SET_BEFORE", "1")
            .env_clear()
            .env("SET_AFTER", "2")
            .start()
            .expect("a pool");
        let variable = |name: &str| run(&pool, Act::Variable(name.to_owned()));
        assert_eq!(variable("SET_AFTER"), "2");
        assert_eq!(variable("SET_BEFORE"), "");
        assert!(std::env::var_os("PATH").is_some());
        assert_eq!(variable("PATH"), "");
        end(&pool);
    });
}

#[test]
fn code_before_its_program_runs_in_each_worker_in_order_and_changes_nothing_here() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let first = || {
        CALLS.fetch_add(1, Ordering::Relaxed);
        umask(Mode::from_bits_retain(0o027));
        Ok(())
    };
    let second = || {
        let before = umask(Mode::from_bits_retain(0o007));
        if before.bits() == 0o027 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
    };
    guarded(LIMIT, || {
        let pool = acts(1).pre_exec(pre_exec(first)).pre_exec(pre_exec(second));
        let pool = pool.start().expect("a pool");
        assert_eq!(run(&pool, Act::Shell("umask".to_owned())).trim(), "0007");
        let killed = pool.submit(Act::Shell("kill -9 $PPID".to_owned()));
        killed.expect("open").wait().expect_err("it is killed");
        // The worker that replaces it.
        assert_eq!(run(&pool, Act::Shell("umask".to_owned())).trim(), "0007");
        assert_eq!(CALLS.load(Ordering::Relaxed), 0);
        end(&pool);
    });
}

/// Starts a pool with this code, and returns why that fails.
fn error_of(code: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> io::Error {
    match acts(2).pre_exec(pre_exec(code)).start() {
        Err(StartError::Spawn { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_error_of_code_before_the_program_is_that_of_the_start() {
    guarded(LIMIT, || {
        let error = error_of(|| Err(io::Error::from_raw_os_error(libc::EPERM)));
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let text = error.to_string();
        assert!(text.contains("runs before its program"), "{text}");
    });
}

#[test]
fn code_before_the_program_that_ends_the_process_is_an_error() {
    guarded(LIMIT, || {
        let error = error_of(|| {
            // SAFETY: it has no preconditions.
            unsafe { libc::_exit(3) }
        });
        let text = error.to_string();
        assert!(text.contains("runs before its program"), "{text}");
    });
}
