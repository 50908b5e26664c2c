//! A pool of worker processes, and the closable work queue between processes below it.
//!
//! **To run tasks in worker processes, and get the outcome of each, start with [`pool`].** The rest of this page is
//! about the queue.
//!
//! A parent and its worker processes share a bounded multi-producer multi-consumer queue in shared memory. Each
//! message goes to one receiver. When the queue is closed, every receiver gets what was accepted before and then
//! a typed `Closed`, for ever, by a sticky stop sentinel in the queue itself: never a panic, never a hang.
//!
//! ```
//! let (tx, rx) = workring::channel::<String>(16)?;
//! tx.send("first".to_owned())?;
//! tx.send("second".to_owned())?;
//! tx.close();
//! assert_eq!(rx.iter().collect::<Result<Vec<_>, _>>()?, ["first", "second"]);
//! assert!(matches!(rx.recv(), Err(workring::RecvError::Closed)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Handoff`] gives either end to a child process, and [`inherit`] is how the child takes it over. A queue made
//! with [`Options::create_named`] has a name instead, by which unrelated processes [`open`](open()) it.
//!
//! # Guarantees
//!
//! | | |
//! |---|---|
//! | order | Messages are taken in the order in which they were accepted; returned ones come first. |
//! | exactly once | A message that a send has accepted is acknowledged by one receiver, once: [`Receiver::recv`] does so itself, [`Lease::ack`] after [`Receiver::lease`]. |
//! | close | [`Sender::close`] and [`Receiver::close`] never wait. A send that returned `Ok` before is received; a send that starts afterwards fails. |
//! | after close | *Drained*, the default: receivers end as soon as nothing is left to hand out. *Settled* ([`Options::close_waits_for_leases`]): once everything is acknowledged or a dead letter. |
//! | the last one out | A queue closes when its last sender or its last receiver, of all processes, is dropped ([`Options::close_on_last_sender`], [`Options::close_on_last_receiver`]). |
//! | standstill | There is no lock. A process that stops between any two instructions holds up nobody. |
//! | waiting | Every wait can be ended: by a time limit, by an [`Interrupter`], by closing; and a message can be waited for together with a file descriptor ([`Receiver::watch`]). |
//! | size | Messages have up to [`Options::max_message_len`] bytes. Memory for those above 64 KiB comes and goes with them. |
//! | no memory | [`CreateError::NoMemory`] when a queue is made, [`SendError::NoMemory`] when a large message is sent or reserved, with the [`MemoryLimit`] that it was. |
//! | nothing lost | A receive that ends without a message has taken none; a send that fails gives its message back. |
//! | death | A process that dies, at any instruction, is noticed within one [slice](Options::liveness_interval) while anybody waits, sends or receives, and at once where its parent says so ([`Receiver::report_exit`]). What it held is handed out again, first, in order, with one attempt more, or is a dead letter after the last; what it had sent stays sent; its ends are gone. |
//! | no false death | Who is dead is asked of the kernel: a process that is stopped, frozen or slow is left alone. |
//! | names | A queue of [`Options::create_named`] outlives all processes, appears whole or not at all, and is [removed](remove_named) only when nobody is attached. |
//! | fork | A forked child without a program of its own gets the error `Forked` from every call, and releases nothing. |
//!
//! # Errors
//!
//! One enum for each operation, in the names of the std family, with `Closed` in each. They are
//! `non_exhaustive`. Operations do not panic; what a peer may have written is checked before use, and nonsense
//! is the error `Corrupt`.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | segment | the shared memory of one queue |
//! | block | a cell for one message, of one of several sizes; its word says whose it is |
//! | ring, slot, position, lap | the order of messages: slot by slot, round by round |
//! | accept | make a message visible: `send` returns `Ok` |
//! | take, hold | have received and not yet acknowledged |
//! | acknowledge | be done with a message; its block is free again |
//! | return | give a message back to the queue, to be handed out again |
//! | batch | several messages in one block: sent at once, taken by one receiver, settled one by one |
//! | dead letter | a message that was handed out too often, or that nobody could decode |
//! | attach | map a queue and get a row in its table of peers |
//!
//! # Layers
//!
//! `workers` is built on `queue` (the rest of what is public), that on `segment` (where things lie in shared
//! memory), that on `protocol` (the states of each word and the exchanges between them: no mapping, no `unsafe`),
//! and `os` has the system calls.
//! The protocol's own documentation starts in `src/protocol/mod.rs`.
//!
//! The ring is kin to Dmitry Vyukov's bounded queue, turned round so that no step leaves others waiting; the
//! event count that processes sleep on goes back to Reed and Kanodia (1979). Each file names its sources.

#[macro_use]
mod mutants;

#[cfg(not(loom))]
mod announce;
mod codec;
mod error;
#[cfg(not(loom))]
mod os;
#[cfg(not(loom))]
pub mod pool;
mod protocol;
#[cfg(not(loom))]
mod queue;
#[cfg(not(loom))]
mod segment;
mod sync;

pub use codec::{Bincode, Codec, DecodeError, EncodeError, Raw};
pub use error::{
    CreateError, CreateNamedError, HandoffError, InheritError, MemoryLimit, OpenError, RecvError,
    RecvTimeoutError, RemoveError, SendError, SendManyError, SendManyTimeoutError,
    SendTimeoutError, TryRecvError, TrySendError, TrySendManyError, Unsent, WatchError,
};
#[cfg(not(loom))]
pub use queue::{
    BlockStats, BytesLease, DeadLetter, DeadLetters, DeathStats, End, Handoff, Interrupter,
    IntoIter, Iter, Lease, NamedQueue, Options, PeerStats, Receiver, Reservation, Sender, Stats,
    TryIter, Watch, Watched, channel, inherit, inherit_as, named_queues, open, open_as,
    remove_named,
};

#[cfg(all(feature = "test-hooks", not(loom)))]
#[doc(hidden)]
pub use queue::test_hooks;

/// The README's example, compiled.
#[cfg(all(doctest, not(loom)))]
#[doc = include_str!("../README.md")]
struct Readme;
