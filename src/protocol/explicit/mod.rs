//! The protocol, exhausted: every interleaving of the processes of small queues, with deaths between any two
//! accesses, and the books of all messages closed at the end of each.
//!
//!     cargo test --lib explicit -- --nocapture
//!     WORKRING_TEST_FULL=1 cargo test --release --lib explicit -- --nocapture
//!
//! The second form takes some minutes and explores all that is named in [`configurations`]; the first leaves out what
//! takes long. Both print the name of each configuration, how many states it has, and how long that took.
//!
//! | what is run | how | what it shows |
//! |---|---|---|
//! | the *model* ([`model`]): the operations once more, access by access | every state of every configuration ([`search`]) | the protocol keeps the rules of [`ledger`], whoever dies or stops wherever |
//! | the model with one of its [`mutants`] | until a rule is broken | the rules and configurations would notice: no mutant survives |
//! | the *real* functions of [`super::operations`] ([`real`]) | every schedule with up to two pre-emptions; in full, three | they keep the same rules |
//! | both, step by step ([`conformance`]) | every schedule with one pre-emption; in full, two | each access of the real functions is the model's: the same word, the same value, the same outcome |
//!
//! A process is a script ([`process`]) and what it remembers: a few numbers, and what its accesses have given since
//! the current call began. A step is one access to a word that others depend on, together with what the process works
//! out from it, up to the next one. Between any two steps any other process may go on, and one that is mortal may die;
//! a stop is a process that does not go on, which is part of every interleaving, and in a part of the states
//! everybody is stopped for good but for one who must be able to do everything.
//!
//! *What is left out.* Accesses take effect one after the other, at once: what weak memory adds is for the
//! [`super::models`] under loom. Blocks are of one class and hold one message: packs are for `ipc-tests`. Of the layers
//! above there is the waiting of `queue::wait`, without spinning, and the sweeps of `segment::sweep`; the verdict of
//! death and the locks are the kernel's, and right. Laps wrap, from `u32::MAX` to 0; that nobody stops for 2^32 laps is
//! assumed here as everywhere.

#![allow(
    clippy::indexing_slicing,
    reason = "numbers of processes, blocks and messages are made here, and a wrong one should end the test"
)]

mod configuration;
mod configurations;
mod exhausting;

mod ledger;
mod model;
mod mutants;
mod process;
mod real;
mod search;
mod state;
mod views;
mod words;
