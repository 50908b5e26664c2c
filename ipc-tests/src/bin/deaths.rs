//! Measures how long it takes to recover a dead process, and until a death is noticed.
//!
//! ```sh
//! cargo run --release -p ipc-tests --bin deaths
//! ```
//!
//! It prints three kinds of lines:
//!
//! - *recovery of a sender of N messages*: a sender is killed whose messages fill the queue. The time is that of the
//!   call `report_exit`, which finds it dead and recovers it.
//! - *notice by a parent that watches*: a receiver is killed that holds a message. The time is that from the kill until
//!   its parent has waited for its exit, reported it, and received the message.
//! - *notice by a receiver that waits*: the same until another receiver has the message, which waits in `recv` and gets
//!   no report.
//!
//! Each line has the median and the worst time in milliseconds, and the number of measurements. The exit code is 0; a
//! measurement that fails panics (101).

use ipc_tests::{
    Signal,
    child::Peer,
    role::{self, Io, Role},
};
use std::{
    env,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};
use workring::{Handoff, Options, Receiver, Sender, inherit, queue::Raw};

type Message = [u8; 8];
type Tx = Sender<Message, Raw>;
type Rx = Receiver<Message, Raw>;

const ROLES: &[(&str, Role)] = &[("fill", fill), ("hold", hold)];
/// How many messages are queued in the measurements of a recovery.
const QUEUED: [usize; 4] = [1_024, 4_096, 16_384, 65_536];
const RECOVERIES: usize = 15;
const NOTICES: usize = 60;

fn main() -> ExitCode {
    let first = env::args().nth(1).unwrap_or_default();
    if ROLES.iter().any(|(name, _)| *name == first) {
        return role::run(ROLES);
    }
    for queued in QUEUED {
        let times = (0..RECOVERIES).map(|_| time_recovery(queued)).collect();
        print_times(&format!("recovery of a sender of {queued} messages"), times);
    }
    let watched = (0..NOTICES)
        .map(|_| time_notice(report_and_receive))
        .collect();
    print_times("notice by a parent that watches", watched);
    let unwatched = (0..NOTICES)
        .map(|_| time_notice(wait_and_receive))
        .collect();
    print_times("notice by a receiver that waits", unwatched);
    ExitCode::SUCCESS
}

fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let worst = times.last().copied().unwrap_or_default();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, worst) = (milliseconds(median), milliseconds(worst));
    println!(
        "{what}: median {median:.3} ms, worst {worst:.3} ms, of {}",
        times.len()
    );
}

fn start(role: &str, argument: usize, handoff: Handoff) -> Peer {
    let program = env::current_exe().expect("this program");
    let spawn = |command: &mut _| handoff.spawn(command);
    Peer::spawn(program, role, &[&argument], spawn).expect("start a child")
}

fn time_recovery(queued: usize) -> Duration {
    let (tx, rx): (Tx, Rx) = Options::new(queued).channel_with().expect("a queue");
    let handoff = Handoff::new().give("queue", &tx).expect("give");
    let mut sender = start("fill", queued, handoff);
    assert_eq!(sender.answer(), "full");
    let id = kill(sender);
    let start = Instant::now();
    rx.report_exit(id);
    let time = start.elapsed();
    assert_eq!((rx.stats().recovered, rx.len()), (1, queued));
    time
}

/// Fills the queue, and waits for its death.
fn fill(io: &mut Io) {
    let messages: u64 = io.argument();
    let tx: Tx = inherit("queue").expect("a sender");
    for number in 0..messages {
        tx.send(number.to_le_bytes()).expect("room");
    }
    io.say("full");
    let _ = io.try_next_line();
}

fn time_notice(receive: fn(&Rx, Peer) -> Duration) -> Duration {
    let (tx, rx): (Tx, Rx) = Options::new(16).channel_with().expect("a queue");
    tx.send([1; 8]).expect("room");
    let handoff = Handoff::new().give("queue", &rx).expect("give");
    let mut holder = start("hold", 0, handoff);
    assert_eq!(holder.answer(), "held");
    receive(&rx, holder)
}

/// Kills the holder, waits for its exit, reports it and receives the message.
fn report_and_receive(rx: &Rx, holder: Peer) -> Duration {
    let start = Instant::now();
    let id = kill(holder);
    rx.report_exit(id);
    assert_eq!(rx.try_recv().expect("the message"), [1; 8]);
    start.elapsed()
}

/// Kills the holder while another thread waits for the message, at a random moment of the liveness interval.
fn wait_and_receive(rx: &Rx, holder: Peer) -> Duration {
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            assert_eq!(rx.recv().expect("the message"), [1; 8]);
            Instant::now()
        });
        thread::sleep(Duration::from_millis(fastrand::u64(5..150)));
        let start = Instant::now();
        kill(holder);
        receiver.join().expect("received") - start
    })
}

/// Leases a message, and waits for its death.
fn hold(io: &mut Io) {
    let _: usize = io.argument();
    let rx: Rx = inherit("queue").expect("a receiver");
    let lease = rx.lease().expect("a message");
    io.say("held");
    let _ = io.try_next_line();
    drop(lease);
}

/// Kills a child and waits for its exit. Returns its process id.
fn kill(mut child: Peer) -> u32 {
    let id = child.pid().as_raw().try_into().expect("a process id");
    child.signal(Signal::SIGKILL);
    child.wait();
    id
}
