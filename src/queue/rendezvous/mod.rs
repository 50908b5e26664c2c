//! Rendezvous: processes that did not start each other connect by a name, and give each other ends of queues.
//!
//! One process [listens](Listener) under a name, others [connect](connect()). Each side of a [`Connection`] knows the
//! [process at the other](Peer), as the kernel reports it. Either side [gives](Connection::give) ends of queues, and the
//! other [takes](Connection::take) them by name. The queue needs no name, and lies in memory that no file system shows.
//! An end counts as present from `give` on, so the giver may drop its own at once.
//!
//! A [`Handoff`](crate::Handoff) does the same for a child process, and [`open`](crate::open()) needs a queue with a name.
//!
//! # Examples
//!
//! The two halves would be two programs; `examples/rendezvous.rs` has them for two terminals.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use workring::Receiver;
//! use workring::rendezvous::{Listener, connect};
//!
//! # let name = &format!("doc-rendezvous-{}", std::process::id());
//! let listener = Listener::bind(name)?;
//!
//! # let name = name.clone();
//! let worker = std::thread::spawn(move || {
//!     let deadline = Instant::now() + Duration::from_secs(10);
//!     let mut connection = connect(&name, deadline)?;
//!     let jobs: Receiver<String> = connection.take("jobs")?;
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(jobs.recv()?)
//! });
//!
//! let connection = listener.accept()?;
//! println!("process {:?} of user {}", connection.peer().pid(), connection.peer().uid());
//! let (tx, rx) = workring::channel::<String>(16)?;
//! connection.give("jobs", &rx)?;
//! drop(rx); // the other process has the receiving end now
//! tx.send("a job".to_owned())?;
//! assert_eq!(worker.join().unwrap().unwrap(), "a job");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a connection proves
//!
//! [`accept`](Listener::accept) and [`connect`](connect()) return a connection only after the kernel has reported the
//! other process, the policy allows its user, and a greeting has come from it. So a connection never is one to a process
//! that is only in the listener's backlog, or that has ended before it was accepted. By default both sides must belong
//! to the same user; see [`ListenOptions::allow_user`] and [`ConnectOptions::user`].
//!
//! A process that connects before the first `accept` waits until it is accepted or its deadline passes. If the listener
//! is dropped instead, it gets [`Closed`](crate::error::ConnectError::Closed).
//!
//! # If a process dies
//!
//! When one side ends, by whatever death, every operation of the other returns `Closed`, at once; what was given before can
//! still be taken. What was given and not taken goes back with the socket: the kernel closes the descriptor in it, and
//! with that releases the lock by which the end counts as present. The queue finds that within one
//! [liveness interval](crate::Options::liveness_interval), as it does with a process that has died.
//!
//! The name of a listener that was killed can be bound again at once. What is left of it, two empty files, is removed by
//! the next [`bind`](Listener::bind) of any listener of the same user.
//!
//! # What comes from `interprocess`
//!
//! The crate [interprocess](https://docs.rs/interprocess) makes the sockets, binds them to their paths, connects and
//! accepts. The rest is done here, because version 2.4 does not do it, or does it in a way that does not hold up:
//!
//! | what                         | why not by interprocess                                                                |
//! |------------------------------|----------------------------------------------------------------------------------------|
//! | proof of a connection        | its connect with a time limit reports success for a full backlog, without a connection |
//! | retries until a deadline     | it tries once                                                                          |
//! | replacing a stale socket     | it removes the socket of a process that listens; here a lock says whether one does      |
//! | where sockets are            | it takes any path, and does not check who else may write to the directory              |
//! | credentials                  | it reports an error for a process of another process-id namespace, and has no pidfd    |
//! | passing descriptors          | it does not                                                                            |
//!
//! # With an event loop
//!
//! A [`Listener`] and a [`Connection`] have a descriptor ([`AsFd`](std::os::fd::AsFd)) that is ready for reading when
//! [`try_accept`](Listener::try_accept) or [`try_take`](Connection::try_take) is worth a call. With the feature `async`,
//! `Listener::accept_async` is a future for any runtime.

// | file          | contents                                                       |
// |---------------|----------------------------------------------------------------|
// | `frame`       | the messages of a connection, and their bytes                  |
// | `peer`        | the process at the other side; which ones are allowed          |
// | `interrupter` | ends waits                                                     |
// | `place`       | the name of a listener: its files, and the lock that decides    |
// | `connection`  | an established connection: give and take                       |
// | `listener`    | listening and accepting                                        |
// | `accepting`   | the futures that wait for a listener                           |
// | `accept_async`| accepting with a future                                        |
// | `connect`     | connecting                                                     |

#[cfg(feature = "async")]
mod accept_async;
#[cfg(feature = "async")]
mod accepting;
mod connect;
mod connection;
mod frame;
mod interrupter;
mod listener;
mod peer;
mod place;

#[cfg(feature = "async")]
pub use accept_async::AcceptFuture;
pub use connect::{ConnectOptions, connect};
pub use connection::Connection;
pub use interrupter::Interrupter;
pub use listener::{ListenOptions, Listener};
pub use peer::Peer;
