//! An explicit-state model checker of the protocol.
//!
//! **What is explored.** A hundred and twelve *configurations*: queues of two to four slots and one to three blocks,
//! with two to four processes, each of which runs a *script* of a few actions (send, receive, return, close,
//! recover ...). The processes make their accesses to shared memory in every possible order, and a process that is
//! marked as mortal may die between any two accesses. The search visits every state that can be reached, each once.
//!
//! **How.** A *step* of a process is one access to a word that others depend on, and what the process works out
//! from it. A process is its script and what it remembers: a few numbers, and the results of its accesses since
//! the current call began. Two programs do the steps:
//!
//! | program | schedules | what it shows |
//! |---|---|---|
//! | the *model* ([`model`]) | all | the protocol keeps the rules, wherever a process dies or stops |
//! | the *real functions* ([`real`]) | at most one pre-emption; in the full form, two | the code keeps the rules |
//! | both, step by step | no pre-emption; in the full form, one | the code does what the model does |
//!
//! The model is the operations once more, access by access. The real functions are those of [`crate::protocol::steps`].
//! Step by step, each access must be the same in both: the same word, the same values, the same outcome.
//! A *pre-emption* is a switch to another process in the middle of a call; a death is not counted as one.
//!
//! **What is checked.** The rules EXPLORE-1 to EXPLORE-21 ([`rules`]), against a *ledger* of all messages
//! outside the queue: after each change of a word, after each call, and when no process can go on. In some
//! states all processes are stopped, and a newcomer, the *probe*, must be able to recover the dead, send,
//! receive and close.
//!
//! **That the checks find faults** is shown by mutants ([`mutant_tables`]): the model with each of nearly a hundred faults,
//! and the real functions with each of those that are compiled into them. A rule must catch every one.
//!
//! **What is not covered.** Accesses take effect at once and in one order; weaker memory orderings are for the models
//! under loom. Batches have two messages, and one thread settles all of a batch. Of the layers above, the explorer has
//! the waiting of `queue::wait` without spinning, the marks of `queue::batches`, and the sweeps of `segment::sweep`. It
//! assumes that the kernel is right about locks and deaths. Laps wrap from `u32::MAX` to 0, but no process stops for a
//! multiple of 2^32 laps (RING-4). Of futures, it has those that receive one message, with the reactor of one process and one
//! parking word ([`lane`]); the real lane is run by loom, and futures that send by the storm. Of huge blocks, the explorer has allocation, and the return of memory after a message
//! and for another allocation ([`crate::protocol::steps::huge`]); not the look for unused ones (IDLE-2), the idle block
//! of the next class, and dead letters that are evicted. Their memory has few units, which only the queue takes. Where
//! senders wait for memory, the number of times that a block becomes free is bounded.
//!
//! **How to run it.**
//!
//!     cargo test --release --lib explorer -- --nocapture
//!     WORKRING_TEST_FULL=1 cargo test --release --lib explorer -- --nocapture
//!
//! The first form takes forty seconds of a processor's time; it leaves out the configurations marked as
//! [`only_in_full`](configuration::Configuration::only_in_full). The full form takes about nine minutes on two
//! processors and visits 80 million states. Both print each configuration with its number of states, and each mutant
//! with the rule that caught it. One search runs by its name, such as
//! `explorer::tests::the_model_keeps_the_rules::closing`.
//!
//! | module | content |
//! |---|---|
//! | [`memory`], [`word_values`] | the words of a queue as plain numbers, and the accesses to them |
//! | [`action`], [`call`], [`process`] | scripts, the calls that they consist of, and processes |
//! | [`configuration`], [`configurations`] | what is explored |
//! | [`ledger`], [`state`], [`rules`] | where each message is, and what must hold |
//! | [`lane`] | futures: what the threads of one process share |
//! | [`machine`], [`execution`], [`step`] | how one state follows from another |
//! | [`model`]; [`heap_queue`], [`huge_memory`], [`real`] | the two programs |
//! | [`search`], [`checks`], [`counterexample`], [`hash`] | the search over all states |
//! | [`mutants`], [`mutant_tables`] | faults, and where each is caught |
//! | `tests` | the searches as tests |

#![allow(
    clippy::indexing_slicing,
    reason = "numbers of processes, blocks and messages are made here, and a wrong one should end the test"
)]

mod action;
mod call;
mod checks;
mod configuration;
mod configurations;
mod counterexample;
mod execution;
mod hash;
mod heap_queue;
mod huge_memory;
mod lane;
mod ledger;
mod machine;
mod memory;
mod model;
mod mutant_tables;
mod mutants;
mod process;
mod real;
mod rules;
mod search;
mod state;
mod step;
mod tests;
mod word_values;
