//! Queues of another version, files that are none, and segments that a stray write has changed: a line each.

use super::support::{Name, Watchdog, fails, listed, ok, rounds, run, stdout};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use workring::Options;
use workring::inspect::{Address, Place, QueueView};
use workring::queue::Raw;

/// Makes a queue with some messages in each state, and returns its file, which has memory for all that is in use.
fn used_queue(name: &Name) -> Vec<u8> {
    let options = Options::new(8).max_deliveries(2).max_message_len(1 << 16);
    let (tx, rx) = options
        .create_named_with::<Vec<u8>, Raw>(&name.0)
        .expect("a queue");
    tx.send_many((0..5).map(|number| vec![number; 40]))
        .expect("room");
    tx.send(vec![7; 200]).expect("room");
    rx.try_recv().expect("a message");
    for _ in 0..2 {
        drop(rx.try_lease().expect("a lease"));
    }
    tx.send(vec![8; 60_000]).expect("room");
    drop((tx, rx));
    fs::read(name.file()).expect("the file")
}

/// Replaces the file of a queue, with holes where it has zeros.
fn write(name: &Name, bytes: &[u8]) {
    let _ = fs::remove_file(name.file());
    let file = File::create(name.file()).expect("a file");
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .expect("mode");
    file.set_len(bytes.len() as u64).expect("length");
    for (number, page) in bytes.chunks(4096).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, number as u64 * 4096)
                .expect("write");
        }
    }
}

#[test]
fn a_queue_of_another_version_is_listed_as_such_and_removed_only_by_force() {
    let _watchdog = Watchdog::start();
    let name = Name::new("version");
    let mut bytes = used_queue(&name);
    bytes[8..16].copy_from_slice(&99_u64.to_le_bytes());
    write(&name, &bytes);
    let shown = listed(&name.0).expect("listed");
    let problem = shown["problem"].as_str().expect("a problem");
    assert!(
        problem.starts_with("version 99, this program knows"),
        "{problem}"
    );
    for command in ["stat", "peek", "recv", "drain", "close"] {
        fails(&[command, &name.0], 7);
    }
    assert!(fails(&["rm", &name.0], 7).contains("--force"));
    let user = File::open(name.file()).expect("the file");
    assert!(fails(&["rm", "--force", &name.0], 7).contains("has it open"));
    drop(user);
    ok(&["rm", "--force", &name.0]);
    assert!(!fs::exists(name.file()).expect("a folder"));
}

#[test]
fn files_that_are_no_queues_are_one_line_each() {
    let _watchdog = Watchdog::start();
    let name = Name::new("none");
    let bytes = used_queue(&name);
    let cut = &bytes[..bytes.len() / 2];
    for content in [&b""[..], b"short", &[0; 10_000], cut, &bytes[..8192]] {
        write(&name, content);
        let text = ok(&["ls"]);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(&name.0))
            .collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(lines[0].contains("not a queue"), "{}", lines[0]);
        fails(&["stat", &name.0], 1);
    }
    write(&name, &bytes);
    fs::set_permissions(name.file(), fs::Permissions::from_mode(0o644)).expect("mode");
    let problem = listed(&name.0).expect("listed")["problem"].clone();
    assert!(
        problem
            .as_str()
            .is_some_and(|text| text.contains("not private")),
        "{problem}"
    );
    fails(&["stat", &name.0], 7);
}

/// How many overwritten segments `ls` lists at a time.
const FILES: usize = 50;

/// A small generator of random numbers (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Overwrites some words of a segment: mostly in the header, the shared words, and the cells and headers that are in use.
fn scribble(bytes: &mut [u8], random: &mut Random) {
    for _ in 0..=random.next(6) {
        let (start, length) = match random.next(5) {
            0 => (0, 128),
            1 => (4096, 1152),
            2 => (8192, 64 * 128),
            3 => (8192, 1088 * 128),
            _ => (8192 + 1088 * 128, 200_000),
        };
        let offset = usize::try_from(start + random.next(length / 8) * 8).expect("an offset");
        let word = bytes.get_mut(offset..offset + 8).expect("a word");
        let now = u64::from_le_bytes(word.try_into().expect("8 bytes"));
        let value = match random.next(6) {
            0 => random.next(u64::MAX),
            1 => u64::MAX,
            2 => now ^ 1 << random.next(64),
            3 => now.wrapping_add(1),
            4 => now & !7 | random.next(8),
            _ => now ^ random.next(1 << 32) << 32,
        };
        word.copy_from_slice(&value.to_le_bytes());
    }
}

#[test]
fn overwritten_segments_are_shown_in_one_line_each_without_a_crash() {
    let _watchdog = Watchdog::with_limit(std::time::Duration::from_secs(1800));
    let name = Name::new("scribble");
    let clean = used_queue(&name);
    let names: Vec<Name> = (0..FILES).map(|_| Name::new("scribbled")).collect();
    let seed = std::env::var("WORKRING_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    println!("seed: repeat this run by WORKRING_TEST_SEED={seed}");
    let mut random = Random(seed);
    for _ in 0..rounds(4, 200) {
        for name in &names {
            let mut bytes = clean.clone();
            scribble(&mut bytes, &mut random);
            write(name, &bytes);
            look_at(name);
        }
        let output = run(&["ls"]);
        assert!(output.status.success(), "{output:?}");
        let text = stdout(&output);
        for name in &names {
            let lines = text
                .lines()
                .filter(|line| line.split(' ').next() == Some(&name.0));
            assert_eq!(lines.count(), 1, "{}: {text}", name.0);
        }
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    }
}

/// Looks at all of a queue, in this process: a panic or an overflow fails the test.
fn look_at(name: &Name) {
    let Ok(view) = QueueView::open(&Address::Named(name.0.clone())) else {
        return;
    };
    let snapshot = view.snapshot();
    assert!(snapshot.is_settled);
    assert!(
        snapshot.figures.is_balanced() || snapshot.damage.is_some(),
        "{snapshot:?}"
    );
    assert!(snapshot.depth <= u64::from(view.settings().capacity));
    let places = [Place::Queued, Place::Returned, Place::Held, Place::Dead];
    view.messages(&places, usize::MAX, 1 << 20)
        .expect("readable");
}
