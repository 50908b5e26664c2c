//! Parts get memory when they are first used, within the limits, and to look at a queue takes none.

use super::super::settings::Settings;
use super::super::tests::settings as preallocated;
use super::*;
use crate::os::memory::MemoryError;
use crate::protocol::SharedState;
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::steps::{batch, dead_letters, send, stalled, stats};

fn settings() -> Settings {
    Settings {
        preallocate: false,
        memory_limit: u64::MAX,
        ..preallocated()
    }
}

fn segment(memory_limit: usize) -> Segment {
    let settings = Settings {
        memory_limit: memory_limit as u64,
        ..settings()
    };
    Segment::create(settings).expect("a segment")
}

const ME: PeerIndex = PeerIndex::from_low_bits(0);

/// Does every kind of scan.
fn look_at(segment: &Segment) {
    let blocks = stats::snapshot_blocks(segment);
    assert_eq!(blocks.len(), segment.block_count() as usize);
    let _ = stats::count(segment, &blocks);
    assert_eq!(batch::has_unopened_batch(segment, ME), Ok(false));
    assert!(dead_letters::list(segment).is_empty());
    stalled::finish_stalled(segment).expect("nothing is corrupt");
    stalled::finish_stalled_blocks(segment, ME);
    assert_eq!(send::withdraw_leaked(segment, ME), 0);
    segment.trim_all(ME);
    for index in (0..segment.block_count()).filter_map(BlockIndex::new) {
        let _ = (segment.block(index), segment.marks(index));
    }
    for index in (0..PeerIndex::COUNT).filter_map(PeerIndex::new) {
        let _ = segment.peer(index);
    }
}

#[test]
fn each_part_gets_memory_when_it_is_first_used_and_a_look_takes_none() {
    let segment = segment(usize::MAX);
    let other = Segment::attach(segment.file.try_clone().expect("dup")).expect("attach");
    let classes = segment.geometry().classes.len();
    let mut expected = segment.geometry().initial();
    for class in 0..=classes {
        for one in [&segment, &other] {
            look_at(one);
            assert_eq!(one.memory(), expected, "before class {class}");
        }
        segment.commit_class(class).expect("there is memory");
        other.commit_class(class).expect("it is there already");
        let parts = segment.parts().load().committed();
        assert_eq!(parts, segment.parts().load().reserved());
        expected = segment.geometry().memory_with(parts, 0);
    }
    while segment.commit_peers().expect("there is memory") {
        look_at(&other);
        expected += PAGE;
        assert_eq!(other.memory(), expected);
    }
    assert_eq!(expected, segment.geometry().huge);
    assert_eq!(segment.memory_of_missing_parts(), 0);
}

#[test]
fn a_block_of_a_class_without_memory_is_not_found() {
    let segment = segment(usize::MAX);
    let class = segment.geometry().classes.get(2).expect("a class").clone();
    let index = BlockIndex::new(class.blocks.start).expect("an index");
    assert!(segment.block(index).is_none() && segment.marks(index).is_none());
    segment.commit_class(2).expect("there is memory");
    assert!(segment.block(index).is_some() && segment.marks(index).is_some());
    let before = BlockIndex::new(class.blocks.start - 1).expect("an index");
    let after = BlockIndex::new(class.blocks.end).expect("an index");
    assert!(segment.block(before).is_none() && segment.block(after).is_none());
}

#[test]
fn parts_keep_the_limit_of_the_queue_together() {
    let geometry = segment(usize::MAX).geometry().clone();
    let part = |class| Geometry::part_of_class(class).expect("a larger class");
    let two = PartSet::NONE.with(part(1)).with(part(2));
    let limit = geometry.memory_with(two, MORE_PEER_PAGES);
    let segment = segment(limit);
    segment.commit_class(1).expect("within the limit");
    let shortage = segment.commit_class(3).expect_err("beyond the limit");
    assert_eq!(shortage.limit, MemoryLimit::Queue);
    assert!(shortage.wanted > shortage.available && shortage.available > 0);
    segment.commit_class(2).expect("within the limit");
    let shortage = segment.commit_huge_headers().expect_err("beyond the limit");
    assert_eq!(shortage.available, 0);
    while segment.commit_peers().expect("the table is set aside") {}
    assert_eq!(segment.memory(), limit);
}

#[test]
fn a_part_that_a_dead_process_has_reserved_counts_as_taken_and_is_committed_by_the_next() {
    let geometry = segment(usize::MAX).geometry().clone();
    let part = |class| Geometry::part_of_class(class).expect("a larger class");
    let limit = geometry.memory_with(PartSet::NONE.with(part(5)), MORE_PEER_PAGES);
    let segment = segment(limit);
    let parts = segment.parts();
    assert!(parts.reserve(parts.load(), part(5)));
    let half = segment
        .geometry()
        .ranges_of(part(5))
        .map(|range| range.start..range.end / PAGE / 2 * PAGE);
    let [_, payloads] = half;
    memory::commit(
        &segment.file,
        payloads.start..payloads.end.max(payloads.start + PAGE),
    )
    .expect("memory");
    assert!(
        segment.commit_class(1).is_err(),
        "class 5 may have all of it"
    );
    segment.commit_class(5).expect("the rest of the memory");
    assert!(parts.load().committed().has(part(5)));
}

#[test]
fn huge_blocks_leave_memory_for_all_parts() {
    use crate::protocol::huge_memory::HugeMemory;
    let segment = segment(100 << 20);
    let before = HugeMemory::memory_limit(&segment) - segment.memory() as u64;
    segment.commit_class(3).expect("there is memory");
    assert_eq!(
        HugeMemory::memory_limit(&segment) - segment.memory() as u64,
        before
    );
    assert_eq!(before, (100 << 20) - segment.geometry().huge as u64);
}

#[test]
fn a_file_that_lacks_memory_of_a_committed_part_is_refused() {
    let segment = segment(usize::MAX);
    assert!(segment.has_memory_of_its_parts().expect("fstat"));
    segment.commit_class(1).expect("there is memory");
    segment.commit_peers().expect("there is memory");
    assert!(segment.has_memory_of_its_parts().expect("fstat"));
    let [_, payloads] = segment.geometry().ranges_of(Part::new(0).expect("a part"));
    memory::decommit(&segment.file, payloads).expect("punch");
    assert!(!segment.has_memory_of_its_parts().expect("fstat"));
}

#[test]
fn a_queue_that_is_preallocated_has_all_parts_or_is_not_made() {
    let segment = Segment::create(preallocated()).expect("a segment");
    assert_eq!(segment.memory(), segment.geometry().huge);
    assert_eq!(segment.memory_of_missing_parts(), 0);
    assert_eq!(segment.peer_count(), PeerIndex::COUNT);
    let limit = segment.geometry().huge as u64 - 1;
    let refused = Segment::create(Settings {
        memory_limit: limit,
        ..preallocated()
    });
    assert!(matches!(refused, Err(MemoryError::OutOfMemory(_))));
}
