//! What a queue looks like at a moment.

use crate::protocol::Words;
use crate::protocol::batch::Tally;
use crate::protocol::blocks::{Block, BlockHeader, BlockIndex, State};
use crate::protocol::operations::{batch, receive};
use crate::protocol::peers::{Role, Row, Tenancy};
use crate::protocol::ring::{Kind, Position};
use crate::segment::Segment;
use crate::sync::Ordering;
use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a queue looks like at a moment. Made by [`Sender::stats`](crate::Sender::stats) and
/// [`Receiver::stats`](crate::Receiver::stats).
///
/// Everything is counted from the words of the queue, one after the other, while others go on changing them: on
/// a busy queue the numbers are each true, but of slightly different moments. On a queue at rest they balance:
///
/// ```text
/// accepted = acknowledged + queued + held + returned + dead_letters + dropped_letters + discarded
/// ```
///
/// Messages of a pack ([`Sender::send_many`](crate::Sender::send_many)) count one by one: as held from when their
/// receiver has taken the pack until each is acknowledged, and those that were returned until the pack is.
///
/// The counts of what was dropped, discarded and recovered may each lack one for every process that was killed in
/// the very moment of counting.
///
/// # Examples
///
/// ```
/// let (tx, rx) = workring::channel::<u32>(8)?;
/// for n in 0..3 {
///     tx.send(n)?;
/// }
/// rx.recv()?;
/// let lease = rx.lease()?;
/// let stats = rx.stats();
/// assert_eq!((stats.accepted, stats.acknowledged, stats.held, stats.queued), (3, 1, 1, 1));
/// let me = &stats.peers[0];
/// assert_eq!((me.pid, me.holds), (Some(std::process::id()), 1));
/// # drop(lease);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that sends have accepted since the queue was made.
    pub accepted: u64,
    /// Messages that receivers are done with: what is accepted and nowhere else.
    pub acknowledged: u64,
    /// Messages that wait to be received for the first time.
    pub queued: u64,
    /// Messages that somebody has received and neither acknowledged nor returned.
    pub held: u64,
    /// Messages that wait to be handed out again.
    pub returned: u64,
    /// Dead letters, those included that somebody is looking at.
    pub dead_letters: u64,
    /// Dead letters that were dropped, because there were too many or to make room.
    pub dropped_letters: u64,
    /// Messages that a cancel has discarded.
    pub discarded: u64,
    /// Bytes of memory that the queue has taken, and not given back: what its file really holds, as the kernel
    /// counts it, and what [`Options::memory_limit`](crate::Options::memory_limit) is about.
    pub memory: usize,
    /// The blocks that messages lie in, by size.
    pub blocks: Vec<BlockStats>,
    /// The processes that are attached, or were given an end and have not attached yet.
    pub peers: Vec<PeerStats>,
    /// How many processes have died while they were attached, or between being given an end and attaching, and
    /// have been cleared up after.
    pub recovered: u64,
    /// The latest of them, in the order in which they were noticed: one for each place in the table of
    /// processes, of which there are 1,024.
    pub deaths: Vec<DeathStats>,
}

/// The blocks of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStats {
    /// The longest message that fits one, in bytes.
    pub payload: usize,
    /// How many there are.
    pub total: u64,
    /// How many are free.
    pub free: u64,
    /// How many have memory. Up to 64 KiB all of them, from the start; of the larger ones those that are in use,
    /// and some that are free.
    pub committed: u64,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// Its process id, in its own namespace; `None` if it was given an end and has not attached yet.
    pub pid: Option<u32>,
    /// Whether it has a sender.
    pub sends: bool,
    /// Whether it has a receiver.
    pub receives: bool,
    /// How many messages it holds: received and neither acknowledged nor returned.
    pub holds: u64,
    /// True if it does not hold the lock by which others tell that it lives: as a rule, because it has died and
    /// nobody has looked yet.
    pub unlocked: bool,
}

/// A process that has died while it was attached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeathStats {
    /// Its process id, in its own namespace; `None` if it died before it had attached.
    pub pid: Option<u32>,
    /// When that was noticed.
    pub noticed: SystemTime,
}

/// Count everything.
pub(super) fn count(segment: &Segment) -> Stats {
    let blocks: Vec<(Block, Tally)> = (0..segment.block_count())
        .filter_map(|number| Some((word(segment, number)?, messages(segment, number)?)))
        .collect();
    let of_blocks = |wanted: &[State], number: fn(Tally) -> u64| {
        blocks
            .iter()
            .filter(|(block, _)| block.state().is_some_and(|state| wanted.contains(&state)))
            .map(|&(_, tally)| number(tally))
            .sum::<u64>()
    };
    let taken_unnoted = takers_without_a_note(segment);
    let (filled, taken) = receive::extent(segment);
    let packed = segment.packed().load(Ordering::Relaxed);
    let accepted = filled.0.saturating_add(packed);
    // One each for their place in the ring, and those that are packed with them.
    let queued = filled.0.saturating_sub(taken.0)
        + of_blocks(&[State::Offered], |tally| tally.left().saturating_sub(1));
    let held = of_blocks(&[State::Held], Tally::left) + number_of(taken_unnoted.iter());
    let returned = of_blocks(&[State::Returned], |tally| tally.live);
    let dead_letters = of_blocks(&[State::Dead, State::Read], Tally::left)
        + of_blocks(&[State::Returned], |tally| tally.spent);
    let dropped_letters = segment.dropped_letters().load(Ordering::Relaxed);
    let discarded = segment.discarded().load(Ordering::Relaxed);
    let elsewhere = [
        queued,
        held,
        returned,
        dead_letters,
        dropped_letters,
        discarded,
    ];
    Stats {
        accepted,
        acknowledged: elsewhere
            .iter()
            .fold(accepted, |rest, count| rest.saturating_sub(*count)),
        queued,
        held,
        returned,
        dead_letters,
        dropped_letters,
        discarded,
        memory: segment.memory(),
        blocks: classes(segment),
        peers: peers(segment, &blocks, &taken_unnoted),
        recovered: segment.recovered(),
        deaths: deaths(segment),
    }
}

fn number_of<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |count, _| count + 1)
}

fn word(segment: &Segment, number: u32) -> Option<Block> {
    Some(segment.block(BlockIndex::new(number)?)?.word.load())
}

/// How many messages are in a block, if any are.
fn messages(segment: &Segment, number: u32) -> Option<Tally> {
    Some(batch::messages(segment, BlockIndex::new(number)?))
}

/// Who has taken a message from the ring and not noted it in the block yet.
fn takers_without_a_note(segment: &Segment) -> Vec<Row> {
    let slots =
        (0..segment.ring_size().slots()).map(|number| segment.slot(Position(number)).load());
    let vacated = slots.filter(|slot| slot.kind() == Kind::Vacated);
    let unnoted = vacated.filter(|slot| {
        word(segment, slot.block().get()).is_some_and(|block| block.is(State::Offered))
    });
    unnoted.map(crate::protocol::ring::Slot::taker).collect()
}

fn classes(segment: &Segment) -> Vec<BlockStats> {
    let huge = segment.geometry().huge_blocks();
    let committed = |number: u32| {
        let header = BlockIndex::new(number).and_then(|index| segment.block(index));
        !huge.contains(&number) || header.is_some_and(BlockHeader::is_committed)
    };
    let classes = segment.geometry().classes.iter();
    let count =
        |class: &crate::segment::layout::Class| BlockStats {
            payload: class.payload,
            total: number_of(class.blocks.clone()),
            free: number_of(class.blocks.clone().filter(|&number| {
                word(segment, number).is_some_and(|block| block.is(State::Free))
            })),
            committed: number_of(class.blocks.clone().filter(|&number| committed(number))),
        };
    classes.map(count).collect()
}

fn peers(segment: &Segment, blocks: &[(Block, Tally)], taken_unnoted: &[Row]) -> Vec<PeerStats> {
    let mut peers = Vec::new();
    for row in (0..segment.row_count()).filter_map(Row::new) {
        let Some(word) = segment.row(row) else {
            continue;
        };
        let tenant = word.load();
        if !matches!(tenant.tenancy(), Some(Tenancy::Ticket | Tenancy::Live)) {
            continue;
        }
        let held: u64 = blocks
            .iter()
            .filter(|(block, _)| block.is(State::Held) && block.row() == row)
            .map(|(_, tally)| tally.left())
            .sum();
        let unnoted = taken_unnoted.iter().filter(|&&taker| taker == row);
        peers.push(PeerStats {
            pid: (tenant.tenancy() == Some(Tenancy::Live)).then(|| word.process_id()),
            sends: tenant.counts_as(Role::Sender),
            receives: tenant.counts_as(Role::Receiver),
            holds: held + number_of(unnoted),
            unlocked: segment.is_locked(row, tenant) == Some(false),
        });
    }
    peers
}

fn deaths(segment: &Segment) -> Vec<DeathStats> {
    let rows = (0..segment.row_count()).filter_map(Row::new);
    let mut deaths: Vec<_> = rows
        .filter_map(|row| segment.row(row)?.last_death())
        .filter_map(|(pid, noticed)| {
            Some(DeathStats {
                pid: (pid != 0).then_some(pid),
                noticed: UNIX_EPOCH.checked_add(Duration::from_millis(noticed))?,
            })
        })
        .collect();
    deaths.sort_by_key(|death| death.noticed);
    deaths
}
