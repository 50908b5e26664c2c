//! A copy of a segment's words is said to be of one moment only if none of them has changed while it was made.
//!
//! Method: change one byte of the file at a chosen step of the copy, as another process could.

use super::image::{ATTEMPTS, Image, Step};
use super::layout::{CELLS, CellHeader, SHARED};
use super::tests::settings;
use super::{Segment, Settings};
use crate::os::memory;
use crate::protocol::SharedState;
use crate::protocol::ids::{BlockIndex, Position};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// Returns a file with a segment in it, and a copy of its words.
fn segment_and_image() -> (OwnedFd, Segment, Image) {
    let segment = Segment::create(Settings {
        inline_len: 96,
        ..settings()
    })
    .expect("a segment");
    let file = memory::reopen(segment.file()).expect("a description of its own");
    let copied = memory::reopen(segment.file()).expect("a description of its own");
    let image = Image::of(copied, segment.geometry().length, None).expect("a segment");
    (file, segment, image)
}

/// Changes the byte at this offset of a file.
fn change(file: &OwnedFd, offset: usize) {
    let mut byte = [0];
    memory::read_exactly(file, &mut byte, offset).expect("inside the file");
    byte[0] = byte[0].wrapping_add(1);
    let file = File::from(file.try_clone().expect("dup"));
    file.write_all_at(&byte, offset as u64).expect("write");
}

/// Returns the offset of a byte in each part that is copied, and what the part is.
fn words_of_each_part(segment: &Segment) -> [(&'static str, usize); 5] {
    let geometry = segment.geometry();
    [
        ("the shared words", SHARED),
        ("the first slot", CELLS),
        ("the last cell", geometry.peers - geometry.cell),
        ("the table of peers", geometry.peers),
        ("the headers of larger blocks", geometry.headers),
    ]
}

#[test]
fn a_copy_of_a_segment_at_rest_is_of_one_moment() {
    let (_file, _segment, mut image) = segment_and_image();
    assert!(image.is_settled());
    let mut steps = Vec::new();
    image.refresh_while(|step| steps.push(step)).expect("read");
    assert!(image.is_settled());
    assert_eq!(steps, [Step::Shared, Step::All], "one attempt is enough");
}

/// The second read is what notices the change: the copy itself succeeds.
#[test]
fn a_word_of_any_part_that_changes_after_its_copy_makes_the_copy_again() {
    let (file, segment, mut image) = segment_and_image();
    for (part, offset) in words_of_each_part(&segment) {
        let mut copies = 0;
        let changed_once = |step| {
            if step == Step::All {
                copies += 1;
                if copies == 1 {
                    change(&file, offset);
                }
            }
        };
        image.refresh_while(changed_once).expect("read");
        assert_eq!(copies, 2, "{part}: the change was not noticed");
        assert!(image.is_settled(), "{part}");
    }
}

#[test]
fn a_copy_that_never_holds_still_is_kept_and_says_so() {
    let (file, segment, mut image) = segment_and_image();
    for (part, offset) in words_of_each_part(&segment) {
        let mut copies = 0;
        let changed_always = |step| {
            if step == Step::All {
                copies += 1;
                change(&file, offset);
            }
        };
        image.refresh_while(changed_always).expect("read");
        assert_eq!(copies, ATTEMPTS, "{part}");
        assert!(!image.is_settled(), "{part}: a torn copy is called whole");
        image.refresh().expect("read");
        assert!(image.is_settled(), "{part}");
    }
}

#[test]
fn the_payload_of_a_larger_block_is_no_word() {
    let (file, segment, mut image) = segment_and_image();
    let larger = segment.geometry().huge - 1;
    assert!(larger > CELLS + size_of::<CellHeader>());
    image
        .refresh_while(|_| change(&file, larger))
        .expect("read");
    assert!(image.is_settled());
}

#[test]
fn a_copy_over_that_of_another_segment_shows_nothing_of_the_other() {
    let (other_file, other, old) = segment_and_image();
    for (_, offset) in words_of_each_part(&other) {
        change(&other_file, offset);
    }
    let lazy = Segment::create(Settings {
        preallocate: false,
        ..settings()
    });
    let lazy = lazy.expect("a segment");
    let copy = |spare| {
        let file = memory::reopen(lazy.file()).expect("a description of its own");
        Image::of(file, lazy.geometry().length, spare).expect("a segment")
    };
    let (again, fresh) = (copy(Some(old)), copy(None));
    assert!(again.is_settled());
    assert_eq!(again.peer_count(), fresh.peer_count());
    for number in 0..fresh.block_count() {
        let index = BlockIndex::new(number).expect("an index");
        let states = [&again, &fresh].map(|image| {
            let block = image.block(index);
            block.map(|block| block.word.load())
        });
        assert_eq!(states[0], states[1], "block {number}");
    }
    for position in (0..fresh.ring_size().slots()).map(Position) {
        assert_eq!(again.slot(position).load(), fresh.slot(position).load());
    }
}
