//! The harness for tests that need real processes. Nothing here sleeps to wait for something, and nothing here
//! knows how a queue works.
//!
//! | module       | question it answers                                                      |
//! |--------------|--------------------------------------------------------------------------|
//! | [`watchdog`] | a test hangs: where is each thread, and what ends them?                  |
//! | [`leak`]     | did the test leave a thread, descriptor, mapping, child or file?         |
//! | [`child`]    | how does a test run a second process and talk with it?                   |
//! | [`role`]     | how does that second process (`src/bin/peer.rs`) listen and answer?      |
//! | [`ledger`]   | what did processes do that have been killed since, and does it add up?   |
//! | [`rounds`]   | how many rounds, and with which seed?                                    |
//! | [`cpu`]      | what does a process cost: time, context switches, memory?                |
//! | [`asleep`]   | does another process really wait, asleep in shared memory?               |
//! | [`jobs`]     | what do the workers of a pool do (`src/bin/pooled.rs`)?                  |
//! | [`deeds`]    | ... and what of it can be seen from outside (`src/bin/deeds.rs`)?        |
//! | [`quirks`]   | what if the code that a user gives a pool panics, hangs, or uses the pool? |
//! | [`trouble`]  | ... and how do they make it hard for their supervisor (`src/bin/deeds.rs`)? |
//! | [`lineage`]  | ... and which processes do they start (`src/bin/lineage.rs`)?            |
//! | [`memfd`]    | where is a queue's memory, for a test that writes there?                 |
//! | [`stops`]    | how long did it take, if this process was not stopped during that time?  |
//!
//! A test is a function around [`guarded`]:
//!
//! ```no_run
//! use ipc_tests::{child::Peer, guarded};
//! use std::{process::Command, time::Duration};
//!
//! // In tests/*.rs: const PEER: &str = env!("CARGO_BIN_EXE_peer");
//! # const PEER: &str = "";
//! // #[test]
//! fn an_echo_is_returned() {
//!     guarded(Duration::from_mins(1), || {
//!         let mut peer = Peer::spawn(PEER, "echo", &[&1], Command::spawn).expect("spawn");
//!         peer.say("hello");
//!         assert_eq!(peer.answer(), "hello");
//!         assert!(peer.wait().success());
//!     });
//! }
//! # an_echo_is_returned();
//! ```
#![allow(
    clippy::missing_panics_doc,
    reason = "a harness reports by panicking: whatever goes wrong fails the test"
)]

pub mod asleep;
pub mod child;
pub mod cpu;
pub mod deeds;
pub mod isolation;
pub mod jobs;
pub mod leak;
pub mod ledger;
pub mod lineage;
pub mod memfd;
mod procfs;
pub mod quirks;
pub mod role;
pub mod rounds;
pub mod stops;
pub mod support;
pub mod trouble;
pub mod watchdog;

pub use child::program;
pub use isolation::{guarded, guarded_here, guarded_steps};
pub use nix::{sys::signal::Signal, unistd::Pid};
