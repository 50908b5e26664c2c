//! The receiving end.

use super::attachment::Attachment;
use super::batches::Batches;
use super::dead_letters::DeadLetters;
use super::end::sealed::{AnyAttachment, AnyHandle, EndRole};
use super::end::{End, Handle, sealed};
use super::lease::{Failed, Held, Lease, LeaseCount, Leased, Taken};
use super::wait::{
    Awaited, Deadline, Failure, Interrupted, NonBlocking, Reason, Unbounded, WaitPolicy, WouldBlock,
};
use crate::codec::{Bincode, Codec, DecodeError};
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::protocol::peers::Role;
use crate::protocol::steps::receive::{self, Receive};
use crate::protocol::{Corrupt, SharedState};
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

/// The receiving end of a queue.
///
/// Clones are receivers of the same queue; threads may also share one. Each message goes to one receiver of
/// one process. When the last receiver of all processes is dropped, the queue closes (unless
/// [`Options::close_on_last_receiver`](crate::Options) says otherwise).
///
/// `recv` and its kin take a message for good. To be able to give it back, also by dying, use
/// [`lease`](Receiver::lease).
///
/// A receive that ends for any other reason than with a message (time, interrupt, close) has taken none, so
/// nothing is lost by giving up.
///
/// # Examples
///
/// ```
/// let (tx, rx) = workring::channel::<u32>(8)?;
/// for n in 0..3 {
///     tx.send(n)?;
/// }
/// tx.close();
/// for n in &rx {
///     println!("{}", n?);
/// }
/// assert!(matches!(rx.recv(), Err(workring::RecvError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver<T, C: Codec<T> = Bincode> {
    /// Before the handle, so that what they hold is returned before the role is given up.
    pub(super) batches: Batches,
    pub(super) handle: Handle,
    types: PhantomData<fn() -> (T, C)>,
}

/// Why a receive will never work, or not this time.
pub(super) enum Refusal {
    Closed,
    /// This is a forked child of the attached process.
    Forked,
    Decode(DecodeError),
    TooManyLeases {
        max: usize,
    },
    Corrupt(Corrupt),
}

impl From<Corrupt> for Refusal {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Decode(error) => Self::Decode(error),
            Failed::Corrupt(corrupt) => corrupt.into(),
        }
    }
}

impl From<Failure<Interrupted, Refusal>> for RecvError {
    fn from(failure: Failure<Interrupted, Refusal>) -> Self {
        match failure {
            Failure::Stopped(Interrupted) => Self::Interrupted,
            Failure::Refused(Refusal::Closed) => Self::Closed,
            Failure::Refused(Refusal::Forked) => Self::Forked,
            Failure::Refused(Refusal::Decode(error)) => Self::Decode(error),
            Failure::Refused(Refusal::TooManyLeases { max }) => Self::TooManyLeases { max },
            Failure::Refused(Refusal::Corrupt(corrupt)) => Self::Corrupt {
                what: corrupt.what(),
            },
        }
    }
}

impl From<Failure<WouldBlock, Refusal>> for TryRecvError {
    fn from(failure: Failure<WouldBlock, Refusal>) -> Self {
        match failure {
            Failure::Stopped(WouldBlock) => Self::Empty,
            Failure::Refused(Refusal::Closed) => Self::Closed,
            Failure::Refused(Refusal::Forked) => Self::Forked,
            Failure::Refused(Refusal::Decode(error)) => Self::Decode(error),
            Failure::Refused(Refusal::TooManyLeases { max }) => Self::TooManyLeases { max },
            Failure::Refused(Refusal::Corrupt(corrupt)) => Self::Corrupt {
                what: corrupt.what(),
            },
        }
    }
}

impl From<Failure<Reason, Refusal>> for RecvTimeoutError {
    fn from(failure: Failure<Reason, Refusal>) -> Self {
        match failure {
            Failure::Stopped(Reason::Deadline) => Self::Timeout,
            Failure::Stopped(Reason::Interrupted) => Self::Interrupted,
            Failure::Refused(Refusal::Closed) => Self::Closed,
            Failure::Refused(Refusal::Forked) => Self::Forked,
            Failure::Refused(Refusal::Decode(error)) => Self::Decode(error),
            Failure::Refused(Refusal::TooManyLeases { max }) => Self::TooManyLeases { max },
            Failure::Refused(Refusal::Corrupt(corrupt)) => Self::Corrupt {
                what: corrupt.what(),
            },
        }
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// The receiver that a new attachment has counted already.
    pub(super) fn counted(attachment: Arc<Attachment>) -> Self {
        Self::with(Handle::counted(attachment, Role::Receiver))
    }

    fn with(handle: Handle) -> Self {
        Self::from_parts(Batches::default(), handle)
    }

    pub(super) fn from_parts(batches: Batches, handle: Handle) -> Self {
        Self {
            batches,
            handle,
            types: PhantomData,
        }
    }

    /// Receive a message; wait while there is none.
    ///
    /// # Errors
    ///
    /// [`RecvError`]: the queue is closed and drained; an [`Interrupter`](crate::queue::Interrupter) ended the wait; the
    /// message could not be decoded.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receive(&Unbounded)
    }

    /// Receive a message if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: there is none, or as for [`recv`](Receiver::recv).
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.receive(&NonBlocking)
    }

    /// Receive a message; wait for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time is up, or as for [`recv`](Receiver::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.receive(&Deadline::after(timeout))
    }

    /// Receive a message; wait until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time is up, or as for [`recv`](Receiver::recv).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.receive(&Deadline(Some(deadline)))
    }

    /// Receive a message without acknowledging it; wait while there is none.
    ///
    /// # Errors
    ///
    /// [`RecvError`]: as for [`recv`](Receiver::recv), or this process has
    /// [as many leases](crate::Options::max_leases) as it may.
    pub fn lease(&self) -> Result<Lease<T, C>, RecvError> {
        Ok(self.lease_with(&Unbounded)?)
    }

    /// Receive a message without acknowledging it, if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: there is none, or as for [`lease`](Receiver::lease).
    pub fn try_lease(&self) -> Result<Lease<T, C>, TryRecvError> {
        Ok(self.lease_with(&NonBlocking)?)
    }

    /// Receive a message without acknowledging it; wait for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time is up, or as for [`lease`](Receiver::lease).
    pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease<T, C>, RecvTimeoutError> {
        Ok(self.lease_with(&Deadline::after(timeout))?)
    }

    /// Receive a message without acknowledging it; wait until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time is up, or as for [`lease`](Receiver::lease).
    pub fn lease_deadline(&self, deadline: Instant) -> Result<Lease<T, C>, RecvTimeoutError> {
        Ok(self.lease_with(&Deadline(Some(deadline)))?)
    }

    /// The way of nearly every message: there is one. Straight into the caller's result: what a message is
    /// moved through on the way costs more than the rest.
    #[inline(always)]
    fn receive<P: WaitPolicy, E: From<Failure<P::Stop, Refusal>>>(
        &self,
        patience: &P,
    ) -> Result<T, E> {
        let attachment = &*self.handle.attachment;
        if attachment.is_forked_child() {
            return Err(Failure::from(Refusal::Forked).into());
        }
        self.handle.count_operation();
        if self.batches.any() {
            return self.receive_later(Ok(None), patience);
        }
        match receive::receive(attachment.segment(), attachment.row()) {
            Ok(Receive::Message(block)) => self.open(Held::new(attachment, block), patience),
            other => self.receive_later(other.map(Some), patience),
        }
    }

    /// Decode and acknowledge. If the codec panics, `held` returns the message.
    #[inline(always)]
    fn open<P: WaitPolicy, E: From<Failure<P::Stop, Refusal>>>(
        &self,
        held: Held<'_>,
        patience: &P,
    ) -> Result<T, E> {
        let bytes = match held.bytes() {
            Ok(bytes) => bytes,
            // A batch looks like a message that is too long.
            Err(corrupt) => return self.open_unusual(held, corrupt, patience),
        };
        match C::decode(bytes) {
            Ok(message) => match held.acknowledge() {
                Ok(()) => Ok(message),
                Err(corrupt) => Err(Failure::from(Refusal::Corrupt(corrupt)).into()),
            },
            Err(error) => Err(Failure::from(Self::undecodable(held, error)).into()),
        }
    }

    #[cold]
    fn undecodable(held: Held<'_>, error: DecodeError) -> Refusal {
        match held.reject() {
            Ok(()) => Refusal::Decode(error),
            Err(corrupt) => Refusal::Corrupt(corrupt),
        }
    }

    /// What to do with a block whose bytes are not simply a message.
    #[cold]
    #[inline(never)]
    fn open_unusual<P: WaitPolicy, E: From<Failure<P::Stop, Refusal>>>(
        &self,
        held: Held<'_>,
        corrupt: Corrupt,
        patience: &P,
    ) -> Result<T, E> {
        if !held.is_batch() {
            return Err(Failure::from(Refusal::Corrupt(corrupt)).into());
        }
        let opened = match self.batches.admit(&self.handle.attachment, held) {
            Ok(Some(part)) => Self::open_taken(Taken::Part(part)),
            Ok(None) => return self.receive_later(Ok(None), patience),
            Err(refusal) => Err(refusal),
        };
        opened.map_err(|refusal| Failure::from(refusal).into())
    }

    /// As [`open`](Self::open), for whatever was taken.
    pub(super) fn open_taken(taken: Taken<'_>) -> Result<T, Refusal> {
        match C::decode(taken.bytes()?) {
            Ok(message) => {
                taken.acknowledge()?;
                Ok(message)
            }
            Err(error) => {
                taken.reject()?;
                Err(Refusal::Decode(error))
            }
        }
    }

    /// After a first look that has not simply given a message; `None`: there was none.
    #[cold]
    #[inline(never)]
    fn receive_later<P: WaitPolicy, E: From<Failure<P::Stop, Refusal>>>(
        &self,
        first: Result<Option<Receive>, Corrupt>,
        patience: &P,
    ) -> Result<T, E> {
        let taken = match first {
            Ok(Some(received)) => self.take_after(Ok(received), patience),
            Ok(None) => self.take_patiently(patience),
            Err(corrupt) => Err(Refusal::Corrupt(corrupt).into()),
        };
        let opened = taken.and_then(|taken| Ok(Self::open_taken(taken)?));
        opened.map_err(Into::into)
    }

    /// Wait until `look` finds something, after it has not.
    pub(super) fn wait_for_messages<P: WaitPolicy, R>(
        &self,
        look: impl FnMut() -> Result<Option<R>, Refusal>,
        patience: &P,
    ) -> Result<R, Failure<P::Stop, Refusal>> {
        let attachment = &*self.handle.attachment;
        let segment = attachment.segment();
        let awaited = Awaited {
            word: segment.items(),
            progress: segment.head(),
        };
        // Counted before the last look, so that whoever puts something into `batches` after it knows.
        let _waiting = self.batches.waiting();
        self.handle
            .waiter
            .wait_more(attachment, &awaited, patience, look)
    }

    fn lease_with<P: WaitPolicy>(
        &self,
        patience: &P,
    ) -> Result<Lease<T, C>, Failure<P::Stop, Refusal>> {
        let (count, held) = self.take_counted(patience)?;
        Ok(Lease::new(count, held).map_err(Refusal::from)?)
    }

    /// A message that is leased and not decoded.
    pub(super) fn leased<P: WaitPolicy>(
        &self,
        patience: &P,
    ) -> Result<Leased, Failure<P::Stop, Refusal>> {
        let (count, held) = self.take_counted(patience)?;
        Ok(Leased::new(count, held))
    }

    fn take_counted<P: WaitPolicy>(
        &self,
        patience: &P,
    ) -> Result<(LeaseCount, Taken<'_>), Failure<P::Stop, Refusal>> {
        if self.handle.is_forked_child() {
            return Err(Refusal::Forked.into());
        }
        self.handle.count_operation();
        if let Some(leased) = self.take_counted_one()? {
            return Ok(leased);
        }
        self.wait_for_messages(|| self.take_counted_one(), patience)
    }

    /// As [`take_one`](Self::take_one), if there may be one more lease.
    #[inline]
    pub(super) fn take_counted_one(&self) -> Result<Option<(LeaseCount, Taken<'_>)>, Refusal> {
        let attachment = &self.handle.attachment;
        match LeaseCount::with(attachment, || self.take_one()) {
            Ok(leased) => leased,
            Err(max) => Err(self.too_many_leases(max)),
        }
    }

    #[cold]
    fn too_many_leases(&self, max: usize) -> Refusal {
        let attachment = &self.handle.attachment;
        let segment = attachment.segment();
        if segment.lifecycle().load().has_ended() {
            match self.batches.are_closed(attachment) {
                Ok(true) => return Refusal::Closed,
                Ok(false) => {}
                Err(corrupt) => return corrupt.into(),
            }
        }
        // A wake that this wait may have been given is for whoever can take the message (PARK-4).
        segment.items().pass_on_wake(|word| segment.wake(word, 1));
        Refusal::TooManyLeases { max }
    }

    #[inline(always)]
    fn sort(&self, received: Result<Receive, Corrupt>) -> Result<Option<Taken<'_>>, Refusal> {
        let attachment = &self.handle.attachment;
        match received? {
            Receive::Message(block) => {
                let held = Held::new(attachment, block);
                if !held.is_batch() {
                    return Ok(Some(Taken::Block(held)));
                }
                Ok(self.batches.admit(attachment, held)?.map(Taken::Part))
            }
            Receive::Empty => Ok(None),
            Receive::Closed => Ok(self.batches.at_the_end(attachment)?.map(Taken::Part)),
        }
    }

    /// One look: at the batches that are here, then into the queue.
    #[inline(always)]
    pub(super) fn take_one(&self) -> Result<Option<Taken<'_>>, Refusal> {
        let attachment = &*self.handle.attachment;
        let segment = attachment.segment();
        if self.batches.any()
            && let Some(part) = self.batches.next(segment)?
        {
            return Ok(Some(Taken::Part(part)));
        }
        self.sort(receive::receive(segment, attachment.row()))
    }

    fn take_patiently<P: WaitPolicy>(
        &self,
        patience: &P,
    ) -> Result<Taken<'_>, Failure<P::Stop, Refusal>> {
        match self.take_one()? {
            Some(taken) => Ok(taken),
            None => self.wait_for_messages(|| self.take_one(), patience),
        }
    }

    /// The message that a first attempt has given, or that later ones will.
    #[inline]
    fn take_after<P: WaitPolicy>(
        &self,
        first: Result<Receive, Corrupt>,
        patience: &P,
    ) -> Result<Taken<'_>, Failure<P::Stop, Refusal>> {
        match self.sort(first)? {
            Some(taken) => Ok(taken),
            None => self.wait_for_messages(|| self.take_one(), patience),
        }
    }

    /// The messages of the queue, waiting for each, until it is closed and drained.
    ///
    /// Errors other than `Closed` come out as items. The iteration goes on after them, but for `Corrupt` and
    /// `Forked`, after which it ends.
    pub fn iter(&self) -> Iter<'_, T, C> {
        Iter {
            receiver: self,
            over: false,
        }
    }

    /// The messages that there are now.
    ///
    /// Errors other than `Empty` and `Closed` come out as items. The iteration goes on after them, but for
    /// `Corrupt` and `Forked`, after which it ends.
    pub fn try_iter(&self) -> TryIter<'_, T, C> {
        TryIter {
            receiver: self,
            over: false,
        }
    }

    /// The dead letters of the queue as it is now, oldest first, to be looked at and discarded.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = workring::Options::new(4).max_deliveries(1).channel::<u32>()?;
    /// tx.send(7)?;
    /// rx.lease()?.nack(); // the only attempt
    /// for letter in rx.dead_letters() {
    ///     assert_eq!((letter.decode()?, letter.deliveries()), (7, 1));
    ///     letter.discard();
    /// }
    /// assert!(rx.dead_letters().next().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters<T, C> {
        DeadLetters::new(&self.handle.attachment)
    }

    /// Whether no message is waiting: [`len`](Receiver::len) is 0, and this receiver has handed out all of the
    /// batches that it has taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.handle.count_look();
        self.has_nothing()
    }

    pub(super) fn has_nothing(&self) -> bool {
        self.handle.len() == 0 && self.batches.is_empty()
    }
}

impl<T, C: Codec<T>> Clone for Receiver<T, C> {
    fn clone(&self) -> Self {
        Self::with(self.handle.clone())
    }
}

impl<T, C: Codec<T>> fmt::Debug for Receiver<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.handle.len())
            .field("capacity", &self.capacity())
            .field("is_closed", &self.handle.is_closed())
            .finish_non_exhaustive()
    }
}

impl<T, C: Codec<T>> End for Receiver<T, C> {}

impl<T, C: Codec<T>> sealed::End for Receiver<T, C> {
    const ROLE: EndRole = EndRole(Role::Receiver);
    fn type_name() -> &'static str {
        core::any::type_name::<T>()
    }
    fn codec_name() -> &'static str {
        C::NAME
    }
    fn handle(&self) -> AnyHandle<'_> {
        AnyHandle(&self.handle)
    }
    fn from_attachment(AnyAttachment(attachment): AnyAttachment) -> Self {
        Self::counted(Arc::new(attachment))
    }
}

/// Waits for each message. Made by [`Receiver::iter`].
#[must_use = "iterators do nothing unless consumed"]
pub struct Iter<'a, T, C: Codec<T> = Bincode> {
    receiver: &'a Receiver<T, C>,
    over: bool,
}

/// Gives the messages that there are. Made by [`Receiver::try_iter`].
#[must_use = "iterators do nothing unless consumed"]
pub struct TryIter<'a, T, C: Codec<T> = Bincode> {
    receiver: &'a Receiver<T, C>,
    over: bool,
}

/// Waits for each message, and owns the receiver.
#[must_use = "iterators do nothing unless consumed"]
pub struct IntoIter<T, C: Codec<T> = Bincode> {
    receiver: Receiver<T, C>,
    over: bool,
}

/// The next item of an iteration that waits, which ends for good with `Closed`, and after `Corrupt` and
/// `Forked`.
fn next_of<T, C: Codec<T>>(
    receiver: &Receiver<T, C>,
    over: &mut bool,
) -> Option<Result<T, RecvError>> {
    if *over {
        return None;
    }
    let item = receiver.recv();
    *over = matches!(item, Err(RecvError::Corrupt { .. } | RecvError::Forked));
    if matches!(item, Err(RecvError::Closed)) {
        None
    } else {
        Some(item)
    }
}

impl<T, C: Codec<T>> Iterator for Iter<'_, T, C> {
    type Item = Result<T, RecvError>;
    fn next(&mut self) -> Option<Self::Item> {
        next_of(self.receiver, &mut self.over)
    }
}

impl<T, C: Codec<T>> Iterator for TryIter<'_, T, C> {
    type Item = Result<T, TryRecvError>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let received = self.receiver.try_recv();
        self.over = matches!(
            received,
            Err(TryRecvError::Corrupt { .. } | TryRecvError::Forked)
        );
        if matches!(received, Err(TryRecvError::Closed | TryRecvError::Empty)) {
            None
        } else {
            Some(received)
        }
    }
}

impl<T, C: Codec<T>> Iterator for IntoIter<T, C> {
    type Item = Result<T, RecvError>;
    fn next(&mut self) -> Option<Self::Item> {
        next_of(&self.receiver, &mut self.over)
    }
}

impl<'a, T, C: Codec<T>> IntoIterator for &'a Receiver<T, C> {
    type Item = Result<T, RecvError>;
    type IntoIter = Iter<'a, T, C>;
    fn into_iter(self) -> Iter<'a, T, C> {
        self.iter()
    }
}

impl<T, C: Codec<T>> IntoIterator for Receiver<T, C> {
    type Item = Result<T, RecvError>;
    type IntoIter = IntoIter<T, C>;
    fn into_iter(self) -> IntoIter<T, C> {
        IntoIter {
            receiver: self,
            over: false,
        }
    }
}

impl<T, C: Codec<T>> fmt::Debug for Iter<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Iter").field(self.receiver).finish()
    }
}

impl<T, C: Codec<T>> fmt::Debug for TryIter<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryIter").field(self.receiver).finish()
    }
}

impl<T, C: Codec<T>> fmt::Debug for IntoIter<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntoIter").field(&self.receiver).finish()
    }
}
