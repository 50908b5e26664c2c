//! Requests: messages that are answered, between processes that know each other's queues by name only.
//!
//! A [`Responder`] receives requests from a named queue. A [`Requester`] sends requests to it, each with the address of its
//! [mailbox](crate::queue::Mailbox), and waits for the answers there. Any number of processes may do either.
//!
//! ```
//! use std::time::Duration;
//! use workring::{Options, request::{Requester, Responder}};
//!
//! let name = format!("example-request-{}", std::process::id());
//!
//! // The server. Any number of processes may call this for the same name.
//! let responder = Responder::<String, usize>::open_or_create(&name, &Options::new(64))?;
//! let server = std::thread::spawn(move || {
//!     while let Ok(request) = responder.recv() {
//!         let length = request.len();
//!         let _ = request.respond(length); // fails if the client no longer waits
//!     }
//! });
//!
//! // A client, in any process of this user.
//! let requester = Requester::<String, usize>::open(&name)?;
//! assert_eq!(requester.request("resize".to_owned(), Duration::from_secs(10))?, 6);
//!
//! requester.close(); // this example has one client, which ends the server
//! server.join().unwrap();
//! # drop(requester);
//! # workring::queue::remove_named(&name)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/job_server.rs` has the two in different programs.
//!
//! # What happens when a process dies
//!
//! | what | the requester | the responders |
//! |---|---|---|
//! | a responder dies, or drops the request | waits on; another responder gets the request | |
//! | ... as often as [`Options::max_deliveries`](crate::Options::max_deliveries) allows | gets [`Abandoned`](ReplyError::Abandoned) | the next one reports it, without seeing the request |
//! | a responder dies after it has answered | has its answer | another one may answer too; that answer is discarded |
//! | there is no responder | waits until its deadline | one that starts before then gets the request |
//! | the requester dies | | within a [liveness interval](crate::Options::liveness_interval), requests of its that were not begun are dropped, and [`respond`](Request::respond) fails with `Closed` |
//! | the deadline passes | gets [`Timeout`](ReplyError::Timeout) | requests not begun are dropped; `respond` fails with `Timeout` |
//!
//! So each request has one outcome for its requester: an answer or a typed error. The work may be done more than once, as
//! with every message that is leased: if it must not be, let the responder record what it has done.
//!
//! | file        | contents                                                      |
//! |-------------|---------------------------------------------------------------|
//! | `envelope`  | the messages between the two                                  |
//! | `requester` | [`Requester`] and [`Pending`]: sends requests, matches answers |
//! | `responder` | [`Responder`]: receives requests, leaves out those that are over |
//! | `received`  | [`Request`]: a request that waits for its answer              |

mod envelope;
mod received;
mod requester;
mod responder;

pub use crate::error::{ReplyError, RequestError};
pub use received::Request;
pub use requester::{Pending, Requester};
pub use responder::Responder;
