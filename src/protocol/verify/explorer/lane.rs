//! Futures: what the threads of one process share, outside the queue's memory. It is `queue::reactor::lane` with one seat,
//! and each field changes as it does there.
//!
//! Each thread of a process with futures is a process of the explorer: one for each future and the task that polls it, and
//! one for the reactor. They die together.
//!
//! The lane's lock is not in the state. [`Call::Dismiss`](super::call::Call::Dismiss) and
//! [`Call::Attend`](super::call::Call::Attend) hold it from their first access to their end, and while one thread is in the
//! middle of such a call, no other begins a call that takes the lock. All other calls take it for one access.
//!
//! A task is called in the same step in which it leaves the line: from then on it can do its next step at any time. Those
//! in line have no order: one is called, whichever it is. So what is shown holds for every order.

/// What the threads of one process share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    /// The futures in line, a bit for each process.
    pub(super) line: u8,
    /// Those of them that were called, and have come again: they still have the baton (REACTOR-4).
    pub(super) was_woken: u8,
    /// The value of the parking word with which the reactor sleeps on it.
    pub(super) key: Option<u64>,
    /// Whether the reactor sleeps, or is about to.
    pub(super) is_asleep: bool,
}

/// What a look at the queue has found for those in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    One,
    All,
}

/// An access to the lane, under its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneAccess {
    /// A future takes its place in line, or keeps it; `is_again`: it had one before. Kicks the reactor, if that sleeps and
    /// has no key.
    Admit { is_again: bool },
    /// A task stops until it is called. It goes on at once if it was called since it came into line.
    Stop,
    /// A future leaves the line. Gives 1 if it has the baton.
    Leave,
    /// Calls futures in line. Gives their number.
    Call(Found),
    /// The reactor is awake. Gives what it finds, as [`LaneSeen`] has it.
    Begin,
    /// The reactor sets its key and calls futures. If it has called none, it is about to sleep. Gives their number.
    End(Option<u64>, Found),
    /// The reactor sleeps, unless it was kicked, or the parking word has changed.
    Sleep,
}

impl LaneAccess {
    /// Returns whether a call begins with this, and takes the lock.
    pub(super) const fn begins(self) -> bool {
        matches!(self, Self::Admit { .. } | Self::Leave | Self::Begin)
    }

    /// Returns whether the moment of the access makes no difference, so that it is done together with the one before or after
    /// it. Nothing but accesses that have this too touches the lane while another thread has the lock; and a task that stops
    /// is called then, or is not in line any more.
    pub(super) const fn is_independent(self) -> bool {
        !matches!(self, Self::Admit { .. } | Self::Sleep)
    }
}

/// What the reactor finds in its lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneSeen {
    pub(super) has_line: bool,
    pub(super) key: Option<u64>,
}

impl LaneSeen {
    pub(super) fn from_bits(bits: u64) -> Self {
        Self {
            has_line: bits & 1 != 0,
            key: (bits >> 1).checked_sub(1),
        }
    }
}

impl Lane {
    /// Returns what [`LaneSeen::from_bits`] takes.
    pub(super) fn seen(&self) -> u64 {
        self.key.map_or(0, |key| key + 1) << 1 | u64::from(self.line != 0)
    }

    /// Returns whether the process of this bit is in line.
    pub(super) fn has_in_line(&self, bit: u8) -> bool {
        self.line & bit != 0
    }

    /// Puts a future into the line. Returns whether the reactor was kicked.
    pub(super) fn admit(&mut self, bit: u8, is_again: bool) -> bool {
        if !self.has_in_line(bit) {
            self.line |= bit;
            self.was_woken |= if is_again { bit } else { 0 };
        }
        let is_kicked = self.is_asleep && self.key.is_none();
        self.is_asleep &= !is_kicked;
        is_kicked
    }

    /// Removes a future from the line. Returns whether it has the baton.
    pub(super) fn leave(&mut self, bit: u8) -> bool {
        let has_baton = !self.has_in_line(bit) || self.was_woken & bit != 0;
        self.line &= !bit;
        self.was_woken &= !bit;
        has_baton
    }
}
