//! Sweeps: to look after the others, so that nobody has to be told that a process has died.
//!
//! Whoever sleeps looks around when its slice ends, and whoever is busy does so once in a thousand messages, but
//! only one process in a slice: they share the moment when the next sweep is due. A stamp that is further away
//! than a slice is nonsense (it is that of a process in another time namespace) and counts as passed.
//!
//! A sweep asks of every peer whether it is dead ([`crate::os::liveness`]), and of one in turn thoroughly.
//! Nothing else starts a recovery, and no lapse of time is ever taken for a death.

use super::Segment;
use crate::announce::{Importance, say};
use crate::mutants::{Mutant, active};
use crate::os::clock;
use crate::os::liveness::{Judge, Verdict};
use crate::os::process::Identity;
use crate::protocol::Words;
use crate::protocol::operations::recover::{self, Deceased, Recovery, Repairs};
#[cfg(feature = "tracing")]
use crate::protocol::peers::Role;
use crate::protocol::peers::{PeerRow, Row, Tenancy, Tenant};
use crate::sync::{AtomicBool, Ordering};
use core::time::Duration;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Who looks around in this process, and what it has said already.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    /// The row of this process, which is not to be judged, and its namespaces. Unset: it has no row yet.
    me: OnceLock<(Row, Identity)>,
    /// Peers without a lock that were reported.
    alarms: Mutex<BTreeSet<(u16, u64)>>,
    lost: AtomicBool,
}

/// How much time a process has that looks around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leisure {
    /// It has work to do.
    Busy,
    /// It would sleep otherwise: there is time to look at every block.
    Idle,
}

impl Segment {
    /// From now on this process is the tenant of `row`, and can look after others.
    pub(crate) fn move_in(&self, row: Row, identity: Identity) {
        let _ = self.lookout.me.set((row, identity));
    }

    /// The row of this process, once it has one.
    fn my_row(&self) -> Option<Row> {
        self.lookout.me.get().map(|&(row, _)| row)
    }

    /// What an idle process does: see [`recover::tidy_blocks`].
    pub(crate) fn tidy_blocks(&self) {
        if let Some(me) = self.my_row() {
            recover::tidy_blocks(self, me);
        }
    }

    /// How long a process may sleep before the next sweep is due.
    pub(crate) fn until_sweep(&self) -> Duration {
        self.time_left(clock::now())
            .map_or(Duration::ZERO, Duration::from_nanos)
    }

    /// Nanoseconds until the next sweep; `None` if it is due.
    fn time_left(&self, now: u64) -> Option<u64> {
        let due = self.shared().sweeps.due.load(Ordering::Relaxed);
        due.checked_sub(now)
            .filter(|&left| left > 0 && left <= self.slice())
    }

    fn slice(&self) -> u64 {
        u64::try_from(self.settings().slice.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Look after everybody, unless somebody has done so within a slice.
    #[cold]
    pub(crate) fn sweep_if_due(&self, leisure: Leisure) {
        let now = match leisure {
            Leisure::Busy => clock::about_now(),
            Leisure::Idle => clock::now(),
        };
        if self.time_left(now).is_some() || active(Mutant::SweepNeverDue) {
            return;
        }
        let due = &self.shared().sweeps.due;
        let seen = due.load(Ordering::Relaxed);
        let next = now.saturating_add(self.slice());
        // Exactly one of those who find it due. If that one dies, the next is due in a slice all the same.
        if due
            .compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            self.sweep(leisure);
        }
    }

    /// Look after everybody now.
    #[cold]
    pub(crate) fn sweep(&self, leisure: Leisure) {
        let Some(judge) = self.judge() else {
            return;
        };
        // Corrupt memory is reported by the operations that meet it; here nobody listens.
        let _ = recover::tidy(self);
        if leisure == Leisure::Idle {
            self.tidy_blocks();
        }
        let others = self.others();
        let turn = self.shared().sweeps.cursor.fetch_add(1, Ordering::Relaxed);
        let turn = turn.checked_rem(others.len() as u64);
        for (number, (row, word, tenant)) in (0..).zip(others) {
            self.look_after(&judge, row, word, tenant, Some(number) == turn);
        }
    }

    /// The process of this id has ended, says somebody who should know: look whether it was attached, or was to
    /// attach. A mere hint; the verdict is as in every sweep.
    pub(crate) fn look_after_process(&self, process_id: u32) {
        let Some(judge) = self.judge() else {
            return;
        };
        for (row, word, tenant) in self.others() {
            let said = identity_in(word, tenant);
            if said.is_none_or(|identity| identity.process_id() == process_id) {
                self.look_after(&judge, row, word, tenant, true);
            }
        }
        // It may have died between giving up its role, or its row, and ending the side that it was the last of:
        // then nothing names it any more.
        let _ = recover::tidy(self);
    }

    /// As [`Segment::sweep`], by a process that has no row yet: to free those of the dead. It can't drop some of the
    /// dead letters of a pack, which is for [`Segment::tidy_blocks`] once it has one. True if anybody was recovered
    /// meanwhile.
    pub(crate) fn sweep_as_guest(&self, me: &Identity) -> bool {
        let before = self.recovered();
        let Some(judge) = Judge::new(&self.file, self.file_id, me) else {
            return false;
        };
        for (row, word, tenant) in self.others() {
            self.look_after(&judge, row, word, tenant, true);
        }
        self.recovered() != before
    }

    /// How many peers there are that are not dead, as far as a process can tell that has no row. Repairs nothing.
    pub(crate) fn count_living(&self, me: &Identity) -> usize {
        let others = self.others();
        let Some(judge) = Judge::new(&self.file, self.file_id, me) else {
            return others.len();
        };
        let living = others.iter().filter(|&&(row, word, tenant)| {
            let said = identity_in(word, tenant);
            let verdict = judge.verdict(self.lock_byte(row, tenant), said, true);
            // Without a verdict it counts as alive, and so does one that has said who it is only meanwhile.
            !matches!(verdict, Ok(Verdict::Dead)) || identity_in(word, tenant) != said
        });
        living.count()
    }

    /// The tenants of all rows but this process's own.
    fn others(&self) -> Vec<(Row, &PeerRow, Tenant)> {
        let me = self.my_row();
        let rows = (0..self.row_count()).filter_map(Row::new);
        rows.filter(|&row| Some(row) != me)
            .filter_map(|row| {
                let word = self.row(row)?;
                let tenant = word.load();
                let taken = matches!(tenant.tenancy(), Some(Tenancy::Ticket | Tenancy::Live));
                taken.then_some((row, word, tenant))
            })
            .collect()
    }

    /// `None`: this process can't tell who lives, for it is not attached, or has lost its own descriptor.
    fn judge(&self) -> Option<Judge<'_>> {
        let (row, me) = self.lookout.me.get()?;
        let judge = Judge::new(&self.file, self.file_id, me);
        if judge.is_none() && !self.lookout.lost.swap(true, Ordering::Relaxed) {
            let (row, process_id) = (*row, me.process_id());
            soon(move || alarm(row, process_id));
        }
        judge
    }

    /// Whether the tenant of a row has its lock, as far as this process can tell.
    pub(crate) fn is_locked(&self, row: Row, tenant: Tenant) -> Option<bool> {
        let judge = self.judge()?;
        if self.lookout.me.get().is_some_and(|&(me, _)| me == row) {
            // A lock does not conflict with itself; but the descriptor that has it is still there.
            return Some(true);
        }
        judge.is_locked(self.lock_byte(row, tenant)).ok()
    }

    /// The byte that the tenant of a row has locked while it lives.
    pub(crate) fn lock_byte(&self, row: Row, tenant: Tenant) -> u64 {
        self.geometry.lock_byte(row, tenant.incarnation().get())
    }

    fn look_after(
        &self,
        judge: &Judge<'_>,
        row: Row,
        word: &PeerRow,
        tenant: Tenant,
        thorough: bool,
    ) {
        let said = identity_in(word, tenant);
        match judge.verdict(self.lock_byte(row, tenant), said, thorough) {
            // What it has said since was not judged.
            Ok(Verdict::Dead) if identity_in(word, tenant) == said => {
                self.recover(row, word, tenant);
            }
            Ok(Verdict::Unlocked) => {
                let (number, incarnation) = (row.get(), tenant.incarnation().get());
                if self.lookout.alarms.lock().insert((number, incarnation)) {
                    let process_id = word.process_id();
                    soon(move || alarm(row, process_id));
                }
            }
            // Whoever can't be judged now is judged again in the next sweep.
            Ok(Verdict::Alive | Verdict::Dead) | Err(_) => {}
        }
    }

    fn recover(&self, row: Row, word: &PeerRow, judged: Tenant) {
        let Some(dead) = Deceased::of(self, row, judged) else {
            return;
        };
        let process_id = identity_in(word, judged).map_or(0, |identity| identity.process_id());
        if let Ok(Recovery::Done(repairs)) = recover::recover(self, self.my_row(), &dead) {
            self.shared()
                .sweeps
                .recovered
                .fetch_add(1, Ordering::Relaxed);
            word.note_death(process_id, clock::wall());
            let tenant = dead.tenant();
            soon(move || report(row, process_id, tenant, &repairs));
        }
    }

    /// How many dead processes were recovered since the queue was made.
    pub(crate) fn recovered(&self) -> u64 {
        self.shared().sweeps.recovered.load(Ordering::Relaxed)
    }
}

/// Who the tenant of a row says it is. Of a ticket, nothing: what stands in its row may be of somebody who only
/// tried to use it, so that it is judged by its lock alone.
fn identity_in(word: &PeerRow, tenant: Tenant) -> Option<Identity> {
    if tenant.tenancy() != Some(Tenancy::Live) {
        return None;
    }
    let (process, pid_namespace, time_namespace) = word.identity()?;
    Some(Identity {
        process,
        pid_namespace,
        time_namespace,
    })
}

/// Calls the subscriber, where this thread's events go: see [`crate::announce`].
fn soon(tell: impl FnOnce() + Send + 'static) {
    say(Importance::Life, Box::new(tell));
}

#[cfg(feature = "tracing")]
fn report(row: Row, process_id: u32, tenant: Tenant, repairs: &Repairs) {
    if tenant.tenancy() == Some(Tenancy::Ticket) {
        tracing::info!(
            target: "workring",
            row = row.get(),
            "a process that was given a queue ended before it took it over; its place is free again"
        );
        return;
    }
    tracing::warn!(
        target: "workring",
        pid = (process_id != 0).then_some(process_id),
        row = row.get(),
        sends = tenant.counts_as(Role::Sender),
        receives = tenant.counts_as(Role::Receiver),
        returned = repairs.returned,
        dead_letters = repairs.dead_letters,
        discarded = repairs.discarded,
        put_back = repairs.put_back,
        withdrawn = repairs.withdrawn,
        "a process died while it was attached to a queue; what it left is repaired"
    );
}

#[cfg(not(feature = "tracing"))]
fn report(_: Row, _: u32, _: Tenant, _: &Repairs) {}

/// Somebody in the process has closed all descriptors, its lock's included.
#[cfg(feature = "tracing")]
fn alarm(row: Row, process_id: u32) {
    tracing::error!(
        target: "workring",
        pid = process_id,
        row = row.get(),
        "a process lives and uses a queue, but has lost its lock: did it close all descriptors?"
    );
}

#[cfg(not(feature = "tracing"))]
fn alarm(_: Row, _: u32) {}
