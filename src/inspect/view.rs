//! One queue, looked at.

use super::address::Address;
use super::figures::Figures;
use super::peers::{self, Holding, Peer};
use crate::error::OpenError;
use crate::os::clock;
use crate::os::identity::{self, Identity};
use crate::os::named;
use crate::os::open_files;
use crate::protocol::SharedState;
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::steps::stats::{self, BlockSnapshot};
use crate::protocol::steps::walk::filled_and_taken;
use crate::queue::named_file::{not_mapped, not_opened};
use crate::queue::{BlockStats, DeathStats, Raw, stats as queue_stats};
use crate::segment::AttachError;
use crate::segment::image::Image;
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;

/// A queue, looked at without taking part in it. See the module [`crate::inspect`].
#[derive(Debug)]
pub struct QueueView {
    pub(super) image: Image,
    me: Identity,
}

/// What a queue was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The number of messages, or of batches, that it accepts before it is full.
    pub capacity: u32,
    /// The longest message, in bytes.
    pub max_message_len: usize,
    /// How many bytes of memory it may take; `None` without a limit.
    pub memory_limit: Option<u64>,
    /// After how many deliveries a message becomes a dead letter.
    pub max_deliveries: u8,
    /// How many dead letters are kept.
    pub max_dead_letters: u32,
    /// How many messages a process may lease at a time.
    pub max_leases: u32,
    /// The Rust type of its messages.
    pub type_name: String,
    /// The codec of its messages.
    pub codec: String,
    /// The schema of its messages.
    pub schema: Option<String>,
    /// Whether its messages are bytes, for any program to write and read.
    pub is_raw: bool,
    /// Whether it closes with its last sender.
    pub close_on_last_sender: bool,
    /// Whether it closes with its last receiver.
    pub close_on_last_receiver: bool,
    /// How often its processes check on each other.
    pub liveness_interval: Duration,
}

/// Whether a queue accepts and has messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It accepts messages.
    Open,
    /// It is closed, and may have messages left.
    Closed,
    /// It is closed, and a receiver has found that none is left.
    Ended,
    /// It was cancelled: closed, and what was left was discarded.
    Cancelled,
}

/// The state of a queue when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Whether all of it is of one moment. On a busy queue it is not: see [`Figures`].
    pub is_settled: bool,
    /// What contradicts itself in it, if anything does. Something that is not part of this crate has then written to it.
    pub damage: Option<&'static str>,
    /// Whether it accepts and has messages.
    pub state: State,
    /// The number of messages, or of batches, in the ring: what the capacity limits.
    pub depth: u64,
    /// The numbers of messages.
    pub figures: Figures,
    /// The bytes of memory that it has now.
    pub memory: usize,
    /// The processes.
    pub peers: Vec<Peer>,
    /// What processes hold.
    pub holdings: Vec<Holding>,
    /// The blocks, by size.
    pub blocks: Vec<BlockStats>,
    /// How long ago a process of the queue last checked on the others: it waited, sent or received then. `None`: none has
    /// yet.
    pub idle: Option<Duration>,
    /// The number of processes that died and were recovered.
    pub recovered: u64,
    /// The latest of these deaths.
    pub deaths: Vec<DeathStats>,
}

impl QueueView {
    /// Opens a queue for looking, and takes the first look.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: there is no such queue, it belongs to another user, is of another version, or is none.
    pub fn open(address: &Address) -> Result<Self, OpenError> {
        Self::open_reusing(address, None)
    }

    /// Opens a queue as [`open`](Self::open) does, with the memory of an earlier view of this process, if that fits. To
    /// look at many queues in turn takes half of the time.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_reusing(address: &Address, spare: Option<Self>) -> Result<Self, OpenError> {
        let file = match address {
            Address::Named(name) => {
                named::open_to_read(name).map_err(|error| not_opened(error, name))?
            }
            Address::Descriptor {
                process,
                descriptor,
            } => open_files::open_again(*process, *descriptor, false).map_err(|error| {
                if error.kind() == io::ErrorKind::NotFound {
                    let name = address.to_string();
                    return OpenError::NotFound { name };
                }
                not_read(error)
            })?,
        };
        Self::of(file, spare)
    }

    /// Looks at the queue in a file.
    fn of(file: OwnedFd, spare: Option<Self>) -> Result<Self, OpenError> {
        let size = open_files::size(&file).map_err(not_read)?;
        let me = match &spare {
            Some(spare) => spare.me,
            None => identity::current().map_err(not_read)?,
        };
        let image =
            Image::of(file, size, spare.map(|spare| spare.image)).map_err(|error| match error {
                AttachError::Os(source) => not_read(source),
                other => not_mapped(other),
            })?;
        Ok(Self { image, me })
    }

    /// Returns what tells this queue from all others, also from later ones of the same name: device and inode.
    #[must_use]
    pub fn file(&self) -> (u64, u64) {
        self.image.file_id().numbers()
    }

    /// Looks again.
    ///
    /// # Errors
    ///
    /// The file was cut, or cannot be read.
    pub fn refresh(&mut self) -> Result<(), OpenError> {
        self.image.refresh().map_err(not_read)
    }

    /// Returns what the queue was made with.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let stored = self.image.settings();
        let limit = stored.memory_limit;
        Settings {
            capacity: stored.limits.capacity,
            max_message_len: stored.max_message_len,
            memory_limit: (limit != u64::MAX && limit != usize::MAX as u64).then_some(limit),
            max_deliveries: stored.limits.max_deliveries,
            max_dead_letters: stored.limits.max_dead_letters,
            max_leases: stored.max_leases,
            type_name: stored.type_name.clone(),
            codec: stored.codec_name.clone(),
            schema: stored
                .schema
                .as_ref()
                .map(|schema| schema.name().to_owned()),
            is_raw: stored.codec_name == <Raw as crate::queue::Codec<Vec<u8>>>::NAME,
            close_on_last_sender: stored.limits.close_on_last_sender,
            close_on_last_receiver: stored.limits.close_on_last_receiver,
            liveness_interval: stored.liveness_interval,
        }
    }

    /// Returns the state of the queue at the last look.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let image = &self.image;
        let blocks = stats::snapshot_blocks(image);
        let counts = stats::count(image, &blocks);
        let holdings = peers::holdings(image, &blocks);
        let (filled, taken) = filled_and_taken(image);
        let depth = filled.0.saturating_sub(taken.0);
        Snapshot {
            is_settled: image.is_settled(),
            damage: if image.is_settled() {
                damage(image, &blocks, &counts)
            } else {
                None
            },
            state: state(image.lifecycle().load()),
            depth: depth.min(image.limits().capacity.into()),
            figures: Figures::balanced(image, &counts),
            memory: image.memory(),
            peers: peers::peers(image, &self.me, &holdings),
            holdings,
            blocks: queue_stats::classes(image, image.geometry()),
            idle: image.last_sweep().map(|at| {
                let now = clock::now();
                Duration::from_nanos(now.saturating_sub(at))
            }),
            recovered: image.recovered_peers(),
            deaths: queue_stats::deaths(image),
        }
    }
}

fn state(life: LifecycleState) -> State {
    if life.is_cancelled() {
        State::Cancelled
    } else if life.has_ended() {
        State::Ended
    } else if life.is_closing() {
        State::Closed
    } else {
        State::Open
    }
}

/// Returns what contradicts itself in a settled copy of the words.
fn damage(
    image: &Image,
    blocks: &[BlockSnapshot],
    counts: &stats::MessageStats,
) -> Option<&'static str> {
    let (filled, taken) = filled_and_taken(image);
    if filled.0.saturating_sub(taken.0) > image.limits().capacity.into() {
        return Some("its ring holds more than its capacity");
    }
    if image.tail().get() > filled || image.head().get() > taken {
        return Some("a hint is ahead of the ring");
    }
    if blocks.iter().any(|block| block.state.kind().is_none()) {
        return Some("a block has a state that does not exist");
    }
    let elsewhere = [
        counts.queued,
        counts.held,
        counts.returned,
        counts.dead_letters,
    ];
    if elsewhere.into_iter().fold(0, u64::saturating_add) > counts.accepted {
        return Some("it has more messages than it accepted");
    }
    let is_peer = |holding: &Holding| {
        let index = crate::protocol::ids::PeerIndex::new(holding.entry);
        index.and_then(|index| image.peer(index)).is_some()
    };
    if !peers::holdings(image, blocks).iter().all(is_peer) {
        return Some("a message is held by a process that does not exist");
    }
    None
}

fn not_read(source: io::Error) -> OpenError {
    OpenError::Os {
        what: "the queue's file could not be read",
        source,
    }
}
