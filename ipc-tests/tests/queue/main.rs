//! Goal: a queue between processes does what its documentation says: sending, receiving, leases, batches, messages in
//! place, options, and all ways to close it.
//!
//! Method: one module for each subject. The test is one process of the queue; `src/bin/peer.rs` is the others. A test
//! proceeds when a peer has answered, or when the kernel reports that it sleeps, and never after a pause.

mod accounting;
mod batch_codecs;
mod batches;
mod bytes;
mod cancel;
mod close;
mod history;
mod leases;
mod limits;
mod matrix;
mod membership;
mod model;
mod options;
mod requests;
mod sizes;
mod untrue_codecs;
mod user_code;
mod user_code_receiving;
mod values;
