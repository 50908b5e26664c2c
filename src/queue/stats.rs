//! Statistics: counts of the messages, blocks and processes of a queue, taken at one moment.

use crate::protocol::SharedState;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::peers::{PeerEntry, PeerKind, Role};
use crate::protocol::steps::stats::{self, BlockSnapshot};
use crate::segment::Segment;
use crate::segment::geometry::{Class, Geometry};
use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

/// The state of a queue at one moment. Returned by [`Sender::stats`](crate::Sender::stats) and
/// [`Receiver::stats`](crate::Receiver::stats).
///
/// All numbers are counted from the shared words of the queue, one after the other, while other processes go on
/// changing them. On a busy queue each number is true, but of a slightly different moment. On a queue at rest they
/// balance:
///
/// ```text
/// accepted = acknowledged + queued + held + returned + dead_letters + dropped_letters + discarded
/// ```
///
/// Messages of a batch ([`Sender::send_many`](crate::Sender::send_many)) count one by one. All of them count as held
/// once a receiver has taken the batch, each until it is acknowledged. Those that were returned also count as held,
/// until the batch is returned. A message that may not be delivered again counts as returned while others of its batch
/// may be, and as a dead letter when none may.
///
/// `accepted` is exact. The counts of dropped, discarded and recovered messages may each lack one message, or one
/// batch, for every process that was killed while it counted; these count as acknowledged.
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
    /// Messages that receivers have acknowledged: those that were accepted and are in no other count.
    pub acknowledged: u64,
    /// Messages that wait for their first delivery.
    pub queued: u64,
    /// Messages that a process has received and neither acknowledged nor returned.
    pub held: u64,
    /// Messages that wait to be delivered again, and messages of their batches that wait with them.
    pub returned: u64,
    /// Dead letters: what [`Receiver::dead_letters`](crate::Receiver::dead_letters) returns, and those that a process
    /// reads now. Once a receiver has got `Closed`, messages that are returned later count here too.
    pub dead_letters: u64,
    /// Dead letters that were dropped: there were too many, or a new message needed the memory.
    pub dropped_letters: u64,
    /// Messages that [`cancel`](crate::Receiver::cancel) has discarded.
    pub discarded: u64,
    /// The bytes of memory that the queue has now: what its file occupies, as the kernel counts it.
    /// [`Options::memory_limit`](crate::Options::memory_limit) limits this number.
    pub memory: usize,
    /// The blocks that hold messages, by size.
    pub blocks: Vec<BlockStats>,
    /// The processes that are attached, and those that were given an end and have not attached yet.
    pub peers: Vec<PeerStats>,
    /// The number of processes that died while they were attached, or after they were given an end, and whose messages
    /// and memory were recovered.
    pub recovered: u64,
    /// The latest of these deaths, in the order in which they were noticed. The table of peers keeps one for each of
    /// its 1,024 entries.
    pub deaths: Vec<DeathStats>,
}

/// The blocks of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStats {
    /// The longest message that fits into one, in bytes.
    pub payload: usize,
    /// The number of blocks.
    pub total: u64,
    /// The number of free blocks, and of those that live senders keep for their next messages.
    pub free: u64,
    /// The number of blocks that have memory: of a size of up to 64 KiB all blocks or, before the first message of that
    /// size, none; of a larger size those that are in use and some free ones.
    pub committed: u64,
}

/// A process that is attached to a queue, or was given an end of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// Its process id, in its own namespace. `None`: it was given an end and has not attached yet.
    pub pid: Option<u32>,
    /// Whether it has a sender.
    pub sends: bool,
    /// Whether it has a receiver.
    pub receives: bool,
    /// The number of messages that it has received and neither acknowledged nor returned.
    pub holds: u64,
    /// Whether the lock that shows that it lives is free. As a rule it has died, and no process has noticed it yet.
    pub unlocked: bool,
}

/// A process that died while it was attached, or after it was given an end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeathStats {
    /// Its process id, in its own namespace. `None`: it died before it attached.
    pub pid: Option<u32>,
    /// When another process noticed the death.
    pub noticed: SystemTime,
}

/// Returns the statistics of the queue in `segment`.
pub(super) fn count(segment: &Segment) -> Stats {
    let blocks = stats::snapshot_blocks(segment);
    let messages = stats::count(segment, &blocks);
    Stats {
        accepted: messages.accepted,
        acknowledged: messages.acknowledged(),
        queued: messages.queued,
        held: messages.held,
        returned: messages.returned,
        dead_letters: messages.dead_letters,
        dropped_letters: messages.evicted,
        discarded: messages.discarded,
        memory: segment.memory(),
        blocks: classes(segment, segment.geometry()),
        peers: peers(segment, &blocks),
        recovered: segment.recovered_peers(),
        deaths: deaths(segment),
    }
}

fn number_of<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |count, _| count + 1)
}

/// Returns the blocks of each size.
pub(crate) fn classes<S: SharedState>(shared: &S, geometry: &Geometry) -> Vec<BlockStats> {
    let huge = geometry.huge_blocks();
    let header = |number: u32| shared.block(BlockIndex::new(number)?);
    let has_sender = |peer| {
        let entry = shared.peer(peer).map(PeerEntry::load);
        entry.is_some_and(|entry| {
            entry.kind() == Some(PeerKind::Live) && entry.roles().has(Role::Sender)
        })
    };
    // A block whose header has no memory is free.
    let is_free = |number: &u32| {
        header(*number).is_none_or(|block| {
            let word = block.word.load();
            let is_kept = word.is(BlockKind::Owned) && block.is_prepared();
            word.is(BlockKind::Free) || is_kept && has_sender(word.peer())
        })
    };
    let is_committed = |number: &u32| {
        header(*number).is_some_and(|header| !huge.contains(number) || header.is_committed())
    };
    let count = |class: &Class| BlockStats {
        payload: class.payload,
        total: number_of(class.blocks.clone()),
        free: number_of(class.blocks.clone().filter(is_free)),
        committed: number_of(class.blocks.clone().filter(is_committed)),
    };
    geometry.classes.iter().map(count).collect()
}

fn peers(segment: &Segment, blocks: &[BlockSnapshot]) -> Vec<PeerStats> {
    let mut peers = Vec::new();
    for peer in (0..segment.peer_count()).filter_map(PeerIndex::new) {
        let Some(entry) = segment.peer(peer) else {
            continue;
        };
        let state = entry.load();
        if !matches!(state.kind(), Some(PeerKind::Ticket | PeerKind::Live)) {
            continue;
        }
        let held = blocks.iter().filter(|block| block.holder() == Some(peer));
        peers.push(PeerStats {
            pid: (state.kind() == Some(PeerKind::Live)).then(|| entry.process_id()),
            sends: state.has_role(Role::Sender),
            receives: state.has_role(Role::Receiver),
            holds: held.map(|block| block.messages.unsettled()).sum(),
            unlocked: segment.is_locked(peer, state) == Some(false),
        });
    }
    peers
}

/// Returns the latest deaths, oldest first.
pub(crate) fn deaths<S: SharedState>(shared: &S) -> Vec<DeathStats> {
    let peers = (0..shared.peer_count()).filter_map(PeerIndex::new);
    let mut deaths: Vec<_> = peers
        .filter_map(|peer| shared.peer(peer)?.last_death())
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
