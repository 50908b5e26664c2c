//! Catches panics of user code and extracts their messages.

use super::messages::truncated;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) fn payload_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no text)").to_owned()
}

/// Runs `act`, which is user code. Returns its result, or the message of its panic.
///
/// For processes without a hook of this crate: the program's own hook has reported the panic and its location.
#[inline]
pub(crate) fn catch_panic_message<R>(act: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(into_message)
}

#[cold]
fn into_message(payload: Box<dyn Any + Send>) -> String {
    let message = truncated(payload_message(payload.as_ref()));
    // The `Drop` of the payload may panic too.
    core::mem::forget(payload);
    message
}
