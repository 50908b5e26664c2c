//! Sweeps: the peers of a queue check on each other, so that no process has to be notified of a death.
//!
//! A sleeping process sweeps when its sleep times out; a busy one when the pacer of one of its handles
//! (`queue::liveness::LivenessPacer`) finds that a sweep is due. All processes share one due time, and the process that
//! moves it forward does the sweep, so normally there is at most one sweep per interval. A due time that is more than
//! one interval ahead was written by a process in another time namespace, and is treated as passed.
//!
//! A sweep asks the kernel whether each peer is dead ([`crate::os::liveness`]). For one peer it uses the thorough
//! check, which also compares the process's start time and looks for its mapping of the segment; successive sweeps
//! rotate through the peers. All recoveries start in this file. Silence is never treated as a sign of death.
//!
//! | state              | where                 | meaning                                                         |
//! |--------------------|-----------------------|-----------------------------------------------------------------|
//! | `sweeps.due`       | shared memory         | when the next sweep is due                                      |
//! | `sweeps.cursor`    | shared memory         | which peer the next sweep checks thoroughly                     |
//! | `sweeps.recovered` | shared memory         | how many dead peers were recovered                              |
//! | `sweeper`          | this process's memory | its own peer entry, and when it may sweep again (`sweeper.rs`)  |
//!
//! SWEEP-1. Events are emitted when the sweep is over: all peers that it found dead are recovered, and no lock is held.
//!          A `tracing` subscriber is user code: it may panic, block, or use this very queue.
//! SWEEP-2. If a check had no result, the process restores the old due time, so that another process can sweep, which
//!          may be able to check. It does not sweep again itself before one interval has passed.
//! SWEEP-3. Every event is emitted even if the subscriber panics on an earlier one. The first panic then reaches the
//!          caller.
//! SWEEP-4. A pool's own queues emit no event of a death: the pool knows more of it, and reports it in one event.
//!
//! | function that emits        | called by                                      | what the caller holds              |
//! |----------------------------|------------------------------------------------|------------------------------------|
//! | `sweep_if_due`             | `LivenessPacer::count`                         | nothing, but see LIVENESS-1        |
//! | `sweep_if_due`             | `Waiter::wait_more`, after a sleep             | a sender's block, with a guard     |
//! | `sweep_if_near`            | the reactor's thread                           | nothing                            |
//! | `sweep_if_due` and `sweep` | `Attachment::make_ticket`                      | nothing                            |
//! | `sweep_before_attaching`   | `Attachment::join`, before it has a peer entry | nothing                            |
//! | `check_peers_of`           | `report_exit`                                  | nothing                            |
//! | `check_peers_of`           | `Attachment::redeem`                           | the new, initialized attachment    |
//!
//! Crash: if a process dies during a sweep, the next sweep is at most one interval late, and finishes the recoveries
//! that were begun (RECOVER-1).

use super::mapped::Segment;
use super::sweep_report::{Death, SweepReport};
use crate::os::clock;
use crate::os::identity::Identity;
use crate::os::liveness::{Liveness, LivenessProbe};
use crate::protocol::SharedState;
use crate::protocol::ids::PeerIndex;
use crate::protocol::peers::{PeerEntry, PeerKind, PeerState, Role};
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
    /// Only the peers: cheap, for a busy process.
    Peers,
    /// The peers and all blocks: for a process that is about to sleep.
    PeersAndBlocks,
}

impl Segment {
    /// Records this process's own peer entry. The process cannot sweep before that.
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

    /// Returns the nanoseconds until the next sweep is due; 0 if it is. `now` may lag behind by one tick of the coarse
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

    /// Emits no events of deaths in this process from now on: the owner of the queue reports them.
    pub(crate) fn silence_deaths(&self) {
        self.sweeper.set_silent();
    }

    fn emit(&self, mut report: SweepReport) {
        if self.sweeper.is_silent() && !mutant!(PoolQueuesReportDeaths) {
            report.deaths.clear();
        }
        report.emit();
    }

    /// Sweeps if a sweep is due and no other process claims it.
    #[cold]
    pub(crate) fn sweep_if_due(&self, scope: SweepScope) {
        self.sweep_if_due_within(scope, 0);
    }

    /// Sweeps if a sweep is due within a quarter of the interval. For a thread that sleeps for many queues: it does the
    /// sweeps of all of them together, so that it need not wake up for each.
    #[cfg(feature = "async")]
    #[cold]
    pub(crate) fn sweep_if_near(&self, scope: SweepScope) {
        self.sweep_if_due_within(scope, self.interval() / 4);
    }

    fn sweep_if_due_within(&self, scope: SweepScope, nanoseconds: u64) {
        let now = clock::now();
        if self.nanoseconds_until_sweep(now) > nanoseconds || mutant!(SweepNeverDue) {
            return;
        }
        let due = &self.shared().sweeps.due;
        let seen = due.load(Ordering::Relaxed);
        let next = now.saturating_add(self.interval());
        // Claims the sweep. Only one process succeeds; if it dies, the next sweep is due one interval later.
        if due
            .compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return;
        }
        let mut report = SweepReport::default();
        if !self.sweep_silently(scope, &mut report) {
            // SWEEP-2.
            self.sweeper.set_not_before(next);
            let _ = due.compare_exchange(next, seen, Ordering::Relaxed, Ordering::Relaxed);
        }
        if let Some(me) = self.own_peer() {
            self.trim_unused(me, now);
        }
        self.emit(report);
    }

    /// Checks all other peers now, whether a sweep is due or not.
    #[cold]
    pub(crate) fn sweep(&self, scope: SweepScope) {
        let mut report = SweepReport::default();
        self.sweep_silently(scope, &mut report);
        self.emit(report);
    }

    /// Checks all other peers, without emitting events. Returns whether every check had a result.
    fn sweep_silently(&self, scope: SweepScope, report: &mut SweepReport) -> bool {
        let Some(probe) = self.probe(report) else {
            return false;
        };
        // Ignores `Corrupt`: the next operation that reads the bad word reports it.
        let _ = stalled::finish_stalled(self);
        if scope == SweepScope::PeersAndBlocks {
            self.finish_stalled_blocks();
        }
        let others = self.other_peers();
        let cursor = self.shared().sweeps.cursor.fetch_add(1, Ordering::Relaxed);
        let thorough = cursor.checked_rem(others.len() as u64);
        let mut is_complete = true;
        for (number, peer) in (0..).zip(others) {
            is_complete &= self.check_peer(&probe, peer, Some(number) == thorough, report);
        }
        is_complete
    }

    /// Checks the peers of a process that was reported as ended, and all tickets, since a ticket does not tell whose it
    /// is. The report is only a hint: as in every sweep, the kernel decides which peers are dead.
    pub(crate) fn check_peers_of(&self, process_id: u32) {
        let mut report = SweepReport::default();
        if let Some(probe) = self.probe(&mut report) {
            for peer in self.other_peers() {
                let identity = identity_of(peer.entry, peer.state);
                if identity.is_none_or(|identity| identity.process_id() == process_id) {
                    self.check_peer(&probe, peer, true, &mut report);
                }
            }
            // If the process died after it gave up its role or its entry, but before it closed the queue as the last
            // sender or receiver, no entry names it any more. Then this call closes the queue.
            let _ = stalled::finish_stalled(self);
        }
        self.emit(report);
    }

    /// Sweeps for a process that has no peer entry yet, to free the entries of dead peers. Returns whether any peer was
    /// recovered during the call, by this or another process.
    ///
    /// Recovery may also have to evict dead letters. Without a peer entry this process cannot evict a part of a batch;
    /// [`Segment::finish_stalled_blocks`] does that once it is attached.
    pub(crate) fn sweep_before_attaching(&self, me: &Identity) -> bool {
        let before = self.recovered_peers();
        let Some(probe) = LivenessProbe::new(&self.file, self.file_id, me) else {
            return false;
        };
        let mut report = SweepReport::default();
        for peer in self.other_peers() {
            self.check_peer(&probe, peer, true, &mut report);
        }
        self.emit(report);
        self.recovered_peers() != before
    }

    /// Returns the number of peers that are not known to be dead, of those with this role or of all, for a process that has
    /// no peer entry. Recovers none.
    pub(crate) fn count_live_peers(&self, me: &Identity, role: Option<Role>) -> usize {
        let mut others = self.other_peers();
        others.retain(|peer| role.is_none_or(|role| peer.state.has_role(role)));
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
                // A peer that could not be checked counts as alive, and so does one that recorded its identity during
                // the check.
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

    /// Returns `None` if this process cannot check others, because it is not attached or has lost its descriptor.
    fn probe(&self, report: &mut SweepReport) -> Option<LivenessProbe<'_>> {
        let (index, me) = self.sweeper.own()?;
        let probe = LivenessProbe::new(&self.file, self.file_id, me);
        if probe.is_none() && self.sweeper.note_descriptor_lost() {
            report.unlocked.push((index, me.process_id()));
        }
        probe
    }

    /// Returns whether the lock byte of a peer is locked; `None` if this process cannot find out.
    pub(crate) fn is_locked(&self, peer: PeerIndex, state: PeerState) -> Option<bool> {
        let (own, me) = self.sweeper.own()?;
        let probe = LivenessProbe::new(&self.file, self.file_id, me)?;
        if own == peer {
            // The kernel never reports a lock to the open file description that holds it. `LivenessProbe::new` has
            // verified that this process still has that description, so the lock is held.
            return Some(true);
        }
        probe.is_locked(self.lock_byte(peer, state)).ok()
    }

    /// Returns the byte of the file that a peer keeps locked as long as it lives.
    pub(crate) fn lock_byte(&self, peer: PeerIndex, state: PeerState) -> u64 {
        self.geometry().lock_byte(peer, state.incarnation().get())
    }

    /// Checks one peer, and recovers it if it is dead. Returns `false` if the kernel could not answer.
    fn check_peer(
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
            // `Dead` with another identity: the peer has recorded it during the check, so the verdict is not about that
            // process. The next sweep checks it.
            Ok(Liveness::Alive | Liveness::Dead) => true,
            // The next sweep checks the peer again.
            Err(_) => false,
        }
    }

    /// Recovers a peer that was found dead in this state. Returns `None` if another process has recovered it, or if the
    /// memory is corrupt.
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

    /// Returns the number of dead peers that were recovered since the queue was created.
    pub(crate) fn recovered_peers(&self) -> u64 {
        self.shared().sweeps.recovered.load(Ordering::Relaxed)
    }
}

/// Returns the identity that a live peer has recorded. Returns `None` for a ticket: its entry may contain the identity
/// of a process that tried to use the ticket and failed, so only the lock counts (PEER-5).
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
