//! Parts of a segment never overlap, whatever the capacity and the largest message are.

use super::super::layout::PAYLOAD_ALIGNMENT;
use super::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[test]
fn payloads_never_overlap_in_any_layout() {
    for capacity in [1, 2, 31, 1023, 1024, 4096, 65_535, 65_536] {
        for (max_message_len, inline_len) in [
            (128, 0),
            (128, 4096),
            (5_000, 8),
            (64 * KIB, 96),
            (100 * KIB, 97),
            (MIB, 256),
            (200 * MIB, 1000),
            (1024 * MIB, 4096),
        ] {
            let geometry = Geometry::new(capacity, max_message_len, inline_len);
            assert!(geometry.ring.slots() > u64::from(capacity));
            // One index is left that names no block (`BlockIndex::NONE`).
            assert!(geometry.block_count() < BlockIndex::COUNT - 1);
            let (mut last_end, huge) = (CELLS, geometry.huge_blocks());
            for index in (0..geometry.block_count()).filter_map(BlockIndex::new) {
                let payload = geometry.payload(index).expect("every block has a payload");
                assert!(
                    payload.start >= last_end && payload.end <= geometry.length,
                    "{index:?} {payload:?}"
                );
                assert_eq!(payload.start % PAYLOAD_ALIGNMENT, 0);
                assert!(payload.end <= geometry.peers || payload.start >= geometry.headers);
                if huge.contains(&index.get()) {
                    assert!(payload.start >= geometry.huge);
                    assert_eq!((payload.start % PAGE, payload.len() % PAGE), (0, 0));
                } else {
                    assert!(payload.end <= geometry.huge);
                }
                last_end = payload.end;
            }
            assert!(
                BlockIndex::new(geometry.block_count())
                    .is_some_and(|index| geometry.payload(index).is_none())
            );
            let smallest = geometry.classes.first().expect("a class");
            assert_eq!(smallest.stride % CACHE_LINE, 0, "cells share no line");
            assert!(smallest.blocks.len() >= 2 * capacity as usize);
            assert!(smallest.blocks.len() as u64 > geometry.ring.slots());
            assert!(smallest.payload >= inline_len.min(max_message_len));
            assert!(smallest.payload <= max_message_len);
            assert!(geometry.length < 16 << 30, "{}", geometry.length);
        }
    }
}

#[test]
fn the_parts_contain_all_that_is_not_there_from_the_start() {
    for (capacity, max_message_len, inline_len) in [
        (1, 128, 0),
        (16, MIB, 8),
        (16, MIB, 1024),
        (1000, 5000, 96),
        (65_536, 1024 * MIB, 4096),
    ] {
        let geometry = Geometry::new(capacity, max_message_len, inline_len);
        let all = geometry.memory_with(PartSet::ALL, MORE_PEER_PAGES);
        assert_eq!(all, geometry.huge, "{capacity} {max_message_len}");
        assert_eq!(
            geometry.peers + (1 + MORE_PEER_PAGES) * PAGE,
            geometry.headers
        );
        for (number, class) in geometry.classes.iter().enumerate().skip(1) {
            let part = Geometry::part_of_class(number).expect("a larger class");
            let blocks = geometry.blocks_of(part);
            assert!(blocks.start <= class.blocks.start && class.blocks.end <= blocks.end);
            let [headers, payloads] = geometry.ranges_of(part);
            let offset = |block: u32| {
                geometry.headers + (block - geometry.small_blocks()) as usize * LARGE_HEADER
            };
            if !class.blocks.is_empty() {
                assert!(headers.start <= offset(class.blocks.start));
                assert!(offset(class.blocks.end) <= headers.end);
            }
            for index in class.blocks.clone().filter_map(BlockIndex::new) {
                let payload = geometry.payload(index).expect("a payload");
                assert!(
                    number >= COMMITTED_CLASSES
                        || payloads.start <= payload.start && payload.end <= payloads.end
                );
            }
        }
    }
}

#[test]
fn a_message_goes_into_the_smallest_class_that_fits() {
    let geometry = Geometry::new(16, MIB + 1, 96);
    assert_eq!(geometry.class_for(0), Some(0));
    assert_eq!(geometry.class_for(96), Some(0));
    assert_eq!(geometry.class_for(97), Some(1));
    assert_eq!(geometry.class_for(64 * KIB), Some(5));
    assert_eq!(geometry.class_for(64 * KIB + 1), Some(6));
    assert_eq!(geometry.class_for(MIB + 1), Some(8));
    assert_eq!(geometry.class_for(MIB + 2), None);
    let inline = Geometry::new(16, MIB, 1024);
    // A cell takes whole cache lines.
    assert_eq!(inline.class_for(1024 + 32), Some(0));
    assert_eq!(inline.class_for(1024 + 33), Some(3));
}

#[test]
fn the_last_class_fits_the_largest_message() {
    let payloads = |max_message_len| {
        let geometry = Geometry::new(16, max_message_len, 96);
        let last = geometry.classes.last().map(|class| class.payload);
        (geometry.classes.len(), last.expect("a class"))
    };
    assert_eq!(payloads(128), (2, 256));
    assert_eq!(payloads(256), (2, 256));
    assert_eq!(payloads(257), (3, KIB));
    assert_eq!(payloads(64 * KIB), (6, 64 * KIB));
    assert_eq!(payloads(64 * KIB + 1), (7, 68 * KIB));
    assert_eq!(payloads(MIB), (8, MIB));
    assert_eq!(payloads(5 * MIB + 1), (10, 5 * MIB + 4 * KIB));
    assert_eq!(payloads(1024 * MIB), (13, 1024 * MIB));
}

#[test]
fn the_largest_classes_have_few_blocks() {
    let geometry = Geometry::new(1024, 1024 * MIB, 96);
    let counts: Vec<_> = geometry
        .huge_classes()
        .iter()
        .map(|class| (class.payload / KIB, class.blocks.len()))
        .collect();
    let expected = [
        (256, 64),
        (KIB, 64),
        (4 * KIB, 64),
        (16 * KIB, 64),
        (64 * KIB, 16),
        (256 * KIB, 4),
        (MIB, 4),
    ];
    assert_eq!(counts, expected);
    let small = Geometry::new(1, MIB, 96);
    let counts = small.huge_classes().iter().map(|class| class.blocks.len());
    assert!(
        counts.eq([4, 4]),
        "a queue for one message needs few blocks"
    );
}

#[test]
fn layouts_that_differ_have_different_fingerprints() {
    let one = Geometry::new(4096, MIB, 96).fingerprint();
    assert_ne!(one, Geometry::new(65_536, MIB, 96).fingerprint());
    assert_ne!(one, Geometry::new(4096, MIB - 1, 96).fingerprint());
    assert_ne!(one, Geometry::new(4096, MIB, 97).fingerprint());
}
