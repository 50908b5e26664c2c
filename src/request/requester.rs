//! The side that sends requests, and matches the answers.
//!
//! | entry of a request in `State::outcomes` | meaning                                                             |
//! |-----------------------------------------|---------------------------------------------------------------------|
//! | `None`                                  | sent, or about to be; no answer yet                                 |
//! | `Some(outcome)`                         | answered; its [`Pending`] has not taken the outcome yet             |
//! | no entry                                | taken, or its `Pending` was dropped: an answer for it is discarded  |
//!
//! REQUESTER-1. An outcome is recorded only in an entry that has none, so a request that two responders have answered has the
//!     first answer.
//! REQUESTER-2. At most one thread, the *leader*, receives from the mailbox, without holding the lock. It records what it
//!     receives for all threads. The others sleep on `changed`, and are woken after each answer and when the leader steps
//!     down; then one of those that still wait becomes the leader.
//! REQUESTER-3. As many requests may be unanswered as half of the mailbox has room for. So a responder finds room there,
//!     unless answers that came too late fill it; each later send discards these.
//! REQUESTER-4. The leader records an answer before it steps down. So a thread that finds neither its answer nor a leader can
//!     receive by itself.
//!
//! State: the entries, the counter and the leader, in this process's memory; and the mailbox.

use super::envelope::{Envelope, Refusal, Reply};
use crate::error::{
    CreateError, CreateNamedError, OpenError, OpenOrCreateError, RecvTimeoutError, ReplyError,
    RequestError, SendTimeoutError,
};
use crate::os::clock;
use crate::queue::{Mailbox, Options, Sender, open, open_as};
use core::fmt;
use core::time::Duration;
use parking_lot::{Condvar, Mutex, MutexGuard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::time::Instant;

/// The capacity of the mailbox. A ring is never shorter.
const CAPACITY: usize = 1024;

/// Sends requests of type `Req` to the responders of a named queue, and receives answers of type `Resp`.
///
/// Threads may share one. It has a mailbox for the answers, which ends with it. See [the module](crate::request) for an
/// example, and for what happens when a process dies.
pub struct Requester<Req: Serialize + DeserializeOwned, Resp: Serialize + DeserializeOwned> {
    requests: Sender<Envelope<Req, Resp>>,
    schema: Option<String>,
    replies: Mailbox<Reply<Resp>>,
    state: Mutex<State<Resp>>,
    changed: Condvar,
}

struct State<Resp> {
    next_id: u64,
    outcomes: HashMap<u64, Option<Result<Resp, Refusal>>>,
    /// How many of them are `None`.
    unanswered: usize,
    has_leader: bool,
}

impl<Resp> State<Resp> {
    /// Makes the entry of a new request.
    fn begin(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.outcomes.insert(id, None);
        self.unanswered += 1;
        id
    }

    /// Records an outcome, if its request waits for one (REQUESTER-1).
    fn record(&mut self, reply: Reply<Resp>) {
        if let Some(outcome @ None) = self.outcomes.get_mut(&reply.id) {
            *outcome = Some(reply.outcome);
            self.unanswered -= 1;
        }
    }

    /// Takes an outcome, and so ends its entry.
    fn take(&mut self, id: u64) -> Option<Result<Resp, Refusal>> {
        self.outcomes.get(&id)?.as_ref()?;
        self.outcomes.remove(&id)?
    }

    /// Ends an entry, whether there is an outcome or not.
    fn end(&mut self, id: u64) {
        if let Some(None) = self.outcomes.remove(&id) {
            self.unanswered -= 1;
        }
    }
}

impl<Req, Resp> Requester<Req, Resp>
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned,
{
    /// Opens the queue of this name, which a [`Responder`](crate::request::Responder) has created.
    ///
    /// # Errors
    ///
    /// [`OpenOrCreateError`]: the queue cannot be opened, as for [`open`](crate::open()); or the mailbox cannot be created.
    pub fn open(name: &str) -> Result<Self, OpenOrCreateError> {
        Self::new(open(name), None)
    }

    /// Opens the queue as [`open`](Requester::open) does, if it was made with this [schema](Options::schema).
    ///
    /// # Errors
    ///
    /// The same as [`open`](Requester::open); also [`OpenError::Schema`] if the schemas differ.
    pub fn open_as(name: &str, schema: &str) -> Result<Self, OpenOrCreateError> {
        Self::new(open_as(name, schema), Some(schema.to_owned()))
    }

    fn new(
        requests: Result<Sender<Envelope<Req, Resp>>, OpenError>,
        schema: Option<String>,
    ) -> Result<Self, OpenOrCreateError> {
        let requests = requests?;
        let options = Options::new(CAPACITY);
        let replies = mailbox(&options, schema.as_deref()).map_err(CreateNamedError::from)?;
        Ok(Self {
            requests,
            schema,
            replies,
            state: Mutex::new(State {
                next_id: 0,
                outcomes: HashMap::new(),
                unanswered: 0,
                has_leader: false,
            }),
            changed: Condvar::new(),
        })
    }

    /// Replaces the mailbox by one with these options, for instance for answers of more than 1 MiB. As many requests as half of
    /// its capacity can wait for their answers at a time: by default 512.
    ///
    /// # Errors
    ///
    /// The same as [`Options::mailbox`].
    pub fn with_mailbox(self, options: &Options) -> Result<Self, CreateError> {
        let replies = mailbox(options, self.schema.as_deref())?;
        Ok(Self { replies, ..self })
    }

    /// Sends a request and waits for its answer. Blocks for at most `timeout`.
    ///
    /// The same as [`send`](Requester::send) and [`Pending::wait`].
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the request was not sent, and is in the error; or it has no answer.
    ///
    /// # Examples
    ///
    /// See [the module](crate::request).
    pub fn request(&self, request: Req, timeout: Duration) -> Result<Resp, RequestError<Req>> {
        let pending = self.send(request, timeout).map_err(RequestError::NotSent)?;
        pending.wait().map_err(RequestError::NoAnswer)
    }

    /// Sends a request that is to be answered within `timeout`, and returns without waiting for the answer. Blocks while the
    /// queue is full, and while as many requests of this requester wait for their answers as
    /// [may](Requester::with_mailbox).
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the request.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use workring::request::Requester;
    /// let requester = Requester::<String, usize>::open("jobs")?;
    /// let all = ["a", "bb", "ccc"].map(|job| requester.send(job.to_owned(), Duration::from_secs(10)));
    /// for pending in all {
    ///     println!("{}", pending?.wait()?); // the responders work on all three
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(
        &self,
        request: Req,
        timeout: Duration,
    ) -> Result<Pending<'_, Req, Resp>, SendTimeoutError<Req>> {
        let timeout_nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline_nanos = clock::now().saturating_add(timeout_nanos);
        let deadline = clock::after(Instant::now(), timeout);
        let id = match self.register(deadline) {
            Ok(id) => id,
            Err(ReplyError::Forked) => return Err(SendTimeoutError::Forked(request)),
            Err(ReplyError::Closed) => return Err(SendTimeoutError::Closed(request)),
            Err(ReplyError::Corrupt { what }) => {
                return Err(SendTimeoutError::Corrupt {
                    value: request,
                    what,
                });
            }
            Err(_) => return Err(SendTimeoutError::Timeout(request)),
        };
        let pending = Pending {
            requester: self,
            id,
            deadline,
        };
        let envelope = Envelope {
            id,
            deadline: deadline_nanos,
            reply_to: self.replies.address(),
            request,
        };
        // If it fails, dropping `pending` removes the entry.
        match self.requests.send_deadline(envelope, deadline) {
            Ok(()) => Ok(pending),
            Err(error) => Err(error.map(|envelope| envelope.request)),
        }
    }

    /// Closes the queue for all processes: no more requests can be sent, and responders get `Closed` when none is left.
    /// Returns whether this call closed it.
    #[allow(
        clippy::must_use_candidate,
        reason = "closing is the point; who was first is a detail"
    )]
    pub fn close(&self) -> bool {
        self.requests.close()
    }

    /// Makes the entry of a new request, when there is room for it (REQUESTER-3).
    fn register(&self, deadline: Instant) -> Result<u64, ReplyError> {
        self.discard_late();
        let max_unanswered = (self.replies.capacity() / 2).max(1);
        self.receive_until(deadline, |state| {
            (state.unanswered < max_unanswered).then(|| state.begin())
        })
    }

    /// Receives what is in the mailbox already, unless another thread does.
    fn discard_late(&self) {
        let Some(lead) = self.try_lead(&mut self.state.lock()) else {
            return;
        };
        while let Ok(reply) = self.replies.try_recv() {
            self.state.lock().record(reply);
        }
        drop(lead);
    }

    /// Receives answers until `look` finds what the caller waits for, or until the deadline.
    fn receive_until<R>(
        &self,
        deadline: Instant,
        mut look: impl FnMut(&mut State<Resp>) -> Option<R>,
    ) -> Result<R, ReplyError> {
        let mut state = self.state.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Ok(found);
            }
            let Some(lead) = self.try_lead(&mut state) else {
                if self.changed.wait_until(&mut state, deadline).timed_out() {
                    return look(&mut state).ok_or(ReplyError::Timeout);
                }
                continue;
            };
            let (received, lead) =
                MutexGuard::unlocked(&mut state, || (self.replies.recv_deadline(deadline), lead));
            let ended = match received {
                Ok(reply) => {
                    state.record(reply);
                    None
                }
                // It does not say whose answer it was: that request ends by its deadline.
                Err(RecvTimeoutError::Decode(_)) => None,
                Err(error) => Some(error),
            };
            lead.step_down(&mut state);
            if let Some(error) = ended {
                return look(&mut state).ok_or_else(|| error.into());
            }
        }
    }

    /// Makes this thread the leader, if there is none (REQUESTER-2).
    fn try_lead(&self, state: &mut State<Resp>) -> Option<Lead<'_, Req, Resp>> {
        if state.has_leader {
            return None;
        }
        state.has_leader = true;
        Some(Lead(self))
    }
}

fn mailbox<T: Serialize + DeserializeOwned>(
    options: &Options,
    schema: Option<&str>,
) -> Result<Mailbox<T>, CreateError> {
    match schema {
        Some(schema) => options.clone().schema(schema).mailbox(),
        None => options.mailbox(),
    }
}

/// The lead of one thread (REQUESTER-2). Dropping it, for which the lock must not be held, ends it too: as a panic of the codec
/// does.
struct Lead<'a, Req, Resp>(&'a Requester<Req, Resp>)
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned;

impl<Req, Resp> Lead<'_, Req, Resp>
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned,
{
    /// Ends the lead, with the lock held.
    fn step_down(self, state: &mut State<Resp>) {
        state.has_leader = false;
        self.0.changed.notify_all();
        core::mem::forget(self);
    }
}

impl<Req, Resp> Drop for Lead<'_, Req, Resp>
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned,
{
    fn drop(&mut self) {
        self.0.state.lock().has_leader = false;
        self.0.changed.notify_all();
    }
}

/// A request that was sent, and whose answer has not been taken yet. Returned by [`Requester::send`].
///
/// Dropping it gives the answer up, and does not cancel the request.
#[must_use = "dropping it gives the answer up"]
pub struct Pending<'a, Req: Serialize + DeserializeOwned, Resp: Serialize + DeserializeOwned> {
    requester: &'a Requester<Req, Resp>,
    id: u64,
    deadline: Instant,
}

impl<Req, Resp> Pending<'_, Req, Resp>
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned,
{
    /// Waits for the answer. Blocks until the deadline that the request was sent with.
    ///
    /// # Errors
    ///
    /// [`ReplyError`].
    ///
    /// # Examples
    ///
    /// See [`Requester::send`].
    pub fn wait(self) -> Result<Resp, ReplyError> {
        let id = self.id;
        let outcome = self
            .requester
            .receive_until(self.deadline, |state| state.take(id))?;
        outcome.map_err(|refusal| match refusal {
            Refusal::Abandoned(deliveries) => ReplyError::Abandoned { deliveries },
            Refusal::NotSent(what) => ReplyError::AnswerNotSent { what },
        })
    }
}

impl<Req, Resp> Drop for Pending<'_, Req, Resp>
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned,
{
    fn drop(&mut self) {
        self.requester.state.lock().end(self.id);
        // A thread may wait for room.
        self.requester.changed.notify_all();
    }
}

impl<Req, Resp> fmt::Debug for Requester<Req, Resp>
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requester")
            .field("requests", &self.requests)
            .field("unanswered", &self.state.lock().unanswered)
            .finish_non_exhaustive()
    }
}

impl<Req, Resp> fmt::Debug for Pending<'_, Req, Resp>
where
    Req: Serialize + DeserializeOwned,
    Resp: Serialize + DeserializeOwned,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State<u32> {
        State {
            next_id: 0,
            outcomes: HashMap::new(),
            unanswered: 0,
            has_leader: false,
        }
    }

    fn reply(id: u64, answer: u32) -> Reply<u32> {
        Reply {
            id,
            outcome: Ok(answer),
        }
    }

    /// REQUESTER-1.
    #[test]
    fn the_first_of_two_answers_counts_and_those_that_nobody_waits_for_are_discarded() {
        let mut state = state();
        let [first, second, given_up] = [state.begin(), state.begin(), state.begin()];
        assert_eq!((state.unanswered, state.take(first)), (3, None));
        state.record(reply(first, 1));
        state.record(reply(first, 2));
        assert_eq!((state.unanswered, state.take(first)), (2, Some(Ok(1))));
        state.record(reply(first, 3));
        assert_eq!(state.take(first), None);
        state.end(given_up);
        state.record(reply(given_up, 4));
        state.record(reply(second, 5));
        assert_eq!(state.unanswered, 0);
        state.end(second);
        assert!(state.outcomes.is_empty());
    }
}
