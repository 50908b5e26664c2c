//! Measures how long it takes until a death is noticed, and to clear up after one.
//!
//! ```text
//! cargo run --release -p ipc-tests --bin deaths
//! ```
//!
//! *Recovery*: a sender is killed whose messages fill the queue, and the parent, which knows, reports it; the time is
//! that of the report, which judges the dead process and does all that there is to do. *Notice*: a receiver is killed
//! that has a message in hand; the time is that from the kill until another receiver has the message, which either waits
//! in `recv` and nobody tells it, or watches its child, reports its end, and receives.

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
const QUEUED: [usize; 4] = [1_024, 4_096, 16_384, 65_536];
const RECOVERIES: usize = 15;
const NOTICES: usize = 60;

fn main() -> ExitCode {
    let first = env::args().nth(1).unwrap_or_default();
    if ROLES.iter().any(|(name, _)| *name == first) {
        return role::run(ROLES);
    }
    for queued in QUEUED {
        let times = (0..RECOVERIES).map(|_| recovery(queued)).collect();
        print(&format!("recovery of a sender of {queued} messages"), times);
    }
    let watched = (0..NOTICES).map(|_| notice(watching)).collect();
    print("notice by a parent that watches", watched);
    let unwatched = (0..NOTICES).map(|_| notice(waiting)).collect();
    print("notice by a receiver that waits", unwatched);
    ExitCode::SUCCESS
}

fn print(what: &str, mut times: Vec<Duration>) {
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

fn child(role: &str, argument: usize, handoff: Handoff) -> Peer {
    let program = env::current_exe().expect("this program");
    let spawn = |command: &mut _| handoff.spawn(command);
    Peer::spawn(program, role, &[&argument], spawn).expect("start a child")
}

fn recovery(queued: usize) -> Duration {
    let (tx, rx): (Tx, Rx) = Options::new(queued).channel_with().expect("a queue");
    let handoff = Handoff::new().give("queue", &tx).expect("give");
    let mut sender = child("fill", queued, handoff);
    assert_eq!(sender.answer(), "full");
    let id = slay(sender);
    let start = Instant::now();
    rx.report_exit(id);
    let time = start.elapsed();
    assert_eq!((rx.stats().recovered, rx.len()), (1, queued));
    time
}

/// Fills the queue and waits for the end.
fn fill(io: &mut Io) {
    let messages: u64 = io.argument();
    let tx: Tx = inherit("queue").expect("a sender");
    for number in 0..messages {
        tx.send(number.to_le_bytes()).expect("room");
    }
    io.say("full");
    let _ = io.try_answer();
}

fn notice(receive: fn(&Rx, Peer) -> Duration) -> Duration {
    let (tx, rx): (Tx, Rx) = Options::new(16).channel_with().expect("a queue");
    tx.send([1; 8]).expect("room");
    let handoff = Handoff::new().give("queue", &rx).expect("give");
    let mut holder = child("hold", 0, handoff);
    assert_eq!(holder.answer(), "held");
    receive(&rx, holder)
}

/// The parent waits for its child to end, and says so.
fn watching(rx: &Rx, holder: Peer) -> Duration {
    let start = Instant::now();
    let id = slay(holder);
    rx.report_exit(id);
    assert_eq!(rx.try_recv().expect("it came back"), [1; 8]);
    start.elapsed()
}

/// Somebody waits for a message when the other is killed, at a random moment of its slice.
fn waiting(rx: &Rx, holder: Peer) -> Duration {
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            assert_eq!(rx.recv().expect("it comes back"), [1; 8]);
            Instant::now()
        });
        thread::sleep(Duration::from_millis(fastrand::u64(5..150)));
        let start = Instant::now();
        slay(holder);
        receiver.join().expect("received") - start
    })
}

/// Leases a message and waits for the end.
fn hold(io: &mut Io) {
    let _: usize = io.argument();
    let rx: Rx = inherit("queue").expect("a receiver");
    let lease = rx.lease().expect("a message");
    io.say("held");
    let _ = io.try_answer();
    drop(lease);
}

/// Kills a child and waits for its end; its process id.
fn slay(mut child: Peer) -> u32 {
    let id = child.pid().as_raw().try_into().expect("a process id");
    child.signal(Signal::SIGKILL);
    child.wait();
    id
}
