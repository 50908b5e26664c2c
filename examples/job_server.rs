//! A job server and its clients: programs that do not start each other, in two or more terminals.
//!
//!     cargo run --release --example job_server -- serve            # any number of times
//!     cargo run --release --example job_server -- ask 1000 2000    # any number of times
//!     cargo run --release --example job_server -- stop
//!
//! `serve` prints the process that it is, and then each job that it does: it counts the prime numbers up to a limit. `ask`
//! prints the answers in the order of its arguments, while all servers work on them. Kill a server while it works: another
//! one does the job. Kill all of them: the clients wait, up to `--seconds`, for the next one that is started. Kill a client:
//! the servers drop its jobs. A job with the limit 0 kills the server that gets it; after two servers its client gets an error.
//!
//! `stop` closes the queue: the servers finish the jobs that are left, and end. The last one removes the queue.

use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::process;
use std::time::{Duration, Instant};
use workring::Options;
use workring::queue::remove_named;
use workring::request::{Requester, Responder};

/// Count prime numbers in other processes.
#[derive(Parser)]
struct Arguments {
    /// The name of the queue of jobs
    #[arg(long, global = true, default_value = "example-jobs")]
    queue: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Do jobs until the queue is closed
    Serve,
    /// Ask for the number of primes up to each limit
    Ask {
        limits: Vec<u64>,

        /// How long to wait for the answers
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Close the queue
    Stop,
}

#[derive(Serialize, Deserialize)]
struct CountPrimes {
    up_to: u64,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    primes: usize,
    took: Duration,
    /// The id of the process that has done the job.
    by: u32,
}

/// Both types in one name: programs in which the types have other names can share the queue.
const SCHEMA: &str = "count-primes.v1";

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { queue, command } = Arguments::parse();
    match command {
        Command::Serve => serve(&queue),
        Command::Ask { limits, seconds } => ask(&queue, &limits, Duration::from_secs(seconds)),
        Command::Stop => {
            Requester::<CountPrimes, Answer>::open_as(&queue, SCHEMA)?.close();
            // The last server does it, if there is one.
            let _ = remove_named(&queue);
            Ok(())
        }
    }
}

fn serve(queue: &str) -> Result<(), Box<dyn Error>> {
    let options = Options::new(64).max_deliveries(2).schema(SCHEMA);
    let responder = Responder::<CountPrimes, Answer>::open_or_create(queue, &options)?;
    println!("process {} serves {queue:?}", process::id());
    loop {
        let job = match responder.recv() {
            Ok(job) => job,
            Err(error) if error.is_closed() => break,
            Err(error) => {
                eprintln!("a request was left out: {error}");
                continue;
            }
        };
        if job.up_to == 0 {
            process::abort();
        }
        let start = Instant::now();
        let primes = count_primes(job.up_to);
        println!("{primes} primes up to {}", job.up_to);
        let answer = Answer {
            primes,
            took: start.elapsed(),
            by: process::id(),
        };
        if let Err(error) = job.respond(answer) {
            eprintln!("the client has not got its answer: {error}");
        }
    }
    drop(responder);
    // Another server may still have it.
    if remove_named(queue).is_ok() {
        println!("removed {queue:?}");
    }
    Ok(())
}

fn ask(queue: &str, limits: &[u64], time: Duration) -> Result<(), Box<dyn Error>> {
    let requester = Requester::<CountPrimes, Answer>::open_as(queue, SCHEMA)?;
    let jobs = limits.iter().map(|&up_to| CountPrimes { up_to });
    // All of them are sent before the first answer is waited for.
    let sent: Vec<_> = jobs.map(|job| requester.send(job, time)).collect();
    for (limit, pending) in limits.iter().zip(sent) {
        match pending?.wait() {
            Ok(Answer { primes, took, by }) => {
                println!("up to {limit}: {primes} primes, by process {by} in {took:.1?}");
            }
            Err(error) => println!("up to {limit}: {error}"),
        }
    }
    Ok(())
}

fn count_primes(up_to: u64) -> usize {
    let is_prime =
        |number: &u64| (2..=number.isqrt()).all(|divisor| !number.is_multiple_of(divisor));
    (2..=up_to).filter(is_prime).count()
}
