//! The macros that register a task, and that let a worker begin before `main`; and what they and `#[task]` expand to. That is
//! not for programs: any of it may change at any time.

use super::wire::shape;
pub use super::worker::registry::{
    Registered, Returned, TASKS, TaskResult, ViaBox, ViaDebug, ViaDisplay, ViaError, ViaFailure,
};
pub use super::worker::start_worker_before_main;
pub use linkme;
pub use serde;
use serde::de::DeserializeOwned;

/// Returns the shape of the type of an argument.
#[must_use]
pub fn shape<T: DeserializeOwned>() -> String {
    shape::shape::<T>()
}

/// Returns the shape of a task that was made of a function, from the names and shapes of its arguments.
#[must_use]
pub fn arguments(arguments: &[(&str, String)]) -> String {
    shape::of_arguments(arguments)
}

/// Registers a type that implements [`Task`](crate::Task), so that a [`Pool`](crate::Pool) runs it.
///
/// `#[workring::task]` does this for functions. The name of the task is its path, or a text after `as`. Two tasks with the
/// same name are an error when a pool starts.
///
/// # Examples
///
/// ```
/// use workring::{Context, Pool, Task};
///
/// workring::auto_worker!();
/// workring::register!(Geometry);
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// enum Geometry {
///     Area { radius: f64 },
///     Angle { corners: u32 },
/// }
///
/// impl Task for Geometry {
///     type Output = f64;
///     type Error = String;
///
///     fn run(self, _: &Context) -> Result<f64, String> {
///         match self {
///             Self::Area { radius } => Ok(std::f64::consts::PI * radius * radius),
///             Self::Angle { corners: 0..=2 } => Err("there is no such polygon".to_owned()),
///             Self::Angle { corners } => Ok(f64::from(corners - 2) * 180.0 / f64::from(corners)),
///         }
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let pool = Pool::start(1)?;
///     assert_eq!(pool.submit(Geometry::Angle { corners: 4 })?.wait()?, 90.0);
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! register {
    ($task:ident) => {
        $crate::register!(
            $task as ::core::concat!(::core::module_path!(), "::", ::core::stringify!($task))
        );
    };
    ($task:ident as $name:expr) => {
        const _: () = {
            impl $crate::pool::RegisteredTask for $task {
                const NAME: &'static str = $name;
            }

            #[$crate::__private::linkme::distributed_slice($crate::__private::TASKS)]
            #[linkme(crate = $crate::__private::linkme)]
            static TASK: $crate::__private::Registered =
                $crate::__private::Registered::new::<$task>(::core::concat!(
                    ::core::file!(),
                    ":",
                    ::core::line!(),
                    ":",
                    ::core::column!()
                ));
        };
    };
}

/// Lets this program's workers begin before `main`. One line, anywhere in the program or in a library that it links.
///
/// A worker is the program, started again. With this line a worker of a [`Pool`](crate::Pool), or of a
/// [`TypedPool`](crate::TypedPool) whose type is [registered](crate::register), begins its work in a constructor: a function
/// that runs before `main`. In any other process the constructor does nothing. So a library can use a pool although
/// `main` knows nothing of it, and so can tests, examples, and a `main` that belongs to a macro such as `#[tokio::main]`.
/// More than one line does no harm.
///
/// Without it, `main` begins with [`run_if_worker`](crate::run_if_worker()).
///
/// # What differs before `main`
///
/// | | |
/// |---|---|
/// | `SIGPIPE` | The worker ignores it, as Rust programs do. |
/// | a stack overflow | It ends the worker by `SIGABRT`, with a message, as elsewhere. In a thread that the task starts, it ends the worker by `SIGSEGV`, without a message: std prepares its threads for that when `main` begins. |
/// | arguments | A worker has none. With musl, [`std::env::args`] is empty. |
/// | C++ | Constructors of global objects in statically linked C++ code may not have run: the objects are all zeros. If tasks need them, use [`run_if_worker`](crate::run_if_worker()) instead. Those of shared libraries have run. |
/// | other constructors | Those of other crates may or may not have run. |
///
/// # Examples
///
/// ```
/// use workring::{Failure, Pool};
///
/// workring::auto_worker!();
///
/// #[workring::task]
/// fn shout(text: String) -> Result<String, Failure> {
///     Ok(text.to_uppercase())
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let pool = Pool::start(1)?;
///     assert_eq!(pool.submit(shout::new("four".to_owned()))?.wait()?, "FOUR");
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! auto_worker {
    () => {
        const _: () = {
            $crate::__constructor!($crate::__private::start_worker_before_main);
        };
    };
}
