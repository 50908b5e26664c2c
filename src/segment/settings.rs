//! What a queue is made with. The header of its segment keeps the settings, so that all peers use the same ones.

use super::schema::Schema;
use crate::protocol::Limits;
use core::ops::RangeInclusive;
use core::time::Duration;

/// The settings of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// Whether a sender that finds no free block may evict a dead letter.
    pub(crate) evict_dead_letters: bool,
    /// How many leases a process may have at a time.
    pub(crate) max_leases: u32,
    /// The length of the largest message, in bytes.
    pub(crate) max_message_len: usize,
    /// The length up to which a message lies in its cell, in bytes.
    pub(crate) inline_len: usize,
    /// How much memory the segment may take, in bytes; `u64::MAX` without a limit.
    pub(crate) memory_limit: u64,
    /// Whether the queue has memory for messages of up to 64 KiB from the start.
    pub(crate) preallocate: bool,
    /// How many bytes of memory idle blocks for messages of more than 64 KiB may keep.
    pub(crate) max_idle_memory: u64,
    /// How long a wait spins before it sleeps; one of [`SPINS`].
    pub(crate) spin: Duration,
    /// How long a sleep lasts before its process checks on the other peers; one of [`LIVENESS_INTERVALS`].
    pub(crate) liveness_interval: Duration,
    pub(crate) schema: Option<Schema>,
    /// The Rust type of the messages.
    pub(crate) type_name: String,
    pub(crate) codec_name: String,
}

/// The times that a wait may spin.
pub(crate) const SPINS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(10);

/// The liveness intervals that a program may choose.
pub(crate) const LIVENESS_INTERVALS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10);

/// The liveness intervals that a header may hold. Tests make queues with longer ones, in which a missing wake is a
/// hang.
pub(crate) const STORED_LIVENESS_INTERVALS: RangeInclusive<Duration> =
    if cfg!(feature = "test-hooks") {
        Duration::from_millis(1)..=Duration::from_secs(3600)
    } else {
        LIVENESS_INTERVALS
    };
