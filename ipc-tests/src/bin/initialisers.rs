//! A program with initialisers that run before `main`. It prints which have run: here, in a worker that begins before `main`, and
//! in one that begins in `main`.
#![allow(unsafe_code, reason = "a function that is written in C++")]

use ipc_tests::initialiser;
use workring::pool::run_if_worker_for;
use workring::{Context, Pool, Task, TypedPool};

workring::auto_worker!();

#[cfg(has_cpp)]
unsafe extern "C" {
    /// Returns the value that the constructor of a global object has set: 42.
    safe fn value_of_model() -> i32;
}

#[cfg(not(has_cpp))]
const fn value_of_model() -> i32 {
    42
}

/// Returns which initialisers have run in this process.
#[workring::task]
fn initialised() -> String {
    format!(
        "Rust: {}, C++: {}",
        initialiser::has_run(),
        value_of_model()
    )
}

/// The same as a task that is not registered, so that its workers begin in `main`.
#[derive(serde::Serialize, serde::Deserialize)]
struct Initialised;

impl Task for Initialised {
    type Output = String;
    type Error = ();

    fn run(self, _: &Context) -> Result<String, ()> {
        Ok(initialised())
    }
}

fn main() {
    run_if_worker_for::<Initialised>();
    println!("{}", initialised());
    let before_main = Pool::start(1).expect("a worker");
    let found = before_main.submit(initialised::new()).expect("open").wait();
    println!("{}", found.expect("a text"));
    let in_main = TypedPool::<Initialised>::builder()
        .workers(1)
        .start()
        .expect("a worker");
    let found = in_main.submit(Initialised).expect("open").wait();
    println!("{}", found.expect("a text"));
}
