//! A role that uses queues while it overwrites words of their shared memory: see `tests/segment/scribble.rs`.
//!
//! Every operation has to return, with a value or an error: none may panic, fault or hang.
//!
//! | file                  | content                                    |
//! | --------------------- | ------------------------------------------ |
//! | `scribble.rs`         | the roles, and rounds of random length     |
//! | `scribble/user.rs`    | random operations on a queue               |
//! | `scribble/segment.rs` | which words are overwritten, and with what |

use ipc_tests::{
    child::Peer,
    role::{Io, Role},
    rounds::Rng,
    watchdog::{Watchdog, remark},
};
use std::{
    env,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use workring::{
    Handoff, Options, Receiver, Sender,
    queue::{Bincode, Codec, Raw},
};

#[path = "scribble/segment.rs"]
mod segment;
#[path = "scribble/user.rs"]
mod user;

use segment::{Scribbler, check_offsets};
use user::{Message, Tally, User};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("scribbled", scribbled),
    ("scribbled-bytes", |io| other_process::<Vec<u8>, Raw>(io)),
    ("scribbled-texts", |io| {
        other_process::<(u64, String), Bincode>(io);
    }),
];

/// How many rounds have one seed, which is printed before them. A run with that seed repeats a failure.
const ROUNDS_PER_SEED: u32 = 50;
/// Time limit of the rounds with one seed.
const LIMIT: Duration = Duration::from_mins(5);

/// Runs rounds until enough words were overwritten. Prints `over`, and the numbers of words and of errors.
///
/// Arguments: a seed, and the number of words.
fn scribbled(io: &mut Io) {
    let mut seed: u64 = io.argument();
    let wanted: u64 = io.argument();
    check_offsets();
    let mut tally = Tally::default();
    while tally.corruptions < wanted {
        // For the test, and in case of a hang for the watchdog.
        remark(format!("WORKRING_TEST_SEED={seed}"));
        let watchdog = Watchdog::start(LIMIT);
        let mut rng = Rng::with_seed(seed);
        for _ in 0..ROUNDS_PER_SEED {
            if rng.bool() {
                run_round::<Vec<u8>, Raw>(&mut rng, &mut tally);
            } else {
                run_round::<(u64, String), Bincode>(&mut rng, &mut tally);
            }
        }
        drop(watchdog);
        seed = seed.wrapping_add(1);
    }
    io.say(format!("over {} {}", tally.corruptions, tally.errors));
}

/// Makes a queue, and overwrites its words while it is used: by this thread alone, or also by another thread or
/// process.
fn run_round<T: Message<Codec = C>, C: Codec<T>>(rng: &mut Rng, tally: &mut Tally) {
    let options = Options::new(rng.usize(1..=12)).max_deliveries(rng.u32(1..=3));
    let options = options
        .close_waits_for_leases(rng.bool())
        .max_leases(rng.usize(1..=5));
    let options = options.max_dead_letters(rng.usize(0..=4));
    let options = options
        .spin(Duration::ZERO)
        .liveness_interval(Duration::from_millis(1));
    let queue = options.channel_with::<T, C>();
    let (tx, rx) = queue.expect("nothing is overwritten yet");
    let scribbler = Scribbler::new();
    let mut user = User::new(tx, rx, rng);
    (0..rng.u32(0..40)).for_each(|_| user.step());
    let corruptions = rng.u64(20..120);
    match rng.u32(0..24) {
        0 => scribble_beside_process(&mut user, &scribbler, corruptions, rng),
        1..8 => scribble_beside_thread(&mut user, &scribbler, corruptions, rng),
        _ => scribble_alone(&mut user, &scribbler, corruptions, rng),
    }
    tally.corruptions += corruptions;
    tally.errors += user.tally.errors;
}

fn scribble_alone<T: Message<Codec = C>, C: Codec<T>>(
    user: &mut User<T, C>,
    scribbler: &Scribbler,
    corruptions: u64,
    rng: &mut Rng,
) {
    for _ in 0..corruptions {
        scribbler.scribble(rng);
        (0..rng.u32(0..4)).for_each(|_| user.step());
    }
}

fn scribble_beside_thread<T: Message<Codec = C>, C: Codec<T>>(
    user: &mut User<T, C>,
    scribbler: &Scribbler,
    corruptions: u64,
    rng: &mut Rng,
) {
    let is_over = AtomicBool::new(false);
    let mut other = User::new(user.tx.clone(), user.rx.clone(), rng);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                other.step();
            }
        });
        scribble_alone(user, scribbler, corruptions, rng);
        is_over.store(true, Ordering::Relaxed);
        thread.join().expect("no operation panics");
    });
    user.tally.errors += other.tally.errors;
}

/// The other process attaches by a hand-off, to a segment that may have been overwritten by then.
fn scribble_beside_process<T: Message<Codec = C>, C: Codec<T>>(
    user: &mut User<T, C>,
    scribbler: &Scribbler,
    corruptions: u64,
    rng: &mut Rng,
) {
    let handoff = Handoff::new().give("tx", &user.tx);
    let handoff = handoff.and_then(|handoff| handoff.give("rx", &user.rx));
    let Some(handoff) = user.tally.record(handoff) else {
        return scribble_alone(user, scribbler, corruptions, rng);
    };
    let before = rng.u64(0..=corruptions.min(10));
    scribble_alone(user, scribbler, before, rng);
    let program = env::current_exe().expect("this program");
    let seed = rng.u64(..);
    let other = Peer::spawn(program, T::ROLE, &[&seed], |command| handoff.spawn(command));
    let mut other = other.expect("spawn");
    while user.rng.bool() {
        scribbler.scribble_header(rng);
    }
    other.say("attach");
    scribble_alone(user, scribbler, corruptions - before, rng);
    other.finish();
    let errors = other.answer();
    user.tally.errors += errors.parse::<u64>().expect("a number");
    assert!(other.wait().success(), "the other process failed");
}

/// Uses a queue that another process overwrites. Waits for the line `attach`, and at the end of its input prints the
/// number of errors.
///
/// Argument: a seed.
fn other_process<T: Message<Codec = C>, C: Codec<T>>(io: &mut Io) {
    let mut rng = Rng::with_seed(io.argument());
    io.expect("attach");
    let mut tally = Tally::default();
    let rx = tally.record(workring::inherit::<Receiver<T, C>>("rx"));
    let tx = tally.record(workring::inherit::<Sender<T, C>>("tx"));
    if let (Some(tx), Some(rx)) = (tx, rx) {
        let mut user = User::new(tx, rx, &mut rng);
        (0..400).for_each(|_| user.step());
        tally.errors += user.tally.errors;
    }
    assert_eq!(io.try_next_line(), None, "the last line was read");
    io.say(tally.errors);
}
