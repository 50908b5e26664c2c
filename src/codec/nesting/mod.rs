//! Limits how deep a message may nest, so that decoding it, or dropping it, cannot overflow a thread's stack.
//!
//! [`DepthLimited`] wraps each part of serde's data model in turn: in [`serialize`] a serializer and the values given
//! to it; in [`deserialize`] a deserializer, and the visitors, accesses and seeds between it and the type. It passes
//! every call on, together with the number of levels that may still be opened, and returns an error when there is none.
//!
//! `Some`, a newtype, a tuple, a struct, an enum variant with content, a list and a map each open a level. Both sides
//! count alike, so that what was encoded can be decoded.
//!
//! The number is passed by value and every function is inlined. For a type that does not contain itself, the compiler
//! knows the number at each level, and removes the checks.

mod deserialize;
mod limit;
mod serialize;

pub(super) use deserialize::WithinDepth;
pub(super) use limit::{DepthLimited, MAX_DEPTH, TOO_DEEP};

#[cfg(test)]
mod tests;
