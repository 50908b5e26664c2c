//! Sweeps: the peers of a queue check on each other, so that no process has to be notified of a death.
//!
//! A process that sleeps sweeps when its liveness interval ends, and one that is busy as its handles' pacers say
//! (`queue::liveness`). But only one process in an interval: they share the moment when the next sweep is due. A stamp
//! that is further away than an interval is nonsense (it is that of a process in another time namespace) and counts as
//! passed.
//!
//! A sweep asks of every peer whether it is dead ([`crate::os::liveness`]), and of one in turn thoroughly.
//! Nothing else starts a recovery, and no lapse of time is ever taken for a death.
//!
//! SWEEP-1. Events are emitted when the sweep is over: the repairs of all peers that it found dead are complete, and no
//!          lock is held. A `tracing` subscriber is user code: it may panic, block, or use this very queue.
//! SWEEP-2. A process that could not judge every peer gives its turn back: the sweep stays due for the others, which may
//!          be able to. It does not try again itself before the interval is over.
//!
//! | emission                  | called by                                                    | what is in hand there     |
//! |---------------------------|--------------------------------------------------------------|---------------------------|
//! | [`Segment::sweep_if_due`] | `LivenessPacer::count`, at the start of operations           | nothing (LIVENESS-1)      |
//! | [`Segment::sweep_if_due`] | `Waiter::wait_more`, after a sleep                           | a sender's guarded block  |
//! | [`Segment::sweep_if_due`], [`Segment::sweep`] | `Attachment::make_ticket`                | nothing                   |
//! | [`Segment::sweep_before_attaching`] | `Attachment::join`, before there is a row                  | nothing                   |
//! | [`Segment::check_process`] | `report_exit`, and `Attachment::redeem`                | the new attachment, whole |

use super::Segment;
use crate::announce::{Importance, announce};
use crate::os::clock;
use crate::os::identity::Identity;
use crate::os::liveness::{Liveness, LivenessProbe};
use crate::protocol::SharedState;
use crate::protocol::ids::PeerIndex;
#[cfg(feature = "tracing")]
use crate::protocol::peers::Role;
use crate::protocol::peers::{PeerEntry, PeerKind, PeerState};
use crate::protocol::steps::recover::{self, DeadPeer, Recovery, Repairs};
use crate::protocol::steps::stalled;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Who looks around in this process, and what it has said already.
#[derive(Debug, Default)]
pub(super) struct LivenessSweeper {
    /// The row of this process, which is not to be judged, and its namespaces. Unset: it has no row yet.
    me: OnceLock<(PeerIndex, Identity)>,
    /// Peers without a lock that were reported.
    alarms: Mutex<BTreeSet<(u16, u64)>>,
    lost: AtomicBool,
    /// This process does not try to sweep before this moment, by [`clock::now`] (SWEEP-2).
    not_before: AtomicU64,
}

/// What a sweep has to report when it is over (SWEEP-1).
#[derive(Debug, Default)]
struct SweepReport {
    deaths: Vec<Death>,
    /// Peers that live, but have lost their lock: row and process id.
    alarms: Vec<(PeerIndex, u32)>,
}

#[derive(Debug)]
#[cfg_attr(
    not(feature = "tracing"),
    expect(dead_code, reason = "only events report it")
)]
struct Death {
    row: PeerIndex,
    process_id: u32,
    tenant: PeerState,
    repairs: Repairs,
}

impl SweepReport {
    /// Calls the subscriber, where this thread's events go: see [`crate::announce`].
    fn report(self) {
        for (row, process_id) in self.alarms {
            announce(
                Importance::Lifecycle,
                Box::new(move || alarm(row, process_id)),
            );
        }
        for death in self.deaths {
            announce(Importance::Lifecycle, Box::new(move || report(&death)));
        }
    }
}

/// The tenant of a row, as its word was read.
#[derive(Clone, Copy, Debug)]
struct Peer<'a> {
    row: PeerIndex,
    word: &'a PeerEntry,
    tenant: PeerState,
}

/// What a sweep looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SweepScope {
    /// The peers: for a process that has work to do.
    Peers,
    /// The peers and every block: for a process that would sleep otherwise.
    PeersAndBlocks,
}

impl Segment {
    /// From now on this process is the tenant of `row`, and can look after others.
    pub(crate) fn set_own_peer(&self, row: PeerIndex, identity: Identity) {
        let _ = self.sweeper.me.set((row, identity));
    }

    /// The row of this process, once it has one.
    fn my_row(&self) -> Option<PeerIndex> {
        self.sweeper.me.get().map(|&(row, _)| row)
    }

    /// What an idle process does: see [`stalled::finish_stalled_blocks`].
    pub(crate) fn tidy_blocks(&self) {
        if let Some(me) = self.my_row() {
            stalled::finish_stalled_blocks(self, me);
        }
    }

    /// How long a process may sleep before the next sweep is due.
    pub(crate) fn time_until_sweep(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds_until_sweep(clock::now()))
    }

    /// Nanoseconds until the next sweep is due; 0 if it is. `now` may be late by a tick of the coarse clock.
    pub(crate) fn nanoseconds_until_sweep(&self, now: u64) -> u64 {
        let due = self.shared().sweeps.due.load(Ordering::Relaxed);
        let left = due.saturating_sub(now);
        let is_nonsense = left > self.slice().saturating_add(clock::coarse_tick());
        let not_before = self.sweeper.not_before.load(Ordering::Relaxed);
        (if is_nonsense { 0 } else { left }).max(not_before.saturating_sub(now))
    }

    fn slice(&self) -> u64 {
        u64::try_from(self.settings().liveness_interval.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Look after everybody, unless somebody has done so within a slice.
    #[cold]
    pub(crate) fn sweep_if_due(&self, scope: SweepScope) {
        let now = clock::now();
        if self.nanoseconds_until_sweep(now) > 0 || mutant!(SweepNeverDue) {
            return;
        }
        let due = &self.shared().sweeps.due;
        let seen = due.load(Ordering::Relaxed);
        let next = now.saturating_add(self.slice());
        // Exactly one of those who find it due. If that one dies, the next is due in a slice all the same.
        if due
            .compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return;
        }
        let mut report = SweepReport::default();
        if !self.sweep_into(scope, &mut report) {
            // Another process may be able to tell: it is still due for everybody else (SWEEP-2).
            self.sweeper.not_before.store(next, Ordering::Relaxed);
            let _ = due.compare_exchange(next, seen, Ordering::Relaxed, Ordering::Relaxed);
        }
        report.report();
    }

    /// Look after everybody now.
    #[cold]
    pub(crate) fn sweep(&self, scope: SweepScope) {
        let mut report = SweepReport::default();
        self.sweep_into(scope, &mut report);
        report.report();
    }

    /// As [`sweep`](Self::sweep). Returns whether there is a verdict about every peer.
    fn sweep_into(&self, scope: SweepScope, report: &mut SweepReport) -> bool {
        let Some(judge) = self.judge(report) else {
            return false;
        };
        // Corrupt memory is reported by the operations that meet it; here nobody listens.
        let _ = stalled::finish_stalled(self);
        if scope == SweepScope::PeersAndBlocks {
            self.tidy_blocks();
        }
        let others = self.others();
        let turn = self.shared().sweeps.cursor.fetch_add(1, Ordering::Relaxed);
        let turn = turn.checked_rem(others.len() as u64);
        let mut all = true;
        for (number, peer) in (0..).zip(others) {
            all &= self.look_after(&judge, peer, Some(number) == turn, report);
        }
        all
    }

    /// The process of this id has ended, says somebody who should know: look whether it was attached, or was to
    /// attach. A mere hint; the verdict is as in every sweep.
    pub(crate) fn check_process(&self, process_id: u32) {
        let mut report = SweepReport::default();
        if let Some(judge) = self.judge(&mut report) {
            for peer in self.others() {
                let said = identity_in(peer.word, peer.tenant);
                if said.is_none_or(|identity| identity.process_id() == process_id) {
                    self.look_after(&judge, peer, true, &mut report);
                }
            }
            // It may have died between giving up its role, or its row, and ending the side that it was the last of:
            // then nothing names it any more.
            let _ = stalled::finish_stalled(self);
        }
        report.report();
    }

    /// As [`Segment::sweep`], by a process that has no row yet: to free those of the dead. It can't drop some of the
    /// dead letters of a batch, which is for [`Segment::tidy_blocks`] once it has one. True if anybody was recovered
    /// meanwhile.
    pub(crate) fn sweep_before_attaching(&self, me: &Identity) -> bool {
        let before = self.recovered_peers();
        let Some(judge) = LivenessProbe::new(&self.file, self.file_id, me) else {
            return false;
        };
        let mut report = SweepReport::default();
        for peer in self.others() {
            self.look_after(&judge, peer, true, &mut report);
        }
        report.report();
        self.recovered_peers() != before
    }

    /// How many peers there are that are not dead, as far as a process can tell that has no row. Repairs nothing.
    pub(crate) fn count_live_peers(&self, me: &Identity) -> usize {
        let others = self.others();
        let Some(judge) = LivenessProbe::new(&self.file, self.file_id, me) else {
            return others.len();
        };
        let living = others.iter().filter(|&&Peer { row, word, tenant }| {
            let said = identity_in(word, tenant);
            let verdict = judge.check(self.lock_byte(row, tenant), said, true);
            // Without a verdict it counts as alive, and so does one that has said who it is only meanwhile.
            !matches!(verdict, Ok(Liveness::Dead)) || identity_in(word, tenant) != said
        });
        living.count()
    }

    /// The tenants of all rows but this process's own.
    fn others(&self) -> Vec<Peer<'_>> {
        let me = self.my_row();
        let rows = (0..self.peer_count()).filter_map(PeerIndex::new);
        rows.filter(|&row| Some(row) != me)
            .filter_map(|row| {
                let word = self.peer(row)?;
                let tenant = word.load();
                let taken = matches!(tenant.kind(), Some(PeerKind::Ticket | PeerKind::Live));
                taken.then_some(Peer { row, word, tenant })
            })
            .collect()
    }

    /// `None`: this process can't tell who lives, for it is not attached, or has lost its own descriptor.
    fn judge(&self, report: &mut SweepReport) -> Option<LivenessProbe<'_>> {
        let (row, me) = self.sweeper.me.get()?;
        let judge = LivenessProbe::new(&self.file, self.file_id, me);
        if judge.is_none() && !self.sweeper.lost.swap(true, Ordering::Relaxed) {
            report.alarms.push((*row, me.process_id()));
        }
        judge
    }

    /// Whether the tenant of a row has its lock, as far as this process can tell.
    pub(crate) fn is_locked(&self, row: PeerIndex, tenant: PeerState) -> Option<bool> {
        let (my_row, me) = self.sweeper.me.get()?;
        let judge = LivenessProbe::new(&self.file, self.file_id, me)?;
        if *my_row == row {
            // A lock does not conflict with itself; but the descriptor that has it is still there.
            return Some(true);
        }
        judge.is_locked(self.lock_byte(row, tenant)).ok()
    }

    /// The byte that the tenant of a row has locked while it lives.
    pub(crate) fn lock_byte(&self, row: PeerIndex, tenant: PeerState) -> u64 {
        self.geometry.lock_byte(row, tenant.incarnation().get())
    }

    /// Returns whether there is a verdict.
    fn look_after(
        &self,
        judge: &LivenessProbe<'_>,
        peer: Peer<'_>,
        thorough: bool,
        report: &mut SweepReport,
    ) -> bool {
        let Peer { row, word, tenant } = peer;
        let said = identity_in(word, tenant);
        match judge.check(self.lock_byte(row, tenant), said, thorough) {
            // What it has said since was not judged.
            Ok(Liveness::Dead) if identity_in(word, tenant) == said => {
                report.deaths.extend(self.recover(row, word, tenant));
                true
            }
            Ok(Liveness::Unlocked) => {
                let (number, incarnation) = (row.get(), tenant.incarnation().get());
                let is_new = self.sweeper.alarms.lock().insert((number, incarnation));
                if is_new {
                    report.alarms.push((row, word.process_id()));
                }
                true
            }
            Ok(Liveness::Alive | Liveness::Dead) => true,
            // It is judged again in the next sweep.
            Err(_) => false,
        }
    }

    fn recover(&self, row: PeerIndex, word: &PeerEntry, judged: PeerState) -> Option<Death> {
        let dead = DeadPeer::of(self, row, judged)?;
        let process_id = identity_in(word, judged).map_or(0, |identity| identity.process_id());
        let Ok(Recovery::Done(repairs)) = recover::recover(self, self.my_row(), &dead) else {
            return None;
        };
        self.shared()
            .sweeps
            .recovered
            .fetch_add(1, Ordering::Relaxed);
        word.record_death(process_id, clock::unix_millis());
        Some(Death {
            row,
            process_id,
            tenant: dead.state(),
            repairs,
        })
    }

    /// How many dead processes were recovered since the queue was made.
    pub(crate) fn recovered_peers(&self) -> u64 {
        self.shared().sweeps.recovered.load(Ordering::Relaxed)
    }
}

/// Who the tenant of a row says it is. Of a ticket, nothing: what stands in its row may be of somebody who only
/// tried to use it, so that it is judged by its lock alone.
fn identity_in(word: &PeerEntry, tenant: PeerState) -> Option<Identity> {
    if tenant.kind() != Some(PeerKind::Live) {
        return None;
    }
    let tag = word.identity()?;
    Some(Identity {
        process: tag.process,
        pid_namespace: tag.pid_namespace,
        time_namespace: tag.time_namespace,
        image: tag.image,
    })
}

#[cfg(feature = "tracing")]
fn report(death: &Death) {
    let Death {
        row,
        process_id,
        tenant,
        repairs,
    } = death;
    if tenant.kind() == Some(PeerKind::Ticket) {
        tracing::info!(
            target: "workring",
            row = row.get(),
            "a process that was given a queue ended before it took it over; its place is free again"
        );
        return;
    }
    tracing::warn!(
        target: "workring",
        pid = (*process_id != 0).then_some(*process_id),
        row = row.get(),
        sends = tenant.has_role(Role::Sender),
        receives = tenant.has_role(Role::Receiver),
        returned = repairs.returned,
        dead_letters = repairs.dead_letters,
        discarded = repairs.discarded,
        put_back = repairs.put_back,
        withdrawn = repairs.withdrawn,
        "a process died while it was attached to a queue; what it left is repaired"
    );
}

#[cfg(not(feature = "tracing"))]
fn report(_: &Death) {}

/// Somebody in the process has closed all descriptors, its lock's included.
#[cfg(feature = "tracing")]
fn alarm(row: PeerIndex, process_id: u32) {
    tracing::error!(
        target: "workring",
        pid = process_id,
        row = row.get(),
        "a process lives and uses a queue, but has lost its lock: did it close all descriptors?"
    );
}

#[cfg(not(feature = "tracing"))]
fn alarm(_: PeerIndex, _: u32) {}
