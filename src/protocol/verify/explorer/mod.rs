//! The protocol, exhausted: every interleaving of the processes of small queues, with deaths between any two
//! accesses, and the books of all messages closed at the end of each.
//!
//!     cargo test --lib explorer -- --nocapture
//!     WORKRING_TEST_FULL=1 cargo test --release --lib explorer -- --nocapture
//!
//! The first form leaves out the configurations marked as [`long`](configuration::Configuration::long), and takes forty
//! seconds of a processor's time; the second takes some five minutes on two, and goes through 24 million states (7.4 of
//! the model, 11.2 of the real functions, 5.7 of both). Both print the
//! name of each configuration, how many states it has, and how long that took; and each mutant, where it was caught, by
//! which rule.
//!
//! | what is run | how | what it shows |
//! |---|---|---|
//! | the *model* ([`model`]): the operations once more, access by access | every state of every configuration ([`search`]) | the protocol keeps the rules of [`ledger`], whoever dies or stops wherever |
//! | the model with one of its [`mutants`] | until a rule is broken | rules and configurations would notice: no mutant survives |
//! | the *real* functions of [`crate::protocol::steps`] ([`real`]) | every schedule with one pre-emption; in full, two | they keep the same rules |
//! | the real functions with one of the mutants that are compiled into them ([`super::mutants`]) | schedules with two or three pre-emptions, until a rule is broken | the same: none survives |
//! | both, step by step | every schedule without pre-emption; in full, with one | each access of the real functions is the model's: the same word, the same values, the same outcome |
//!
//! A process is a script ([`process`]) and what it remembers: a few numbers, and what its accesses have given since
//! the current call began. A step is one access to a word that others depend on, together with what the process works
//! out from it, up to the next one. Between any two steps any other process may go on, and one that is mortal may die;
//! where pre-emptions are counted, deaths are not. A stop is a process that does not go on, which is part of every
//! interleaving; and in a part of the states everybody is stopped but for one newcomer, who must be able to recover the
//! dead, send, receive all that is in nobody's hands, and close. Wherever nobody can go on, the books that the queue
//! keeps itself are compared with the ledger's.
//!
//! *What is left out.* Accesses take effect one after the other, at once: what weak memory adds is for the
//! models under loom. Batches have two messages, and one thread has all of a batch in hand. Of the layers above there is the
//! waiting of `queue::wait`, without spinning, what `queue::batches` does with the marks of a batch, and the sweeps of
//! `segment::sweep`; the verdict of death and the locks are the kernel's, and right. Huge blocks are for the tests of
//! `segment::huge`. Laps wrap, from `u32::MAX` to 0; that nobody stops for a multiple of 2^32 laps is assumed here
//! as everywhere.

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
