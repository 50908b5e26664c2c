//! What a queue looks like at a moment.

use crate::protocol::SharedState;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::peers::{PeerKind, Role};
use crate::protocol::steps::stats::{self, BlockSnapshot};
use crate::segment::Segment;
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
/// Messages of a batch ([`Sender::send_many`](crate::Sender::send_many)) count one by one: as held from when their
/// receiver has taken the batch until each is acknowledged, and those that were returned until the batch is. A message
/// that may not be handed out again counts as returned as long as others of its batch may, and as a dead letter with
/// them.
///
/// What is accepted is exact. The counts of what was dropped, discarded and recovered may each lack one message, or
/// one batch, for every process that was killed in the very moment of counting: these count as acknowledged.
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
    /// Messages that wait to be handed out again, and those of their batches that wait with them.
    pub returned: u64,
    /// Dead letters, those included that somebody is looking at: what
    /// [`Receiver::dead_letters`](crate::Receiver::dead_letters) gives. Once receivers have been told that the queue
    /// has ended, also what has come back since.
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
    let blocks = stats::snapshot_blocks(segment);
    let books = stats::count(segment, &blocks);
    Stats {
        accepted: books.accepted,
        acknowledged: books.acknowledged(),
        queued: books.queued,
        held: books.held,
        returned: books.returned,
        dead_letters: books.dead_letters,
        dropped_letters: books.evicted,
        discarded: books.discarded,
        memory: segment.memory(),
        blocks: classes(segment),
        peers: peers(segment, &blocks),
        recovered: segment.recovered_peers(),
        deaths: deaths(segment),
    }
}

fn number_of<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |count, _| count + 1)
}

fn word(segment: &Segment, number: u32) -> Option<BlockState> {
    Some(segment.block(BlockIndex::new(number)?)?.word.load())
}

fn classes(segment: &Segment) -> Vec<BlockStats> {
    let huge = segment.geometry().huge_blocks();
    let committed = |number: u32| {
        let header = BlockIndex::new(number).and_then(|index| segment.block(index));
        !huge.contains(&number) || header.is_some_and(BlockHeader::is_committed)
    };
    let classes = segment.geometry().classes.iter();
    let count = |class: &crate::segment::geometry::Class| BlockStats {
        payload: class.payload,
        total: number_of(class.blocks.clone()),
        free: number_of(class.blocks.clone().filter(|&number| {
            word(segment, number).is_some_and(|block| block.is(BlockKind::Free))
        })),
        committed: number_of(class.blocks.clone().filter(|&number| committed(number))),
    };
    classes.map(count).collect()
}

fn peers(segment: &Segment, blocks: &[BlockSnapshot]) -> Vec<PeerStats> {
    let mut peers = Vec::new();
    for row in (0..segment.peer_count()).filter_map(PeerIndex::new) {
        let Some(word) = segment.peer(row) else {
            continue;
        };
        let tenant = word.load();
        if !matches!(tenant.kind(), Some(PeerKind::Ticket | PeerKind::Live)) {
            continue;
        }
        let held = blocks.iter().filter(|block| block.holder() == Some(row));
        peers.push(PeerStats {
            pid: (tenant.kind() == Some(PeerKind::Live)).then(|| word.process_id()),
            sends: tenant.has_role(Role::Sender),
            receives: tenant.has_role(Role::Receiver),
            holds: held.map(|block| block.messages.unsettled()).sum(),
            unlocked: segment.is_locked(row, tenant) == Some(false),
        });
    }
    peers
}

fn deaths(segment: &Segment) -> Vec<DeathStats> {
    let rows = (0..segment.peer_count()).filter_map(PeerIndex::new);
    let mut deaths: Vec<_> = rows
        .filter_map(|row| segment.peer(row)?.last_death())
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
