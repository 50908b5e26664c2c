//! Tasks and results: a process that keeps tasks in flight, two workers, one queue of tasks and one of results, next to
//! the same between threads with crossbeam-channel.
//!
//!     cargo bench --bench tasks
//!
//! A task and its result have 64 bytes, all of them written and checked; the work is nothing else. Capacity 1,024. No
//! process is bound to a processor, so with two processors a worker shares one with the parent. *By value* uses `send`
//! and `recv`, *in place* `reserve`, `commit`, `lease_bytes` and `ack`. All three are run in turn, five times each.
//!
//! | column | meaning |
//! |---|---|
//! | in flight | tasks that are sent and whose results are not received yet |
//! | by value, in place, crossbeam | millions of tasks a second, medians |
//! | ratio | of by value to crossbeam: above 1, workring is faster |
//! | line | a cache line's round trip, in ns, the worst: compare only figures with similar ones |

mod support;

use std::process::Command;
use support::{
    RUNS, arguments, as_float, median, now, print_origin, read_message, sized, sized_mut,
    while_near, write_message,
};
use workring::{Handoff, Options, Receiver, Sender, inherit, queue::Raw};

const CAPACITY: usize = 1024;
const WORKERS: usize = 2;
const LENGTH: usize = 64;

type Message = [u8; LENGTH];

fn main() {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["worker", "value"] => work(exchange_by_value),
        ["worker", "in-place"] => work(exchange_in_place),
        [] => {
            print_origin();
            println!(
                "# M/s: millions of tasks a second, median of {RUNS}; line: ns of a cache line's round trip, worst"
            );
            println!(
                "{:>9} {:>13} {:>13} {:>14} {:>7} {:>6}",
                "in flight", "by value M/s", "in place M/s", "crossbeam M/s", "ratio", "line"
            );
            row(64, 3_000_000);
            row(2, 1_000_000);
        }
        other => panic!("see the first lines of this file; got {other:?}"),
    }
}

fn row(in_flight: u64, tasks: u64) {
    let (mut by_value, mut in_place, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let mut worst = 0.0_f64;
    for _ in 0..RUNS {
        let (rates, probe) = while_near(|| {
            [
                between_processes("value", in_flight, tasks),
                between_processes("in-place", in_flight, tasks),
                between_threads(in_flight, tasks),
            ]
        });
        let [value, place, their] = rates;
        by_value.push(value);
        in_place.push(place);
        theirs.push(their);
        worst = worst.max(probe);
    }
    let (value, their) = (median(&by_value), median(&theirs));
    println!(
        "{in_flight:>9} {value:>13.2} {:>13.2} {their:>14.2} {:>7.2} {worst:>6.0}",
        median(&in_place),
        value / their
    );
}

fn make(number: u64) -> Message {
    let mut message = [0; LENGTH];
    write_message(&mut message, number);
    message
}

/// Keeps tasks in flight until all are done. Returns millions of tasks a second.
fn drive(
    in_flight: u64,
    tasks: u64,
    mut send: impl FnMut(u64),
    mut receive: impl FnMut() -> u64,
) -> f64 {
    let (mut given, mut sum) = (0, 0_u64);
    let start = now();
    for received in 0..tasks {
        while given < tasks && given - received < in_flight {
            send(given);
            given += 1;
        }
        sum += receive();
    }
    let took = now() - start;
    assert_eq!(
        sum,
        tasks * (tasks - 1) / 2,
        "results were lost or duplicated"
    );
    as_float(tasks) * 1e3 / as_float(took)
}

fn between_processes(kind: &str, in_flight: u64, tasks: u64) -> f64 {
    let queue = || {
        Options::new(CAPACITY)
            .channel_with::<Message, Raw>()
            .expect("a queue")
    };
    let ((tx, task_out), (result_in, rx)) = (queue(), queue());
    let (ready, all_ready) = workring::channel::<()>(WORKERS).expect("a queue");
    let start = || {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["worker", kind]);
        let handoff = Handoff::new().give("tasks", &task_out);
        let handoff = handoff.and_then(|handoff| handoff.give("results", &result_in));
        let handoff = handoff.and_then(|handoff| handoff.give("ready", &ready));
        let handoff = handoff.expect("tickets");
        handoff.spawn(&mut command).expect("a worker")
    };
    let workers = [(); WORKERS].map(|()| start());
    for _ in &workers {
        all_ready.recv().expect("a worker is ready");
    }
    let rate = if kind == "value" {
        drive(
            in_flight,
            tasks,
            |number| tx.send(make(number)).expect("open"),
            || read_message(&rx.recv().expect("open")),
        )
    } else {
        drive(
            in_flight,
            tasks,
            |number| {
                let mut room = tx.reserve(LENGTH).expect("open");
                write_message(sized_mut::<LENGTH>(&mut room), number);
                room.commit().expect("open");
            },
            || {
                let result = rx.lease_bytes().expect("open");
                let number = read_message(sized::<LENGTH>(&result));
                result.ack();
                number
            },
        )
    };
    tx.close();
    for mut worker in workers {
        assert!(worker.wait().expect("wait").success(), "a worker failed");
    }
    rate
}

/// Plays a worker: exchanges tasks for results until the queue of tasks is closed.
fn work(exchange: fn(&Receiver<Message, Raw>, &Sender<Message, Raw>) -> bool) {
    let tasks = inherit("tasks").expect("tasks");
    let results = inherit("results").expect("results");
    let ready: Sender<()> = inherit("ready").expect("ready");
    ready.send(()).expect("the parent receives");
    while exchange(&tasks, &results) {}
}

#[inline(always)]
fn exchange_by_value(tasks: &Receiver<Message, Raw>, results: &Sender<Message, Raw>) -> bool {
    let Ok(task) = tasks.recv() else {
        return false;
    };
    let result = make(read_message(&task));
    results.send(result).expect("open");
    true
}

#[inline(always)]
fn exchange_in_place(tasks: &Receiver<Message, Raw>, results: &Sender<Message, Raw>) -> bool {
    let Ok(task) = tasks.lease_bytes() else {
        return false;
    };
    let mut result = results.reserve(LENGTH).expect("open");
    let number = read_message(sized::<LENGTH>(&task));
    write_message(sized_mut::<LENGTH>(&mut result), number);
    result.commit().expect("open");
    task.ack();
    true
}

fn between_threads(in_flight: u64, tasks: u64) -> f64 {
    let (tx, task_out) = crossbeam_channel::bounded::<Message>(CAPACITY);
    let (result_in, rx) = crossbeam_channel::bounded::<Message>(CAPACITY);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (tasks, results) = (task_out.clone(), result_in.clone());
            scope.spawn(move || {
                while let Ok(task) = tasks.recv() {
                    results.send(make(read_message(&task))).expect("open");
                }
            });
        }
        let rate = drive(
            in_flight,
            tasks,
            |number| tx.send(make(number)).expect("open"),
            || read_message(&rx.recv().expect("open")),
        );
        drop(tx);
        rate
    })
}
