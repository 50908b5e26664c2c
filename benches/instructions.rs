//! Instructions of one uncontended message: sending, receiving and acknowledging raw bytes, by value and in place, and
//! sending and receiving structs.
//!
//!     cargo bench --bench instructions
//!
//! Instructions are counted, not timed, so the figures are the same on a busy machine. This program runs itself twice
//! under `valgrind --tool=callgrind`, with 10,000 and with 20,000 messages, and divides the difference. Needs valgrind.
//!
//! | line | what one message does |
//! |---|---|
//! | `send` | 64 raw bytes are sent |
//! | `send and recv` | ... and received |
//! | `send, lease and ack` | ... and received, and acknowledged by a call of its own |
//! | `reserve, commit, lease_bytes and ack` | 64 bytes are written and read in shared memory |
//! | `send and recv, flat` | a struct of seven numbers is sent and received through the default codec |
//! | `send and recv, nested` | the same for a struct with nested parts |

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::process::Command;
use workring::{Options, Receiver, queue::Raw};

const MESSAGES: u64 = 10_000;
const IN_PLACE: &str = "reserve, commit, lease_bytes and ack";
const FLAT: &str = "send and recv, flat";
const NESTED: &str = "send and recv, nested";

/// Seven numbers in six words, as a small task has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u64,
    offset: u64,
    length: u64,
    flags: u32,
    kind: u32,
    weight: f64,
    deadline: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Copy,
    Resize { width: u32, height: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    id: u64,
    kinds: [Kind; 2],
    limits: Option<(u32, Option<u32>)>,
    name: String,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments
        .get(1..)
        .map(|rest| rest.iter().map(String::as_str).collect::<Vec<_>>())
        .as_deref()
    {
        Some(["count", what, messages]) => work(what, messages.parse().expect("a number")),
        _ => {
            for what in [
                "send",
                "send and recv",
                "send, lease and ack",
                IN_PLACE,
                FLAT,
                NESTED,
            ] {
                let more = instructions(what, 2 * MESSAGES) - instructions(what, MESSAGES);
                println!("{what:<36} {:>6} instructions a message", more / MESSAGES);
            }
        }
    }
}

fn flat(id: u64) -> Flat {
    Flat {
        id,
        offset: id + 1,
        length: id + 2,
        flags: 7,
        kind: 9,
        weight: 0.5,
        deadline: id + 3,
    }
}

fn nested(id: u64) -> Nested {
    Nested {
        id,
        kinds: [
            Kind::Copy,
            Kind::Resize {
                width: 4,
                height: 3,
            },
        ],
        limits: Some((1, Some(2))),
        name: "a name".to_owned(),
    }
}

#[inline(never)]
fn work_by_serde<T>(make: fn(u64) -> T, messages: u64)
where
    T: Clone + Debug + PartialEq + Serialize + DeserializeOwned,
{
    let (tx, rx) = Options::new(65_536).channel::<T>().expect("a queue");
    for id in 0..messages {
        let message = make(id);
        tx.send(message.clone()).expect("room");
        assert_eq!(rx.recv().expect("a message"), message);
    }
}

#[inline(never)]
fn work_in_place(messages: u64) {
    let (tx, rx) = Options::new(65_536)
        .channel_with::<[u8; 64], Raw>()
        .expect("a queue");
    for n in 0..messages {
        let message = [u8::try_from(n % 256).expect("a byte"); 64];
        let mut buffer = tx.reserve(64).expect("room");
        buffer.copy_from_slice(&message);
        buffer.commit().expect("room");
        let received = rx.lease_bytes().expect("a message");
        assert_eq!(*received, message);
        received.ack();
    }
}

/// Sends 64 bytes, and calls `then` with the receiver and the message.
fn work_by_value(messages: u64, then: impl Fn(&Receiver<[u8; 64], Raw>, [u8; 64])) {
    let (tx, rx) = Options::new(65_536)
        .channel_with::<[u8; 64], Raw>()
        .expect("a queue");
    for n in 0..messages {
        let message = [u8::try_from(n % 256).expect("a byte"); 64];
        tx.send(message).expect("room");
        then(&rx, message);
    }
}

/// Each in a function of its own: code that is compiled together gets fewer registers.
fn work(what: &str, messages: u64) {
    match what {
        "send" => send(messages),
        "send and recv" => send_and_receive(messages),
        "send, lease and ack" => send_and_lease(messages),
        IN_PLACE => work_in_place(messages),
        FLAT => work_by_serde(flat, messages),
        NESTED => work_by_serde(nested, messages),
        other => panic!("no work called {other}"),
    }
}

#[inline(never)]
fn send(messages: u64) {
    work_by_value(messages, |_, _| {});
}

#[inline(never)]
fn send_and_receive(messages: u64) {
    work_by_value(messages, |rx, message| {
        assert_eq!(rx.recv().expect("a message"), message);
    });
}

#[inline(never)]
fn send_and_lease(messages: u64) {
    work_by_value(messages, |rx, message| {
        assert_eq!(rx.lease().expect("a message").ack(), message);
    });
}

/// Returns the instructions of a run with this many messages.
fn instructions(what: &str, messages: u64) -> u64 {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["count", what, &messages.to_string()])
        .output()
        .expect("valgrind, which this benchmark needs");
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once("Collected :"));
    line.and_then(|(_, count)| count.trim().parse().ok())
        .unwrap_or_else(|| panic!("no count in the output of callgrind: {text}"))
}
