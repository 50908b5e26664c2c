//! The changes of the workers that are under way, for [`super::rollout`].

use std::sync::mpsc::Sender;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Rollouts {
    /// The generation of workers that are started now.
    pub(super) generation: u64,
    /// Whether the number of workers may be another than was asked for.
    pub(super) is_resizing: bool,
    pub(super) waiting: Vec<Waiting>,
}

/// A caller that may wait for the end of a change.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) generation: u64,
    pub(super) done: Sender<()>,
}
