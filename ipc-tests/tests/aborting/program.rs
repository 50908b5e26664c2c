//! A program that is built with `panic = "abort"`. Prints the outcome of a task that panics, in each place where it can.
//!
//! Its own watchdog ends it after two minutes. See `main.rs` beside it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;
use std::{env, process, thread};
use workring::pool::{Context, Outcome, Shutdown, StartError, Task, TypedPool, run_if_worker_for};

/// Set in workers that are to panic before their first task.
const UNPREPARED: &str = "UNPREPARED";

/// Tasks, by number. They are encoded by hand, so that this program needs no macros.
struct Act(u8);

const DECODE: u8 = 1;
const RUN: u8 = 2;
const ENCODE: u8 = 3;
const DROP: u8 = 4;
const THREAD: u8 = 5;
const ECHO: u8 = 6;

struct Answer(u8);

/// Set in workers only.
const WORKER: &str = "IS_A_WORKER";

fn is_worker() -> bool {
    env::var_os(WORKER).is_some()
}

impl Serialize for Act {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Act {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        assert!(number != DECODE, "no act of number {number}");
        Ok(Self(number))
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0 != ENCODE, "no answer of number {}", self.0);
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer).map(Self)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        assert!(self.0 != DROP || !is_worker(), "an answer that stays");
    }
}

impl Task for Act {
    type Output = Answer;
    type Error = String;

    fn run(self, _: &Context) -> Result<Answer, String> {
        match self.0 {
            RUN => panic!("the act of number {}", self.0),
            THREAD => {
                let other = thread::spawn(|| panic!("another thread"));
                let _ = other.join();
                Err("a panic of another thread was survived".to_owned())
            }
            number => Ok(Answer(number)),
        }
    }

    fn prepare_worker() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        assert!(env::var_os(UNPREPARED).is_none(), "nothing is prepared");
        Ok(())
    }
}

fn main() {
    run_if_worker_for::<Act>();
    thread::spawn(|| {
        thread::sleep(Duration::from_secs(120));
        eprintln!("the watchdog ends this program");
        process::exit(1);
    });
    let builder = || TypedPool::<Act>::builder().workers(1).retries(2).env(WORKER, "1");
    let pool = builder().start().expect("a pool");
    for act in [DECODE, RUN, ENCODE, DROP, THREAD, ECHO] {
        let handle = pool.submit(Act(act)).expect("open");
        println!("{act}: {}", text(handle.outcome()));
    }
    println!("{}", pool.shutdown(Shutdown::Drain, Duration::from_secs(60)).expect("a report"));

    // Tasks in one message, every second of which panics: the others are innocent.
    let pool = builder().start().expect("a pool");
    let acts = (0..40).map(|n| Act(if n % 2 == 0 { RUN } else { ECHO }));
    let outcomes: Vec<_> = pool.map(acts).map(text).collect();
    let count = |what: &str| outcomes.iter().filter(|it| it.contains(what)).count();
    println!("map: {} panicked, {} answers of {}", count("panicked"), count("answer"), outcomes.len());
    println!("{}", pool.shutdown(Shutdown::Drain, Duration::from_secs(60)).expect("a report"));

    match builder().env(UNPREPARED, "1").start() {
        Err(StartError::Unfit { what, .. }) => println!("unfit: {what}"),
        other => println!("{other:?}"),
    }
}

fn text(outcome: Outcome<Answer, String>) -> String {
    let attempts = outcome.attempts;
    match outcome.result {
        Ok(answer) => format!("answer {} ({attempts})", answer.0),
        Err(error) => format!("{error} ({attempts})"),
    }
}
