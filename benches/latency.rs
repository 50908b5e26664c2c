//! There and back: one message of 64 bytes to another process and its answer, next to crossbeam-channel
//! between two threads.
//!
//!     cargo bench --bench latency
//!
//! The two sides are bound to processors 0 and 1. *Spinning*: nobody ever sleeps (the longest spin time on our
//! side; on crossbeam's both its own short spinning before it parks, and a loop of `try_recv`). *Sleeping*: each
//! message finds its receiver asleep in the kernel (no spin time on our side). crossbeam can't be told not to
//! spin, so each of its sides waits with the message until the other has surely gone to sleep: for the time that
//! is measured, the wait is taken off. The two are run in turn, five times each; figures are medians.

mod support;

use std::process::Command;
use std::time::Duration;
use support::{RUNS, as_float, median, now, pin, print_origin, while_near};
use workring::{Handoff, Options, Receiver, Sender, inherit, queue::Raw};

type Message = [u8; 64];

const SPINNING_ROUNDS: u64 = 200_000;
const SLEEPING_ROUNDS: u64 = 5_000;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if arguments.first().is_some_and(|first| first == "echo") {
        return echo();
    }
    print_origin();
    println!(
        "# nanoseconds there and back, median of {RUNS}; line: ns of a bare cache line, worst probe"
    );
    println!(
        "{:>10} {:>10} {:>14} {:>14} {:>7} {:>6}",
        "", "workring", "crossbeam", "crossbeam try", "ratio", "line"
    );
    row("spinning", Duration::from_millis(10), SPINNING_ROUNDS);
    row("sleeping", Duration::ZERO, SLEEPING_ROUNDS);
}

fn row(name: &str, spin: Duration, rounds: u64) {
    let (mut ours, mut theirs, mut trying, mut worst) =
        (Vec::new(), Vec::new(), Vec::new(), 0.0_f64);
    let sleeping = spin.is_zero();
    for _ in 0..RUNS {
        let ((our, their, tried), probe) = while_near(|| {
            let their = between_threads(rounds, false, sleeping);
            let tried = if sleeping {
                f64::NAN
            } else {
                between_threads(rounds, true, false)
            };
            (between_processes(spin, rounds), their, tried)
        });
        ours.push(our);
        theirs.push(their);
        trying.push(tried);
        worst = worst.max(probe);
    }
    let (our, their, tried) = (median(&ours), median(&theirs), median(&trying));
    println!(
        "{name:>10} {our:>10.0} {their:>14.0} {tried:>14.0} {:>7.2} {worst:>6.0}",
        our / their
    );
}

fn between_processes(spin: Duration, rounds: u64) -> f64 {
    let queue = || {
        Options::new(16)
            .spin(spin)
            .channel_with::<Message, Raw>()
            .expect("a queue")
    };
    let ((there, leaving), (returning, back)) = (queue(), queue());
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg("echo");
    let handoff = Handoff::new().give("there", &leaving).expect("a ticket");
    let handoff = handoff.give("back", &returning).expect("a ticket");
    let mut child = handoff.spawn(&mut command).expect("a child");
    drop((leaving, returning));
    let time = std::thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            pin(0);
            measure(rounds, |message| {
                there.send(message).expect("the child listens");
                back.recv().expect("the child answers")
            })
        });
        measuring.join().expect("the measuring thread")
    });
    drop(there);
    assert!(child.wait().expect("wait").success(), "the child failed");
    time
}

fn echo() {
    pin(1);
    let there: Receiver<Message, Raw> = inherit("there").expect("there");
    let back: Sender<Message, Raw> = inherit("back").expect("back");
    while let Ok(message) = there.recv() {
        back.send(message).expect("the parent listens");
    }
}

fn between_threads(rounds: u64, trying: bool, sleeping: bool) -> f64 {
    let (there, leaving) = crossbeam_channel::bounded::<Message>(16);
    let (returning, back) = crossbeam_channel::bounded::<Message>(16);
    let receive = move |channel: &crossbeam_channel::Receiver<Message>| {
        if !trying {
            return channel.recv().ok();
        }
        loop {
            match channel.try_recv() {
                Ok(message) => return Some(message),
                Err(crossbeam_channel::TryRecvError::Disconnected) => return None,
                Err(crossbeam_channel::TryRecvError::Empty) => std::hint::spin_loop(),
            }
        }
    };
    // Longer than crossbeam spins before it parks, so that the other side is asleep by then.
    let dwell = if sleeping { 50_000 } else { 0 };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(1);
            while let Some(message) = receive(&leaving) {
                wait_awake(dwell);
                returning.send(message).expect("the other side listens");
            }
        });
        let measuring = scope.spawn(move || {
            pin(0);
            measure(rounds, |message| {
                wait_awake(dwell);
                there.send(message).expect("the other side listens");
                receive(&back).expect("an answer")
            }) - 2.0 * as_float(dwell)
        });
        measuring.join().expect("the measuring thread")
    })
}

/// Pass the time without going to sleep.
fn wait_awake(nanoseconds: u64) {
    if nanoseconds > 0 {
        let end = now() + nanoseconds;
        while now() < end {
            std::hint::spin_loop();
        }
    }
}

/// Nanoseconds of one round, every answer checked.
fn measure(rounds: u64, mut round: impl FnMut(Message) -> Message) -> f64 {
    let start = now();
    for n in 0..rounds {
        let mut message = [0; 64];
        support::write_message(&mut message, n);
        assert_eq!(
            support::read_message(&round(message)),
            n,
            "another message came back"
        );
    }
    as_float(now() - start) / as_float(rounds)
}
