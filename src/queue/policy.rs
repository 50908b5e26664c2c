//! How long an operation may wait, and which errors it can end with.
//!
//! | policy          | forms                       | how a wait ends       | errors of sends and receives |
//! |-----------------|-----------------------------|-----------------------|------------------------------|
//! | [`Unbounded`]   | `send`, `recv`              | interrupt             | `SendError`, `RecvError`     |
//! | [`NonBlocking`] | `try_send`, `try_recv`      | before it begins      | `TrySendError`, ...          |
//! | [`Deadline`]    | `.._timeout`, `.._deadline` | time limit, interrupt | `SendTimeoutError`, ...      |

use super::failure::{Failure, Interrupted, RecvFailure, SendFailure, WaitError, WouldBlock};
use crate::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use core::time::Duration;
use std::time::Instant;

/// How long an operation may wait.
pub(super) trait WaitPolicy {
    /// Why a wait of this kind ends without success.
    type Error;
    /// The public error of a send with this policy, which carries a `V`.
    type SendError<V>: From<(Failure<Self::Error, SendFailure>, V)>;
    /// The public error of a receive with this policy.
    type RecvError: From<Failure<Self::Error, RecvFailure>>;
    /// Whether to wait at all.
    const WAITS: bool;
    fn deadline(&self) -> Option<Instant>;
    fn error(reason: WaitError) -> Self::Error;
}

/// Do not wait.
pub(super) struct NonBlocking;

impl WaitPolicy for NonBlocking {
    type Error = WouldBlock;
    type SendError<V> = TrySendError<V>;
    type RecvError = TryRecvError;
    const WAITS: bool = false;
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn error(_: WaitError) -> WouldBlock {
        WouldBlock
    }
}

/// Wait until the operation succeeds or fails, or an interrupter ends the wait.
pub(super) struct Unbounded;

impl WaitPolicy for Unbounded {
    type Error = Interrupted;
    type SendError<V> = SendError<V>;
    type RecvError = RecvError;
    const WAITS: bool = true;
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn error(_: WaitError) -> Interrupted {
        Interrupted
    }
}

/// Wait until this moment at most. `None` stands for one beyond what the clock can represent.
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    pub(super) const fn at(moment: Instant) -> Self {
        Self(Some(moment))
    }
}

impl WaitPolicy for Deadline {
    type Error = WaitError;
    type SendError<V> = SendTimeoutError<V>;
    type RecvError = RecvTimeoutError;
    const WAITS: bool = true;
    fn deadline(&self) -> Option<Instant> {
        self.0
    }
    fn error(reason: WaitError) -> WaitError {
        reason
    }
}
