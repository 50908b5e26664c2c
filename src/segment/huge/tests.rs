//! Huge blocks get and give back memory as the table says, a death in between leaves nothing wrong, and an error names
//! the limit.

use super::*;
use crate::error::MemoryLimit;
use crate::os::budget::MemoryBudget;
use crate::os::budget::tests::Machine;
use crate::os::memory::MemoryError;
use crate::protocol::SharedState;
use crate::protocol::blocks::BlockKind;
use crate::protocol::steps::send;
use crate::segment::tests::settings;
use crate::sync::Ordering;
use std::os::fd::AsRawFd;

const ME: PeerIndex = PeerIndex::FIRST;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn segment(max_message_len: usize, memory_limit: usize) -> Segment {
    let mut settings = settings();
    settings.limits.capacity = 64;
    settings.max_message_len = max_message_len;
    settings.memory_limit = memory_limit as u64;
    Segment::create(settings).expect("a segment")
}

/// Returns the memory that a segment has from the start, so that limits can be set relative to it.
fn base(max_message_len: usize) -> usize {
    segment(max_message_len, usize::MAX).memory()
}

fn class(segment: &Segment, payload: usize) -> &Class {
    let number = segment.geometry().class_for(payload).expect("a class");
    segment.geometry().classes.get(number).expect("a class")
}

fn allocate(segment: &Segment, payload: usize) -> OwnedBlock {
    match segment.allocate_huge(ME, class(segment, payload)) {
        Ok(HugeAllocation::Allocated(block)) => block,
        other => panic!("{payload} bytes: {other:?}"),
    }
}

/// Writes each byte. Without memory the kernel would kill this process.
fn fill(segment: &Segment, mut block: OwnedBlock) -> OwnedBlock {
    segment
        .view()
        .payload_mut(&mut block)
        .expect("owned")
        .fill(7);
    block
}

fn release(segment: &Segment, block: OwnedBlock) {
    let index = block.index();
    send::withdraw(segment, block).expect("owned");
    segment.trim(ME, index);
}

fn release_all(segment: &Segment, blocks: Vec<OwnedBlock>) {
    for block in blocks {
        release(segment, block);
    }
}

#[test]
fn a_block_gets_memory_at_its_first_use_and_keeps_it_for_the_next() {
    let segment = segment(16 * MIB, usize::MAX);
    let base = segment.memory();
    assert_eq!(base, segment.geometry().huge);
    let block = fill(&segment, allocate(&segment, 15 * MIB));
    let index = block.index();
    assert_eq!(segment.memory(), base + 16 * MIB);
    release(&segment, block);
    assert_eq!(segment.memory(), base + 16 * MIB);
    let again = allocate(&segment, 16 * MIB);
    assert_eq!(again.index(), index);
    let other = allocate(&segment, 16 * MIB);
    assert_eq!(segment.memory(), base + 32 * MIB);
    release(&segment, again);
    release(&segment, other);
    let lowest = allocate(&segment, 16 * MIB);
    assert_eq!(
        lowest.index(),
        index,
        "the idle block with the lowest index"
    );
    release(&segment, lowest);
}

/// Allocates and frees a block for `payload` bytes, `count` times. Returns the number of each block in its class.
fn numbers_of(segment: &Segment, payload: usize, count: usize) -> Vec<u32> {
    let numbers = (0..count).map(|_| {
        let block = allocate(segment, payload);
        let index = block.index().get();
        release(segment, block);
        index - class(segment, payload).blocks.start
    });
    numbers.collect()
}

#[test]
fn eight_mebibytes_of_a_class_are_used_in_turn() {
    let segment = segment(4 * MIB, usize::MAX);
    let base = segment.memory();
    assert_eq!(
        numbers_of(&segment, MIB, 10),
        [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
    );
    assert_eq!(segment.memory(), base + 8 * MIB);
    assert_eq!(numbers_of(&segment, 4 * MIB, 4), [0, 1, 0, 1]);
    let held = allocate(&segment, 4 * MIB);
    assert_eq!(numbers_of(&segment, 4 * MIB, 2), [1, 1], "one is owned");
    release(&segment, held);
    assert_eq!(segment.memory(), base + 16 * MIB);
}

#[test]
fn blocks_are_not_used_in_turn_while_memory_is_short() {
    let segment = segment(4 * MIB, base(4 * MIB) + MIB + 256 * KIB);
    assert_eq!(numbers_of(&segment, MIB, 3), [0, 0, 0]);
    let small = allocate(&segment, 256 * KIB);
    assert_eq!(numbers_of(&segment, MIB, 3), [0, 0, 0]);
    release(&segment, small);
}

#[test]
fn idle_blocks_keep_as_much_memory_as_they_may() {
    for (max, kept) in [(0, 0), (40 * MIB, 32 * MIB), (usize::MAX, 224 * MIB)] {
        let mut settings = settings();
        (settings.limits.capacity, settings.max_message_len) = (64, 128 * MIB);
        settings.max_idle_memory = max as u64;
        let segment = Segment::create(settings).expect("a segment");
        let base = segment.memory();
        let blocks: Vec<_> = (0..6).map(|_| allocate(&segment, 16 * MIB)).collect();
        let hugest = allocate(&segment, 128 * MIB);
        assert_eq!(segment.memory(), base + 224 * MIB);
        release_all(&segment, blocks);
        release(&segment, hugest);
        assert_eq!(segment.memory(), base + kept);
    }
}

#[test]
fn all_idle_memory_is_given_back_at_once_when_many_blocks_become_free() {
    let mut settings = settings();
    settings.limits.capacity = 64;
    settings.max_idle_memory = 3 * MIB as u64;
    let segment = Segment::create(settings).expect("a segment");
    let base = segment.memory();
    let blocks: Vec<_> = (0..8).map(|_| allocate(&segment, MIB)).collect();
    for block in blocks {
        send::withdraw(&segment, block).expect("owned");
    }
    assert_eq!(segment.memory(), base + 8 * MIB);
    segment.trim_all(ME);
    assert_eq!(segment.memory(), base + 3 * MIB);
}

#[test]
fn blocks_that_no_message_uses_for_a_while_give_their_memory_back() {
    let segment = segment(16 * MIB, usize::MAX);
    let base = segment.memory();
    let look_at = |seconds: u64| segment.trim_unused(ME, seconds * 1_000_000_000);
    let blocks: Vec<_> = (0..8).map(|_| allocate(&segment, 16 * MIB)).collect();
    release_all(&segment, blocks);
    look_at(100);
    assert_eq!(segment.memory(), base + 128 * MIB, "the first look");
    let held = allocate(&segment, 16 * MIB);
    release(&segment, allocate(&segment, 16 * MIB));
    look_at(109);
    assert_eq!(segment.memory(), base + 128 * MIB, "too early");
    look_at(110);
    assert_eq!(segment.memory(), base + 64 * MIB, "a part of it");
    look_at(110);
    assert_eq!(segment.memory(), base + 32 * MIB, "both were used");
    release(&segment, held);
    look_at(120);
    assert_eq!(segment.memory(), base + 16 * MIB, "one was used");
    look_at(130);
    assert_eq!(segment.memory(), base);
}

#[test]
fn memory_of_idle_blocks_is_reclaimed_for_another_size() {
    let limit = base(16 * MIB) + 16 * MIB;
    let segment = segment(16 * MIB, limit);
    let small: Vec<_> = (0..64).map(|_| allocate(&segment, 256 * KIB)).collect();
    release_all(&segment, small);
    assert_eq!(segment.memory(), limit);
    let large = fill(&segment, allocate(&segment, 16 * MIB));
    assert_eq!(segment.memory(), limit);
    release(&segment, large);
    let small = fill(&segment, allocate(&segment, 256 * KIB));
    assert_eq!(segment.memory(), limit - 16 * MIB + 256 * KIB);
    release(&segment, small);
}

#[test]
fn a_lack_of_memory_is_waited_for_only_if_the_queue_can_end_it() {
    let limit = base(16 * MIB) + 5 * MIB;
    let segment = segment(16 * MIB, limit);
    let result = segment.allocate_huge(ME, class(&segment, 16 * MIB));
    let expected = OutOfMemory {
        limit: MemoryLimit::Queue,
        wanted: 16 * MIB as u64,
        available: 5 * MIB as u64,
    };
    assert!(
        matches!(result, Ok(HugeAllocation::NoMemory(shortage)) if shortage == expected),
        "{result:?}"
    );
    let block = allocate(&segment, 4 * MIB);
    let in_use = segment.allocate_huge(ME, class(&segment, 4 * MIB));
    assert!(
        matches!(in_use, Ok(HugeAllocation::MemoryInUse)),
        "{in_use:?}"
    );
    let result = segment.allocate_huge(ME, class(&segment, 16 * MIB));
    assert!(
        matches!(result, Ok(HugeAllocation::NoMemory(_))),
        "{result:?}"
    );
    let fits = allocate(&segment, MIB);
    release(&segment, block);
    release(&segment, fits);
    release(&segment, allocate(&segment, 4 * MIB));
}

#[test]
fn a_class_whose_blocks_are_all_in_use_has_no_free_block() {
    let segment = segment(MIB, usize::MAX);
    let all: Vec<_> = (0..64).map(|_| allocate(&segment, 256 * KIB)).collect();
    let none = segment.allocate_huge(ME, class(&segment, 256 * KIB));
    assert!(matches!(none, Ok(HugeAllocation::NoFreeBlock)), "{none:?}");
    release_all(&segment, all);
}

/// A step of a process on a huge block.
type Step = fn(&Segment, &OwnedBlock);

/// Does what recovery does, which knows nothing of memory.
fn free_after_death(segment: &Segment, block: OwnedBlock) {
    let free = block.word().free();
    block.exchange_and_die(segment, free);
}

#[test]
fn a_death_between_any_two_steps_leaves_nothing_wrong() {
    let limit = base(16 * MIB) + 16 * MIB;
    let payload = |segment: &Segment, block: &OwnedBlock| {
        segment
            .geometry()
            .payload(block.index())
            .expect("a payload")
    };
    // A death in the middle of a system call leaves a part of its work.
    let half = |segment: &Segment, block: &OwnedBlock| {
        let all = segment
            .geometry()
            .payload(block.index())
            .expect("a payload");
        memory::commit(&segment.file, all.start..all.start + all.len() / 2).expect("memory");
    };
    let all = |segment: &Segment, block: &OwnedBlock| {
        let all = segment
            .geometry()
            .payload(block.index())
            .expect("a payload");
        memory::commit(&segment.file, all).expect("memory");
    };
    let mark = |segment: &Segment, block: &OwnedBlock| {
        segment
            .block(block.index())
            .expect("a block")
            .note_committed(true);
    };
    let unmark = |segment: &Segment, block: &OwnedBlock| {
        segment
            .block(block.index())
            .expect("a block")
            .note_committed(false);
    };
    let punch_half = |segment: &Segment, block: &OwnedBlock| {
        let all = segment
            .geometry()
            .payload(block.index())
            .expect("a payload");
        memory::decommit(&segment.file, all.start..all.start + all.len() / 2).expect("punch");
    };
    let steps: [Step; 5] = [half, all, mark, unmark, punch_half];
    for deaths in 0..=steps.len() {
        let segment = segment(16 * MIB, limit);
        let victim = send::allocate_one(
            &segment,
            PeerIndex::from_low_bits(9),
            class(&segment, 4 * MIB).blocks.start,
        )
        .expect("it is free");
        for step in steps.iter().take(deaths) {
            step(&segment, &victim);
        }
        free_after_death(&segment, victim);
        // All of the memory up to the limit can be allocated, in the same size and in others, and each byte be written.
        for wanted in [16 * MIB, 4 * MIB, 256 * KIB, 16 * MIB] {
            let blocks: Vec<_> = (0..16 * MIB / wanted)
                .map(|_| fill(&segment, allocate(&segment, wanted)))
                .collect();
            assert_eq!(segment.memory(), limit, "after {deaths} steps");
            for block in blocks {
                let marked = segment
                    .block(block.index())
                    .expect("a block")
                    .is_committed();
                assert!(marked && payload(&segment, &block).len() == wanted);
                release(&segment, block);
            }
        }
    }
}

#[test]
fn a_payload_without_memory_is_refused() {
    let segment = segment(MIB, usize::MAX);
    let number = class(&segment, MIB).blocks.start;
    let mut block = send::allocate_one(&segment, ME, number).expect("it is free");
    assert_eq!(
        segment.view().payload_mut(&mut block),
        Err(Corrupt::NotCommitted)
    );
    send::withdraw(&segment, block).expect("owned");
}

fn segment_on_a_machine_with(files: &[(&str, &str)]) -> (Machine, Segment) {
    let machine = Machine::new(&[("proc/meminfo", "MemAvailable: 1000000 kB\n")]);
    let mut settings = settings();
    settings.max_message_len = 4 * MIB;
    let segment =
        Segment::create_within(MemoryBudget::at(&machine.0), settings).expect("a segment");
    for (path, text) in files {
        machine.set(path, text);
    }
    (machine, segment)
}

#[test]
fn an_error_names_a_machine_with_too_little_memory() {
    let (machine, segment) =
        segment_on_a_machine_with(&[("proc/meminfo", "MemAvailable: 1024 kB\n")]);
    let result = segment.allocate_huge(ME, class(&segment, 4 * MIB));
    let Ok(HugeAllocation::NoMemory(shortage)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(
        (shortage.limit, shortage.wanted, shortage.available),
        (MemoryLimit::Machine, 4 * MIB as u64, MIB as u64)
    );
    machine.set("proc/meminfo", "MemAvailable: 4096 kB\n");
    release(&segment, allocate(&segment, 4 * MIB));
    machine.set("proc/meminfo", "MemAvailable: 2048 kB\n");
    let refused = Segment::create_within(MemoryBudget::at(&machine.0), settings());
    assert!(
        matches!(
            refused,
            Err(MemoryError::OutOfMemory(OutOfMemory {
                limit: MemoryLimit::Machine,
                ..
            }))
        ),
        "{refused:?}"
    );
}

#[test]
fn an_error_names_a_control_group_with_too_little_room() {
    let (_machine, segment) = segment_on_a_machine_with(&[
        ("proc/self/cgroup", "0::/\n"),
        (
            "proc/self/mountinfo",
            "30 22 0:26 / /cg rw - cgroup2 cgroup2 rw\n",
        ),
        ("cg/memory.max", "3000000"),
        ("cg/memory.current", "1000000"),
    ]);
    let result = segment.allocate_huge(ME, class(&segment, 4 * MIB));
    let Ok(HugeAllocation::NoMemory(shortage)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(
        (shortage.limit, shortage.available),
        (MemoryLimit::Cgroup, 2_000_000)
    );
    release(&segment, allocate(&segment, MIB));
}

#[test]
fn a_queue_larger_than_its_own_limit_is_not_made() {
    let mut settings = settings();
    settings.memory_limit = MIB as u64;
    let refused = Segment::create(settings);
    let Err(MemoryError::OutOfMemory(shortage)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (shortage.limit, shortage.available),
        (MemoryLimit::Queue, MIB as u64)
    );
}

fn assert_all_free(segment: &Segment) {
    for index in segment.geometry().huge_blocks() {
        let header = segment.block(BlockIndex::from_low_bits(index.into()));
        let word = header.expect("a block").word.load();
        assert!(word.is(BlockKind::Free), "{word:?}");
    }
}

/// The limits leave enough, but the kernel refuses: here, because the descriptor may not write.
#[test]
fn a_block_for_which_the_kernel_refuses_memory_is_free_again() {
    let mut segment = segment(16 * MIB, usize::MAX);
    let base = segment.memory();
    let path = format!("/proc/self/fd/{}", segment.file.as_raw_fd());
    let read_only = std::fs::File::open(path).expect("a descriptor of its own");
    let writable = core::mem::replace(&mut segment.file, read_only.into());
    for wanted in [256 * KIB, MIB, 16 * MIB] {
        // More rounds than there are blocks.
        for is_short in (0..70).map(|round| round % 2 == 1) {
            // A process uses blocks in turn only if it has not found memory short.
            let hints = &segment.huge_hints;
            hints.is_memory_short.store(is_short, Ordering::Relaxed);
            let refused = segment.allocate_huge(ME, class(&segment, wanted));
            assert!(
                matches!(refused, Ok(HugeAllocation::NoMemory(_))),
                "{refused:?}"
            );
            assert_all_free(&segment);
        }
    }
    assert_eq!(segment.memory(), base);
    segment.file = writable;
    let all: Vec<_> = (0..64).map(|_| allocate(&segment, 256 * KIB)).collect();
    release_all(&segment, all);
    assert_all_free(&segment);
}

/// Threads allocate and write at once, with memory for a few: the limit holds, no block is lost, no access lacks
/// memory.
#[test]
fn threads_that_share_little_memory_keep_within_the_limit() {
    let limit = base(4 * MIB) + 9 * MIB;
    let segment = segment(4 * MIB, limit);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let segment = &segment;
            scope.spawn(move || {
                let me = PeerIndex::from_low_bits(thread);
                for round in 0..200 {
                    let sizes = [256 * KIB, MIB, 4 * MIB];
                    let wanted = sizes
                        .get((round + usize::try_from(thread).expect("small")) % 3)
                        .expect("three");
                    let block = loop {
                        match segment.allocate_huge(me, class(segment, *wanted)) {
                            Ok(HugeAllocation::Allocated(block)) => break block,
                            Ok(HugeAllocation::MemoryInUse | HugeAllocation::NoFreeBlock) => {
                                std::thread::yield_now();
                            }
                            other => panic!("{other:?}"),
                        }
                    };
                    let block = fill(segment, block);
                    release(segment, block);
                }
            });
        }
    });
    assert!(segment.memory() <= limit);
    assert_all_free(&segment);
}
