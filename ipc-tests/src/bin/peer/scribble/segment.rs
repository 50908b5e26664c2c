//! Overwrites words of a segment: where they are, and with what.

use ipc_tests::{memfd, rounds::Rng};
use std::{fs::File, os::unix::fs::FileExt, process};
use workring::{Options, queue::Raw};

// Offsets of words in a segment of a small capacity. `check_offsets` fails if they are no longer right.
const HEADER_WORDS: u64 = 80;
const SHARED: u64 = 4096;
const SHARED_WORDS: u64 = 112;
const HEAD: u64 = SHARED;
const TAIL: u64 = SHARED + 128;
/// The word that says which parts of the segment have memory.
const PARTS: u64 = SHARED + 1024;
/// The cells, each with a slot and a small block; the last ones have a block only.
const CELLS: u64 = 8192;
const CELL: u64 = 128;
const SLOTS: u64 = 1024;
const SMALL_BLOCKS: u64 = SLOTS + 64;
const PEERS: u64 = CELLS + SMALL_BLOCKS * CELL;
const PEER: u64 = 64;
/// The headers of all larger blocks, with the marks of batches.
const LARGE: u64 = PEERS + 1024 * PEER;
const LARGE_HEADER: u64 = 128;
const LARGE_HEADER_WORDS: u64 = 11;

fn slot(number: u64) -> u64 {
    CELLS + number % SLOTS * CELL
}

fn header(block: u64) -> u64 {
    if block < SMALL_BLOCKS {
        CELLS + block * CELL + 8
    } else {
        LARGE + (block - SMALL_BLOCKS) * LARGE_HEADER
    }
}

/// Overwrites words of the only segment of this process.
///
/// It writes to the segment's file, which it has opened once more, so that it cannot fault.
pub(super) struct Scribbler(File);

impl Scribbler {
    pub(super) fn new() -> Self {
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

    /// Overwrites one word, mostly one that operations are about to use.
    pub(super) fn scribble(&self, rng: &mut Rng) {
        let near = self.read(*rng.choice(&[HEAD, TAIL]).expect("two"));
        let near = near.wrapping_add(rng.u64(0..16)).wrapping_sub(8);
        let offset = match rng.u32(0..20) {
            0..2 => HEAD,
            2..4 => TAIL,
            4..6 => SHARED + rng.u64(0..SHARED_WORDS) * 8,
            6..8 => PEERS + rng.u64(0..4) * PEER + rng.u64(0..4) * 8,
            8 => PEERS + rng.u64(0..1024 * PEER / 8) * 8,
            9..13 => slot(near),
            13 => slot(rng.u64(..)),
            14..16 => header(near % SLOTS) + rng.u64(0..3) * 8,
            16 => header(rng.u64(0..SMALL_BLOCKS)) + rng.u64(0..3) * 8,
            17 => header(SMALL_BLOCKS + rng.u64(0..300)) + rng.u64(0..LARGE_HEADER_WORDS) * 8,
            18 if rng.u32(0..4) == 0 => PARTS,
            18 => CELLS + rng.u64(0..SMALL_BLOCKS * CELL / 8) * 8,
            _ => return self.scribble_header(rng),
        };
        self.write(offset, wrong_value(self.read(offset), near, rng));
    }

    /// Overwrites one word of the segment's header.
    pub(super) fn scribble_header(&self, rng: &mut Rng) {
        let offset = rng.u64(0..HEADER_WORDS) * 8;
        self.write(offset, wrong_value(self.read(offset), 0, rng));
    }
}

/// Returns a value to overwrite a word with: any value, or one that seems right.
fn wrong_value(now: u64, near: u64, rng: &mut Rng) -> u64 {
    let one_of = |rng: &mut Rng, values: &[u64]| *rng.choice(values).expect("some");
    match rng.u32(0..12) {
        0 => rng.u64(..),
        1 => one_of(rng, &[0, 1, u64::MAX, 1 << 63, u64::from(u32::MAX)]),
        2 => now ^ 1 << rng.u32(0..64),
        3 => now.wrapping_add(1),
        4 => now.wrapping_sub(1),
        // Another kind of slot, or another state of a block, with the rest as it was.
        5 => now & !7 | rng.u64(0..8),
        // Another block, which may not exist; another peer.
        6 => {
            let end = one_of(rng, &[4, 1400, 1 << 20]);
            now & !(0xf_ffff << 12) | rng.u64(0..end) << 12
        }
        7 => now & !(0x3ff << 3) | rng.u64(0..1024) << 3,
        // Another lap: half of all laps away, or somewhere near.
        8 => now ^ 1 << 63,
        9 => now & 0xffff_ffff | rng.u64(0..8) << 32,
        // A position, or a length just below or above what a block holds.
        10 => near.wrapping_add(rng.u64(0..2048)),
        _ => now & !0xffff_ffff | one_of(rng, &[96, 97, 256, 257, 65_536, 65_537]),
    }
}

/// Panics if the offsets of this file are wrong: then it would overwrite words that do not matter.
pub(super) fn check_offsets() {
    let options = Options::new(8);
    let (tx, _rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
    let segment = Scribbler::new();
    for (position, length) in [(0, 3), (1, 200), (2, 60_000)] {
        tx.send(vec![7; length]).expect("room");
        let place = slot(position);
        let full = segment.read(place);
        assert_eq!(full & 3, 2, "the slot {place} of {position} is not full");
        let header = header(full >> 12 & 0xf_ffff);
        let found = [header, header + 8, header + 16].map(|offset| segment.read(offset));
        let [word, at, len] = found;
        assert_eq!((word & 7, at, len), (2, position, length as u64), "block");
    }
    assert_eq!((segment.read(HEAD), segment.read(TAIL)), (0, 3), "hints");
    assert_eq!(segment.read(0), u64::from_le_bytes(*b"workring"), "magic");
    let parts = segment.read(PARTS);
    // The classes of 256 bytes and 64 KiB are reserved and committed.
    assert_eq!(parts, 0b10001 << 6 | 0b10001, "parts");
    let peer = (
        segment.read(PEERS) & 3,
        segment.read(PEERS + 8) & 0xffff_ffff,
    );
    assert_eq!(peer, (2, u64::from(process::id())), "peer entry");
}
