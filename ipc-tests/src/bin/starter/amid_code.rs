//! The code of a task forks during `submit` or a map, and returns in both processes, while other threads take the
//! pool's lock again and again.

use ipc_tests::{
    quirks::{Hook, Quirk, Tricky, Work},
    role::Io,
};
use nix::{
    libc,
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, alarm, fork},
};
use std::{
    fs, process,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
};
use workring::pool::{SubmitError, TaskError, TypedPool};

/// With this many forks, the lock is held in some of them.
const FORKS: u32 = 100;
/// The seconds after which a child is killed, because it hangs.
const CHILD_LIMIT: u32 = 60;
/// More than the smallest block holds, so that the task is encoded a second time, into this process's own memory.
const LARGE: usize = 5_000;

/// Runs the role; see [the module](self).
///
/// Argument: the program of the workers.
pub(super) fn forked_by_a_task(io: &mut Io) {
    let report: String = io.argument();
    let program: String = io.argument();
    let pool = TypedPool::<Quirk>::builder().program(program).workers(1);
    let pool: &'static TypedPool<Quirk> = Box::leak(Box::new(pool.start().expect("a pool")));
    for _ in 0..2 {
        // They end with this process.
        thread::spawn(|| while pool.in_flight() < usize::MAX {});
    }
    let parent = process::id();
    let is_child = || process::id() != parent;
    let calls_left = Arc::new(AtomicI64::new(0));
    let calls = Arc::clone(&calls_left);
    let hook = Hook::new(move || {
        if calls.fetch_sub(1, Ordering::Relaxed) == 1 {
            fork_and_return(&report);
        }
    });
    let large = || {
        // The second call: in the first one the child would write to a block that it does not own.
        calls_left.store(2, Ordering::Relaxed);
        let work = Tricky::new(Some(Work::Weigh(vec![1; LARGE])));
        Quirk::tricky(work.on_encode(hook.misbehaviour()))
    };
    let limited = || {
        calls_left.store(1, Ordering::Relaxed);
        Quirk::give(1).on_time_limit(hook.misbehaviour())
    };
    for _ in 0..FORKS {
        for make in [&large as &dyn Fn() -> Quirk, &limited] {
            let submitted = pool.submit(make());
            if is_child() {
                let is_forked = matches!(submitted, Err(SubmitError::Forked(_)));
                assert!(is_forked, "{submitted:?}");
                exit_child();
            }
            submitted.expect("open").wait().expect("an output");
        }
        let tasks = [Quirk::give(1), large(), Quirk::give(2)];
        let outcomes: Vec<_> = pool.map(tasks).chunk(3).collect();
        if is_child() {
            for outcome in &outcomes {
                let is_lost = matches!(outcome.result, Err(TaskError::Unknown { .. }));
                assert!(is_lost, "{outcome:?}");
            }
            exit_child();
        }
        assert_eq!(outcomes.len(), 3);
        assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
        assert!(calls_left.load(Ordering::Relaxed) <= 0, "no fork");
    }
}

/// Forks. Returns in the child at once, and in the parent when the child has succeeded.
fn fork_and_return(report: &str) {
    // SAFETY: the child takes no lock that another thread may hold; that is what is tested. The C library takes care of
    // the locks of the allocator.
    match unsafe { fork() }.expect("a fork") {
        ForkResult::Child => {
            alarm::set(CHILD_LIMIT);
        }
        ForkResult::Parent { child } => {
            let status = waitpid(child, None).expect("a child");
            let message = fs::read_to_string(report).unwrap_or_default();
            if status != WaitStatus::Exited(child, 0) {
                // A panic would be caught by the pool, whose call this is in.
                fs::write(report, format!("{status:?}: {message}")).expect("a report");
                process::abort();
            }
        }
    }
}

/// Ends a child.
fn exit_child() -> ! {
    // SAFETY: it only ends this process.
    unsafe { libc::_exit(0) }
}
