//! What a task's function returns, as a result whose error is a [`Failure`].
//!
//! `#[task]` calls `(&&&&&Returned::new(error)).to_failure()`. The compiler takes the first of these that fits the type of
//! the error, since it tries receivers with more references first:
//!
//! | trait        | implemented for | errors                                                           |
//! |--------------|-----------------|------------------------------------------------------------------|
//! | `ViaFailure` | `&&&&Returned`  | a `Failure`, which stays as it is                                |
//! | `ViaError`   | `&&&Returned`   | an `Error`, with its sources                                     |
//! | `ViaBox`     | `&&Returned`    | what can be boxed as one: `anyhow::Error`, `String`, a boxed one |
//! | `ViaDisplay` | `&Returned`     | any that can be displayed                                        |
//! | `ViaDebug`   | `Returned`      | any other with a text for debugging, such as `()`                |

use crate::pool::failure::Failure;
use core::cell::Cell;
use core::fmt;
use std::error::Error;

/// The result of a task's function.
#[doc(hidden)]
pub trait TaskResult {
    type Output;
}

impl<O, E> TaskResult for Result<O, E> {
    type Output = O;
}

/// The error that a task's function has returned.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "only macros see it")]
pub struct Returned<E>(Cell<Option<E>>);

impl<E> Returned<E> {
    #[must_use]
    pub const fn new(error: E) -> Self {
        Self(Cell::new(Some(error)))
    }

    /// Takes the error. `to_failure` is called once.
    fn take(&self) -> E {
        self.0.take().expect("the error is converted once")
    }
}

#[doc(hidden)]
pub trait ViaFailure {
    fn to_failure(&self) -> Failure;
}

impl ViaFailure for &&&&Returned<Failure> {
    fn to_failure(&self) -> Failure {
        self.take()
    }
}

#[doc(hidden)]
pub trait ViaError {
    fn to_failure(&self) -> Failure;
}

impl<E: Error + 'static> ViaError for &&&Returned<E> {
    #[track_caller]
    fn to_failure(&self) -> Failure {
        Failure::from(self.take())
    }
}

#[doc(hidden)]
pub trait ViaBox {
    fn to_failure(&self) -> Failure;
}

impl<E: Into<Box<dyn Error + Send + Sync>>> ViaBox for &&Returned<E> {
    #[track_caller]
    fn to_failure(&self) -> Failure {
        let error: Box<dyn Error + Send + Sync> = self.take().into();
        Failure::of_error(&*error, String::new())
    }
}

#[doc(hidden)]
pub trait ViaDisplay {
    fn to_failure(&self) -> Failure;
}

impl<E: fmt::Display> ViaDisplay for &Returned<E> {
    #[track_caller]
    fn to_failure(&self) -> Failure {
        Failure::new(self.take().to_string())
    }
}

#[doc(hidden)]
pub trait ViaDebug {
    fn to_failure(&self) -> Failure;
}

impl<E: fmt::Debug> ViaDebug for Returned<E> {
    #[track_caller]
    fn to_failure(&self) -> Failure {
        Failure::new(format!("{:?}", self.take()))
    }
}
