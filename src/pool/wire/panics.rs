//! Panics of the program's own code, caught and put into words.

use super::messages::truncated;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) fn payload_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no text)").to_owned()
}

/// What `act`, which is the user's code, returns; or what the panic said that it ended with.
///
/// For processes without the hook of [`install`]: the program's own hook has reported the panic with its place.
pub(crate) fn catch_panic_message<R>(act: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|payload| {
        let said = truncated(payload_message(payload.as_ref()));
        // Its `Drop` may panic in turn.
        core::mem::forget(payload);
        said
    })
}
