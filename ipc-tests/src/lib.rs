//! The harness for tests that need real processes. Nothing here sleeps in order to wait for a process.
//!
//! | module        | content                                                                                |
//! |---------------|----------------------------------------------------------------------------------------|
//! | [`isolation`] | runs each test in a process of its own                                                 |
//! | [`watchdog`]  | ends a test that hangs, and reports what each thread was doing                         |
//! | [`leak`]      | fails a test that leaves a thread, descriptor, mapping, child or file                  |
//! | [`child`]     | starts a second process and exchanges lines with it                                    |
//! | [`role`]      | the other side: how that process (`src/bin/peer.rs`) reads and answers                 |
//! | [`ledger`]    | records that survive the process that wrote them, and whether they balance             |
//! | [`rounds`]    | the number of rounds of a test, and its random seed                                    |
//! | [`asleep`]    | finds threads that sleep in shared memory                                              |
//! | [`stops`]     | measures time, unless this process was stopped meanwhile                               |
//! | [`cpu`]       | measures CPU time, context switches and memory                                         |
//! | [`memfd`]     | opens and copies the memory of a queue                                                 |
//! | [`support`]   | what tests of queues and pools share                                                   |
//! | [`jobs`]      | tasks of pools (`src/bin/pooled.rs`)                                                   |
//! | [`deeds`]     | tasks whose effects are visible from outside (`src/bin/deeds.rs`)                      |
//! | [`emitting`]  | tasks that emit values (`src/bin/pooled.rs`)                                           |
//! | [`quirks`]    | tasks whose own code panics, hangs, or uses the pool (`src/bin/pooled.rs`)             |
//! | [`initialiser`] | runs before `main` (`src/bin/initialisers.rs`)                                         |
//! | [`trouble`]   | tasks that trouble the pool's supervisor (`src/bin/deeds.rs`)                          |
//! | [`lineage`]   | tasks that start processes and pools (`src/bin/lineage.rs`)                            |
//!
//! A test is a function around [`guarded`]:
//!
//! ```no_run
//! use ipc_tests::{child::Peer, guarded, program};
//! use std::{process::Command, time::Duration};
//!
//! // #[test]
//! fn an_echo_is_returned() {
//!     guarded(Duration::from_mins(1), || {
//!         let mut peer = Peer::spawn(program("peer"), "echo", &[&1], Command::spawn).expect("spawn");
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
pub mod emitting;
pub mod filter;
pub mod initialiser;
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
pub mod runtimes;
pub mod stops;
pub mod support;
pub mod trouble;
pub mod watchdog;

pub use child::program;
pub use isolation::{guarded, guarded_here, guarded_steps};
pub use nix::{sys::signal::Signal, unistd::Pid};
