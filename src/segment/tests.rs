//! A segment is complete or refused, and a file that is no segment is refused with a reason.

use super::geometry::Geometry;
use super::layout::{Header, NAME_BYTES, VERSION};
use super::{AttachError, Schema, Segment, Settings};
use crate::os::memory::{self, Mapping};
use crate::protocol::ids::{BlockIndex, Position};
use crate::protocol::ring::SlotWord;
use crate::protocol::{Limits, SharedState};
use crate::sync::Ordering;
use core::time::Duration;
use std::os::fd::{AsFd, OwnedFd};

pub(super) fn settings() -> Settings {
    Settings {
        limits: Limits {
            capacity: 8,
            max_deliveries: 3,
            max_dead_letters: 4,
            close_waits_for_leases: true,
            close_on_last_sender: true,
            close_on_last_receiver: false,
        },
        evict_dead_letters: true,
        preallocate: true,
        max_leases: 7,
        max_message_len: 1 << 20,
        inline_len: 96,
        memory_limit: 1 << 30,
        max_idle_memory: 1 << 29,
        spin: Duration::from_micros(50),
        liveness_interval: Duration::from_millis(100),
        schema: Some(Schema::new("job.v1")),
        type_name: "a::Type".into(),
        codec_name: "codec".into(),
    }
}

fn other_descriptor(segment: &Segment) -> OwnedFd {
    memory::reopen(segment.file()).expect("a description of its own")
}

#[test]
fn a_peer_reads_the_settings_that_the_queue_was_made_with() {
    let segment = Segment::create(settings()).expect("a segment");
    let attached = Segment::attach(other_descriptor(&segment)).expect("attach");
    assert_eq!(attached.settings(), &settings());
    assert_eq!(attached.geometry(), segment.geometry());
}

/// A process that attaches while the segment is being made is refused, or finds it complete.
#[test]
fn no_process_attaches_to_an_incomplete_segment() {
    let rounds = if std::env::var_os("WORKRING_TEST_FULL").is_some_and(|value| value == "1") {
        10_000
    } else {
        500
    };
    let (mut too_early, mut attached) = (0, 0);
    for _ in 0..rounds {
        let geometry = Geometry::new(8, 1 << 20, 96);
        let file = memory::create(geometry.length, geometry.huge).expect("a memfd");
        let theirs = file.as_fd().try_clone_to_owned().expect("dup");
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                start.wait();
                loop {
                    match Segment::attach(theirs.try_clone().expect("dup")) {
                        Ok(segment) => return segment.settings().clone(),
                        Err(AttachError::NotASegment(_)) => too_early += 1,
                        Err(other) => panic!("an incomplete segment: {other:?}"),
                    }
                }
            });
            start.wait();
            let mapping = Mapping::new(&file, geometry.length).expect("a mapping");
            let made = Segment::create_in(file, mapping, geometry, settings());
            let made = made.expect("a segment");
            assert_eq!(other.join().expect("no panic"), *made.settings());
            attached += 1;
        });
    }
    println!("{attached} attached, {too_early} attempts were refused");
    assert_eq!(attached, rounds);
}

#[test]
fn a_file_that_is_no_segment_is_refused() {
    let empty = memory::create(64 * 1024, 4096).expect("a memfd");
    assert!(matches!(
        Segment::attach(empty),
        Err(AttachError::NotASegment(_))
    ));
    let short = memory::create(4096, 4096).expect("a memfd");
    assert!(matches!(
        Segment::attach(short),
        Err(AttachError::NotASegment("it is too short"))
    ));
    let plain = OwnedFd::from(std::fs::File::open("/proc/self/exe").expect("this program"));
    assert!(matches!(
        Segment::attach(plain),
        Err(AttachError::NotASegment("its size is not sealed"))
    ));
}

#[test]
fn a_header_with_another_version_layout_or_length_is_refused() {
    type Change = fn(&Header);
    type Check = fn(&AttachError) -> bool;
    let cases: [(Change, Check); 9] = [
        (
            |h| h.version.store(77, Ordering::Relaxed),
            |r| {
                matches!(
                    r,
                    AttachError::Version {
                        theirs: 77,
                        ours: VERSION
                    }
                )
            },
        ),
        (
            |h| h.fingerprint.store(9, Ordering::Relaxed),
            |r| matches!(r, AttachError::Layout { theirs: 9, .. }),
        ),
        (
            |h| h.capacity.store(1 << 40, Ordering::Relaxed),
            |r| matches!(r, AttachError::NotASegment(_)),
        ),
        (
            |h| h.max_message_len.store(1 << 40, Ordering::Relaxed),
            |r| {
                matches!(
                    r,
                    AttachError::NotASegment("its largest message is out of range")
                )
            },
        ),
        (
            |h| h.max_message_len.store(1 << 19, Ordering::Relaxed),
            |r| matches!(r, AttachError::Layout { .. }),
        ),
        (
            |h| h.length.store(1, Ordering::Relaxed),
            |r| matches!(r, AttachError::NotASegment(_)),
        ),
        (
            |h| h.liveness_interval_nanoseconds.store(0, Ordering::Relaxed),
            |r| {
                matches!(
                    r,
                    AttachError::NotASegment("its liveness interval is out of range")
                )
            },
        ),
        (
            |h| h.spin_nanoseconds.store(u64::MAX, Ordering::Relaxed),
            |r| matches!(r, AttachError::NotASegment("its spin time is out of range")),
        ),
        (
            |h| h.max_deliveries.store(0, Ordering::Relaxed),
            |r| matches!(r, AttachError::NotASegment(_)),
        ),
    ];
    for (change, check) in cases {
        let segment = Segment::create(settings()).expect("a segment");
        change(segment.header());
        let refusal = Segment::attach(other_descriptor(&segment)).expect_err("the header is wrong");
        assert!(check(&refusal), "{refusal:?}");
    }
}

#[test]
fn a_name_that_is_too_long_keeps_its_end() {
    let mut settings = settings();
    settings.type_name = format!("{}é::Task", "x".repeat(2 * NAME_BYTES));
    let schema = Schema::new(&settings.type_name);
    settings.schema = Some(schema.clone());
    let segment = Segment::create(settings).expect("a segment");
    let attached = Segment::attach(other_descriptor(&segment)).expect("attach");
    let stored = attached.settings().schema.clone().expect("a schema");
    for name in [&attached.settings().type_name, stored.name()] {
        assert!(name.ends_with("xé::Task"));
        assert!(name.len() <= NAME_BYTES);
    }
    assert_eq!(stored, schema, "the hash is of the whole name");
}

#[test]
fn each_slot_of_the_ring_lies_in_front_of_the_block_of_its_number() {
    let segment = Segment::create(settings()).expect("a segment");
    let slots = segment.ring_size().slots();
    let cell = segment.geometry().cell;
    let first = core::ptr::from_ref(segment.slot(Position(0))).addr();
    for number in 0..slots {
        let slot = core::ptr::from_ref(segment.slot(Position(number))).addr();
        let index = BlockIndex::from_low_bits(number);
        let block = core::ptr::from_ref(segment.block(index).expect("a block")).addr();
        assert_eq!(slot, first + usize::try_from(number).expect("small") * cell);
        assert_eq!(block, slot + size_of::<SlotWord>());
    }
}
