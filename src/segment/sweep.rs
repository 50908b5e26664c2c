//! Sweeps: the peers of a queue check on each other, so that no process has to be notified of a death.
//!
//! A process that sleeps sweeps when its liveness interval ends, and a busy one when the pacers of its handles say so
//! (`queue::liveness`). But only one process in an interval does: all share the time when the next sweep is due. A due
//! time that is further away than an interval is not credible (it was written by a process in another time namespace)
//! and counts as passed.
//!
//! A sweep asks the kernel about every peer whether it is dead ([`crate::os::liveness`]), and checks one of them, each
//! in turn, thoroughly. Nothing else starts a recovery, and no lapse of time is ever taken for a death.
//!
//! SWEEP-1. Events are emitted when the sweep is over: all peers that it found dead are recovered, and no lock is held.
//!          A `tracing` subscriber is user code: it may panic, block, or use this very queue.
//! SWEEP-2. A process that could not check every peer gives its turn back: the sweep stays due for other processes,
//!          which may be able to. It does not try again itself before the interval is over.
//! SWEEP-3. Every event is emitted even if the subscriber panics on an earlier one. The first panic then reaches the
//!          caller.
//!
//! | emission                            | called by                                     | in hand at that moment    |
//! |-------------------------------------|-----------------------------------------------|---------------------------|
//! | [`Segment::sweep_if_due`]           | `LivenessPacer::count`, as operations start   | nothing (LIVENESS-1)      |
//! | [`Segment::sweep_if_due`]           | `Waiter::wait_more`, after a sleep            | a sender's guarded block  |
//! | [`Segment::sweep`], `sweep_if_due`  | `Attachment::make_ticket`                     | nothing                   |
//! | [`Segment::sweep_before_attaching`] | `Attachment::join`, without a peer entry yet  | nothing                   |
//! | [`Segment::check_process`]          | `report_exit`, `Attachment::redeem`           | the new attachment, whole |
//!
//! Crash: a process that dies in a sweep has postponed the next one by an interval, no more. What it had begun to
//! recover, the next sweep finishes (RECOVER-1).

use super::mapped::Segment;
use super::sweep_report::{Death, SweepReport};
use crate::os::clock;
use crate::os::identity::Identity;
use crate::os::liveness::{Liveness, LivenessProbe};
use crate::protocol::SharedState;
use crate::protocol::ids::PeerIndex;
use crate::protocol::peers::{PeerEntry, PeerKind, PeerState};
use crate::protocol::steps::recover::{self, DeadPeer, Recovery};
use crate::protocol::steps::stalled;
use crate::sync::Ordering;
use core::time::Duration;

/// A peer entry that is not free, and its state as it was read.
#[derive(Clone, Copy, Debug)]
struct Peer<'a> {
    index: PeerIndex,
    entry: &'a PeerEntry,
    state: PeerState,
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
    /// Records the peer entry of this process, which from now on can check on others.
    pub(crate) fn set_own_peer(&self, peer: PeerIndex, identity: Identity) {
        self.sweeper.set_own(peer, identity);
    }

    fn own_peer(&self) -> Option<PeerIndex> {
        self.sweeper.own().map(|(peer, _)| peer)
    }

    /// Finishes what stalled processes have left undone in any block: see [`stalled::finish_stalled_blocks`].
    pub(crate) fn finish_stalled_blocks(&self) {
        if let Some(me) = self.own_peer() {
            stalled::finish_stalled_blocks(self, me);
        }
    }

    /// Returns how long a process may sleep before the next sweep is due.
    pub(crate) fn time_until_sweep(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds_until_sweep(clock::now()))
    }

    /// Returns the nanoseconds until the next sweep is due; 0 if it is. `now` may be late by a tick of the coarse
    /// clock.
    pub(crate) fn nanoseconds_until_sweep(&self, now: u64) -> u64 {
        let due = self.shared().sweeps.due.load(Ordering::Relaxed);
        let left = due.saturating_sub(now);
        let is_credible = left <= self.interval().saturating_add(clock::coarse_tick());
        let not_before = self.sweeper.not_before();
        (if is_credible { left } else { 0 }).max(not_before.saturating_sub(now))
    }

    /// Returns the liveness interval in nanoseconds.
    fn interval(&self) -> u64 {
        u64::try_from(self.settings().liveness_interval.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Checks on all other peers, unless another process has done so within a liveness interval.
    #[cold]
    pub(crate) fn sweep_if_due(&self, scope: SweepScope) {
        let now = clock::now();
        if self.nanoseconds_until_sweep(now) > 0 || mutant!(SweepNeverDue) {
            return;
        }
        let due = &self.shared().sweeps.due;
        let seen = due.load(Ordering::Relaxed);
        let next = now.saturating_add(self.interval());
        // One of the processes that find the sweep due gets it. If that one dies, the next sweep is due in an interval.
        if due
            .compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return;
        }
        let mut report = SweepReport::default();
        if !self.check_all(scope, &mut report) {
            // SWEEP-2.
            self.sweeper.set_not_before(next);
            let _ = due.compare_exchange(next, seen, Ordering::Relaxed, Ordering::Relaxed);
        }
        report.emit();
    }

    /// Checks on all other peers now.
    #[cold]
    pub(crate) fn sweep(&self, scope: SweepScope) {
        let mut report = SweepReport::default();
        self.check_all(scope, &mut report);
        report.emit();
    }

    /// Checks on all other peers. Returns whether every check had a result.
    fn check_all(&self, scope: SweepScope, report: &mut SweepReport) -> bool {
        let Some(probe) = self.probe(report) else {
            return false;
        };
        // Corrupt memory is reported by the next operation that meets it.
        let _ = stalled::finish_stalled(self);
        if scope == SweepScope::PeersAndBlocks {
            self.finish_stalled_blocks();
        }
        let others = self.other_peers();
        let turn = self.shared().sweeps.cursor.fetch_add(1, Ordering::Relaxed);
        let turn = turn.checked_rem(others.len() as u64);
        let mut is_complete = true;
        for (number, peer) in (0..).zip(others) {
            is_complete &= self.check(&probe, peer, Some(number) == turn, report);
        }
        is_complete
    }

    /// Checks on the peers of a process that its parent has reported as ended. The report is only a hint; who is dead
    /// is decided as in every sweep.
    pub(crate) fn check_process(&self, process_id: u32) {
        let mut report = SweepReport::default();
        if let Some(probe) = self.probe(&mut report) {
            for peer in self.other_peers() {
                let identity = identity_of(peer.entry, peer.state);
                if identity.is_none_or(|identity| identity.process_id() == process_id) {
                    self.check(&probe, peer, true, &mut report);
                }
            }
            // The process may have died after it gave up its role or its peer entry, and before it closed the queue as
            // the last of its side. Then no entry names it any more.
            let _ = stalled::finish_stalled(self);
        }
        report.emit();
    }

    /// As [`Segment::sweep`], for a process that has no peer entry yet: it makes room by recovering dead peers. It
    /// cannot evict a part of a batch of dead letters; [`Segment::finish_stalled_blocks`] does that once the process is
    /// attached. Returns whether any peer was recovered meanwhile.
    pub(crate) fn sweep_before_attaching(&self, me: &Identity) -> bool {
        let before = self.recovered_peers();
        let Some(probe) = LivenessProbe::new(&self.file, self.file_id, me) else {
            return false;
        };
        let mut report = SweepReport::default();
        for peer in self.other_peers() {
            self.check(&probe, peer, true, &mut report);
        }
        report.emit();
        self.recovered_peers() != before
    }

    /// Returns the number of peers that are not known to be dead, for a process that has no peer entry. Recovers none.
    pub(crate) fn count_live_peers(&self, me: &Identity) -> usize {
        let others = self.other_peers();
        let Some(probe) = LivenessProbe::new(&self.file, self.file_id, me) else {
            return others.len();
        };
        let live = others.iter().filter(
            |&&Peer {
                 index,
                 entry,
                 state,
             }| {
                let identity = identity_of(entry, state);
                let liveness = probe.check(self.lock_byte(index, state), identity, true);
                // A peer that could not be checked counts as alive, and so does one that has recorded who it is
                // meanwhile.
                !matches!(liveness, Ok(Liveness::Dead)) || identity_of(entry, state) != identity
            },
        );
        live.count()
    }

    /// Returns all peer entries that are not free, except for this process's own.
    fn other_peers(&self) -> Vec<Peer<'_>> {
        let me = self.own_peer();
        let all = (0..self.peer_count()).filter_map(PeerIndex::new);
        all.filter(|&index| Some(index) != me)
            .filter_map(|index| {
                let entry = self.peer(index)?;
                let state = entry.load();
                let is_taken = matches!(state.kind(), Some(PeerKind::Ticket | PeerKind::Live));
                is_taken.then_some(Peer {
                    index,
                    entry,
                    state,
                })
            })
            .collect()
    }

    /// Returns `None` if this process cannot check on others, because it is not attached or has lost its descriptor.
    fn probe(&self, report: &mut SweepReport) -> Option<LivenessProbe<'_>> {
        let (index, me) = self.sweeper.own()?;
        let probe = LivenessProbe::new(&self.file, self.file_id, me);
        if probe.is_none() && self.sweeper.note_descriptor_lost() {
            report.unlocked.push((index, me.process_id()));
        }
        probe
    }

    /// Returns whether a peer has its lock; `None` if this process cannot find out.
    pub(crate) fn is_locked(&self, peer: PeerIndex, state: PeerState) -> Option<bool> {
        let (own, me) = self.sweeper.own()?;
        let probe = LivenessProbe::new(&self.file, self.file_id, me)?;
        if own == peer {
            // The kernel does not report a lock to its own holder. The descriptor that has it still exists.
            return Some(true);
        }
        probe.is_locked(self.lock_byte(peer, state)).ok()
    }

    /// Returns the byte of the file that a peer keeps locked as long as it lives.
    pub(crate) fn lock_byte(&self, peer: PeerIndex, state: PeerState) -> u64 {
        self.geometry().lock_byte(peer, state.incarnation().get())
    }

    /// Checks on one peer, and recovers it if it is dead. Returns whether the check had a result.
    fn check(
        &self,
        probe: &LivenessProbe<'_>,
        peer: Peer<'_>,
        is_thorough: bool,
        report: &mut SweepReport,
    ) -> bool {
        let Peer {
            index,
            entry,
            state,
        } = peer;
        let identity = identity_of(entry, state);
        match probe.check(self.lock_byte(index, state), identity, is_thorough) {
            // An identity that was recorded during the check is another one, which was not checked.
            Ok(Liveness::Dead) if identity_of(entry, state) == identity => {
                report.deaths.extend(self.recover(index, entry, state));
                true
            }
            Ok(Liveness::Unlocked) => {
                if self.sweeper.note_unlocked(index, state.incarnation().get()) {
                    report.unlocked.push((index, entry.process_id()));
                }
                true
            }
            Ok(Liveness::Alive | Liveness::Dead) => true,
            // The next sweep checks the peer again.
            Err(_) => false,
        }
    }

    /// Recovers a peer that was found dead in this state. Returns `None` if another process was faster.
    fn recover(&self, index: PeerIndex, entry: &PeerEntry, state: PeerState) -> Option<Death> {
        let dead = DeadPeer::of(self, index, state)?;
        let process_id = identity_of(entry, state).map_or(0, |identity| identity.process_id());
        let Ok(Recovery::Done(repairs)) = recover::recover(self, self.own_peer(), &dead) else {
            return None;
        };
        self.shared()
            .sweeps
            .recovered
            .fetch_add(1, Ordering::Relaxed);
        entry.record_death(process_id, clock::unix_millis());
        Some(Death {
            peer: index,
            process_id,
            state: dead.state(),
            repairs,
        })
    }

    /// Returns the number of dead peers that were recovered since the queue was made.
    pub(crate) fn recovered_peers(&self) -> u64 {
        self.shared().sweeps.recovered.load(Ordering::Relaxed)
    }
}

/// Returns who a peer has recorded that it is. A ticket has no identity, because what stands in its entry may have been
/// written by a process that only tried to use it. So it is judged by its lock alone (PEER-5).
fn identity_of(entry: &PeerEntry, state: PeerState) -> Option<Identity> {
    if state.kind() != Some(PeerKind::Live) {
        return None;
    }
    let tag = entry.identity()?;
    Some(Identity {
        process: tag.process,
        pid_namespace: tag.pid_namespace,
        time_namespace: tag.time_namespace,
        image: tag.image,
    })
}
