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

use super::super::blocks::{Block, BlockIndex, State};
use super::super::mutants::{Mutant, active};
use super::super::peers::{PeerIndex, Role, Tenancy, Tenant};
use super::super::ring::{Kind, Position};
use super::super::{Corrupt, SharedState};
use super::dead_letters::{bury, is_letter};
use super::receive::discard_returned;
use super::{batch, come_back, help, membership, wake_everybody};
use crate::sync::Ordering;

/// The tenant of a row whose process is dead: for good, so that its words change no more but by recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadPeer {
    row: PeerIndex,
    tenant: Tenant,
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
enum Stop {
    Overtaken,
    Corrupt(Corrupt),
}

impl From<Corrupt> for Stop {
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
    pub(crate) fn of<W: SharedState>(words: &W, row: PeerIndex, judged: Tenant) -> Option<Self> {
        let tenant = words.row(row)?.load();
        let same = tenant.incarnation() == judged.incarnation()
            && tenant.tenancy() == judged.tenancy()
            && matches!(tenant.tenancy(), Some(Tenancy::Ticket | Tenancy::Live));
        same.then_some(Self { row, tenant })
    }

    #[must_use]
    pub(crate) fn tenant(&self) -> Tenant {
        self.tenant
    }

    /// RECOVER-1: the row is still that of the dead process.
    fn confirm<W: SharedState>(&self, words: &W) -> Result<(), Stop> {
        let row = words.row(self.row).ok_or(Corrupt::NoSuchRow)?;
        let unasked =
            active(Mutant::RecoverWithoutConfirming) || active(Mutant::ConfirmBeforeReading);
        if unasked || row.load() == self.tenant {
            Ok(())
        } else {
            Err(Stop::Overtaken)
        }
    }

    /// Exchange a block word of the dead process that was read before, if the row is still its own (RECOVER-1).
    fn exchange<W: SharedState>(
        &self,
        words: &W,
        index: BlockIndex,
        seen: Block,
        to: Block,
    ) -> Result<bool, Stop> {
        let header = words.block(index).ok_or(Corrupt::NoSuchBlock)?;
        self.confirm(words)?;
        if active(Mutant::WriteAnyWord) {
            return Ok(header.word.release(seen, to));
        }
        Ok(header.word.exchange(seen, to))
    }
}

/// `Hold`, `Clear`, `Reclaim`, `Withdraw`, `Vacate`, and the end of a side if the dead process was the last one of it, by the process of row `me`, if it has
/// one.
#[cold]
pub(crate) fn recover<W: SharedState>(
    words: &W,
    me: Option<PeerIndex>,
    dead: &DeadPeer,
) -> Result<Recovery, Corrupt> {
    let recovery = match repair(words, me, dead) {
        Ok(repairs) => Recovery::Done(repairs),
        Err(Stop::Overtaken) => Recovery::Overtaken,
        Err(Stop::Corrupt(corrupt)) => return Err(corrupt),
    };
    // Whoever freed the row may have died right after.
    for role in [Role::Sender, Role::Receiver] {
        if dead.tenant.counts_as(role) {
            membership::end_if_deserted(words, role)?;
        }
    }
    Ok(recovery)
}

fn repair<W: SharedState>(
    words: &W,
    me: Option<PeerIndex>,
    dead: &DeadPeer,
) -> Result<Repairs, Stop> {
    if active(Mutant::ConfirmBeforeReading) && DeadPeer::of(words, dead.row, dead.tenant).is_none()
    {
        return Err(Stop::Overtaken);
    }
    note_what_was_taken(words, dead)?;
    let mut repairs = Repairs::default();
    let early = active(Mutant::WithdrawReadsRingFirst).then(|| blocks_in_the_ring(words));
    let left = OwnedBlocks::of(words, dead.row);
    return_what_was_held(words, me, dead, &left.held, &mut repairs)?;
    withdraw_what_was_not_sent(words, dead, &left, early, &mut repairs)?;
    leave(words, dead)?;
    Ok(repairs)
}

/// `Hold` and `Clear`: what the dead process took from the ring is on record in the blocks, and no slot names it.
fn note_what_was_taken<W: SharedState>(words: &W, dead: &DeadPeer) -> Result<(), Stop> {
    for position in (0..words.ring_size().slots()).map(Position) {
        let word = words.slot(position);
        let seen = word.load();
        if seen.kind() == Kind::Vacated && seen.taker() == dead.row {
            // `Hold` is what every helper does. It needs no look at the row: a slot that is unchanged after the
            // block was read names the taker of that very message, whoever has the row.
            help(words, position, seen)?;
            dead.confirm(words)?;
            if !active(Mutant::RecoverWithoutClear) {
                word.clear(seen);
            }
        }
    }
    Ok(())
}

/// The blocks that bear a dead process's row, from one look at all of them.
#[derive(Default)]
struct OwnedBlocks {
    /// Held and Read, in order of position.
    held: Vec<(Position, BlockIndex, Block)>,
    owned: Vec<(BlockIndex, Block)>,
    offered: Vec<(BlockIndex, Block)>,
}

impl OwnedBlocks {
    fn of<W: SharedState>(words: &W, row: PeerIndex) -> Self {
        let mut estate = Self::default();
        for index in (0..words.block_count()).filter_map(BlockIndex::new) {
            let Some(header) = words.block(index) else {
                continue;
            };
            let word = header.word.load();
            if word.row() != row {
                continue;
            }
            match word.state() {
                Some(State::Held | State::Read) => {
                    estate.held.push((header.position(), index, word));
                }
                Some(State::Owned) => estate.owned.push((index, word)),
                Some(State::Offered) => estate.offered.push((index, word)),
                _ => {}
            }
        }
        estate.held.sort_unstable_by_key(|&(position, ..)| position);
        estate
    }
}

/// `Reclaim`.
fn return_what_was_held<W: SharedState>(
    words: &W,
    me: Option<PeerIndex>,
    dead: &DeadPeer,
    held: &[(Position, BlockIndex, Block)],
    repairs: &mut Repairs,
) -> Result<(), Stop> {
    for &(_, index, word) in held {
        let was_read = word.is(State::Read);
        if !was_read {
            batch::count_accepted(words, index, word);
        }
        let left = batch::messages(words, index).left();
        let to = if was_read {
            batch::put_back(words, index, word)
        } else {
            come_back(words, index, word)
        };
        let to = if active(Mutant::ReclaimKeepsGeneration) {
            to.in_generation_of(word)
        } else {
            to
        };
        if !dead.exchange(words, index, word, to)? {
            continue;
        }
        match to.state() {
            _ if was_read => repairs.put_back += 1,
            Some(State::Returned) => repairs.returned += 1,
            Some(State::Free) => {
                words.discarded().fetch_add(left, Ordering::Relaxed);
                repairs.discarded += 1;
            }
            _ => repairs.dead_letters += 1,
        }
    }
    // Unconditionally: another recoverer, or the dead process itself, may have died before it could. Some of the letters
    // of a batch can be dropped by a process that has a row.
    let me = me.filter(|_| !active(Mutant::RecoverWithoutTrim));
    bury(words, me);
    Ok(())
}

/// `Withdraw`.
fn withdraw_what_was_not_sent<W: SharedState>(
    words: &W,
    dead: &DeadPeer,
    left: &OwnedBlocks,
    early: Option<Vec<bool>>,
    repairs: &mut Repairs,
) -> Result<(), Stop> {
    let sent = match early {
        Some(early) => early,
        None if left.offered.is_empty() => Vec::new(),
        None => blocks_in_the_ring(words),
    };
    let is_sent = |index: BlockIndex| sent.get(index.get() as usize).is_some_and(|&sent| sent);
    let all = !active(Mutant::RecoverWithoutWithdraw);
    let unsent = left
        .offered
        .iter()
        .filter(|(index, _)| all && !is_sent(*index));
    let owned = left
        .owned
        .iter()
        .filter(|_| !active(Mutant::RecoveryLeavesOwned));
    for &(index, word) in owned.chain(unsent) {
        if dead.exchange(words, index, word, word.free())? {
            repairs.withdrawn += 1;
        }
    }
    Ok(())
}

/// For each block, whether a slot names it: because its message waits there, or because its taker may not
/// have noted yet that it has it.
fn blocks_in_the_ring<W: SharedState>(words: &W) -> Vec<bool> {
    let mut named = vec![false; words.block_count() as usize];
    for position in (0..words.ring_size().slots()).map(Position) {
        let slot = words.slot(position).load();
        if matches!(slot.kind(), Kind::Full | Kind::Vacated)
            && let Some(named) = named.get_mut(slot.block().get() as usize)
        {
            *named = true;
        }
    }
    named
}

/// `Vacate`.
fn leave<W: SharedState>(words: &W, dead: &DeadPeer) -> Result<(), Stop> {
    // Unconditionally: another recoverer, or the dead process itself, may have died between its last return
    // and this.
    if !active(Mutant::VacateWithoutReturned) {
        words.returned().set();
    }
    // Likewise: the cancel may have come between the look for it and the return.
    discard_returned(words);
    if !active(Mutant::RecoveryWakesNobody) {
        wake_everybody(words);
    }
    let row = words.row(dead.row).ok_or(Corrupt::NoSuchRow)?;
    row.vacate(dead.tenant)
        .map_or(Err(Stop::Overtaken), |_| Ok(()))
}

/// What every sweep does, whoever died or not: finish what takes one step, and what the death of a *recoverer*
/// or a stopped process may have left undone, and no row tells of.
#[cold]
pub(crate) fn tidy<W: SharedState>(words: &W) -> Result<(), Corrupt> {
    for role in [Role::Sender, Role::Receiver] {
        membership::end_if_deserted(words, role)?;
    }
    let life = words.lifecycle().load();
    if life.is_closing() {
        super::close::seal_for_another(words)?;
    }
    if life.is_cancelled() {
        discard_returned(words);
    }
    Ok(())
}

/// As [`tidy`], for a process that has nothing better to do: it looks at every block. By the process of row `me`.
#[cold]
pub(crate) fn tidy_blocks<W: SharedState>(words: &W, me: PeerIndex) {
    let life = words.lifecycle().load();
    let mut letters = 0_u64;
    for index in (0..words.block_count()).filter_map(BlockIndex::new) {
        let Some(header) = words.block(index) else {
            continue;
        };
        let word = header.word.load();
        if is_letter(life, word) {
            letters += batch::messages(words, index).left();
        }
        match word.state() {
            // Its returner may be stopped just before it says so (RETURNED-1 of `returned`).
            Some(State::Returned) if !words.returned().load().is_dirty() => words.returned().set(),
            _ => {}
        }
    }
    // Whoever made one too many may have died before it could drop the oldest (`Evict`).
    if letters > u64::from(words.limits().max_dead_letters) {
        bury(words, Some(me));
    }
}
