//! The limit on nesting, and the wrapper that carries it.

/// The number of levels that a message may have.
pub(in crate::codec) const MAX_DEPTH: u32 = 128;

/// The text of the error that the inner serializer or deserializer returns when no level may be opened.
pub(in crate::codec) const TOO_DEEP: &str = "workring: too many levels";

/// A part of serde's data model, with the number of levels that may be opened in it.
pub(in crate::codec) struct DepthLimited<I> {
    pub(super) inner: I,
    pub(super) levels: u32,
}

impl<I> DepthLimited<I> {
    /// Wraps a whole message, or what reads or writes one.
    pub(in crate::codec) const fn new(inner: I) -> Self {
        Self {
            inner,
            levels: MAX_DEPTH,
        }
    }

    /// Wraps another part at the same level.
    #[inline(always)]
    pub(super) const fn wrap<J>(&self, inner: J) -> DepthLimited<J> {
        DepthLimited {
            inner,
            levels: self.levels,
        }
    }
}
