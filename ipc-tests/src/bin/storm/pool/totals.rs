//! What a storm over pools has counted, and its violations.

use std::fmt::{self, Display};

/// The counts of one round, or of several.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) kills: u64,
    pub(super) parents: u64,
    /// Parents that were killed while their pool ran.
    pub(super) parents_killed: u64,
    /// Pools that could not be started, because their workers were killed at once.
    pub(super) never_started: u64,
    pub(super) accepted: u64,
    pub(super) completed: u64,
    /// Tasks whose workers were killed in all permitted attempts.
    pub(super) crashed: u64,
    pub(super) cancelled: u64,
    /// Tasks accepted by a parent that was killed before it recorded their outcome.
    pub(super) abandoned: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) orphans: u64,
    pub(super) violations: Vec<String>,
}

impl Totals {
    pub(super) fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.parents += other.parents;
        self.parents_killed += other.parents_killed;
        self.never_started += other.never_started;
        self.accepted += other.accepted;
        self.completed += other.completed;
        self.crashed += other.crashed;
        self.cancelled += other.cancelled;
        self.abandoned += other.abandoned;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.orphans += other.orphans;
        self.violations.extend(other.violations);
    }
}

impl Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "storm: {} kills, {} parents, {} parents killed, {} never started, {} accepted, {} completed, {} crashed, \
             {} cancelled, {} abandoned, {} lost, {} duplicated, {} orphans",
            self.kills,
            self.parents,
            self.parents_killed,
            self.never_started,
            self.accepted,
            self.completed,
            self.crashed,
            self.cancelled,
            self.abandoned,
            self.lost,
            self.duplicated,
            self.orphans
        )
    }
}
