//! How a process becomes a worker.

use super::handshake::greet;
use super::main_loop::{BROKEN, Startup, Worker};
use crate::os::link::Link;
use crate::os::spawn;
use crate::pool::task::Task;
use crate::pool::wire::role;
use crate::pool::wire::startup::{Assignment, LINK, VARIABLE};
use crate::queue::inherit_fd;
use core::any::type_name;
use std::process::exit;
use std::sync::Arc;

/// Becomes a worker if this process was started as one; then runs tasks and never returns. In any other process it
/// returns at once.
///
/// Workers are this program, started again. So call this at the very start of `main` in every program that makes a
/// pool, before it starts threads or reads its arguments. `K` is the type of the tasks; a program with several pools
/// names all their types, as a tuple.
///
/// # Examples
///
/// See [the module](crate::pool).
pub fn run_if_worker_for<K: Kinds>() {
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
    let startup = Startup {
        task_type: assignment.map_or("", |it| &it.task_type),
        slot: assignment.map_or(u32::MAX, |it| it.slot),
        starter: assignment.map(|it| it.starter),
        link,
    };
    if !K::serve(&startup) {
        K::refuse(&startup);
    }
    exit(BROKEN)
}

/// The types of tasks that a program's workers can run: one [`Task`], or a tuple of up to eight of them.
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
        if startup.task_type != type_name::<T>() {
            return false;
        }
        Worker::<T>::enter(startup).work()
    }

    fn refuse(startup: &Startup<'_>) {
        let _ = greet::<T>(&startup.link);
    }
}

macro_rules! kinds {
    ($first:ident $(, $other:ident)*) => {
        impl<$first: Task, $($other: Task),*> Kinds for ($first, $($other,)*) {}

        impl<$first: Task, $($other: Task),*> sealed::Kinds for ($first, $($other,)*) {
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
