//! Recovery: what a process has begun and will never finish is finished or undone by anybody else.
//!
//! | step | word of the dead process X: from -> to | in place of |
//! |------|-----------------------------------------|-------------|
//! | R1   | for each slot that is Vacated by X:     |             |
//! | `Hold`   | block: Offered g -> Held X g, the slot unchanged | `Hold` |
//! | `Clear`   | slot: Vacated -> Empty                  | `Clear`       |
//! | `Reclaim`   | after all slots, in order of position, block: Held X g -> Returned g+1 with one attempt more, or Dead g+1 at the limit, or Free g+1 after a cancel; Read X g -> Dead g+1 | `Return` and `Read` |
//! | `Withdraw`   | block: Owned X g -> Free g+1            | `Withdraw`      |
//! | `Withdraw`   | block: Offered X g -> Free g+1, if it was in no slot after its word was read | `Withdraw` |
//! | `Vacate`   | `returned` is set, everybody is woken, row: -> Free, next incarnation | leaving |
//!
//! RECOVER-1. Each step reads the word first, *then* looks whether the row still belongs to X, and then exchanges
//!     exactly that word. So the steps may be done by several processes at once, in part, or too late: by
//!     one that was stopped in between and finds the row in the hands of its next tenant, whose words look
//!     the same but for their generation or lap.
//! RECOVER-2. `Clear` comes before `Reclaim`: a slot that still names X when its message is handed out again would name the
//!     wrong taker of the block's next message.
//! RECOVER-3. `Withdraw` reads the block words before the ring. A message that is taken meanwhile has another word by the
//!     time that its slot no longer names the block (rule 2 of [`super::super`]).
//! RECOVER-4. The row is freed last, so that whoever finds it so finds nothing of X either; and its lock byte and
//!     incarnation stay those of X until then.
//!
//! Crash: a recoverer that dies leaves the row as it is, and the next one begins again. What it has done is
//! done; nothing says how far it came, for to look at every word again costs no more than to remember it.
//!
//! Takes time in proportion to the size of the queue.

use super::super::blocks::{BlockIndex, BlockKind, BlockState};
use super::super::peers::{PeerIndex, PeerKind, PeerState, Role};
use super::super::ring::{Position, SlotKind};
use super::super::{Corrupt, SharedState};
use super::dead_letters::{is_dead_letter, trim_dead_letters};
use super::receive::discard_returned;
use super::{batch, help_taker, membership, state_after_return_or_cancel, wake_all};
use crate::sync::Ordering;

/// The tenant of a row whose process is dead: for good, so that its words change no more but by recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadPeer {
    peer: PeerIndex,
    tenant: PeerState,
}

/// What has been done for a dead process, by this recoverer: others may have done the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repairs {
    /// Messages that it held, and that are handed out again.
    pub(crate) returned: u32,
    /// Messages that it held, and that are dead letters now.
    pub(crate) dead_letters: u32,
    /// Messages that it held, and that a cancel has discarded.
    pub(crate) discarded: u32,
    /// Dead letters that it was looking at.
    pub(crate) put_back: u32,
    /// Blocks of messages that it had not sent.
    pub(crate) withdrawn: u32,
}

/// What became of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Recovery {
    /// The row is free now, by this recoverer's exchange.
    Done(Repairs),
    /// Somebody else has freed it.
    Overtaken,
}

/// Why a recovery does not go on.
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
    /// The tenant of `row` that has just been found dead; `None` if it is gone. `judged` is the row's word as
    /// it was read *before* the verdict.
    ///
    /// It may have given up a role since, and died after that; but a row that has another incarnation has
    /// been recovered, and another tenant may live there; and a ticket that is used by now was judged as one,
    /// not as the process that has used it.
    #[must_use]
    pub(crate) fn of<S: SharedState>(
        shared: &S,
        peer: PeerIndex,
        judged: PeerState,
    ) -> Option<Self> {
        let tenant = shared.peer(peer)?.load();
        let same = tenant.incarnation() == judged.incarnation()
            && tenant.kind() == judged.kind()
            && matches!(tenant.kind(), Some(PeerKind::Ticket | PeerKind::Live));
        same.then_some(Self { peer, tenant })
    }

    #[must_use]
    pub(crate) fn tenant(&self) -> PeerState {
        self.tenant
    }

    /// RECOVER-1: the row is still that of the dead process.
    fn confirm<S: SharedState>(&self, shared: &S) -> Result<(), RecoveryError> {
        let peer = shared.peer(self.peer).ok_or(Corrupt::NoSuchPeer)?;
        let unasked = mutant!(RecoverWithoutConfirming) || mutant!(ConfirmBeforeReading);
        if unasked || peer.load() == self.tenant {
            Ok(())
        } else {
            Err(RecoveryError::Overtaken)
        }
    }

    /// Exchange a block word of the dead process that was read before, if the row is still its own (RECOVER-1).
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

/// `Hold`, `Clear`, `Reclaim`, `Withdraw`, `Vacate`, and the end of a side if the dead process was the last one of it, by the process of row `me`, if it has
/// one.
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
    // Whoever freed the row may have died right after.
    for role in [Role::Sender, Role::Receiver] {
        if dead.tenant.has_role(role) {
            membership::close_if_role_vacant(shared, role)?;
        }
    }
    Ok(recovery)
}

fn repair<S: SharedState>(
    shared: &S,
    me: Option<PeerIndex>,
    dead: &DeadPeer,
) -> Result<Repairs, RecoveryError> {
    if mutant!(ConfirmBeforeReading) && DeadPeer::of(shared, dead.peer, dead.tenant).is_none() {
        return Err(RecoveryError::Overtaken);
    }
    hold_taken_messages(shared, dead)?;
    let mut repairs = Repairs::default();
    let early = mutant!(WithdrawReadsRingFirst).then(|| blocks_in_ring(shared));
    let left = DeadPeerBlocks::of(shared, dead.peer);
    reclaim_held(shared, me, dead, &left.held, &mut repairs)?;
    withdraw_unsent(shared, dead, &left, early, &mut repairs)?;
    leave(shared, dead)?;
    Ok(repairs)
}

/// `Hold` and `Clear`: what the dead process took from the ring is on record in the blocks, and no slot names it.
fn hold_taken_messages<S: SharedState>(shared: &S, dead: &DeadPeer) -> Result<(), RecoveryError> {
    for position in (0..shared.ring_size().slots()).map(Position) {
        let word = shared.slot(position);
        let seen = word.load();
        if seen.kind() == SlotKind::Vacated && seen.taker() == dead.peer {
            // `Hold` is what every helper does. It needs no look at the row: a slot that is unchanged after the
            // block was read names the taker of that very message, whoever has the row.
            help_taker(shared, position, seen)?;
            dead.confirm(shared)?;
            if !mutant!(RecoverWithoutClear) {
                word.clear(seen);
            }
        }
    }
    Ok(())
}

/// The blocks that bear a dead process's row, from one look at all of them.
#[derive(Default)]
struct DeadPeerBlocks {
    /// Held and Read, in order of position.
    held: Vec<(Position, BlockIndex, BlockState)>,
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
            let word = header.word.load();
            if word.peer() != peer {
                continue;
            }
            match word.kind() {
                Some(BlockKind::Held | BlockKind::Read) => {
                    blocks.held.push((header.position(), index, word));
                }
                Some(BlockKind::Owned) => blocks.owned.push((index, word)),
                Some(BlockKind::Offered) => blocks.offered.push((index, word)),
                _ => {}
            }
        }
        blocks.held.sort_unstable_by_key(|&(position, ..)| position);
        blocks
    }
}

/// `Reclaim`.
fn reclaim_held<S: SharedState>(
    shared: &S,
    me: Option<PeerIndex>,
    dead: &DeadPeer,
    held: &[(Position, BlockIndex, BlockState)],
    repairs: &mut Repairs,
) -> Result<(), RecoveryError> {
    for &(_, index, word) in held {
        let was_read = word.is(BlockKind::Read);
        if !was_read {
            batch::count_accepted(shared, index, word);
        }
        let left = batch::message_counts(shared, index).unsettled();
        let to = if was_read {
            batch::state_after_reading(shared, index, word)
        } else {
            state_after_return_or_cancel(shared, index, word)
        };
        let to = if mutant!(ReclaimKeepsGeneration) {
            to.in_generation_of(word)
        } else {
            to
        };
        if !dead.exchange(shared, index, word, to)? {
            continue;
        }
        match to.kind() {
            _ if was_read => repairs.put_back += 1,
            Some(BlockKind::Returned) => repairs.returned += 1,
            Some(BlockKind::Free) => {
                shared.discarded().fetch_add(left, Ordering::Relaxed);
                repairs.discarded += 1;
            }
            _ => repairs.dead_letters += 1,
        }
    }
    // Unconditionally: another recoverer, or the dead process itself, may have died before it could. Some of the letters
    // of a batch can be dropped by a process that has a row.
    let me = me.filter(|_| !mutant!(RecoverWithoutTrim));
    trim_dead_letters(shared, me);
    Ok(())
}

/// `Withdraw`.
fn withdraw_unsent<S: SharedState>(
    shared: &S,
    dead: &DeadPeer,
    left: &DeadPeerBlocks,
    early: Option<Vec<bool>>,
    repairs: &mut Repairs,
) -> Result<(), RecoveryError> {
    let sent = match early {
        Some(early) => early,
        None if left.offered.is_empty() => Vec::new(),
        None => blocks_in_ring(shared),
    };
    let is_sent = |index: BlockIndex| sent.get(index.get() as usize).is_some_and(|&sent| sent);
    let all = !mutant!(RecoverWithoutWithdraw);
    let unsent = left
        .offered
        .iter()
        .filter(|(index, _)| all && !is_sent(*index));
    let owned = left
        .owned
        .iter()
        .filter(|_| !mutant!(RecoverWithoutWithdrawOwned));
    for &(index, word) in owned.chain(unsent) {
        if dead.exchange(shared, index, word, word.free())? {
            repairs.withdrawn += 1;
        }
    }
    Ok(())
}

/// For each block, whether a slot names it: because its message waits there, or because its taker may not
/// have noted yet that it has it.
fn blocks_in_ring<S: SharedState>(shared: &S) -> Vec<bool> {
    let mut named = vec![false; shared.block_count() as usize];
    for position in (0..shared.ring_size().slots()).map(Position) {
        let slot = shared.slot(position).load();
        if matches!(slot.kind(), SlotKind::Full | SlotKind::Vacated)
            && let Some(named) = named.get_mut(slot.block().get() as usize)
        {
            *named = true;
        }
    }
    named
}

/// `Vacate`.
fn leave<S: SharedState>(shared: &S, dead: &DeadPeer) -> Result<(), RecoveryError> {
    // Unconditionally: another recoverer, or the dead process itself, may have died between its last return
    // and this.
    if !mutant!(VacateWithoutReturned) {
        shared.returned().set();
    }
    // Likewise: the cancel may have come between the look for it and the return.
    discard_returned(shared);
    if !mutant!(RecoverWithoutWake) {
        wake_all(shared);
    }
    let peer = shared.peer(dead.peer).ok_or(Corrupt::NoSuchPeer)?;
    peer.vacate(dead.tenant)
        .map_or(Err(RecoveryError::Overtaken), |_| Ok(()))
}

/// What every sweep does, whoever died or not: finish what takes one step, and what the death of a *recoverer*
/// or a stopped process may have left undone, and no row tells of.
#[cold]
pub(crate) fn finish_stalled<S: SharedState>(shared: &S) -> Result<(), Corrupt> {
    for role in [Role::Sender, Role::Receiver] {
        membership::close_if_role_vacant(shared, role)?;
    }
    let life = shared.lifecycle().load();
    if life.is_closing() {
        super::close::help_seal(shared)?;
    }
    if life.is_cancelled() {
        discard_returned(shared);
    }
    Ok(())
}

/// As [`tidy`], for a process that has nothing better to do: it looks at every block. By the process of row `me`.
#[cold]
pub(crate) fn finish_stalled_blocks<S: SharedState>(shared: &S, me: PeerIndex) {
    let life = shared.lifecycle().load();
    let mut letters = 0_u64;
    for index in (0..shared.block_count()).filter_map(BlockIndex::new) {
        let Some(header) = shared.block(index) else {
            continue;
        };
        let word = header.word.load();
        if is_dead_letter(life, word) {
            letters += batch::message_counts(shared, index).unsettled();
        }
        match word.kind() {
            // Its returner may be stopped just before it says so (RETURNED-1 of `returned`).
            Some(BlockKind::Returned) if !shared.returned().load().is_dirty() => {
                shared.returned().set();
            }
            _ => {}
        }
    }
    // Whoever made one too many may have died before it could drop the oldest (`Evict`).
    if letters > u64::from(shared.limits().max_dead_letters) {
        trim_dead_letters(shared, Some(me));
    }
}
