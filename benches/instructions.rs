//! Instructions of one uncontended send, receive and acknowledge of a raw message of 64 bytes.
//!
//!     cargo bench --bench instructions
//!
//! Counted, not timed, so the figure is the same on a busy machine: this program runs itself twice under
//! `valgrind --tool=callgrind`, with and without 10,000 more messages, and divides the difference. Needs
//! valgrind. `lease` counts a receive that is acknowledged separately.

use std::process::Command;
use workring::{Options, Raw};

const MESSAGES: u64 = 10_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments
        .get(1..)
        .map(|rest| rest.iter().map(String::as_str).collect::<Vec<_>>())
        .as_deref()
    {
        Some(["count", what, messages]) => work(what, messages.parse().expect("a number")),
        _ => {
            for what in ["send", "send and recv", "send, lease and ack"] {
                let more = instructions(what, 2 * MESSAGES) - instructions(what, MESSAGES);
                println!("{what:<20} {:>6} instructions a message", more / MESSAGES);
            }
        }
    }
}

fn work(what: &str, messages: u64) {
    let (tx, rx) = Options::new(65_536)
        .channel_with::<[u8; 64], Raw>()
        .expect("a queue");
    for n in 0..messages {
        let message = [u8::try_from(n % 256).expect("a byte"); 64];
        tx.send(message).expect("room");
        match what {
            "send" => {}
            "send and recv" => assert_eq!(rx.recv().expect("a message"), message),
            _ => assert_eq!(rx.lease().expect("a message").ack(), message),
        }
    }
}

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
        .unwrap_or_else(|| panic!("callgrind said: {text}"))
}
