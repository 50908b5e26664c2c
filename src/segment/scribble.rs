//! A peer that writes at random into the segment: whatever it writes, operations end, with a value or a typed error,
//! and access nothing outside.
//!
//! Method: the words of a queue in use are overwritten between operations, or during them by a second thread. The
//! segment lies on the heap, so that `AddressSanitizer` sees each access beyond its ends:
//!
//!     RUSTFLAGS=-Zsanitizer=address cargo +nightly test --target x86_64-unknown-linux-gnu --lib scribble
//!
//! Payloads are left alone, because their content is the codec's business.
#![allow(
    unsafe_code,
    reason = "writes to any word of the mapping, as a stray pointer would"
)]

use super::Segment;
use super::geometry::{COMMITTED_CLASSES as CLASSES, Class};
use super::layout::{Header, SHARED, SharedWords};
use super::settings::{SPINS, STORED_LIVENESS_INTERVALS, Settings};
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::peers::{Role, Roles};
use crate::protocol::ring::Hint;
use crate::protocol::steps::receive::{self, Receive};
use crate::protocol::steps::send::{self, Publish};
use crate::protocol::steps::{OwnedBlock, close, dead_letters, membership, settle, walk};
use crate::protocol::{Corrupt, Limits, SharedState};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::mem::offset_of;
use core::time::Duration;
use std::io::Write;

fn settings(capacity: u32, close_waits_for_leases: bool) -> Settings {
    Settings {
        limits: Limits {
            capacity,
            max_deliveries: 2,
            max_dead_letters: 4,
            close_waits_for_leases,
            close_on_last_sender: true,
            close_on_last_receiver: true,
        },
        evict_dead_letters: true,
        preallocate: true,
        max_leases: 8,
        max_message_len: 64 * 1024,
        inline_len: 96,
        memory_limit: u64::MAX,
        max_idle_memory: u64::MAX,
        spin: Duration::ZERO,
        liveness_interval: Duration::from_millis(1),
        schema: None,
        type_name: "bytes".into(),
        codec_name: "none".into(),
    }
}

/// The word that contains the byte at `offset`, as a stray writer sees it.
fn word(segment: &Segment, offset: usize) -> &AtomicU64 {
    let start = offset / 8 * 8;
    assert!(start < segment.mapping().length());
    // SAFETY: the word is inside the mapping and aligned. Any bytes are a valid integer, and all words here are atomic.
    unsafe { segment.mapping().pointer_at(start).cast().as_ref() }
}

/// The offset of an object in the segment.
fn offset_in<T>(segment: &Segment, object: &T) -> usize {
    core::ptr::from_ref(object).addr() - segment.mapping().pointer_at(0).addr().get()
}

const HEAD: usize = SHARED + offset_of!(SharedWords, head);
const TAIL: usize = SHARED + offset_of!(SharedWords, tail);

fn slot_offset(segment: &Segment, position: Position) -> usize {
    offset_in(segment, segment.slot(position))
}

fn overwrite_slot(segment: &Segment, number: u64, kind: u64, block: u64, lap: u64) {
    let value = lap << 32 | block << 12 | kind;
    word(segment, slot_offset(segment, Position(number))).store(value, Ordering::Release);
}

const EMPTY: u64 = 0;
const FULL: u64 = 2;

/// A process that sends and receives, and the messages that it holds.
struct Peer<'a> {
    segment: &'a Segment,
    index: PeerIndex,
    room: Hint,
    cursors: [AtomicU32; CLASSES],
    held: Vec<OwnedBlock>,
}

impl<'a> Peer<'a> {
    fn new(segment: &'a Segment, index: u16) -> Self {
        Self {
            segment,
            index: PeerIndex::new(index).expect("an index of a peer"),
            room: Hint::new(),
            cursors: core::array::from_fn(|_| AtomicU32::new(0)),
            held: Vec::new(),
        }
    }

    /// Sends a message. Returns whether the queue has accepted it.
    fn send(&self, class: usize, length: usize) -> Result<bool, Corrupt> {
        let segment = self.segment;
        let (class, cursor): (&Class, _) = segment
            .geometry()
            .classes
            .iter()
            .zip(&self.cursors)
            .nth(class)
            .expect("a class");
        let from = class.blocks.clone();
        let allocated = if from == segment.small_blocks() {
            send::allocate_cell(segment, segment.words(), self.index, cursor)
        } else {
            send::allocate(segment, self.index, from.clone(), cursor)
        };
        let Some(mut block) =
            allocated.or_else(|| dead_letters::allocate_by_eviction(segment, self.index, &from))
        else {
            return Ok(false);
        };
        let room = segment.view().payload_mut(&mut block)?;
        room.fill(7);
        let length = length.min(room.len());
        send::offer(
            segment.words(),
            &mut block,
            u32::try_from(length).expect("short"),
        )?;
        let published = send::publish(segment, segment.words(), &mut block, &self.room);
        if !matches!(published, Ok(Publish::Accepted)) {
            send::withdraw(segment, block)?;
        }
        Ok(published? == Publish::Accepted)
    }

    fn receive(&mut self) -> Result<(), Corrupt> {
        let received = receive::receive(self.segment, self.segment.words(), self.index)?;
        if let Receive::Message(held) = received {
            read(self.segment, &held)?;
            self.held.push(held);
        }
        Ok(())
    }

    fn read_letters(&self, discard: bool) -> Result<(), Corrupt> {
        for (position, index) in dead_letters::list(self.segment) {
            let Some(read_one) = dead_letters::open(self.segment, self.index, position, index)
            else {
                continue;
            };
            read(self.segment, &read_one)?;
            if discard {
                dead_letters::discard(self.segment, read_one)?;
            } else {
                dead_letters::put_back(self.segment, read_one)?;
            }
        }
        Ok(())
    }

    fn settle_one(&mut self, how: u64) -> Result<(), Corrupt> {
        let Some(held) = self.held.pop() else {
            return Ok(());
        };
        read(self.segment, &held)?;
        match how % 3 {
            0 => settle::acknowledge(self.segment, self.segment.words(), held),
            1 => settle::return_message(self.segment, held),
            _ => settle::reject(self.segment, held),
        }
    }

    /// One operation of any kind.
    fn step(&mut self, rng: &mut Rng) -> Result<(), Corrupt> {
        let segment = self.segment;
        match rng.below(20) {
            0..7 => {
                let class = rng.pick(&[0, 0, 0, 1, 3, CLASSES - 1]);
                let length = usize::try_from(rng.below(300)).expect("short");
                self.send(class, length).map(drop)
            }
            7..12 if self.held.len() < 6 => self.receive(),
            7..16 => self.settle_one(rng.below(3)),
            16 => self.read_letters(rng.below(2) == 0),
            17 => {
                let (filled, taken) = walk::filled_and_taken(segment);
                let _: (bool, u64) = (send::is_full(segment), filled.0.wrapping_sub(taken.0));
                walk::check_tail(segment)
            }
            18 => {
                let row = segment.peer(self.index).ok_or(Corrupt::NoSuchPeer)?;
                let role = rng.pick(&[Role::Sender, Role::Receiver]);
                match rng.below(4) {
                    0 => membership::arrive(segment, self.index, row.load(), Roles::only(role))
                        .map(drop),
                    1 => membership::leave(segment, self.index, row.load(), role).map(drop),
                    2 => membership::vacate(segment, self.index, row.load()),
                    _ => membership::close_if_role_vacant(segment, role),
                }
            }
            _ => match rng.below(8) {
                0 => close::close(segment).map(drop),
                1 => close::cancel(segment, self.index).map(drop),
                _ => Ok(()),
            },
        }
    }
}

/// Reads the whole message, as a codec would. Returns the sum of its bytes.
fn read(segment: &Segment, held: &OwnedBlock) -> Result<u64, Corrupt> {
    let bytes = segment.view().payload(held)?;
    let room = segment.geometry().payload(held.index());
    assert!(room.is_some_and(|room| bytes.len() <= room.len()));
    Ok(bytes.iter().map(|&byte| u64::from(byte)).sum())
}

/// Performs each operation that walks through the ring, and returns their errors.
fn walk_errors(segment: &Segment) -> [Option<Corrupt>; 4] {
    let mut peer = Peer::new(segment, 0);
    [
        peer.send(0, 8).err(),
        peer.receive().err(),
        close::close(segment).err(),
        close::cancel(segment, peer.index).err(),
    ]
}

/// Each slot is a 1024th of all laps further than the one before, so that a walk would return to its start.
#[test]
fn laps_that_form_a_cycle_end_every_walk() {
    watched(0, |_| {
        for kind in [EMPTY, FULL] {
            for start in [0, 1, 300] {
                let segment = Segment::on_heap(settings(8, true));
                let slots = segment.ring_size().slots();
                for number in 0..slots {
                    overwrite_slot(
                        &segment,
                        number,
                        kind,
                        3,
                        (number + 1) << 32 >> slots.ilog2(),
                    );
                }
                for hint in [HEAD, TAIL] {
                    word(&segment, hint).store(start, Ordering::Relaxed);
                }
                let found = walk_errors(&segment);
                assert!(found.iter().all(Option::is_some), "{found:?} from {start}");
                assert!(
                    found.contains(&Some(Corrupt::InconsistentLaps)),
                    "{found:?} from {start}"
                );
                let _ = (walk::filled_and_taken(&segment), send::is_full(&segment));
            }
        }
    });
}

#[test]
fn a_head_ahead_of_the_taken_positions_is_reported() {
    for head in [3, 100, 1024, 1 << 40] {
        let segment = Segment::on_heap(settings(8, false));
        let mut peer = Peer::new(&segment, 0);
        for _ in 0..2 {
            assert_eq!(peer.send(0, 8), Ok(true));
        }
        word(&segment, HEAD).store(head, Ordering::Relaxed);
        assert_eq!(peer.receive(), Err(Corrupt::HeadAhead), "{head}");
    }
}

/// A sender that trusted such a head would find room forever.
#[test]
fn a_head_ahead_of_the_tail_makes_no_room() {
    let segment = Segment::on_heap(settings(8, false));
    let peer = Peer::new(&segment, 0);
    for _ in 0..8 {
        assert_eq!(peer.send(0, 8), Ok(true));
    }
    word(&segment, HEAD).store(u64::MAX, Ordering::Relaxed);
    assert_eq!(peer.send(0, 8), Ok(false), "the queue is full");
}

/// A sender that follows such a tail skips slots, and receivers would wait forever at the first of them.
#[test]
fn a_tail_ahead_of_the_filled_positions_is_reported_after_a_sleep_and_after_close() {
    for gap in [1, 100, 1023] {
        let segment = Segment::on_heap(settings(8, false));
        let mut peer = Peer::new(&segment, 0);
        assert_eq!(peer.send(0, 8), Ok(true));
        assert_eq!(peer.receive(), Ok(()));
        assert_eq!(walk::check_tail(&segment), Ok(()));
        word(&segment, TAIL).store(1 + gap, Ordering::Relaxed);
        assert_eq!(walk::check_tail(&segment), Err(Corrupt::TailAhead));
        assert_eq!(close::close(&segment), Ok(true));
        assert_eq!(peer.receive(), Err(Corrupt::TailAhead));
        assert_eq!(
            close::cancel(&segment, peer.index),
            Err(Corrupt::TailAhead),
            "gap {gap}"
        );
    }
}

#[test]
fn a_message_longer_than_its_block_is_not_read() {
    for class in [0, 1, CLASSES - 1] {
        let segment = Segment::on_heap(settings(8, false));
        let mut peer = Peer::new(&segment, 0);
        assert_eq!(peer.send(class, 8), Ok(true));
        let index = segment.slot(Position(0)).load().block();
        let room = segment.geometry().payload(index).expect("a block").len();
        let header = segment.block(index).expect("a block");
        header.set_length(u32::try_from(room + 1).expect("short"));
        assert_eq!(peer.receive(), Err(Corrupt::TooLong));
    }
}

/// The random number generator splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let nth = usize::try_from(self.below(from.len() as u64)).expect("small");
        from.get(nth).copied().expect("one of them")
    }
}

/// The offsets of the words that are overwritten: all but those of the payloads.
struct Targets {
    shared: Vec<usize>,
    peers: Vec<usize>,
    slots: Vec<usize>,
    blocks: Vec<usize>,
}

impl Targets {
    fn of(segment: &Segment) -> Self {
        let offset = |index: u32| {
            let header = segment.block(BlockIndex::new(index).expect("a number"));
            offset_in(segment, header.expect("a block"))
        };
        let slots = 0..segment.ring_size().slots();
        Self {
            shared: (SHARED..SHARED + size_of::<SharedWords>())
                .step_by(8)
                .collect(),
            peers: (segment.geometry().peers..segment.geometry().headers)
                .step_by(8)
                .take(64)
                .collect(),
            slots: slots
                .map(|number| slot_offset(segment, Position(number)))
                .collect(),
            blocks: (0..segment.block_count())
                .flat_map(|index| [0, 8, 16].map(|part| offset(index) + part))
                .collect(),
        }
    }

    /// Makes the queue empty and open, as if everything before `start` had been sent and taken.
    fn reset(&self, segment: &Segment, start: Position) {
        for &offset in [&self.shared, &self.peers, &self.blocks]
            .into_iter()
            .flatten()
        {
            word(segment, offset).store(0, Ordering::Relaxed);
        }
        for hint in [HEAD, TAIL] {
            word(segment, hint).store(start.0, Ordering::Relaxed);
        }
        let size = segment.ring_size();
        for number in 0..size.slots() {
            let next = start.plus(size.slot_number(Position(number.wrapping_sub(start.0))));
            overwrite_slot(segment, number, EMPTY, 0, size.lap(next).0.into());
        }
    }

    /// Overwrites one word, mostly near the positions in use.
    fn scribble(&self, segment: &Segment, start: Position, rng: &mut Rng) {
        let near = start.plus(rng.below(24));
        let target = match rng.below(10) {
            0..2 => rng.pick(&[HEAD, TAIL]),
            2 => rng.pick(&self.shared),
            3 => rng.pick(&self.peers),
            4..6 => slot_offset(segment, near),
            6 => rng.pick(&self.slots),
            7 => rng.pick(self.blocks.get(..24).expect("more blocks")),
            _ => rng.pick(&self.blocks),
        };
        let word = word(segment, target);
        let now = word.load(Ordering::Relaxed);
        word.store(plausible_or_random(now, near, rng), Ordering::Relaxed);
    }
}

/// Returns a value to overwrite a word with: any value, or one that looks right.
fn plausible_or_random(now: u64, near: Position, rng: &mut Rng) -> u64 {
    match rng.below(12) {
        0 => rng.next(),
        1 => rng.pick(&[0, 1, u64::MAX, 1 << 63, u64::from(u32::MAX)]),
        2 => now ^ 1 << rng.below(64),
        3 => now.wrapping_add(1),
        4 => now.wrapping_sub(1),
        // Another kind of slot or block, with the rest unchanged.
        5 => now & !7 | rng.below(8),
        // Another block, or another peer.
        6 => {
            let end = rng.pick(&[4, 400, BlockIndex::COUNT.into()]);
            now & !(0xf_ffff << 12) | rng.below(end) << 12
        }
        7 => now & !(0x3ff << 3) | rng.below(1024) << 3,
        // Another lap: half of all laps away, or near.
        8 => now ^ 1 << 63,
        9 => now & 0xffff_ffff | rng.below(8) << 32,
        // A position, or a length just above or at the size of a block.
        10 => near.0.wrapping_add(rng.below(2048)),
        _ => now & !0xffff_ffff | rng.pick(&[96, 97, 256, 257, 65_536, 65_537]),
    }
}

/// After this time without a new round the process is aborted, because no panic could end a loop.
const ROUND_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Aborts the process, and prints the round, if a round does not end.
struct Watchdog {
    round: AtomicU64,
    over: AtomicBool,
}

impl Watchdog {
    fn watch(&self, seed: u64) {
        let mut last = u64::MAX;
        while !self.over.load(Ordering::Acquire) {
            let now = self.round.load(Ordering::Relaxed);
            if now == last {
                // The test's output is kept back, and lost by an abort.
                let message = format!("round {now} does not end (WORKRING_TEST_SEED={seed})\n");
                let _ = std::io::stderr().write_all(message.as_bytes());
                std::process::abort();
            }
            last = now;
            std::thread::park_timeout(ROUND_LIMIT);
        }
    }
}

/// Stops the watchdog, even when the test panics.
struct StopWatchdog<'a>(&'a Watchdog, &'a std::thread::Thread);

impl Drop for StopWatchdog<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
        self.1.unpark();
    }
}

fn watched(seed: u64, rounds: impl FnOnce(&AtomicU64)) {
    let watchdog = Watchdog {
        round: AtomicU64::new(0),
        over: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| watchdog.watch(seed));
        let _end = StopWatchdog(&watchdog, thread.thread());
        rounds(&watchdog.round);
    });
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[test]
fn operations_on_a_scribbled_segment_end_with_values_or_typed_errors() {
    let full = variable("WORKRING_TEST_FULL").is_some_and(|value| value == "1");
    let wanted: u64 = if full { 1_000_000 } else { 10_000 };
    let seed = variable("WORKRING_TEST_SEED").map_or_else(
        || std::process::id().into(),
        |seed| seed.parse().expect("WORKRING_TEST_SEED is a number"),
    );
    println!("seed: repeat this run by WORKRING_TEST_SEED={seed}");
    let mut rng = Rng(seed);
    let (mut corruptions, mut errors) = (0, 0);
    watched(seed, |round| {
        let segments =
            [false, true].map(|waits_for_leases| Segment::on_heap(settings(8, waits_for_leases)));
        let all_targets = segments.each_ref().map(Targets::of);
        while corruptions < wanted {
            let nth = round.fetch_add(1, Ordering::Relaxed);
            let both = segments.iter().zip(&all_targets);
            let waits_for_leases = usize::try_from(nth % 2).expect("0 or 1");
            let (segment, targets) = both.into_iter().nth(waits_for_leases).expect("two");
            let (made, failed) = play(segment, targets, nth % 4 == 3, &mut rng);
            corruptions += made;
            errors += failed;
        }
    });
    println!("scribble: {corruptions} corruptions, {errors} typed errors, 0 violations");
    assert!(errors > corruptions / 100, "no operation failed");
}

/// Uses a queue while it is overwritten, between the operations or `at_once` by a second thread. Returns how many words
/// were overwritten, and how many operations failed.
fn play(segment: &Segment, targets: &Targets, at_once: bool, rng: &mut Rng) -> (u64, u64) {
    let laps = segment.ring_size().slots();
    let start = Position(rng.pick(&[0, 1020, 5 * laps, (1 << 32) * laps - 9, u64::MAX - 5]));
    targets.reset(segment, start);
    let mut peers = [Peer::new(segment, 0), Peer::new(segment, 1)];
    let mut errors = 0;
    let mut operate = |steps: u64, rng: &mut Rng| {
        for _ in 0..steps {
            let nth = usize::try_from(rng.below(2)).expect("0 or 1");
            let peer = peers.get_mut(nth).expect("two peers");
            errors += u64::from(peer.step(rng).is_err());
        }
    };
    operate(rng.below(40), rng);
    let corruptions = 1 + rng.below(20);
    if at_once {
        let mut theirs = Rng(rng.next());
        let over = AtomicBool::new(false);
        let made = std::thread::scope(|scope| {
            let scribbler = scope.spawn(|| {
                let mut made = 0;
                while made < corruptions || !over.load(Ordering::Relaxed) && made < 1000 {
                    targets.scribble(segment, start, &mut theirs);
                    made += 1;
                }
                made
            });
            operate(60, rng);
            over.store(true, Ordering::Relaxed);
            scribbler.join().expect("it only writes")
        });
        return (made, errors);
    }
    for _ in 0..corruptions {
        targets.scribble(segment, start, rng);
        operate(1 + rng.below(6), rng);
    }
    (corruptions, errors)
}

/// The header is what a process reads when it attaches.
#[test]
fn a_scribbled_header_is_refused_or_describes_a_sound_queue() {
    let segment = Segment::on_heap(settings(8, false));
    let mut rng = Rng(7);
    for _ in 0..20_000 {
        let offset = usize::try_from(rng.below(size_of::<Header>() as u64)).expect("short");
        let (word, near) = (word(&segment, offset), Position(0));
        let sound = word.load(Ordering::Relaxed);
        word.store(
            plausible_or_random(sound, near, &mut rng),
            Ordering::Relaxed,
        );
        if let Ok((geometry, settings)) = segment.header().read(segment.mapping().length()) {
            assert_eq!(&geometry, segment.geometry());
            assert!((1..=15).contains(&settings.limits.max_deliveries));
            assert!(
                SPINS.contains(&settings.spin)
                    && STORED_LIVENESS_INTERVALS.contains(&settings.liveness_interval)
            );
        }
        word.store(sound, Ordering::Relaxed);
    }
    let _: LifecycleState = segment.lifecycle().load();
}
