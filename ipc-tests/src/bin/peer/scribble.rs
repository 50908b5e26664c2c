//! A role that uses queues while it overwrites words of their shared memory: see `tests/segment/scribble.rs`.
//!
//! What it writes with is the file of the segment, opened once more: so it can't fault, whatever it does.

use ipc_tests::{
    child::Peer,
    memfd,
    role::{Io, Role},
    rounds::Rng,
    watchdog::{Watchdog, remark},
};
use std::{
    env,
    fmt::{Debug, Display},
    fs::File,
    os::unix::fs::FileExt,
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use workring::{
    Handoff, Lease, Options, Receiver, Sender,
    queue::{Bincode, Codec, Raw},
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("scribbled", scribbled),
    ("scribbled-bytes", |io| other_process::<Vec<u8>, Raw>(io)),
    ("scribbled-texts", |io| {
        other_process::<(u64, String), Bincode>(io);
    }),
];

/// Rounds with one seed, which is said before they begin: what fails is found again by a run that starts there.
const BATCH: u32 = 50;
/// For one batch.
const LIMIT: Duration = Duration::from_mins(5);

/// Plays until so many words were overwritten.
fn scribbled(io: &mut Io) {
    let mut seed: u64 = io.argument();
    let wanted: u64 = io.argument();
    check_map();
    let mut tally = Tally::default();
    while tally.corruptions < wanted {
        // To the test, and for the watchdog.
        remark(format!("WORKRING_TEST_SEED={seed}"));
        let watchdog = Watchdog::start(LIMIT);
        let mut rng = Rng::with_seed(seed);
        for _ in 0..BATCH {
            if rng.bool() {
                round::<Vec<u8>, Raw>(&mut rng, &mut tally);
            } else {
                round::<(u64, String), Bincode>(&mut rng, &mut tally);
            }
        }
        drop(watchdog);
        seed = seed.wrapping_add(1);
    }
    io.say(format!("over {} {}", tally.corruptions, tally.errors));
}

#[derive(Default)]
struct Tally {
    corruptions: u64,
    errors: u64,
}

impl Tally {
    /// An error is counted; that it is one of this crate's, its type says.
    fn note<T, E: Display + Debug>(&mut self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                assert!(!error.to_string().is_empty(), "{error:?}");
                self.errors += 1;
                None
            }
        }
    }
}

/// Messages of a test: one to send, and what only bytes can do.
trait Message: Sized + Debug + Send {
    type Codec: Codec<Self>;
    const ROLE: &'static str;
    fn make(rng: &mut Rng) -> Self;
    fn in_place(
        _: &Sender<Self, Self::Codec>,
        _: &Receiver<Self, Self::Codec>,
        _: &mut Rng,
        _: &mut Tally,
    ) {
    }
}

/// Mostly small; a few of each class.
fn length(rng: &mut Rng) -> usize {
    let most = [8, 100, 104, 250, 1000, 4000, 16_000, 65_000];
    let most = if rng.u32(0..4) == 0 {
        *rng.choice(&most).expect("some")
    } else {
        100
    };
    rng.usize(0..=most)
}

impl Message for Vec<u8> {
    type Codec = Raw;
    const ROLE: &'static str = "scribbled-bytes";

    fn make(rng: &mut Rng) -> Self {
        vec![7; length(rng)]
    }

    fn in_place(
        tx: &Sender<Self, Raw>,
        rx: &Receiver<Self, Raw>,
        rng: &mut Rng,
        tally: &mut Tally,
    ) {
        let length = length(rng);
        if rng.bool() {
            let Some(mut room) = tally.note(tx.try_reserve(length)) else {
                return;
            };
            room.fill(7);
            let sent = match rng.u32(0..3) {
                0 => room.try_commit().map_err(|error| error.to_string()),
                1 => room
                    .commit_timeout(SHORT)
                    .map_err(|error| error.to_string()),
                _ => return,
            };
            tally.note(sent);
        } else if let Some(lease) = tally.note(rx.lease_bytes_timeout(SHORT)) {
            assert!(lease.iter().count() <= MOST);
            if rng.bool() {
                lease.ack();
            }
        }
    }
}

impl Message for (u64, String) {
    type Codec = Bincode;
    const ROLE: &'static str = "scribbled-texts";

    fn make(rng: &mut Rng) -> Self {
        (rng.u64(..), "x".repeat(length(rng)))
    }
}

/// The longest message.
const MOST: usize = 64 << 10;
/// A wait that sleeps.
const SHORT: Duration = Duration::from_micros(300);

/// One who uses a queue.
struct User<T, C: Codec<T>> {
    tx: Sender<T, C>,
    rx: Receiver<T, C>,
    leases: Vec<Lease<T, C>>,
    rng: Rng,
    tally: Tally,
}

impl<T: Message<Codec = C>, C: Codec<T>> User<T, C> {
    fn new(tx: Sender<T, C>, rx: Receiver<T, C>, rng: &mut Rng) -> Self {
        Self {
            tx,
            rx,
            leases: Vec::new(),
            rng: rng.fork(),
            tally: Tally::default(),
        }
    }

    /// One operation of any kind.
    fn step(&mut self) {
        match self.rng.u32(0..40) {
            0..12 => self.send(),
            12..22 => self.receive(),
            22..28 => self.lease(),
            28..33 => self.end_a_lease(),
            33 => self.read_letters(),
            34 => self.ask(),
            35 => {
                let handoff = Handoff::new().give("queue", &self.rx);
                drop(self.tally.note(handoff));
            }
            36 => (self.tx, self.rx) = (self.tx.clone(), self.rx.clone()),
            37 => T::in_place(&self.tx, &self.rx, &mut self.rng, &mut self.tally),
            38 => {
                for received in self.rx.try_iter().take(20) {
                    self.tally.note(received);
                }
            }
            _ => match self.rng.u32(0..10) {
                0 => drop(self.tx.close()),
                1 => drop(self.rx.cancel()),
                _ => {}
            },
        }
    }

    fn send(&mut self) {
        let (tx, message) = (&self.tx, T::make(&mut self.rng));
        let sent = match self.rng.u32(0..8) {
            0 => tx
                .send_timeout(message, SHORT)
                .map_err(|error| error.to_string()),
            1 => {
                let deadline = Instant::now();
                let sent = tx.send_deadline(message, deadline);
                sent.map_err(|error| error.to_string())
            }
            2 => {
                // The wait ends as soon as it would sleep.
                tx.interrupter().interrupt();
                tx.send(message).map_err(|error| error.to_string())
            }
            _ => tx.try_send(message).map_err(|error| error.to_string()),
        };
        self.tally.note(sent);
    }

    fn receive(&mut self) {
        let rx = &self.rx;
        let received = match self.rng.u32(0..8) {
            0 => rx.recv_timeout(SHORT).map_err(|error| error.to_string()),
            1 => {
                let received = rx.recv_deadline(Instant::now());
                received.map_err(|error| error.to_string())
            }
            2 => {
                rx.interrupter().interrupt();
                rx.recv().map_err(|error| error.to_string())
            }
            _ => rx.try_recv().map_err(|error| error.to_string()),
        };
        self.tally.note(received);
    }

    fn lease(&mut self) {
        let lease = if self.rng.u32(0..8) == 0 {
            let lease = self.rx.lease_timeout(SHORT);
            lease.map_err(|error| error.to_string())
        } else {
            self.rx.try_lease().map_err(|error| error.to_string())
        };
        self.leases.extend(self.tally.note(lease));
    }

    fn end_a_lease(&mut self) {
        let Some(lease) = self.leases.pop() else {
            return;
        };
        assert!(lease.deliveries() <= 15);
        match self.rng.u32(0..3) {
            0 => drop(lease.ack()),
            1 => lease.nack(),
            _ => drop(lease),
        }
    }

    fn read_letters(&mut self) {
        for letter in self.rx.dead_letters() {
            assert!(letter.bytes().len() <= MOST && letter.deliveries() <= 15);
            self.tally.note(letter.decode());
            if self.rng.bool() {
                letter.discard();
            }
        }
    }

    fn ask(&self) {
        assert!(self.tx.len() <= self.rx.capacity());
        let stats = self.rx.stats();
        assert!(stats.peers.len() <= 1024, "{stats:?}");
        assert!(!format!("{:?} {:?}", self.tx, self.rx).is_empty());
        let _: (bool, bool, bool) = (self.tx.is_full(), self.rx.is_empty(), self.tx.is_closed());
    }
}

/// A queue from beginning to end, overwritten again and again while it is used: by this thread alone, or beside
/// another thread, or another process, that uses it as well.
fn round<T: Message<Codec = C>, C: Codec<T>>(rng: &mut Rng, tally: &mut Tally) {
    let options = Options::new(rng.usize(1..=12)).max_deliveries(rng.u32(1..=3));
    let options = options
        .close_waits_for_leases(rng.bool())
        .max_leases(rng.usize(1..=5));
    let options = options.max_dead_letters(rng.usize(0..=4));
    let options = options
        .spin(Duration::ZERO)
        .liveness_interval(Duration::from_millis(1));
    let queue = options.channel_with::<T, C>();
    let (tx, rx) = queue.expect("nobody has overwritten anything yet");
    let scribbler = Scribbler::new();
    let mut user = User::new(tx, rx, rng);
    (0..rng.u32(0..40)).for_each(|_| user.step());
    let corruptions = rng.u64(20..120);
    match rng.u32(0..24) {
        0 => beside_a_process(&mut user, &scribbler, corruptions, rng),
        1..8 => beside_a_thread(&mut user, &scribbler, corruptions, rng),
        _ => alone(&mut user, &scribbler, corruptions, rng),
    }
    tally.corruptions += corruptions;
    tally.errors += user.tally.errors;
}

fn alone<T: Message<Codec = C>, C: Codec<T>>(
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

fn beside_a_thread<T: Message<Codec = C>, C: Codec<T>>(
    user: &mut User<T, C>,
    scribbler: &Scribbler,
    corruptions: u64,
    rng: &mut Rng,
) {
    let over = AtomicBool::new(false);
    let mut other = User::new(user.tx.clone(), user.rx.clone(), rng);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                other.step();
            }
        });
        alone(user, scribbler, corruptions, rng);
        over.store(true, Ordering::Relaxed);
        thread.join().expect("no operation panics");
    });
    user.tally.errors += other.tally.errors;
}

/// The other process attaches by a ticket, to a segment that may have been overwritten by then.
fn beside_a_process<T: Message<Codec = C>, C: Codec<T>>(
    user: &mut User<T, C>,
    scribbler: &Scribbler,
    corruptions: u64,
    rng: &mut Rng,
) {
    let handoff = Handoff::new().give("tx", &user.tx);
    let handoff = handoff.and_then(|handoff| handoff.give("rx", &user.rx));
    let Some(handoff) = user.tally.note(handoff) else {
        return alone(user, scribbler, corruptions, rng);
    };
    let before = rng.u64(0..=corruptions.min(10));
    alone(user, scribbler, before, rng);
    let program = env::current_exe().expect("this program");
    let seed = rng.u64(..);
    let other = Peer::spawn(program, T::ROLE, &[&seed], |command| handoff.spawn(command));
    let mut other = other.expect("spawn");
    while user.rng.bool() {
        scribbler.touch_header(rng);
    }
    other.say("attach");
    alone(user, scribbler, corruptions - before, rng);
    other.finish();
    let errors = other.answer();
    user.tally.errors += errors.parse::<u64>().expect("a number");
    assert!(other.wait().success(), "the other process failed");
}

/// Uses a queue that another process overwrites, until it is told to end.
fn other_process<T: Message<Codec = C>, C: Codec<T>>(io: &mut Io) {
    let mut rng = Rng::with_seed(io.argument());
    io.expect("attach");
    let mut tally = Tally::default();
    let rx = tally.note(workring::inherit::<Receiver<T, C>>("rx"));
    let tx = tally.note(workring::inherit::<Sender<T, C>>("tx"));
    if let (Some(tx), Some(rx)) = (tx, rx) {
        let mut user = User::new(tx, rx, &mut rng);
        (0..400).for_each(|_| user.step());
        tally.errors += user.tally.errors;
    }
    assert_eq!(io.try_answer(), None, "the test has nothing more to say");
    io.say(tally.errors);
}

// Where words lie in a segment of a small capacity, from its beginning. `check_map` says if that is no longer so.
const HEADER_WORDS: u64 = 78;
const SHARED: u64 = 4096;
const SHARED_WORDS: u64 = 112;
const HEAD: u64 = SHARED;
const TAIL: u64 = SHARED + 128;
const ROWS: u64 = 8192;
const ROW: u64 = 64;
const SLOTS: u64 = ROWS + 1024 * ROW;
const SMALL: u64 = SLOTS + 1024 * 8;
const SMALL_BLOCK: u64 = 128;
const SMALL_BLOCKS: u64 = 64;
/// The headers of all larger blocks, with the marks of batches.
const LARGE: u64 = SMALL + SMALL_BLOCKS * SMALL_BLOCK;
const LARGE_HEADER: u64 = 128;
const LARGE_HEADER_WORDS: u64 = 11;

fn slot(number: u64) -> u64 {
    SLOTS + number % 1024 * 8
}

fn header(block: u64) -> u64 {
    if block < SMALL_BLOCKS {
        SMALL + block * SMALL_BLOCK
    } else {
        LARGE + (block - SMALL_BLOCKS) * LARGE_HEADER
    }
}

/// Writes nonsense into the only segment of this process.
struct Scribbler(File);

impl Scribbler {
    fn new() -> Self {
        Self(memfd::reopen("workring"))
    }

    fn read(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, offset).expect("inside");
        u64::from_le_bytes(bytes)
    }

    fn write(&self, offset: u64, value: u64) {
        let written = self.0.write_all_at(&value.to_le_bytes(), offset);
        written.expect("inside");
    }

    /// Overwrites one word, mostly where something is going on.
    fn scribble(&self, rng: &mut Rng) {
        let near = self.read(*rng.choice(&[HEAD, TAIL]).expect("two"));
        let near = near.wrapping_add(rng.u64(0..16)).wrapping_sub(8);
        let offset = match rng.u32(0..20) {
            0..2 => HEAD,
            2..4 => TAIL,
            4..6 => SHARED + rng.u64(0..SHARED_WORDS) * 8,
            6..8 => ROWS + rng.u64(0..4) * ROW + rng.u64(0..4) * 8,
            8 => ROWS + rng.u64(0..1024 * ROW / 8) * 8,
            9..13 => slot(near),
            13 => slot(rng.u64(..)),
            14..17 => header(rng.u64(0..20)) + rng.u64(0..3) * 8,
            17 => header(rng.u64(0..300)) + rng.u64(0..LARGE_HEADER_WORDS) * 8,
            18 => SMALL + rng.u64(0..SMALL_BLOCKS * SMALL_BLOCK / 8) * 8,
            _ => return self.touch_header(rng),
        };
        self.write(offset, nonsense(self.read(offset), near, rng));
    }

    fn touch_header(&self, rng: &mut Rng) {
        let offset = rng.u64(0..HEADER_WORDS) * 8;
        self.write(offset, nonsense(self.read(offset), 0, rng));
    }
}

/// What a word may be overwritten with: anything, or something that looks right.
fn nonsense(now: u64, near: u64, rng: &mut Rng) -> u64 {
    let one_of = |rng: &mut Rng, values: &[u64]| *rng.choice(values).expect("some");
    match rng.u32(0..12) {
        0 => rng.u64(..),
        1 => one_of(rng, &[0, 1, u64::MAX, 1 << 63, u64::from(u32::MAX)]),
        2 => now ^ 1 << rng.u32(0..64),
        3 => now.wrapping_add(1),
        4 => now.wrapping_sub(1),
        // Another kind of slot, or another state of a block, with the rest as it was.
        5 => now & (u64::MAX >> 3) | rng.u64(0..8) << 61,
        // Another block, which may not exist; another row.
        6 => {
            let end = one_of(rng, &[4, 400, 1 << 20]);
            now & !(0xf_ffff << 32) | rng.u64(0..end) << 32
        }
        7 => now & !(0x3ff << 51) | rng.u64(0..1024) << 51,
        // Another lap: half of all laps away, or somewhere near.
        8 => now ^ 1 << 31,
        9 => now & !0xffff_ffff | rng.u64(0..8),
        // A position, or a length just over or under the room.
        10 => near.wrapping_add(rng.u64(0..2048)),
        _ => now & !0xffff_ffff | one_of(rng, &[104, 105, 256, 257, 65_536, 65_537]),
    }
}

/// Panics if words lie elsewhere than this file says: then it would overwrite nothing that matters.
fn check_map() {
    let options = Options::new(8);
    let (tx, _rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
    let segment = Scribbler::new();
    for (position, length) in [(0, 3), (1, 200), (2, 60_000)] {
        tx.send(vec![7; length]).expect("room");
        let place = slot(position);
        let full = segment.read(place);
        assert_eq!(full >> 62, 2, "the slot {place} of {position} is not full");
        let header = header(full >> 32 & 0xf_ffff);
        let found = [header, header + 8, header + 16].map(|offset| segment.read(offset));
        let [word, at, len] = found;
        assert_eq!((word >> 61, at, len), (2, position, length as u64), "block");
    }
    assert_eq!((segment.read(HEAD), segment.read(TAIL)), (0, 3), "hints");
    assert_eq!(segment.read(0), u64::from_le_bytes(*b"workring"), "magic");
    let row = (segment.read(ROWS) & 3, segment.read(ROWS + 8) & 0xffff_ffff);
    assert_eq!(row, (2, u64::from(process::id())), "row");
}
