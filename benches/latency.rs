//! Round trip: one message of 64 bytes to another process and its answer, next to crossbeam-channel between two
//! threads.
//!
//!     cargo bench --bench latency
//!
//! The two sides are bound to processors 0 and 1. Both libraries are run in turn, five times each.
//!
//! - *Spinning*: no side ever sleeps. workring spins for the longest time that it can be set to. crossbeam spins
//!   shortly before it parks (`crossbeam`), or is called in a loop of `try_recv` (`crossbeam try`).
//! - *Sleeping*: each message finds its receiver asleep in the kernel. workring does not spin at all. crossbeam always
//!   spins first, so each of its sides waits with the message until the other surely sleeps; that wait is subtracted.
//!
//! | column | meaning |
//! |---|---|
//! | workring, crossbeam, crossbeam try | nanoseconds of a round trip, medians |
//! | ratio | workring / crossbeam: below 1, workring is faster |
//! | line | a cache line's round trip, in ns, the worst: compare only figures with similar ones |

mod support;

use std::process::Command;
use std::time::Duration;
use support::{RUNS, arguments, as_float, median, now, pin, print_origin, while_near};
use workring::{Handoff, Options, Receiver, Sender, inherit, queue::Raw};

type Message = [u8; 64];

const SPINNING_ROUNDS: u64 = 200_000;
const SLEEPING_ROUNDS: u64 = 5_000;

fn main() {
    let arguments = arguments();
    if arguments.first().is_some_and(|first| first == "echo") {
        return echo();
    }
    print_origin();
    println!(
        "# nanoseconds of a round trip, median of {RUNS}; line: ns of a cache line's round trip, worst"
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
                there.send(message).expect("the child receives");
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
        back.send(message).expect("the parent receives");
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
    // Longer than crossbeam spins before it parks: the other side is asleep by then.
    let delay = if sleeping { 50_000 } else { 0 };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(1);
            while let Some(message) = receive(&leaving) {
                busy_wait(delay);
                returning.send(message).expect("the other side receives");
            }
        });
        let measuring = scope.spawn(move || {
            pin(0);
            measure(rounds, |message| {
                busy_wait(delay);
                there.send(message).expect("the other side receives");
                receive(&back).expect("an answer")
            }) - 2.0 * as_float(delay)
        });
        measuring.join().expect("the measuring thread")
    })
}

/// Waits without sleeping.
fn busy_wait(nanoseconds: u64) {
    if nanoseconds > 0 {
        let end = now() + nanoseconds;
        while now() < end {
            std::hint::spin_loop();
        }
    }
}

/// Returns the nanoseconds of one round. Checks every answer.
fn measure(rounds: u64, mut round: impl FnMut(Message) -> Message) -> f64 {
    let start = now();
    for n in 0..rounds {
        let mut message = [0; 64];
        support::write_message(&mut message, n);
        assert_eq!(
            support::read_message(&round(message)),
            n,
            "the answer is another message"
        );
    }
    as_float(now() - start) / as_float(rounds)
}
