//! How long an operation may wait, and which errors it can end with.
//!
//! | policy          | forms                       | how a wait ends       | errors of sends and receives |
//! |-----------------|-----------------------------|-----------------------|------------------------------|
//! | [`Unbounded`]   | `send`, `recv`              | interrupt             | `SendError`, `RecvError`     |
//! | [`NonBlocking`] | `try_send`, `try_recv`      | before it begins      | `TrySendError`, ...          |
//! | `Polled`        | futures                     | before it begins      | `SendError`, `RecvError`     |
//! | [`Deadline`]    | `.._timeout`, `.._deadline` | time limit, interrupt | `SendTimeoutError`, ...      |

use super::failure::{Failure, Interrupted, RecvFailure, SendFailure, WaitError, WouldBlock};
#[cfg(feature = "async")]
use super::reactor::Word;
use crate::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
#[cfg(feature = "async")]
use core::cell::Cell;
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
    /// Notes that the operation is about to wait for this word.
    #[cfg(feature = "async")]
    fn note_word(&self, _: Word) {}
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

/// Do not wait; a future that does wait then asks for the word to wait for.
#[cfg(feature = "async")]
pub(super) struct Polled(Cell<Word>);

#[cfg(feature = "async")]
impl Polled {
    pub(super) const fn new() -> Self {
        Self(Cell::new(Word::Items))
    }

    /// Returns the word that the operation would have had to wait for.
    pub(super) fn word(&self) -> Word {
        self.0.get()
    }
}

#[cfg(feature = "async")]
impl WaitPolicy for Polled {
    type Error = WouldBlock;
    type SendError<V> = (Failure<WouldBlock, SendFailure>, V);
    type RecvError = Failure<WouldBlock, RecvFailure>;
    const WAITS: bool = false;
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn error(_: WaitError) -> WouldBlock {
        WouldBlock
    }
    fn note_word(&self, word: Word) {
        self.0.set(word);
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
