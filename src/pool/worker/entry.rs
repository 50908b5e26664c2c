//! How a process becomes a worker.

use super::handshake::greet;
#[cfg(feature = "macros")]
use super::main_loop::Runner as _;
#[cfg(feature = "macros")]
use super::main_loop::Worker;
use super::main_loop::{BROKEN, Startup};
use super::one_type::serve_type;
#[cfg(feature = "macros")]
use super::registry::{RegisteredTasks, registered};
use crate::os::link::Link;
#[cfg(feature = "macros")]
use crate::os::signals;
use crate::os::spawn;
#[cfg(feature = "macros")]
use crate::os::stack_overflow;
use crate::pool::task::Task;
use crate::pool::wire::messages::Identity;
#[cfg(feature = "macros")]
use crate::pool::wire::messages::REGISTERED;
use crate::pool::wire::role;
use crate::pool::wire::startup::{Assignment, LINK, VARIABLE};
use crate::queue::inherit_fd;
use std::process::exit;
use std::sync::Arc;

/// Becomes a worker if this process was started as one for tasks of the types `K`, or for
/// [registered](crate::register) tasks; then runs tasks and never returns. In any other process it returns at once.
///
/// Workers are this program, started again. So call this at the very start of `main` in every program that makes a
/// [`TypedPool`](crate::pool::TypedPool), before it starts threads or reads its arguments. `K` is the type of the tasks; a
/// program with several pools names all their types, as a tuple. Tuples can be nested: a library exports the tuple of its
/// own types, and a program names that among others.
///
/// # Examples
///
/// See [`TypedPool`](crate::pool::TypedPool).
pub fn run_if_worker_for<K: Kinds>() {
    become_worker(|startup| {
        if !K::serve(startup) && !serve_registered(startup) {
            K::refuse(startup);
        }
    });
}

/// Becomes a worker if this process was started as one for [registered](crate::register) tasks; then runs tasks and never
/// returns. In any other process it returns at once.
///
/// Programs with [`auto_worker!`](crate::auto_worker) need it not. Others call it at the very start of `main`, before they
/// start threads or read their arguments. Call [`run_if_worker_for`] instead if there are pools of types that are not
/// registered.
///
/// # Examples
///
/// ```
/// use workring::{Failure, Pool};
///
/// #[workring::task]
/// fn shout(text: String) -> Result<String, Failure> {
///     Ok(text.to_uppercase())
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     workring::run_if_worker();
///     let pool = Pool::start(1)?;
///     assert_eq!(pool.submit(shout::new("four".to_owned()))?.wait()?, "FOUR");
///     Ok(())
/// }
/// ```
#[cfg(feature = "macros")]
pub fn run_if_worker() {
    become_worker(|startup| {
        if !serve_registered(startup) {
            refuse_for_registered(startup);
        }
    });
}

/// Becomes a worker if this process was started as one for tasks that are registered. For `auto_worker!` only: this runs
/// before `main`. Any other process, also a worker for other tasks, is left as it is.
#[cfg(feature = "macros")]
#[doc(hidden)]
pub extern "C" fn start_worker_before_main() {
    let Ok(value) = std::env::var(VARIABLE) else {
        return;
    };
    let can_serve = |tasks: &RegisteredTasks| {
        let assignment = Assignment::parse(&value);
        assignment.is_some_and(|it| tasks.can_serve(&it.task_type))
    };
    // If two tasks have the same name, the parent gets a message.
    if registered().map_or(true, can_serve) {
        // As std does before `main`.
        signals::ignore_broken_pipe();
        stack_overflow::report_overflows();
        become_worker(|startup| {
            if !serve_registered(startup) {
                refuse_for_registered(startup);
            }
        });
    }
}

/// Calls `serve` if this process was started as a worker, and then ends it. `serve` does not return if it can run the tasks.
fn become_worker(serve: impl FnOnce(&Startup<'_>)) {
    role::note_question();
    let Ok(value) = std::env::var(VARIABLE) else {
        return;
    };
    // Programs that a worker starts may inherit the variable. They do not inherit the link.
    let Ok(link) = inherit_fd(LINK) else {
        return;
    };
    spawn::restore_process_name();
    role::claim_role();
    let link = Arc::new(Link::from(link));
    // A parent of another version may have another format. The handshake then reports that this program does not fit.
    let assignment = Assignment::parse(&value);
    let assignment = assignment.as_ref();
    serve(&Startup {
        task_type: assignment.map_or("", |it| &it.task_type),
        slot: assignment.map_or(u32::MAX, |it| it.slot),
        starter: assignment.map(|it| it.starter),
        link,
    });
    exit(BROKEN)
}

/// Serves and never returns if the parent's tasks are registered here. Otherwise returns false.
#[cfg(feature = "macros")]
fn serve_registered(startup: &Startup<'_>) -> bool {
    let Ok(tasks) = registered() else {
        return false;
    };
    if startup.task_type == REGISTERED {
        Worker::enter(startup, tasks).work(tasks);
    }
    tasks.serve_type(startup)
}

#[cfg(not(feature = "macros"))]
fn serve_registered(_: &Startup<'_>) -> bool {
    false
}

/// Reports to the parent which tasks are registered here, and waits until the parent has received that.
#[cfg(feature = "macros")]
fn refuse_for_registered(startup: &Startup<'_>) {
    if let Ok(tasks) = registered() {
        let _ = greet(&startup.link, tasks.identity());
    }
}

/// The types of tasks that a program's workers can run: one [`Task`], or a tuple of up to eight, of types
/// or of tuples.
///
/// # Examples
///
/// ```
/// use workring::pool::{Context, TypedPool, Task, run_if_worker_for};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Double(u64);
///
/// impl Task for Double {
///     type Output = u64;
///     type Error = ();
///
///     fn run(self, _: &Context) -> Result<u64, ()> {
///         Ok(2 * self.0)
///     }
/// }
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Shout(String);
///
/// impl Task for Shout {
///     type Output = String;
///     type Error = ();
///
///     fn run(self, _: &Context) -> Result<String, ()> {
///         Ok(self.0.to_uppercase())
///     }
/// }
///
/// fn main() {
///     run_if_worker_for::<(Double, Shout)>();
///     let numbers = TypedPool::<Double>::builder().workers(1).start().expect("a pool");
///     let words = TypedPool::<Shout>::builder().workers(1).start().expect("a pool");
///     let number = numbers.submit(Double(4)).expect("open").wait().expect("an output");
///     let word = words.submit(Shout("four".to_owned())).expect("open").wait().expect("an output");
///     assert_eq!((number, word.as_str()), (8, "FOUR"));
/// }
/// ```
pub trait Kinds: sealed::Kinds {}

mod sealed {
    use crate::pool::worker::main_loop::Startup;

    pub trait Kinds {
        /// Serves and never returns if the parent's task type is one of these. Otherwise returns false.
        fn serve(startup: &Startup<'_>) -> bool;
        /// Reports to the parent which tasks this program has, and waits until the parent has received that.
        fn refuse(startup: &Startup<'_>);
    }
}

impl<T: Task> Kinds for T {}

impl<T: Task> sealed::Kinds for T {
    fn serve(startup: &Startup<'_>) -> bool {
        serve_type::<T>(startup)
    }

    fn refuse(startup: &Startup<'_>) {
        let _ = greet(&startup.link, Identity::of::<T>());
    }
}

macro_rules! kinds {
    ($first:ident $(, $other:ident)*) => {
        impl<$first: Kinds, $($other: Kinds),*> Kinds for ($first, $($other,)*) {}

        impl<$first: Kinds, $($other: Kinds),*> sealed::Kinds for ($first, $($other,)*) {
            fn serve(startup: &Startup<'_>) -> bool {
                <$first as sealed::Kinds>::serve(startup) $(|| <$other as sealed::Kinds>::serve(startup))*
            }

            fn refuse(startup: &Startup<'_>) {
                <$first as sealed::Kinds>::refuse(startup);
            }
        }
    };
}

kinds!(A);
kinds!(A, B);
kinds!(A, B, C);
kinds!(A, B, C, D);
kinds!(A, B, C, D, E);
kinds!(A, B, C, D, E, F);
kinds!(A, B, C, D, E, F, G);
kinds!(A, B, C, D, E, F, G, H);
