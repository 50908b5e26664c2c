//! What must be so: the books of all messages, kept outside the queue, and the rules that each change of a word
//! and each outcome of a call is held against.
//!
//! EXPLORE-1. Every change of a slot or a block is a row of the table in [`super::super`], done by whom it says. Nobody
//!     changes what a living process has in hand (*no process that lives is repaired under*).
//! EXPLORE-2. Messages are taken from the ring in the order in which they were accepted.
//! EXPLORE-3. A returned message that the word told of when a receive began comes before all others, the oldest first.
//! EXPLORE-4. A message is handed out as often as the limit says at the most, and its block says how often.
//! EXPLORE-5. An accepted message ends in exactly one way: acknowledged, discarded by a cancel, or, as a dead letter,
//!     discarded or dropped.
//! EXPLORE-6. The queue holds no more messages than its capacity. No send that begins after the queue began to close is
//!     accepted; nothing is accepted after the Closed slot, of which there is one.
//! EXPLORE-7. *Empty* and *Full* are said only if it was so at some moment of the call.
//! EXPLORE-8. *Closed* is said to a receiver only when nothing is left to hand out, on settled queues nothing in anybody's
//!     hands either; and a receive that begins after that gets nothing else.
//! EXPLORE-9. A hint is never ahead of the truth.
//! EXPLORE-10. A side ends only while no process has its role.
//! EXPLORE-11. One closer is told that it was first.
//! EXPLORE-12. No function ever finds the words corrupt.
//! EXPLORE-13. When nobody moves, the books that the queue keeps itself (`steps::stats`) say the same, whoever has died.
//! EXPLORE-14. When nobody moves and the dead are recovered, no more dead letters are kept than the limit says, and nothing
//!      waits in a queue that was cancelled.
//!
//! A block may hold a batch, whose messages have numbers that follow each other; each has a fate of its own, as its mark
//! says.

use super::configuration::Configuration;
use super::process::{Call, Outcome, Rest, Then};
use super::state::State;
use super::words::{Access, BATCH, MOST, Memory, Word, small};
use crate::protocol::batch::MessageMark;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::peers::{PeerKind, Role};
use crate::protocol::ring::{SlotKind, SlotState};
use crate::protocol::steps::stats::MessageStats;
use core::ops::Range;

pub(super) const MESSAGES: usize = 6;
const NOBODY: u8 = u8::MAX;

/// What has been done that must not be, in words.
pub(super) type Violation = String;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Unsent,
    Accepted,
    Taken,
    Returned,
    Letter,
    Acknowledged,
    Discarded,
    Dropped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    /// The message in each block.
    payload: [u8; MOST],
    /// The process that has each block in hand, or had when it died.
    holder: [u8; MOST],
    /// Accepted and not taken.
    order: Vec<u8>,
    pub(super) fate: [Fate; MESSAGES],
    taker: [u8; MESSAGES],
    handed_out: [u8; MESSAGES],
    /// The blocks that are Returned, and of which the word tells.
    announced: u8,
    accepted: u8,
    taken: u8,
    sealed: bool,
    closed_was_told: bool,
    first_was_told: bool,
    /// The processes whose arrival has been counted.
    arrived: u8,
}

fn rule(holds: bool, number: u8, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(format!("I{number}: {}", what()))
    }
}

impl Ledger {
    pub(super) fn new(memory: &Memory, rows: u8) -> Self {
        let arrived = (0..rows).filter(|&row| memory.row(row).kind() == Some(PeerKind::Live));
        Self {
            payload: [NOBODY; MOST],
            holder: [NOBODY; MOST],
            order: Vec::new(),
            fate: [Fate::Unsent; MESSAGES],
            taker: [NOBODY; MESSAGES],
            handed_out: [0; MESSAGES],
            announced: 0,
            accepted: 0,
            taken: 0,
            sealed: false,
            closed_was_told: false,
            first_was_told: false,
            arrived: arrived.fold(0, |mask, row| mask | 1 << row),
        }
    }

    /// What a process may say at the end of the call that it begins now.
    pub(super) fn begin(state: &mut State, configuration: &Configuration, process: usize) {
        let ledger = &state.ledger;
        let since = super::process::Since {
            closing: state.memory.lifecycle().is_closing(),
            closed_was_told: ledger.closed_was_told,
            something: !ledger.order.is_empty() || ledger.announced != 0,
            room: ledger.order.len() < configuration.limits.capacity as usize,
            announced: ledger.announced,
            returned: if state.memory.lifecycle().has_ended() {
                0
            } else {
                blocks_in(state, configuration, BlockKind::Returned)
            },
            cancelled: state.memory.lifecycle().is_cancelled(),
        };
        let nothing = super::process::Since::default();
        let process = &mut state.processes[process];
        process.since = match process.call {
            Call::Receive => super::process::Since {
                cancelled: false,
                closing: false,
                room: false,
                ..since
            },
            Call::Publish => super::process::Since {
                closing: since.closing,
                room: since.room,
                ..nothing
            },
            Call::GiveBack | Call::Settle(_) => super::process::Since {
                cancelled: since.cancelled,
                ..nothing
            },
            Call::Rest(_) => process.since,
            _ => nothing,
        };
    }

    /// A word has been changed.
    pub(super) fn changed(
        state: &mut State,
        configuration: &Configuration,
        process: usize,
        word: Word,
        before: u64,
    ) -> Result<(), Violation> {
        let now = state.memory.get(word);
        match word {
            Word::Slot(_) => {
                let (before, now) = (SlotState::from_bits(before), SlotState::from_bits(now));
                slot_changed(state, configuration, process, before, now)
            }
            Word::Block(block) => {
                let (before, now) = (BlockState::from_bits(before), BlockState::from_bits(now));
                let what = || format!("process {process}: block {block}: {before:?} -> {now:?}");
                block_changed(state, configuration, process, block, before, now)
                    .map_err(|rule| format!("{rule} ({})", what()))
            }
            Word::Head => {
                let truth = configuration.start() + u64::from(state.ledger.taken);
                rule(now <= truth, 9, || "the head is ahead".to_owned())
            }
            Word::Tail => {
                let truth = configuration.start() + u64::from(state.ledger.accepted);
                rule(now <= truth, 9, || "the tail is ahead".to_owned())
            }
            Word::Returned => {
                let ended = state.memory.lifecycle().has_ended();
                if crate::protocol::returned::ReturnedState::from_bits(now).is_dirty() && !ended {
                    state.ledger.announced = blocks_in(state, configuration, BlockKind::Returned);
                }
                Ok(())
            }
            Word::Lifecycle => lifecycle_changed(state, configuration, process, before),
            Word::PeerIndex(row) => row_changed(state, configuration, process, row),
            Word::Mark(block, message) => {
                let (before, now) = (mark_of(before), mark_of(now));
                let what = || format!("process {process}: block {block}: {before:?} -> {now:?}");
                mark_changed(state, configuration, process, (block, message), before, now)
                    .map_err(|rule| format!("{rule} ({})", what()))
            }
            Word::Position(_)
            | Word::Parking(_)
            | Word::Length(_)
            | Word::Note(_)
            | Word::Beyond(_) => Ok(()),
        }
    }

    /// A call has ended.
    pub(super) fn ended(
        state: &mut State,
        configuration: &Configuration,
        process: usize,
        outcome: Outcome,
    ) -> Result<(), Violation> {
        let since = state.processes[process].since;
        match outcome {
            Outcome::Corrupt(corrupt) => Err(format!("EXPLORE-12: {}", corrupt.what())),
            Outcome::Empty => rule(!since.something, 7, || {
                format!("process {process} was told that the queue is empty")
            }),
            Outcome::Full => rule(!since.room, 7, || {
                format!("process {process} was told that the queue is full")
            }),
            Outcome::Accepted => rule(!since.closing, 6, || {
                "a send was accepted that began after the close".to_owned()
            }),
            Outcome::First(_) if !state.ledger.sealed => {
                Err("EXPLORE-6: a close has ended, and the queue is not sealed".to_owned())
            }
            Outcome::First(true) => {
                let is_first = !state.ledger.first_was_told;
                state.ledger.first_was_told = true;
                rule(is_first, 11, || "two closers were first".to_owned())
            }
            Outcome::Done if matches!(state.processes[process].call, Call::HandOn(_)) => {
                arrived(state, configuration, process);
                Ok(())
            }
            Outcome::Closed => closed(state, configuration, process),
            Outcome::Block(hand) if receives(state.processes[process].call) => {
                rule(!since.closed_was_told, 8, || {
                    format!("process {process} received a value after Closed")
                })?;
                let word = state.memory.block(hand.block);
                let is_mine = word.bits() == hand.word
                    && usize::from(state.ledger.holder[usize::from(hand.block)]) == process;
                rule(is_mine, 1, || {
                    format!("process {process} received what it does not hold: {word:?}")
                })
            }
            _ => Ok(()),
        }
    }

    /// Everybody is done or dead, and the survivor has received everything.
    pub(super) fn settle(state: &State, configuration: &Configuration) -> Result<(), Violation> {
        for block in 0..configuration.blocks {
            let word = state.memory.block(block);
            let holder = state.ledger.holder[usize::from(block)];
            let in_hand = state
                .processes
                .get(usize::from(holder))
                .is_some_and(|process| process.life != super::process::Life::Dead)
                && matches!(
                    word.kind(),
                    Some(BlockKind::Held | BlockKind::Owned | BlockKind::Offered)
                );
            rule(word.is(BlockKind::Free) || in_hand, 5, || {
                format!("block {block} is leaked: {word:?}")
            })?;
        }
        for (message, &fate) in state.ledger.fate.iter().enumerate() {
            let holder = state.ledger.taker[message];
            let is_over = match fate {
                Fate::Accepted | Fate::Returned | Fate::Letter => false,
                Fate::Taken => state
                    .processes
                    .get(usize::from(holder))
                    .is_some_and(|process| process.life != super::process::Life::Dead),
                _ => true,
            };
            rule(is_over, 5, || {
                format!("message {message} is lost: {fate:?}")
            })?;
        }
        deserted(state, configuration)
    }

    /// EXPLORE-13.
    pub(super) fn balance(
        state: &State,
        configuration: &'static Configuration,
    ) -> Result<(), Violation> {
        let books = super::real::books(configuration, &state.memory);
        let ledger = &state.ledger;
        let number = |wanted: &[Fate]| {
            let fates = ledger.fate.iter();
            fates.filter(|fate| wanted.contains(fate)).count() as u64
        };
        let life = state.memory.lifecycle();
        let is_late = life.has_ended() && !life.is_cancelled();
        let (returned, letters) = (number(&[Fate::Returned]), number(&[Fate::Letter]));
        let late = if is_late { returned } else { 0 };
        let right = MessageStats {
            accepted: MESSAGES as u64 - number(&[Fate::Unsent]),
            queued: number(&[Fate::Accepted]),
            held: number(&[Fate::Taken]),
            returned: returned - late,
            dead_letters: letters + late,
            ..books
        };
        let before = configuration.start();
        let books = MessageStats {
            accepted: books.accepted - before,
            ..books
        };
        rule(books == right, 13, || {
            format!("{books:?} instead of {right:?}")
        })
    }

    /// EXPLORE-14.
    pub(super) fn at_rest(
        state: &State,
        configuration: &'static Configuration,
    ) -> Result<(), Violation> {
        Self::balance(state, configuration)?;
        let books = super::real::books(configuration, &state.memory);
        let most = configuration.limits.max_dead_letters.into();
        rule(books.dead_letters <= most, 14, || {
            format!("{} dead letters", books.dead_letters)
        })?;
        let cancelled = state.memory.lifecycle().is_cancelled();
        // If whoever cancelled has died meanwhile, what is in the ring waits for a receiver.
        let waits = if state.deaths > 0 {
            books.returned
        } else {
            books.returned + books.queued
        };
        rule(!cancelled || waits == 0, 14, || {
            format!("{waits} messages wait in a cancelled queue")
        })
    }

    /// Somebody has received what there was, while nobody else moved.
    pub(super) fn all_received(&self) -> Result<(), Violation> {
        let waits = |fate: &Fate| matches!(fate, Fate::Accepted | Fate::Returned);
        let left = self.fate.iter().position(waits);
        rule(left.is_none(), 5, || {
            format!("message {left:?} is in nobody's hands, and can't be received")
        })
    }

    /// Whether nothing is in anybody's hands.
    pub(super) fn is_settled(&self) -> bool {
        !self.fate.contains(&Fate::Taken)
    }
}

/// Whether a call is one that may hand out a message.
fn receives(call: Call) -> bool {
    matches!(
        call,
        Call::Receive | Call::Rest(Rest::TakeAt(..) | Rest::Verdict(_))
    )
}

fn blocks_in(state: &State, configuration: &Configuration, wanted: BlockKind) -> u8 {
    (0..configuration.blocks)
        .filter(|&block| state.memory.block(block).is(wanted))
        .fold(0, |mask, block| mask | 1 << block)
}

fn has_died(state: &State, process: u8) -> bool {
    state
        .processes
        .get(usize::from(process))
        .is_none_or(|process| process.life == super::process::Life::Dead)
}

/// `Publish` and `Take`, 7 and 9.
fn slot_changed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    before: SlotState,
    now: SlotState,
) -> Result<(), Violation> {
    let no_row = || format!("EXPLORE-1: no row of the table: {before:?} -> {now:?}");
    match (before.kind(), now.kind()) {
        (SlotKind::Empty | SlotKind::Vacated, SlotKind::Full) => {
            accepted(state, configuration, process, now)?;
            let is_same_lap = before.lap() == now.lap();
            is_same_lap.then_some(()).ok_or_else(no_row)
        }
        (SlotKind::Full, SlotKind::Vacated) => {
            let ledger = &mut state.ledger;
            let message = ledger.payload[now.block().get() as usize];
            let first = (!ledger.order.is_empty()).then(|| ledger.order.remove(0));
            rule(first == Some(message), 2, || {
                format!("message {message} was taken instead of {first:?}")
            })?;
            let announced = state.processes[process].since.announced;
            rule(announced == 0, 3, || {
                format!("message {message} was taken before a returned one")
            })?;
            state.ledger.taken += 1;
            let block = small(now.block().get().into());
            taken(state, configuration, process, block)
        }
        (SlotKind::Vacated, SlotKind::Empty) if before.lap() == now.lap() => Ok(()),
        (SlotKind::Empty | SlotKind::Vacated, SlotKind::Closed) if before.lap() == now.lap() => {
            let is_first = !state.ledger.sealed;
            state.ledger.sealed = true;
            rule(is_first, 6, || "the queue was sealed twice".to_owned())
        }
        _ => Err(no_row()),
    }
}

/// `Publish`.
fn accepted(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    now: SlotState,
) -> Result<(), Violation> {
    let ledger = &mut state.ledger;
    let block = now.block().get() as usize;
    let message = ledger.payload[block];
    let is_mine = usize::from(ledger.holder[block]) == process;
    rule(is_mine, 1, || {
        format!("process {process} sent a block that is not its own")
    })?;
    rule(!ledger.sealed, 6, || {
        format!("message {message} was accepted after the end")
    })?;
    let members = members(&state.memory, message, small(block as u64));
    let fates = ledger
        .fate
        .get_mut(members)
        .ok_or_else(|| "EXPLORE-1: a block without a message was sent".to_owned())?;
    for fate in fates {
        rule(*fate == Fate::Unsent, 5, || {
            format!("message {message} was sent twice")
        })?;
        *fate = Fate::Accepted;
    }
    ledger.accepted += 1;
    ledger.order.push(message);
    let (count, capacity) = (ledger.order.len(), configuration.limits.capacity as usize);
    rule(count <= capacity, 6, || {
        format!("{count} messages in the queue")
    })?;
    if count == capacity {
        for process in &mut state.processes {
            process.since.room = false;
        }
    }
    Ok(())
}

/// The messages in a block of which this is the first.
fn members(memory: &Memory, first: u8, block: u8) -> Range<usize> {
    let count = if memory.is_batch(block) { BATCH } else { 1 };
    let first = usize::from(first);
    first..first + usize::from(count)
}

/// The messages in a block that are not over.
fn left(state: &State, block: u8) -> impl Iterator<Item = usize> + use<> {
    let ledger = &state.ledger;
    let fates = ledger.fate;
    let is_left = move |message: &usize| {
        let over = [Fate::Acknowledged, Fate::Discarded, Fate::Dropped];
        fates.get(*message).is_some_and(|fate| !over.contains(fate))
    };
    members(&state.memory, ledger.payload[usize::from(block)], block).filter(is_left)
}

fn mark_of(bits: u64) -> MessageMark {
    MessageMark::from_bits(small(bits))
}

/// BATCH-1 and BATCH-2 of `batch`.
fn mark_changed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    (block, message): (u8, u8),
    before: MessageMark,
    now: MessageMark,
) -> Result<(), Violation> {
    let word = state.memory.block(block);
    let is_mine = usize::from(state.ledger.holder[usize::from(block)]) == process;
    let in_hand = matches!(
        word.kind(),
        Some(BlockKind::Owned | BlockKind::Held | BlockKind::Read)
    );
    rule(is_mine && in_hand, 1, || {
        "a mark was changed by one who has not got the batch (M1)".to_owned()
    })?;
    if word.is(BlockKind::Owned) {
        return Ok(());
    }
    let number = usize::from(state.ledger.payload[usize::from(block)] + message);
    let ledger = &mut state.ledger;
    if now.deliveries() != before.deliveries() {
        ledger.handed_out[number] += 1;
        let (times, limit) = (
            ledger.handed_out[number],
            configuration.limits.max_deliveries,
        );
        let is_right = times == now.deliveries() && times <= limit;
        rule(is_right && ledger.fate[number] == Fate::Taken, 4, || {
            format!("message {number} was handed out {times} times")
        })?;
    }
    if now.is_done() && !before.is_done() {
        let reads = word.is(BlockKind::Read);
        let expected = if reads { Fate::Letter } else { Fate::Taken };
        rule(ledger.fate[number] == expected, 5, || {
            format!("message {number} is over twice")
        })?;
        ledger.fate[number] = match state.processes[process].call {
            _ if !reads => Fate::Acknowledged,
            Call::DiscardLetter => Fate::Discarded,
            _ => Fate::Dropped,
        };
        let was_handed_out = reads || ledger.handed_out[number] > 0;
        rule(was_handed_out, 4, || {
            format!("message {number} is done and was never handed out (M2)")
        })?;
    }
    Ok(())
}

/// `Take` and `Retake`: the message, or batch, is in the hands of a process.
fn taken(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    block: u8,
) -> Result<(), Violation> {
    for (number, other) in state.processes.iter_mut().enumerate() {
        other.since.something &= number == process;
    }
    let is_batch = state.memory.is_batch(block);
    for message in left(state, block) {
        let ledger = &mut state.ledger;
        ledger.fate[message] = Fate::Taken;
        ledger.taker[message] = u8::try_from(process).expect("few processes");
        // Those of a batch are handed out one by one.
        ledger.handed_out[message] += u8::from(!is_batch);
        let (times, limit) = (
            ledger.handed_out[message],
            configuration.limits.max_deliveries,
        );
        rule(times <= limit, 4, || {
            format!("message {message} was handed out {times} times")
        })?;
    }
    Ok(())
}

/// All rows that change a block.
fn block_changed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    block: u8,
    before: BlockState,
    now: BlockState,
) -> Result<(), Violation> {
    use BlockKind::{Dead, Free, Held, Offered, Owned, Read, Returned};
    let no_row = || "EXPLORE-1: no row of the table".to_owned();
    let me = u8::try_from(process).expect("few processes");
    let index = usize::from(block);
    let (holder, message) = (state.ledger.holder[index], state.ledger.payload[index]);
    let number = usize::from(message);
    let (from, to) = (
        before.kind().ok_or_else(no_row)?,
        now.kind().ok_or_else(no_row)?,
    );
    let in_hand = matches!(from, Owned | Held | Read) || from == Offered && to == Free;
    if in_hand && from != to && holder != me {
        rule(has_died(state, holder), 1, || {
            format!("process {holder} lives, and its block was changed")
        })?;
    }
    let released = matches!(to, Free | Returned | Dead);
    let raised = before.generation() + u64::from(released);
    rule(now.generation() == raised, 1, || {
        "its generation is wrong (B3 of `blocks`)".to_owned()
    })?;
    match (from, to) {
        (Free, Owned) => {
            state.ledger.holder[index] = me;
            state.ledger.payload[index] = NOBODY;
        }
        (Owned, Offered) => {
            let sent = state.processes[process].local.sent;
            let last = configuration.message(process, sent);
            let before = if state.memory.is_batch(block) {
                BATCH - 1
            } else {
                0
            };
            state.ledger.payload[index] = last - before;
        }
        (Offered, Held) => {
            state.ledger.holder[index] = noted(state, message, now)?;
        }
        (Held, Held) if before == now => {}
        (Held, Free) => {
            for (message, fate) in over(state, process, block)? {
                state.ledger.fate[message] = fate;
            }
        }
        (Held, Returned | Dead) => {
            let limit = configuration.limits.max_deliveries;
            for (message, fate) in came_back(state, process, block, now, limit)? {
                state.ledger.fate[message] = fate;
            }
        }
        (Owned | Offered, Free) => {
            let fate = state.ledger.fate.get(number);
            let was_sent = fate.is_some_and(|&fate| fate != Fate::Unsent);
            rule(from == Owned || !was_sent, 5, || {
                format!("message {message} was accepted, and its block is freed")
            })?;
        }
        (Returned, Held) => {
            let first = oldest(state, state.processes[process].since.announced);
            let position = state.memory.get(Word::Position(block));
            rule(first.is_none_or(|first| position <= first), 3, || {
                format!("message {message} was taken before an older one")
            })?;
            leave_returned(state, block);
            state.ledger.holder[index] = me;
            taken(state, configuration, process, block)?;
        }
        (Dead | Returned, Read) => {
            leave_returned(state, block);
            state.ledger.holder[index] = me;
            for message in left(state, block) {
                state.ledger.fate[message] = Fate::Letter;
            }
        }
        (Read, Dead) => {}
        (Read, Free) => {
            let is_batch = state.memory.is_batch(block);
            for message in left(state, block) {
                rule(!is_batch, 5, || format!("letter {message} is lost"))?;
                state.ledger.fate[message] = Fate::Discarded;
            }
        }
        (Dead | Returned, Free) => given_up(state, block, from)?,
        _ => return Err(no_row()),
    }
    if released {
        state.ledger.holder[index] = NOBODY;
    }
    Ok(())
}

/// `Evict` and `Discard`.
fn given_up(state: &mut State, block: u8, from: BlockKind) -> Result<(), Violation> {
    let life = state.memory.lifecycle();
    let is_discarded = from == BlockKind::Returned && life.is_cancelled();
    let is_letter = from == BlockKind::Dead || life.has_ended();
    rule(is_letter || is_discarded, 5, || {
        format!("the message of block {block} waits, and is dropped")
    })?;
    leave_returned(state, block);
    for message in left(state, block) {
        state.ledger.fate[message] = if is_discarded {
            Fate::Discarded
        } else {
            Fate::Dropped
        };
    }
    Ok(())
}

fn is_taken(state: &State, message: u8) -> bool {
    state.ledger.fate.get(usize::from(message)) == Some(&Fate::Taken)
}

/// `Hold`: who has the message.
fn noted(state: &State, message: u8, now: BlockState) -> Result<u8, Violation> {
    rule(is_taken(state, message), 1, || {
        format!("message {message} is noted as taken, and is not")
    })?;
    let taker = state.ledger.taker[usize::from(message)];
    let process = state.processes.get(usize::from(taker));
    let row = process.map(|process| process.local.row.into());
    let is_right = has_died(state, taker) || row == Some(now.peer().get());
    rule(is_right, 1, || {
        format!("message {message} was taken by process {taker}")
    })?;
    Ok(taker)
}

/// What becomes of the messages of a block.
type Fates = Vec<(usize, Fate)>;

/// `Release`, or what a cancel does.
fn over(state: &State, process: usize, block: u8) -> Result<Fates, Violation> {
    let cancelled = state.memory.lifecycle().is_cancelled();
    let is_batch = state.memory.is_batch(block);
    let left: Vec<usize> = left(state, block).collect();
    let acknowledged = match state.processes[process].call {
        Call::Acknowledge => true,
        Call::Settle(Then::Acknowledge | Then::AcknowledgeAll) if !is_batch => true,
        // All at once.
        Call::Settle(Then::AcknowledgeAll) => left.len() == usize::from(BATCH),
        _ => false,
    };
    rule(is_batch || !left.is_empty(), 5, || {
        format!("the message of block {block} is over twice")
    })?;
    let fate = |message: usize| {
        rule(state.ledger.fate[message] == Fate::Taken, 5, || {
            format!("message {message} is over twice")
        })?;
        if acknowledged {
            return Ok((message, Fate::Acknowledged));
        }
        rule(cancelled, 5, || format!("message {message} is lost"))?;
        Ok((message, Fate::Discarded))
    };
    left.into_iter().map(fate).collect()
}

/// `Return` and `Reclaim`.
fn came_back(
    state: &State,
    process: usize,
    block: u8,
    now: BlockState,
    limit: u8,
) -> Result<Fates, Violation> {
    let late = state.processes[process].since.cancelled;
    let is_dead = now.is(BlockKind::Dead);
    let fate = if is_dead {
        Fate::Letter
    } else {
        Fate::Returned
    };
    let call = state.processes[process].call;
    let rejected = matches!(call, Call::Reject | Call::Settle(Then::Reject));
    let first = state.ledger.payload[usize::from(block)];
    let left: Vec<usize> = left(state, block).collect();
    rule(!left.is_empty(), 5, || "nothing came back".to_owned())?;
    let mut any_live = false;
    for &message in &left {
        rule(state.ledger.fate[message] == Fate::Taken, 5, || {
            format!("message {message} came back twice")
        })?;
        rule(!late, 5, || {
            format!("message {message} came back after the cancel")
        })?;
        let times = state.ledger.handed_out[message];
        let is_right = if state.memory.is_batch(block) {
            let mark = state.memory.mark(block, small(message as u64) - first);
            any_live |= mark.is_live(limit);
            mark.deliveries() == times
        } else {
            rejected || (times >= limit) == is_dead && now.failed_deliveries() == times
        };
        rule(is_right, 4, || {
            format!("message {message} was handed out {times} times")
        })?;
    }
    let is_right = !state.memory.is_batch(block) || any_live != is_dead;
    rule(is_right, 4, || {
        "a batch is dead, and some of it may be handed out".to_owned()
    })?;
    Ok(left.into_iter().map(|message| (message, fate)).collect())
}

/// The block is not Returned any more.
fn leave_returned(state: &mut State, block: u8) {
    let others = !(1 << block);
    state.ledger.announced &= others;
    for process in &mut state.processes {
        process.since.announced &= others;
        process.since.returned &= others;
    }
}

fn oldest(state: &State, blocks: u8) -> Option<u64> {
    (0..8)
        .filter(|block| blocks >> block & 1 != 0)
        .map(|block| state.memory.get(Word::Position(block)))
        .min()
}

fn closed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
) -> Result<(), Violation> {
    let call = state.processes[process].call;
    let life = state.memory.lifecycle();
    rule(life.is_closing(), 8, || {
        format!("process {process} was told Closed, and nobody has closed")
    })?;
    if !receives(call) {
        return Ok(());
    }
    let ledger = &mut state.ledger;
    ledger.closed_was_told = true;
    if life.is_cancelled() {
        return Ok(());
    }
    rule(ledger.order.is_empty(), 8, || {
        "Closed, and messages are left".to_owned()
    })?;
    let open = |fate: &Fate| matches!(fate, Fate::Taken | Fate::Returned);
    let is_open = state.ledger.fate.iter().any(open);
    rule(
        !(configuration.limits.close_waits_for_leases && is_open),
        8,
        || "settled and Closed, and a message is in somebody's hands".to_owned(),
    )
}

const ROLES: [Role; 2] = [Role::Sender, Role::Receiver];

fn ends_with(configuration: &Configuration, role: Role) -> bool {
    match role {
        Role::Sender => configuration.limits.close_on_last_sender,
        Role::Receiver => configuration.limits.close_on_last_receiver,
    }
}

/// Whether a process that lives has the role, as far as its user knows.
fn somebody_has(state: &State, configuration: &Configuration, role: Role) -> bool {
    (0..configuration.rows()).any(|row| {
        let tenant = state.memory.row(row);
        let incarnation = tenant.incarnation().get();
        // Counted, it has the role, also if its row does not say so yet.
        let counts = tenant.has_role(role) || !tenant.is_taken();
        counts
            && state.ledger.arrived >> row & 1 != 0
            && state
                .processes
                .iter()
                .any(|process| process.has_lock(row, incarnation))
    })
}

/// A process has the role in the rows that it has the lock of: its own, or one that it hands on.
fn arrived(state: &mut State, configuration: &Configuration, process: usize) {
    let is_its = |row: &u8| {
        let incarnation = state.memory.row(*row).incarnation().get();
        state.processes[process].has_lock(*row, incarnation)
    };
    let rows = (0..configuration.rows()).filter(is_its);
    state.ledger.arrived |= rows.fold(0, |mask, row| mask | 1 << row);
}

fn lifecycle_changed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    before: u64,
) -> Result<(), Violation> {
    let before = crate::protocol::lifecycle::LifecycleState::from_bits(before);
    let now = state.memory.lifecycle();
    if before.arrivals() != now.arrivals() {
        arrived(state, configuration, process);
    }
    if now.has_ended() && !before.has_ended() {
        let left = state.processes[process].since.returned != 0;
        rule(now.is_cancelled() || !left, 8, || {
            "the end, and a message had come back".to_owned()
        })?;
        // From now on they are dead letters.
        state.ledger.announced = 0;
        for process in &mut state.processes {
            process.since.announced = 0;
            process.since.returned = 0;
        }
    }
    let asked = matches!(state.processes[process].call, Call::Close | Call::Cancel);
    if asked || before.is_closing() || !now.is_closing() {
        return Ok(());
    }
    let has_gone = |role: Role| {
        ends_with(configuration, role) && now.had(role) && !somebody_has(state, configuration, role)
    };
    rule(ROLES.into_iter().any(has_gone), 10, || {
        format!("process {process} ended a side that somebody has")
    })
}

fn row_changed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    row: u8,
) -> Result<(), Violation> {
    let tenant = state.memory.row(row);
    if tenant.kind() != Some(PeerKind::Free) {
        return Ok(());
    }
    state.ledger.arrived &= !(1 << row);
    // PEER-4: nothing is left in its name, but what it has sent.
    for block in 0..configuration.blocks {
        let word = state.memory.block(block);
        let in_hand = matches!(
            word.kind(),
            Some(BlockKind::Owned | BlockKind::Held | BlockKind::Read)
        );
        rule(!in_hand || word.peer().get() != u16::from(row), 1, || {
            format!("process {process} freed row {row}, which has block {block}: {word:?}")
        })?;
    }
    Ok(())
}

/// The end of a side is not missed.
fn deserted(state: &State, configuration: &Configuration) -> Result<(), Violation> {
    let life = state.memory.lifecycle();
    for role in ROLES {
        let is_over = ends_with(configuration, role)
            && life.had(role)
            && !somebody_has(state, configuration, role);
        rule(!is_over || life.is_closing(), 10, || {
            format!("nobody is left as {role:?}, and the queue is open")
        })?;
    }
    Ok(())
}

/// Whether an access can change the word.
pub(super) fn writes(access: Access) -> bool {
    matches!(
        access,
        Access::Store(_)
            | Access::Exchange(..)
            | Access::Swap(_)
            | Access::Add(_)
            | Access::Or(_)
            | Access::And(_)
    )
}
