//! Futures on tokio next to blocking calls, between two processes.
//!
//!     cargo bench --features async --bench async_io              # both
//!     cargo bench --features async --bench async_io -- trip      # a round trip
//!     cargo bench --features async --bench async_io -- stream    # a stream
//!
//! One process is bound to processor 0 and the other to processor 1, with all their threads. In each, either both calls
//! block, or both are futures on a runtime of one thread. Messages have 64 bytes, written and checked. The two ways are
//! run in turn, five times each.
//!
//! - *Trip*: a message and its answer. Nothing spins, so each message finds its receiver asleep in the kernel.
//! - *Stream*: capacity 1,024, and the usual time of spinning. Of that, futures only pause in a run of messages.
//!
//! | column | meaning |
//! |---|---|
//! | blocking, futures | microseconds of a round trip, or millions of messages a second; medians |
//! | ratio | futures / blocking: of trips better below 1, of streams above |
//! | line | a cache line's round trip, in ns, the worst: compare only figures with similar ones |

mod support;

use futures::StreamExt;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;
use support::{
    Aligned, Check, Plain, RUNS, arguments, as_float, median, now, pin, print_origin, read_message,
    while_near, write_message,
};
use workring::{Handoff, Options, Receiver, Sender, inherit};

type Message = Aligned<64>;

const ROUNDS: u64 = 5_000;
const MESSAGES: u64 = 4_000_000;

const BLOCKING: &str = "blocking";
const FUTURES: &str = "futures";

fn main() {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["answer", way] => answer(way),
        ["receive", way] => receive(way),
        [] => {
            print_head();
            row("trip", trip);
            row("stream", stream);
        }
        ["trip"] => {
            print_head();
            row("trip", trip);
        }
        ["stream"] => {
            print_head();
            row("stream", stream);
        }
        other => panic!("see the first lines of this file; got {other:?}"),
    }
}

fn print_head() {
    print_origin();
    println!(
        "# trip: us; stream: millions of messages a second; median of {RUNS}; line: ns of a cache line's round trip, worst"
    );
    println!(
        "{:>8} {BLOCKING:>10} {FUTURES:>10} {:>7} {:>6}",
        "", "ratio", "line"
    );
}

fn row(name: &str, measure: fn(&str) -> f64) {
    let (mut blocking, mut futures, mut worst) = (Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..RUNS {
        let ((one, other), probe) = while_near(|| (measure(BLOCKING), measure(FUTURES)));
        blocking.push(one);
        futures.push(other);
        worst = worst.max(probe);
    }
    let (blocking, futures) = (median(&blocking), median(&futures));
    println!(
        "{name:>8} {blocking:>10.2} {futures:>10.2} {:>7.2} {worst:>6.0}",
        futures / blocking
    );
}

fn block_on<R>(future: impl Future<Output = R>) -> R {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

fn message(number: u64) -> Message {
    let mut message = Aligned([0; 64]);
    write_message(&mut message.0, number);
    message
}

/// Starts this program again, with the receiver of a queue to it and the sender of a queue from it.
fn start(
    role: &str,
    way: &str,
    there: &Receiver<Message, Plain>,
    back: &Sender<Message, Plain>,
) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([role, way]);
    let handoff = Handoff::new().give("there", there).expect("a ticket");
    let handoff = handoff.give("back", back).expect("a ticket");
    handoff.spawn(&mut command).expect("a child")
}

fn inherit_both() -> (Receiver<Message, Plain>, Sender<Message, Plain>) {
    pin(1);
    (
        inherit("there").expect("there"),
        inherit("back").expect("back"),
    )
}

/// Runs `measure` in a thread on processor 0, which the threads that it starts are bound to as well.
fn on_first_processor<R: Send>(measure: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            pin(0);
            measure()
        });
        measuring.join().expect("the measuring thread")
    })
}

/// Returns the microseconds of a round trip.
fn trip(way: &str) -> f64 {
    let queue = || {
        let options = Options::new(16).spin(Duration::ZERO);
        options.channel_with().expect("a queue")
    };
    let ((there, leaving), (returning, back)) = (queue(), queue());
    let mut child = start("answer", way, &leaving, &returning);
    drop((leaving, returning));
    let check = |number, answer: Message| {
        assert_eq!(read_message(&answer.0), number, "another message");
    };
    let nanoseconds = on_first_processor(move || {
        if way == BLOCKING {
            let begin = now();
            for number in 0..ROUNDS {
                there.send(message(number)).expect("the child receives");
                check(number, back.recv().expect("the child answers"));
            }
            return now() - begin;
        }
        block_on(async {
            let begin = now();
            for number in 0..ROUNDS {
                let sent = there.send_async(message(number)).await;
                sent.expect("the child receives");
                check(number, back.recv_async().await.expect("the child answers"));
            }
            now() - begin
        })
    });
    assert!(child.wait().expect("wait").success(), "the child failed");
    as_float(nanoseconds) / as_float(ROUNDS) / 1e3
}

fn answer(way: &str) {
    let (there, back) = inherit_both();
    if way == BLOCKING {
        while let Ok(message) = there.recv() {
            back.send(message).expect("the parent receives");
        }
        return;
    }
    block_on(async {
        while let Ok(message) = there.recv_async().await {
            let sent = back.send_async(message).await;
            sent.expect("the parent receives");
        }
    });
}

/// Returns millions of messages a second.
fn stream(way: &str) -> f64 {
    let (there, leaving) = Options::new(1024).channel_with().expect("a queue");
    let (returning, back) = Options::new(16).channel_with().expect("a queue");
    let mut child = start("receive", way, &leaving, &returning);
    drop((leaving, returning));
    read_message(&back.recv().expect("the child is ready").0);
    let begin = on_first_processor(move || {
        let begin = now();
        if way == BLOCKING {
            for number in 0..MESSAGES {
                assert!(there.send(message(number)).is_ok(), "the child receives");
            }
            return begin;
        }
        block_on(async {
            for number in 0..MESSAGES {
                let sent = there.send_async(message(number)).await;
                assert!(sent.is_ok(), "the child receives");
            }
        });
        begin
    });
    let end = read_message(&back.recv().expect("the child is done").0);
    assert!(child.wait().expect("wait").success(), "the child failed");
    as_float(MESSAGES) * 1e3 / as_float(end - begin)
}

/// Says that it is ready, receives everything, and says when it was done.
fn receive(way: &str) {
    let (there, back) = inherit_both();
    back.send(message(0)).expect("the parent receives");
    let mut check = Check::default();
    if way == BLOCKING {
        while let Ok(message) = there.recv() {
            check.see(read_message(&message.0));
        }
    } else {
        block_on(async {
            let mut messages = there.stream();
            while let Some(message) = messages.next().await {
                check.see(read_message(&message.expect("a message").0));
            }
        });
    }
    let end = now();
    assert_eq!(check.received(), MESSAGES, "messages were lost");
    back.send(message(end)).expect("the parent receives");
}
