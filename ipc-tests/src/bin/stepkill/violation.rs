//! What must never happen.

/// A kind of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// The other processes cannot go on, or the queue does something wrong that is none of the other kinds.
    Wedged,
    Lost,
    Duplicated,
    Leaked,
}

/// Why a round has failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) violation: Violation,
    pub(crate) story: String,
}

impl Failure {
    pub(crate) fn new(violation: Violation, story: impl Into<String>) -> Self {
        let story = story.into();
        Self { violation, story }
    }

    pub(crate) fn wedged(story: impl Into<String>) -> Self {
        Self::new(Violation::Wedged, story)
    }
}
