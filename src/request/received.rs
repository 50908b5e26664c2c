//! Requests that were received and wait for their answers.

use super::envelope::{Envelope, Refusal, Reply};
use crate::error::SendTimeoutError;
use crate::error::with_causes;
use crate::os::clock;
use crate::queue::{Lease, Sender};
use core::fmt;
use core::ops::Deref;
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::sync::Arc;

/// A request that a responder has received. It dereferences to the value that was sent.
///
/// [`respond`](Request::respond) answers it. Dropping it, as a panic does, or dying, returns it to the queue, and another
/// responder gets it; after [`max_deliveries`](crate::Options::max_deliveries) such failures the requester gets
/// [`Abandoned`](crate::request::ReplyError::Abandoned). It borrows its responder, as a [`Lease`] does;
/// [`into_owned`](Request::into_owned) makes one that does not.
#[must_use = "dropping a request returns it to the queue"]
pub struct Request<'a, Req: Serialize + DeserializeOwned, Resp: Serialize + DeserializeOwned> {
    pub(super) lease: Lease<'a, Envelope<Req, Resp>>,
    pub(super) replies: Arc<Sender<Reply<Resp>>>,
}

impl<Req, Resp> Request<'_, Req, Resp>
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned,
{
    /// Answers the request, which no responder will get again. Blocks while the requester's mailbox is full, and until the
    /// requester's deadline at the latest.
    ///
    /// If this process dies before it returns, the requester may have the answer, and another responder may get the request.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the answer: the deadline has passed (`Timeout`); the requester has ended (`Closed`); the
    /// answer is too large, cannot be encoded, or there is no memory for it: then the requester gets
    /// [`AnswerNotSent`](crate::request::ReplyError::AnswerNotSent). The request is done with in each of these cases.
    ///
    /// # Examples
    ///
    /// See [the module](crate::request).
    pub fn respond(self, answer: Resp) -> Result<(), SendTimeoutError<Resp>> {
        let sent = self.send(Ok(answer));
        if let Err(error) = &sent
            && !matches!(
                error,
                SendTimeoutError::Timeout(_)
                    | SendTimeoutError::Closed(_)
                    | SendTimeoutError::Forked(_)
            )
        {
            let _ = self.send(Err(Refusal::NotSent(reason(error))));
        }
        // After the answer: a process that dies in between has answered, and a second answer is discarded.
        self.lease.ack();
        sent.map_err(|error| error.map(only_answer))
    }

    /// Reports that all responders that had the request have failed.
    pub(super) fn abandon(self) {
        let _ = self.send(Err(Refusal::Abandoned(self.lease.deliveries())));
        self.lease.ack();
    }

    fn send(
        &self,
        outcome: Result<Resp, Refusal>,
    ) -> Result<(), SendTimeoutError<Result<Resp, Refusal>>> {
        let reply = Reply {
            id: self.lease.id,
            outcome,
        };
        let left = self.time_left();
        let sent = if left.is_zero() {
            Err(SendTimeoutError::Timeout(reply))
        } else {
            self.replies.send_timeout(reply, left)
        };
        sent.map_err(|error| error.map(|reply| reply.outcome))
    }

    /// Returns the time until the requester's deadline; 0 if it has passed.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        Duration::from_nanos(self.lease.deadline.saturating_sub(clock::now()))
    }

    /// Returns whether an answer would still reach its requester: it lives, as far as this process knows, and its deadline
    /// has not passed. For work that takes long.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.time_left().is_zero() && !self.replies.is_closed()
    }

    /// Returns the number of responders that had the request before, and died or dropped it.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.lease.deliveries()
    }

    /// Makes a request that does not borrow its responder: it can be stored, sent to another thread, and outlive it.
    pub fn into_owned(self) -> Request<'static, Req, Resp> {
        Request {
            lease: self.lease.into_owned(),
            replies: self.replies,
        }
    }
}

impl<Req, Resp> Deref for Request<'_, Req, Resp>
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned,
{
    type Target = Req;

    fn deref(&self) -> &Req {
        &self.lease.request
    }
}

impl<Req, Resp> fmt::Debug for Request<'_, Req, Resp>
where
    Req: Serialize + DeserializeOwned + fmt::Debug,
    Resp: Serialize + DeserializeOwned,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("request", &self.lease.request)
            .field("time_left", &self.time_left())
            .field("deliveries", &self.deliveries())
            .finish_non_exhaustive()
    }
}

fn reason(error: &impl Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_causes(source)),
        None => error.to_string(),
    }
}

/// Returns the answer of a reply that was to carry one.
fn only_answer<Resp>(outcome: Result<Resp, Refusal>) -> Resp {
    match outcome {
        Ok(answer) => answer,
        Err(_) => unreachable!("it was made of an answer"),
    }
}
