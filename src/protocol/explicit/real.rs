//! stub
use super::process::{Call, Outcome};
use super::state::Run;
pub(super) fn perform(_run: Run, _call: Call) -> (Run, Option<Outcome>) {
    unimplemented!()
}
