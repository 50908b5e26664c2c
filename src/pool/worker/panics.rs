//! Panics in a worker: those of tasks become outcomes, with their location; others are reported to the parent.
//!
//! Where a panic ends the process, nothing is caught: see [`last_words`](super::last_words).

use super::last_words::{LastWords, PANICS_ABORT};
use crate::os::link::Link;
use crate::pool::outcome::Panic;
use crate::pool::wire::messages::{FromWorker, Level, LogRecord, truncated};
use crate::pool::wire::panics::payload_message;
use core::cell::{Cell, RefCell};
use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Arc;

thread_local! {
    /// Whether [`catch_panic`] will catch a panic of this thread.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// The last panic, which unwinds to [`catch_panic`] unless the task catches it.
    static CAUGHT: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Installs a hook that records panics that are caught, and reports all others to the parent.
///
/// Where a panic ends the process, the hook sends what catching it would have led to by the returned [`LastWords`].
pub(super) fn install(link: Arc<Link>) -> Arc<LastWords> {
    let last_words = LastWords::new(Arc::clone(&link));
    let of_hook = Arc::clone(&last_words);
    let otherwise = take_hook();
    set_hook(Box::new(move |info| {
        let panic = describe(info);
        if PANICS_ABORT && of_hook.send(&panic) {
            return;
        }
        if CATCHING.get() && !PANICS_ABORT {
            CAUGHT.set(Some(panic));
            return;
        }
        let what = format!(
            "a thread of a worker panicked at {}: {}",
            panic.place, panic.message
        );
        let log = LogRecord::of_crate(Level::Error, what);
        let _ = link.try_send(&FromWorker::Log(log).encode());
        otherwise(info);
    }));
    last_words
}

fn describe(info: &PanicHookInfo<'_>) -> Panic {
    let place = info.location().map(ToString::to_string);
    Panic {
        message: truncated(payload_message(info.payload())),
        place: place.unwrap_or_default(),
    }
}

/// Runs `act`. Returns its result or its panic.
#[inline]
pub(crate) fn catch_panic<R>(act: impl FnOnce() -> R) -> Result<R, Panic> {
    CATCHING.set(true);
    // Unwind safe: the task was moved into the closure, so a half-changed state is its own.
    let result = catch_unwind(AssertUnwindSafe(act));
    CATCHING.set(false);
    result.map_err(into_panic)
}

#[cold]
fn into_panic(payload: Box<dyn Any + Send>) -> Panic {
    let message = truncated(payload_message(payload.as_ref()));
    // The location is unknown if the task has installed a hook of its own, or goes on with another payload than that of the last
    // panic, which it has caught itself.
    let caught = CAUGHT.take().filter(|caught| caught.message == message);
    let place = caught.map(|caught| caught.place).unwrap_or_default();
    let panic = Panic { message, place };
    // Dropping the payload may panic too.
    core::mem::forget(payload);
    panic
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::resume_unwind;

    #[test]
    fn a_panic_is_caught_with_what_it_said() {
        assert_eq!(catch_panic(|| 7), Ok(7));
        let message = |panic: Result<(), Panic>| panic.expect_err("a panic").message;
        assert_eq!(message(catch_panic(|| panic!("plain"))), "plain");
        assert_eq!(message(catch_panic(|| panic!("of {}", 7))), "of 7");
        assert_eq!(
            message(catch_panic(|| std::panic::panic_any(7))),
            "(no text)"
        );
    }

    /// The task before has caught a panic itself, and this one goes on with a payload, which calls no hook.
    #[test]
    fn a_panic_that_was_caught_elsewhere_is_not_reported_for_another() {
        let earlier = |message: &str| {
            CAUGHT.set(Some(Panic {
                message: message.to_owned(),
                place: "there".to_owned(),
            }));
        };
        let resumed = |text: &'static str| {
            catch_panic(|| -> () { resume_unwind(Box::new(text)) }).expect_err("a panic")
        };
        earlier("one");
        let other = resumed("other");
        assert_eq!(
            (other.message.as_str(), other.place.as_str()),
            ("other", "")
        );
        earlier("one");
        assert_eq!(resumed("one").place, "there");
    }
}
