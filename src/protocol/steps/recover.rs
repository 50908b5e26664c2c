//! Recovery: any process finishes or undoes what a dead process has begun.
//!
//! X is the dead process, g a generation, i an incarnation. The transitions come in this order:
//!
//! | transition | word  | change                           | condition, and what follows                        |
//! |------------|-------|----------------------------------|----------------------------------------------------|
//! | `Hold`     | block | Offered g -> Held X g            | a slot says that X took the message                |
//! | `Reclaim`  | block | Held X g -> Returned or Dead g+1 | in order of position; counts a failed delivery     |
//! | `Reclaim`  | block | Held X g -> Free g+1             | after a cancel                                     |
//! | `Reclaim`  | block | Read X g -> Dead g+1             | a dead letter is kept                              |
//! | `Reclaim`  | block | Read X g -> Free g+1             | X had discarded all dead letters of the batch      |
//! | `Withdraw` | block | Owned X g -> Free g+1            |                                                    |
//! | `Withdraw` | block | Offered X g -> Free g+1          | no slot named it for this message after its word was read |
//! | `Vacate`   | peer  | Ticket or Live i -> Free i+1     | after `returned` is set and all sleepers are woken |
//!
//! RECOVER-1. Each transition reads the word first, *then* checks that the table entry still belongs to X, and then
//!     exchanges exactly that word. So several processes may recover X at once, each may stop after any transition,
//!     and each may be late: a recoverer that was stopped between two steps finds the entry in use by the next
//!     process, whose words differ from those of X only by their generation. `Hold` needs no such check: a slot names
//!     the taker of the very message that it is about, whichever process has the entry now.
//! RECOVER-2. `Hold` comes before the table entry is freed, for every slot that names X. So a slot that names the next
//!     process with this entry, and whose block is not Held yet, is that process's.
//! RECOVER-3. `Withdraw` reads the block words before the ring. If a message is taken between the two, its block has
//!     another word by the time its slot does not name the block for this message any more (PROTOCOL-2).
//! RECOVER-4. The table entry is freed last, so a process that finds it free also finds nothing left to repair. Until then,
//!     its lock byte and its incarnation are those of X.
//!
//! Crash: a recoverer that dies leaves the table entry as it is, and the next one starts again. Nothing records how far
//! the first came, because looking at every word again costs no more than keeping such a record.
//!
//! The time that a recovery takes is proportional to the size of the queue.

use super::batch::{self, state_after_reading, state_after_return_or_cancel};
use super::dead_letters::trim_dead_letters;
use super::help::{help_taker, unrecorded};
use super::membership::close_if_role_vacant;
use super::scan::FoundBlock;
use super::settle::discard_returned;
use super::wake::wake_all;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::peers::{PeerKind, PeerState, Role};
use crate::protocol::ring::SlotKind;
use crate::protocol::{Corrupt, SharedState};
use crate::sync::Ordering;

/// A table entry whose process is dead, so that only recovery changes its words any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadPeer {
    peer: PeerIndex,
    state: PeerState,
}

/// The number of blocks that one recoverer has repaired. Other recoverers may have repaired the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repairs {
    /// Blocks that the dead process held, and whose messages are delivered again.
    pub(crate) returned: u32,
    /// Blocks that it held, and whose messages are dead letters now.
    pub(crate) dead_letters: u32,
    /// Blocks that it held, and whose messages were discarded, because the queue is cancelled.
    pub(crate) discarded: u32,
    /// Dead letters that it was reading.
    pub(crate) put_back: u32,
    /// Blocks of messages that it had not sent, or that it kept for its next ones.
    pub(crate) withdrawn: u32,
}

/// The outcome of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Recovery {
    /// This recoverer has freed the table entry.
    Done(Repairs),
    /// Another process has freed it.
    Overtaken,
}

/// Why a recovery stops.
enum RecoveryError {
    Overtaken,
    Corrupt(Corrupt),
}

impl From<Corrupt> for RecoveryError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl DeadPeer {
    /// Returns the process of entry `peer`, which was just found dead, or `None` if it has been recovered. `judged`
    /// is the state of the entry *before* the process was found dead.
    ///
    /// The process may have given up a role since, and died after that. An entry with another incarnation has been
    /// recovered, and may belong to another process. A ticket that was used since is not dead either: what was found
    /// dead was the ticket, not the process that used it.
    #[must_use]
    pub(crate) fn of<S: SharedState>(
        shared: &S,
        peer: PeerIndex,
        judged: PeerState,
    ) -> Option<Self> {
        let state = shared.peer(peer)?.load();
        let is_same = state.incarnation() == judged.incarnation()
            && state.kind() == judged.kind()
            && matches!(state.kind(), Some(PeerKind::Ticket | PeerKind::Live));
        is_same.then_some(Self { peer, state })
    }

    /// Returns the state of its table entry.
    #[must_use]
    pub(crate) fn state(&self) -> PeerState {
        self.state
    }

    /// Checks that the table entry still belongs to the dead process (RECOVER-1).
    fn confirm<S: SharedState>(&self, shared: &S) -> Result<(), RecoveryError> {
        let entry = shared.peer(self.peer).ok_or(Corrupt::NoSuchPeer)?;
        let unchecked = mutant!(RecoverWithoutConfirming) || mutant!(ConfirmBeforeReading);
        if unchecked || entry.load() == self.state {
            Ok(())
        } else {
            Err(RecoveryError::Overtaken)
        }
    }

    /// Changes a block of the dead process from `seen`, which was read before, to `to` (RECOVER-1). Returns whether
    /// this recoverer was the one to do so.
    fn exchange<S: SharedState>(
        &self,
        shared: &S,
        index: BlockIndex,
        seen: BlockState,
        to: BlockState,
    ) -> Result<bool, RecoveryError> {
        let header = shared.block(index).ok_or(Corrupt::NoSuchBlock)?;
        self.confirm(shared)?;
        if mutant!(RecoverWritesAnyWord) {
            return Ok(header.word.release(seen, to));
        }
        Ok(header.word.exchange(seen, to))
    }
}

/// Recovers a dead process, and closes the queue if it was the last one of a role. `me` is the calling process, if it
/// has a table entry. Transitions `Hold`, `Reclaim`, `Withdraw` and `Vacate`.
#[cold]
pub(crate) fn recover<S: SharedState>(
    shared: &S,
    me: Option<PeerIndex>,
    dead: &DeadPeer,
) -> Result<Recovery, Corrupt> {
    let recovery = match repair(shared, me, dead) {
        Ok(repairs) => Recovery::Done(repairs),
        Err(RecoveryError::Overtaken) => Recovery::Overtaken,
        Err(RecoveryError::Corrupt(corrupt)) => return Err(corrupt),
    };
    // Even if another process has freed the entry: it may have died right after that.
    for role in [Role::Sender, Role::Receiver] {
        if dead.state.has_role(role) {
            close_if_role_vacant(shared, role)?;
        }
    }
    Ok(recovery)
}

fn repair<S: SharedState>(
    shared: &S,
    me: Option<PeerIndex>,
    dead: &DeadPeer,
) -> Result<Repairs, RecoveryError> {
    if mutant!(ConfirmBeforeReading) && DeadPeer::of(shared, dead.peer, dead.state).is_none() {
        return Err(RecoveryError::Overtaken);
    }
    hold_taken_messages(shared, dead)?;
    let mut repairs = Repairs::default();
    let early = if mutant!(WithdrawReadsRingFirst) {
        Some(blocks_in_ring(shared, |_| true)?)
    } else {
        None
    };
    let blocks = DeadPeerBlocks::of(shared, dead.peer);
    reclaim_held(shared, me, dead, &blocks.held, &mut repairs)?;
    withdraw_unsent(shared, dead, &blocks, early, &mut repairs)?;
    vacate(shared, dead)?;
    Ok(repairs)
}

/// Records in the blocks what the dead process took from the ring. Transition `Hold`.
fn hold_taken_messages<S: SharedState>(shared: &S, dead: &DeadPeer) -> Result<(), Corrupt> {
    for position in (0..shared.ring_size().slots()).map(Position) {
        let seen = shared.slot(position).load();
        if seen.taker() == dead.peer && !mutant!(RecoverWithoutHold) {
            help_taker(shared, position, seen)?;
        }
    }
    Ok(())
}

/// The blocks that name a dead process, from one scan.
#[derive(Default)]
struct DeadPeerBlocks {
    /// Held and Read, in order of position.
    held: Vec<FoundBlock>,
    owned: Vec<(BlockIndex, BlockState)>,
    offered: Vec<(BlockIndex, BlockState)>,
}

impl DeadPeerBlocks {
    fn of<S: SharedState>(shared: &S, peer: PeerIndex) -> Self {
        let mut blocks = Self::default();
        for index in (0..shared.block_count()).filter_map(BlockIndex::new) {
            let Some(header) = shared.block(index) else {
                continue;
            };
            let state = header.word.load();
            let is_spare = u64::from(index.get()) >= shared.ring_size().slots();
            if state.peer() != peer || is_spare && mutant!(SpareBlocksNotRecovered) {
                continue;
            }
            match state.kind() {
                Some(BlockKind::Held | BlockKind::Read) => blocks.held.push(FoundBlock {
                    position: header.position(),
                    index,
                    state,
                }),
                Some(BlockKind::Owned) => blocks.owned.push((index, state)),
                Some(BlockKind::Offered) => blocks.offered.push((index, state)),
                _ => {}
            }
        }
        blocks.held.sort_unstable_by_key(|block| block.position);
        blocks
    }
}

/// Gives back the messages that the dead process held, and the dead letters that it was reading. Transition `Reclaim`.
fn reclaim_held<S: SharedState>(
    shared: &S,
    me: Option<PeerIndex>,
    dead: &DeadPeer,
    held: &[FoundBlock],
    repairs: &mut Repairs,
) -> Result<(), RecoveryError> {
    for &FoundBlock { index, state, .. } in held {
        let was_read = state.is(BlockKind::Read);
        if !was_read {
            batch::count_accepted(shared, index, state);
        }
        let unsettled = batch::message_counts(shared, index).unsettled();
        let to = if was_read {
            state_after_reading(shared, index, state)
        } else {
            state_after_return_or_cancel(shared, index, state)
        };
        let to = if mutant!(ReclaimKeepsGeneration) {
            to.in_generation_of(state)
        } else {
            to
        };
        if !dead.exchange(shared, index, state, to)? {
            continue;
        }
        match to.kind() {
            _ if was_read => repairs.put_back += 1,
            Some(BlockKind::Returned) => repairs.returned += 1,
            Some(BlockKind::Free) => {
                shared.discarded().fetch_add(unsettled, Ordering::Relaxed);
                repairs.discarded += 1;
            }
            _ => repairs.dead_letters += 1,
        }
    }
    // Always: another recoverer, or the dead process itself, may have died before it could do this. Only a process
    // with a table entry can drop some of the dead letters of a batch.
    let me = me.filter(|_| !mutant!(RecoverWithoutTrim));
    trim_dead_letters(shared, me);
    Ok(())
}

/// Frees the blocks of messages that the dead process did not send. Transition `Withdraw`.
fn withdraw_unsent<S: SharedState>(
    shared: &S,
    dead: &DeadPeer,
    blocks: &DeadPeerBlocks,
    early: Option<Vec<bool>>,
    repairs: &mut Repairs,
) -> Result<(), RecoveryError> {
    let sent = match early {
        Some(early) => early,
        None if blocks.offered.is_empty() => Vec::new(),
        None => blocks_in_ring(shared, |index| {
            blocks.offered.iter().any(|&(offered, _)| offered == index)
        })?,
    };
    let is_sent = |index: BlockIndex| sent.get(index.get() as usize).is_some_and(|&sent| sent);
    let all = !mutant!(RecoverWithoutWithdraw);
    let unsent = blocks
        .offered
        .iter()
        .filter(|(index, _)| all && !is_sent(*index));
    let owned = blocks
        .owned
        .iter()
        .filter(|_| !mutant!(RecoverWithoutWithdrawOwned));
    for &(index, state) in owned.chain(unsent) {
        if dead.exchange(shared, index, state, state.free())? {
            repairs.withdrawn += 1;
        }
    }
    Ok(())
}

/// Returns for each block that is wanted whether its last message is in the ring, or was taken and may not be Held yet.
fn blocks_in_ring<S: SharedState>(
    shared: &S,
    is_wanted: impl Fn(BlockIndex) -> bool,
) -> Result<Vec<bool>, Corrupt> {
    let mut sent = vec![false; shared.block_count() as usize];
    for position in (0..shared.ring_size().slots()).map(Position) {
        let slot = shared.slot(position).load();
        let is_named = matches!(slot.kind(), SlotKind::Full | SlotKind::Vacated);
        if !is_named || !is_wanted(slot.block()) {
            continue;
        }
        let is_sent = slot.kind() == SlotKind::Full
            || mutant!(OldSlotsCountAsSent)
            || unrecorded(shared, position, slot)?.is_some();
        if let Some(sent) = sent.get_mut(slot.block().get() as usize) {
            *sent |= is_sent;
        }
    }
    Ok(sent)
}

/// Announces the returned messages, and frees the table entry. Transition `Vacate`.
fn vacate<S: SharedState>(shared: &S, dead: &DeadPeer) -> Result<(), RecoveryError> {
    // Always: another recoverer, or the dead process itself, may have died between its last return and this.
    if !mutant!(VacateWithoutReturned) {
        shared.returned().set();
    }
    // Always: the cancel may have come between the check for it and the return.
    discard_returned(shared);
    if !mutant!(RecoverWithoutWake) {
        wake_all(shared);
    }
    let entry = shared.peer(dead.peer).ok_or(Corrupt::NoSuchPeer)?;
    entry
        .vacate(dead.state)
        .map_or(Err(RecoveryError::Overtaken), |_| Ok(()))
}
