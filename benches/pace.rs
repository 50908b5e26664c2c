//! Messages that come at a pace of their own: the time from a send to its receipt, next to crossbeam-channel between two
//! threads. It shows what spinning, yielding and pausing cost a queue that is never full.
//!
//!     cargo bench --bench pace
//!
//! A sender sends bursts of messages of 64 bytes, at fixed times. The two sides are bound to processors 0 and 1. Both
//! libraries are run in turn, five times each. A run in which the processors were apart is repeated.
//!
//! | column | meaning |
//! |---|---|
//! | every, messages | the time between two bursts in us, and the length of a burst |
//! | workring, crossbeam | nanoseconds, median over all messages of a run; the median of the runs |
//! | p99, best | 99 of 100 messages took at most this many nanoseconds; the median of the runs, and the best one. A machine that is shared with others adds to it: the best run shows what the library adds |
//! | line | a cache line's round trip, in ns, the worst |

mod support;

use std::process::Command;
use support::{
    RUNS, arguments, as_float, median, now, pin, print_origin, read_message, while_near,
    write_message,
};
use workring::{Handoff, Options, Receiver, Sender, inherit, queue::Raw};

type Message = [u8; 64];

const CAPACITY: usize = 1024;
/// How long a run takes, in nanoseconds.
const RUN: u64 = 300_000_000;

/// The bursts of a run.
#[derive(Clone, Copy)]
struct Pace {
    every_ns: u64,
    messages: u64,
}

impl Pace {
    fn bursts(self) -> u64 {
        RUN / self.every_ns
    }
}

/// How long the messages of a run took, in nanoseconds.
struct Delays {
    p50: f64,
    p99: f64,
}

fn main() {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["receive"] => receive_in_child(),
        [] => {
            print_origin();
            println!(
                "# nanoseconds from send to receipt, medians of {RUNS} runs, and the best; line: ns of a cache line's round trip"
            );
            println!(
                "{:>6} {:>9} | {:>9} {:>8} {:>8} | {:>9} {:>8} {:>8} | {:>5}",
                "every", "messages", "workring", "p99", "best", "crossbeam", "p99", "best", "line"
            );
            row(Pace {
                every_ns: 1_000,
                messages: 1,
            });
            row(Pace {
                every_ns: 50_000,
                messages: 64,
            });
        }
        other => panic!("see the first lines of this file; got {other:?}"),
    }
}

fn row(pace: Pace) {
    let (mut ours, mut theirs, mut worst) = (Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..RUNS {
        let ((our, their), probe) = while_near(|| (between_processes(pace), between_threads(pace)));
        ours.push(our);
        theirs.push(their);
        worst = worst.max(probe);
    }
    let columns = |delays: &[Delays]| {
        let p50: Vec<f64> = delays.iter().map(|it| it.p50).collect();
        let p99: Vec<f64> = delays.iter().map(|it| it.p99).collect();
        let best = p99.iter().copied().fold(f64::INFINITY, f64::min);
        format!("{:>9.0} {:>8.0} {best:>8.0}", median(&p50), median(&p99))
    };
    println!(
        "{:>6} {:>9} | {} | {} | {worst:>5.0}",
        pace.every_ns / 1000,
        pace.messages,
        columns(&ours),
        columns(&theirs)
    );
}

fn between_processes(pace: Pace) -> Delays {
    let (there, leaving) = Options::new(CAPACITY)
        .channel_with::<Message, Raw>()
        .expect("a queue");
    let (returning, back) = Options::new(16)
        .channel_with::<Message, Raw>()
        .expect("a queue");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg("receive");
    let handoff = Handoff::new().give("there", &leaving).expect("a ticket");
    let handoff = handoff.give("back", &returning).expect("a ticket");
    let mut child = handoff.spawn(&mut command).expect("a child");
    drop((leaving, returning));
    // The child receives from now on.
    back.recv().expect("the child is ready");
    send_all(pace, |message| {
        there.send(message).expect("the child receives");
    });
    drop(there);
    let answer = || as_float(read_message(&back.recv().expect("the child answers")));
    let delays = Delays {
        p50: answer(),
        p99: answer(),
    };
    assert!(child.wait().expect("wait").success(), "the child failed");
    delays
}

fn receive_in_child() {
    let there: Receiver<Message, Raw> = inherit("there").expect("there");
    let back: Sender<Message, Raw> = inherit("back").expect("back");
    let answer = |number: f64| {
        let mut message = [0; 64];
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "nanoseconds of a run"
        )]
        write_message(&mut message, number as u64);
        back.send(message).expect("the parent receives");
    };
    pin(1);
    answer(0.0);
    let delays = receive_all(|| there.recv().ok());
    answer(delays.p50);
    answer(delays.p99);
}

fn between_threads(pace: Pace) -> Delays {
    let (there, leaving) = crossbeam_channel::bounded::<Message>(CAPACITY);
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            pin(1);
            receive_all(|| leaving.recv().ok())
        });
        send_all(pace, |message| {
            there.send(message).expect("the other side receives");
        });
        drop(there);
        receiving.join().expect("the receiving thread")
    })
}

/// Sends all bursts. Each message is the time of its send.
fn send_all(pace: Pace, send: impl Fn(Message) + Sync) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(0);
            let start = now();
            for burst in 0..pace.bursts() {
                let due = start + burst * pace.every_ns;
                while now() < due {
                    std::hint::spin_loop();
                }
                for _ in 0..pace.messages {
                    let mut message = [0; 64];
                    write_message(&mut message, now());
                    send(message);
                }
            }
        });
    });
}

/// Receives until there are no more messages. Checks each of them.
fn receive_all(receive: impl Fn() -> Option<Message>) -> Delays {
    let mut delays = Vec::with_capacity(1 << 20);
    while let Some(message) = receive() {
        delays.push(as_float(now() - read_message(&message)));
    }
    delays.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let place = delays.len() * percent / 100;
        delays.get(place).copied().unwrap_or(f64::NAN)
    };
    Delays {
        p50: at(50),
        p99: at(99),
    }
}
