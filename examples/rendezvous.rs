//! Two programs that did not start each other: one has jobs, others do them. Start each half in a terminal of its own, in
//! any order, and as many workers as you like:
//!
//! ```text
//! cargo run --example rendezvous --features rendezvous -- serve
//! cargo run --example rendezvous --features rendezvous -- work
//! ```
//!
//! The server ends when all jobs are done, whichever workers are killed in the meantime. A job whose worker is killed goes to
//! another one.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, process, thread};
use workring::rendezvous::{Interrupter, Listener, connect};
use workring::{Options, Receiver, Sender};

const NAME: &str = "example-rendezvous";
const JOBS: u32 = 20;
/// How long a job takes: it stands for real work.
const WORK: Duration = Duration::from_millis(100);
/// How long a worker waits for a server.
const PATIENCE: Duration = Duration::from_secs(60);

type Job = u32;
/// Which process has done which job.
type Done = (u32, Job, u64);

fn main() -> ExitCode {
    let done = match env::args().nth(1).as_deref() {
        Some("serve") => serve(),
        Some("work") => work(),
        _ => {
            eprintln!("usage: rendezvous serve | work");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = done {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Gives both queues to every process that connects, until all jobs are done.
fn serve() -> Result<(), Box<dyn Error>> {
    let listener = Listener::bind(NAME)?;
    // The queue delivers a job again, up to 15 times, if its worker dies.
    let (jobs, open_jobs) = Options::new(64).max_deliveries(15).channel::<Job>()?;
    let (done, results) = Options::new(64)
        .close_on_last_sender(false)
        .channel::<Done>()?;
    for job in 1..=JOBS {
        jobs.send(job)?;
    }
    println!("{JOBS} jobs wait for workers");
    let interrupter = listener.interrupter();
    thread::scope(|scope| {
        scope.spawn(|| collect(&results, &jobs, &interrupter));
        loop {
            // It ends when the last job is done.
            let Ok(worker) = listener.accept() else {
                return;
            };
            let (pid, uid) = (worker.peer().pid().unwrap_or(0), worker.peer().uid());
            println!("process {pid} of user {uid} works");
            // An error means that it is gone again.
            let _ = worker.give("jobs", &open_jobs);
            let _ = worker.give("done", &done);
        }
    });
    Ok(())
}

/// Prints results until each job has one, then ends workers and server.
fn collect(results: &Receiver<Done>, jobs: &Sender<Job>, interrupter: &Interrupter) {
    let mut open: Vec<Job> = (1..=JOBS).collect();
    while !open.is_empty() {
        let Ok((pid, job, result)) = results.recv() else {
            break;
        };
        open.retain(|&other| other != job);
        println!("process {pid}: the sum of 1 to {job} is {result}");
    }
    jobs.close();
    interrupter.interrupt();
}

/// Takes both queues from the server, and does jobs until there are no more.
fn work() -> Result<(), Box<dyn Error>> {
    let mut server = connect(NAME, Instant::now() + PATIENCE)?;
    println!("connected to process {}", server.peer().pid().unwrap_or(0));
    let jobs: Receiver<Job> = server.take("jobs")?;
    let done: Sender<Done> = server.take("done")?;
    loop {
        // Acknowledged after its result was sent: a worker that is killed before loses no job.
        let job = match jobs.lease() {
            Ok(job) => job,
            Err(error) if error.is_closed() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        thread::sleep(WORK);
        let sum = (1..=u64::from(*job)).sum();
        done.send((process::id(), *job, sum))?;
        job.ack();
    }
}
