//! The side that answers requests.
//!
//! RESPONDER-1. A request is left out, and acknowledged, if its deadline has passed or its requester has ended, as far
//!     as this process knows: the death of a requester is noticed when its mailbox is opened, and later within the mailbox's
//!     liveness interval.
//! RESPONDER-2. The queue delivers a request once more than responders may get it. The last delivery only reports that they
//!     have failed. So a request does not become a dead letter, which no process would report, unless the process dies in
//!     that report too; then its requester's deadline ends the wait.
//!
//! State: the mailboxes of the requesters that were answered last, kept open. They end when others take their place, or when
//! a request for them finds them closed.

use super::envelope::{Envelope, Reply};
use super::received::Request;
use crate::error::{
    CreateNamedError, OpenError, OpenOrCreateError, RecvError, RecvTimeoutError, TryRecvError,
};
use crate::os::clock;
use crate::queue::{Address, Interrupter, Lease, Options, Receiver, Sender, open, open_as};
use core::fmt;
use core::time::Duration;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Instant;

/// How many mailboxes a responder keeps open.
const MAX_MAILBOXES: usize = 8;

/// An address, and the open mailbox.
type Link<Resp> = (Address<Sender<Reply<Resp>>>, Arc<Sender<Reply<Resp>>>);

/// Receives requests of type `Req` from a named queue, and answers them with values of type `Resp`.
///
/// Threads may share one; any number of processes may have one for the same queue. Each request goes to one of them. See
/// [the module](crate::request) for an example, and for what happens when a process dies.
pub struct Responder<Req: Serialize + DeserializeOwned, Resp: Serialize + DeserializeOwned> {
    requests: Receiver<Envelope<Req, Resp>>,
    /// The one used last is the last.
    mailboxes: Mutex<Vec<Link<Resp>>>,
}

impl<Req, Resp> Responder<Req, Resp>
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned,
{
    /// Creates the queue for requests, with a name, as [`Options::create_named`] does.
    ///
    /// [`max_deliveries`](Options::max_deliveries), here 1 to 14, is the number of responders that may fail with a request.
    /// With a [schema](Options::schema), programs that do not share the types of requests and answers can use the queue; it
    /// stands for both types. With [`close_on_last_receiver`](Options::close_on_last_receiver) the queue closes with the last
    /// responder; by default requests wait for the next one.
    ///
    /// # Errors
    ///
    /// The same as [`Options::create_named`].
    pub fn create(name: &str, options: &Options) -> Result<Self, CreateNamedError> {
        let (_, requests) = with_report(options).create_named(name)?;
        Ok(Self::new(requests))
    }

    /// Opens the queue for requests that another process has created.
    ///
    /// # Errors
    ///
    /// The same as [`open`](crate::open()).
    pub fn open(name: &str) -> Result<Self, OpenError> {
        open(name).map(Self::new)
    }

    /// Opens the queue for requests as [`open`](Responder::open) does, if it was made with this schema.
    ///
    /// # Errors
    ///
    /// The same as [`open_as`].
    pub fn open_as(name: &str, schema: &str) -> Result<Self, OpenError> {
        open_as(name, schema).map(Self::new)
    }

    /// Opens the queue for requests, or [creates](Responder::create) it if there is none.
    ///
    /// # Errors
    ///
    /// The same as [`Options::open_or_create_named`].
    pub fn open_or_create(name: &str, options: &Options) -> Result<Self, OpenOrCreateError> {
        let (_, requests) = with_report(options).open_or_create_named(name)?;
        Ok(Self::new(requests))
    }

    fn new(requests: Receiver<Envelope<Req, Resp>>) -> Self {
        Self {
            requests,
            mailboxes: Mutex::default(),
        }
    }

    /// Receives a request. Blocks until there is one, or the queue is closed and none is left.
    ///
    /// Requests whose requester has ended, or has given up by its deadline, are left out.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`Receiver::lease`]. A request that cannot be decoded is a dead letter, and its requester waits
    /// until its deadline.
    ///
    /// # Examples
    ///
    /// See [the module](crate::request).
    pub fn recv(&self) -> Result<Request<'_, Req, Resp>, RecvError> {
        loop {
            if let Some(request) = self.admit(self.requests.lease()?) {
                return Ok(request);
            }
        }
    }

    /// Receives a request if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: there is none, or as for [`recv`](Responder::recv).
    pub fn try_recv(&self) -> Result<Request<'_, Req, Resp>, TryRecvError> {
        loop {
            if let Some(request) = self.admit(self.requests.try_lease()?) {
                return Ok(request);
            }
        }
    }

    /// Receives a request. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time limit has passed, or as for [`recv`](Responder::recv).
    pub fn recv_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Request<'_, Req, Resp>, RecvTimeoutError> {
        let deadline = clock::after(Instant::now(), timeout);
        loop {
            if let Some(request) = self.admit(self.requests.lease_deadline(deadline)?) {
                return Ok(request);
            }
        }
    }

    /// Closes the queue for all processes: requesters can send no more, and responders get `Closed` when no request is left.
    /// Returns whether this call closed it.
    #[allow(
        clippy::must_use_candidate,
        reason = "closing is the point; who was first is a detail"
    )]
    pub fn close(&self) -> bool {
        self.requests.close()
    }

    /// Returns an object that can end a wait of this responder from any thread.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        self.requests.interrupter()
    }

    /// Returns the request, unless it is left out (RESPONDER-1) or has failed too often (RESPONDER-2).
    fn admit<'a>(&self, lease: Lease<'a, Envelope<Req, Resp>>) -> Option<Request<'a, Req, Resp>> {
        if lease.deadline <= clock::now() {
            lease.ack();
            return None;
        }
        let replies = match self.mailbox(&lease.reply_to) {
            Ok(replies) => replies,
            Err(OpenError::NotFound { .. } | OpenError::Closed) => {
                lease.ack();
                return None;
            }
            // Another responder may be able to open it.
            Err(_) => return None,
        };
        let is_last = lease.deliveries() >= self.requests.max_deliveries().saturating_sub(1).max(1);
        let request = Request { lease, replies };
        if is_last && !mutant!(FailedRequestDelivered) {
            request.abandon();
            return None;
        }
        Some(request)
    }

    /// Returns the open mailbox of this address.
    fn mailbox(
        &self,
        address: &Address<Sender<Reply<Resp>>>,
    ) -> Result<Arc<Sender<Reply<Resp>>>, OpenError> {
        let mut mailboxes = self.mailboxes.lock();
        if let Some(place) = mailboxes.iter().position(|(known, _)| known == address) {
            let link = mailboxes.remove(place);
            if link.1.is_closed() {
                return Err(OpenError::Closed);
            }
            let replies = Arc::clone(&link.1);
            mailboxes.push(link);
            return Ok(replies);
        }
        let replies = Arc::new(address.open()?);
        if mailboxes.len() >= MAX_MAILBOXES {
            mailboxes.remove(0);
        }
        mailboxes.push((address.clone(), Arc::clone(&replies)));
        Ok(replies)
    }
}

/// Returns options with one more delivery, for the report of RESPONDER-2.
fn with_report(options: &Options) -> Options {
    options.with_one_more_delivery()
}

impl<Req, Resp> fmt::Debug for Responder<Req, Resp>
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}
