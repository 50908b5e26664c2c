//! What a storm has counted, and its violations.

use std::fmt::{self, Display};

/// The counts of one round, or of several.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) kills: u64,
    pub(crate) accepted: u64,
    pub(crate) acknowledged: u64,
    pub(crate) dead_letters: u64,
    /// Received by the parent at the end.
    pub(crate) queued: u64,
    /// Being sent or acknowledged by a process when it was killed.
    pub(crate) uncertain: u64,
    /// Of the uncertain ones, those found in no other place: their last holder has acknowledged them.
    pub(crate) acknowledged_by_killed: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) leaked: u64,
    pub(crate) violations: Vec<String>,
    /// The seed of the last round: the one with the violations, if there are any.
    pub(crate) seed: u64,
}

impl Totals {
    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.accepted += other.accepted;
        self.acknowledged += other.acknowledged;
        self.dead_letters += other.dead_letters;
        self.queued += other.queued;
        self.uncertain += other.uncertain;
        self.acknowledged_by_killed += other.acknowledged_by_killed;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.leaked += other.leaked;
        self.violations.extend(other.violations);
    }
}

impl Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "storm: {} kills, {} accepted, {} acknowledged, {} dead letters, {} queued, {} uncertain, {} lost, \
             {} duplicated, {} leaked",
            self.kills,
            self.accepted,
            self.acknowledged,
            self.dead_letters,
            self.queued,
            self.uncertain,
            self.lost,
            self.duplicated,
            self.leaked
        )
    }
}
