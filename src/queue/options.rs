//! The options of a queue, and the functions that make one.

use super::attachment::Attachment;
use super::option_checks::{default_inline_len, not_attached, not_made, number, within};
use super::{Receiver, Sender};
use crate::codec::{Bincode, Codec};
use crate::error::CreateError;
use crate::protocol::Limits;
use crate::segment::geometry::Geometry;
use crate::segment::{LIVENESS_INTERVALS, SPINS, Schema, Segment, Settings};
use core::any::type_name;
use core::ops::RangeInclusive;
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Creates a queue of up to `capacity` messages, with default [`Options`].
///
/// Both ends are in this process, for as long as you keep them; [`Handoff`](crate::Handoff) gives either to a child
/// process. Never waits for other processes.
///
/// # Errors
///
/// [`CreateError`]: the capacity is not from 1 to 65,536, there is not enough memory, or the system has no descriptor
/// left, or no `/proc`.
///
/// # Examples
///
/// ```
/// let (tx, rx) = workring::channel::<String>(16)?;
/// tx.send("task".to_owned())?;
/// drop(tx); // the last sender: the queue closes
/// assert_eq!(rx.recv()?, "task");
/// assert!(matches!(rx.recv(), Err(workring::RecvError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn channel<T: Serialize + DeserializeOwned>(
    capacity: usize,
) -> Result<(Sender<T>, Receiver<T>), CreateError> {
    Options::new(capacity).channel()
}

/// How long waits spin unless an option says otherwise.
pub(crate) const DEFAULT_SPIN: Duration = Duration::from_micros(50);

/// The options of a queue. All processes that use the queue share them.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use workring::Options;
///
/// let options = Options::new(64).max_deliveries(5).close_waits_for_leases(true).spin(Duration::ZERO);
/// let (tx, rx) = options.channel::<u32>()?;
/// # drop((tx, rx));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
#[must_use = "options do nothing until `channel` makes a queue with them"]
pub struct Options {
    capacity: usize,
    max_deliveries: u32,
    close_waits_for_leases: bool,
    max_leases: Option<usize>,
    max_message_len: usize,
    inline_len: Option<usize>,
    memory_limit: usize,
    max_idle_memory: usize,
    preallocate: bool,
    max_dead_letters: usize,
    evict_dead_letters: bool,
    spin: Duration,
    liveness_interval: Duration,
    /// Whether `liveness_interval` may be longer than programs can set it.
    #[cfg(feature = "test-hooks")]
    pub(super) any_liveness_interval: bool,
    close_on_last_sender: Option<bool>,
    close_on_last_receiver: Option<bool>,
    schema: Option<String>,
}

impl Options {
    /// Creates default options for a queue of `capacity` messages, from 1 to 65,536.
    pub const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            max_deliveries: 3,
            close_waits_for_leases: false,
            max_leases: None,
            max_message_len: 1 << 20,
            inline_len: None,
            memory_limit: usize::MAX,
            max_idle_memory: usize::MAX,
            preallocate: false,
            max_dead_letters: 128,
            evict_dead_letters: true,
            spin: DEFAULT_SPIN,
            liveness_interval: Duration::from_millis(100),
            #[cfg(feature = "test-hooks")]
            any_liveness_interval: false,
            close_on_last_sender: None,
            close_on_last_receiver: None,
            schema: None,
        }
    }

    /// Sets how many times a message is delivered before it becomes a dead letter: 1 to 15, by default 3.
    ///
    /// A delivery fails when its receiver returns the message, or dies while it holds it. With 1, no message is
    /// delivered a second time.
    pub const fn max_deliveries(mut self, max_deliveries: u32) -> Self {
        self.max_deliveries = max_deliveries;
        self
    }

    /// Sets whether a closed queue waits for outstanding leases before receivers get `Closed`. By default it does not.
    ///
    /// - `false`: receivers get `Closed` when no message is left to deliver. A message that is returned afterwards
    ///   becomes a dead letter.
    /// - `true`: receivers get `Closed` when every message is acknowledged or a dead letter. Until then they wait for
    ///   the holders of leases, and messages that these return are delivered again.
    pub const fn close_waits_for_leases(mut self, waits: bool) -> Self {
        self.close_waits_for_leases = waits;
        self
    }

    /// Sets how many leases each process may have at a time: at least 1, by default as many as the capacity.
    ///
    /// Leases are counted without a lock. Threads of a process that lease at the same moment may exceed the limit, each
    /// by one; a lease within the limit is never refused.
    pub const fn max_leases(mut self, max_leases: usize) -> Self {
        self.max_leases = Some(max_leases);
        self
    }

    /// Sets the maximum length of an encoded message in bytes: 128 bytes to 1 GiB, by default 1 MiB.
    ///
    /// A new queue has memory for its ring, and for messages of up to [`inline_len`](Options::inline_len). For longer
    /// ones there are blocks of 256 bytes, 1 KiB, 4 KiB, 16 KiB and 64 KiB. When the first message needs one, memory is
    /// taken for all blocks of that size, at most about 1 MiB, and is kept. So a send of a size that was not used before
    /// may fail with [`NoMemory`](crate::SendError::NoMemory), unless [`preallocate`](Options::preallocate) is set.
    ///
    /// The memory for larger messages is taken when one is sent, block by block, in sizes of 256 KiB, 1 MiB, 4 MiB and
    /// so on. The largest size is just large enough for `max_message_len`. Free blocks are reused, the ones with memory
    /// first. There are 64 blocks of each size up to 16 MiB, 16 blocks of 64 MiB, and 4 of each larger size, but never
    /// more than twice the capacity, or 4. A send waits while all blocks of its size, and the idle blocks of the next
    /// size, are in use.
    ///
    /// Free blocks keep their memory for the next messages, within [`max_idle_memory`](Options::max_idle_memory).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Raw};
    ///
    /// let options = Options::new(4).max_message_len(8 << 20);
    /// let (tx, rx) = options.channel_with::<Vec<u8>, Raw>()?;
    /// tx.send(vec![7; 8 << 20])?;
    /// assert_eq!(rx.recv()?.len(), 8 << 20);
    /// assert!(matches!(tx.send(vec![7; (8 << 20) + 1]), Err(workring::SendError::TooLarge { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn max_message_len(mut self, max_message_len: usize) -> Self {
        self.max_message_len = max_message_len;
        self
    }

    /// Sets the length, in bytes, up to which a message lies in the ring itself: at most 4096.
    ///
    /// Each slot of the ring has room for one message of up to this length, in the same cache lines. Such a message
    /// costs the least time. A longer one lies in a block elsewhere, which takes one or two more cache lines. The ring
    /// has at least 1024 slots, and more than the capacity; each takes this many bytes and 32 more, rounded up to whole
    /// cache lines, from the start.
    ///
    /// The default depends on the type of the messages. If it is plain data (it needs no `Drop`), it is the size of the
    /// type, but at most 1024, or 96 if the capacity is more than 8192. For other types it is 96.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Raw};
    ///
    /// // Most of the messages are a little shorter than 300 bytes.
    /// let (tx, rx) = Options::new(16).inline_len(300).channel_with::<Vec<u8>, Raw>()?;
    /// tx.send(vec![7; 290])?;
    /// tx.send(vec![7; 5000])?; // still possible
    /// # assert_eq!(rx.recv()?.len() + rx.recv()?.len(), 5290);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn inline_len(mut self, bytes: usize) -> Self {
        self.inline_len = Some(bytes);
        self
    }

    /// Sets how many bytes of memory the queue may take in total, as [`Stats::memory`](crate::queue::Stats) counts
    /// them. By default there is no such limit.
    ///
    /// A queue that would take more when it is made is not made: [`CreateError::NoMemory`]. Of the rest, memory for all
    /// messages of up to 64 KiB, and for the table of peers, is set aside; where there is not enough for that, sizes get
    /// it in the order of their first use, and the sends of others fail with
    /// [`NoMemory`](crate::SendError::NoMemory).
    ///
    /// A send that would take more, for a message of more than 64 KiB, first returns the memory of idle blocks of other sizes. If that is not
    /// enough, the send waits as long as other messages of more than 64 KiB have the memory that it needs, and fails
    /// with `NoMemory` otherwise.
    ///
    /// With or without this limit, the room in the memory control group and the available memory of the machine are
    /// checked in the same way whenever memory is taken. So a lack of memory is an error, and the kernel kills no
    /// process for it.
    pub const fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Sets how many bytes of memory the free blocks for messages of more than 64 KiB may keep, in total. By default
    /// there is no such limit.
    ///
    /// A message whose block has memory is sent several times faster than one for which memory must be taken first.
    /// With the default, a queue keeps what was in use at the same time, so only the first messages take memory. A free
    /// block returns its memory to the system
    ///
    /// - when it becomes free and free blocks have more than this limit. With 0 each block returns it, and the queue
    ///   takes memory only for the messages that it has;
    /// - when no message has used it for 10 to 20 seconds, if any process still waits, sends or receives;
    /// - when [`memory_limit`](Options::memory_limit), the control group or the machine would otherwise refuse memory
    ///   for a block of another size of this queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Raw};
    ///
    /// let options = Options::new(8).max_message_len(16 << 20).max_idle_memory(0);
    /// let (tx, rx) = options.channel_with::<Vec<u8>, Raw>()?;
    /// let before = tx.stats().memory;
    /// tx.send(vec![7; 16 << 20])?;
    /// rx.recv()?;
    /// assert!(tx.stats().memory < before + (1 << 20));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn max_idle_memory(mut self, bytes: usize) -> Self {
        self.max_idle_memory = bytes;
        self
    }

    /// Sets whether all memory for messages of up to 64 KiB is taken when the queue is made. By default it is not.
    ///
    /// By default the memory for each size is taken when the first message needs it, and so is the memory for more than
    /// 64 attached processes. So a queue takes little memory, and little time to make. But a send of a size that was not
    /// used before takes longer, and fails with [`NoMemory`](crate::SendError::NoMemory) if there is no memory by then.
    ///
    /// With `true`, the queue takes up to 5 MiB, and about 300 bytes for each message of the capacity, at once; less if
    /// [`max_message_len`](Options::max_message_len) is less than 64 KiB. A lack of memory is then a
    /// [`CreateError::NoMemory`], and a send of up to 64 KiB never fails for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Raw};
    ///
    /// let options = Options::new(16).preallocate(true);
    /// let (tx, rx) = options.channel_with::<Vec<u8>, Raw>()?;
    /// let before = tx.stats().memory;
    /// tx.send(vec![7; 60_000])?;
    /// assert_eq!(rx.stats().memory, before);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn preallocate(mut self, preallocate: bool) -> Self {
        self.preallocate = preallocate;
        self
    }

    /// Sets how many dead letters are kept: at most the capacity or 128, whichever is more; by default 128. The oldest
    /// are dropped first.
    pub const fn max_dead_letters(mut self, max_dead_letters: usize) -> Self {
        self.max_dead_letters = max_dead_letters;
        self
    }

    /// Sets whether the oldest dead letter is dropped when a new message of its size needs its memory. True by default.
    /// With false, senders wait until the dead letters have been read and discarded.
    pub const fn evict_dead_letters(mut self, evict_dead_letters: bool) -> Self {
        self.evict_dead_letters = evict_dead_letters;
        self
    }

    /// Sets how long a wait spins before it sleeps in the kernel: at most 10 ms, by default 50 µs, about twice the time
    /// that waking a sleeper takes.
    ///
    /// A wait spins for a shorter time after several waits in a row that had to sleep.
    ///
    /// A wait that spins lets other threads use its processor, after a 64th of this time; on a machine with one processor
    /// after its first attempt. While they do, and messages pass through the queue without the wait, the time does not count, except for
    /// the last 20 ms before a time limit: the wait burns as much processor time as set here and a little more, and then
    /// sleeps. If other programs take the processor for a whole time slice twice in short order, waits sleep sooner for a
    /// while.
    ///
    /// If messages come in a stream, a process that has received all of them, or has filled the queue, pauses before it looks
    /// again, so that it does not compete with the other side for each message. It finds out which pause moves the most
    /// messages: at most 8 µs, and never more than the time set here. The last message of a stream may be received later
    /// by as much.
    pub const fn spin(mut self, spin: Duration) -> Self {
        self.spin = spin;
        self
    }

    /// Sets how often a waiting or busy process checks whether its peers live: each 1 ms to 10 s, by default 100 ms.
    ///
    /// While any process waits, sends or receives, the death of another one is noticed within this time. A waiting
    /// process wakes up this often. A process that is killed while it wakes another one delays that one by at most this
    /// time.
    pub const fn liveness_interval(mut self, interval: Duration) -> Self {
        self.liveness_interval = interval;
        self
    }

    /// Sets whether the queue closes when the last sender, of all processes, is dropped. By default it does, unless it
    /// [has a name](Options::create_named).
    pub const fn close_on_last_sender(mut self, closes: bool) -> Self {
        self.close_on_last_sender = Some(closes);
        self
    }

    /// Sets whether the queue closes when the last receiver, of all processes, is dropped. By default it does, unless
    /// it [has a name](Options::create_named).
    pub const fn close_on_last_receiver(mut self, closes: bool) -> Self {
        self.close_on_last_receiver = Some(closes);
        self
    }

    /// Sets a name, of any length, for the encoding and meaning of the messages. By default there is none.
    ///
    /// A process can only [open](crate::queue::open_as) or [inherit](crate::queue::inherit_as) an end of a queue whose
    /// messages mean the same to it. Without a schema, the names of the Rust types are compared, as [`type_name`]
    /// returns them. They change when a type is renamed or moved to another module, and stay when its fields change.
    /// With a schema, its name is compared *instead*: programs with types of different names, such as two versions of a
    /// program, share the queue as long as both name the same schema. Change the name whenever the encoding or the
    /// meaning of the messages changes. The codec is compared in either case.
    ///
    /// The queue stores a 64-bit hash of the whole name, which is what is compared, and its last 256 bytes for error
    /// messages.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use workring::{Options, Receiver, error::OpenError};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Job(u32);
    /// #[derive(Serialize, Deserialize)]
    /// struct RenamedJob(u32);
    ///
    /// let name = format!("example-schema-{}", std::process::id());
    /// let (tx, rx) = Options::new(16).schema("job.v1").create_named::<Job>(&name)?;
    /// tx.send(Job(7))?;
    ///
    /// let other: Receiver<RenamedJob> = workring::queue::open_as(&name, "job.v1")?;
    /// assert_eq!(other.recv()?.0, 7);
    ///
    /// let refused = workring::queue::open_as::<Receiver<RenamedJob>>(&name, "job.v2");
    /// assert!(matches!(refused, Err(OpenError::Schema { .. })));
    /// # drop((tx, rx, other));
    /// # workring::queue::remove_named(&name)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn schema(mut self, schema: &str) -> Self {
        self.schema = Some(schema.to_owned());
        self
    }

    /// Creates the queue, for messages of any serde type.
    ///
    /// # Errors
    ///
    /// [`CreateError`]: an option is out of its range, there is not enough memory, or the system has no descriptor
    /// left, or no `/proc`.
    pub fn channel<T: Serialize + DeserializeOwned>(
        &self,
    ) -> Result<(Sender<T>, Receiver<T>), CreateError> {
        self.channel_with::<T, Bincode>()
    }

    /// Creates the queue, for messages that `C` encodes.
    ///
    /// # Errors
    ///
    /// [`CreateError`]: an option is out of its range, there is not enough memory, or the system has no descriptor
    /// left, or no `/proc`.
    #[allow(
        clippy::type_complexity,
        reason = "a pair of two handles, spelt out once"
    )]
    pub fn channel_with<T, C: Codec<T>>(
        &self,
    ) -> Result<(Sender<T, C>, Receiver<T, C>), CreateError> {
        let settings = self.settings::<T>(C::NAME, true)?;
        let segment = Segment::create(settings).map_err(not_made)?;
        let attachment = Attachment::create(segment).map_err(not_attached)?;
        let attachment = Arc::new(attachment);
        Ok((
            Sender::counted(Arc::clone(&attachment)),
            Receiver::counted(attachment),
        ))
    }

    pub(super) fn deliveries(&self) -> u32 {
        self.max_deliveries
    }

    pub(super) fn schema_name(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Returns whether `inline_len` was set, and does not depend on the type of the messages.
    pub(super) fn has_inline_len(&self) -> bool {
        self.inline_len.is_some()
    }

    #[cfg_attr(
        not(feature = "test-hooks"),
        allow(clippy::unused_self, reason = "builds for tests use it")
    )]
    fn liveness_intervals(&self) -> RangeInclusive<Duration> {
        #[cfg(feature = "test-hooks")]
        if self.any_liveness_interval {
            return crate::segment::STORED_LIVENESS_INTERVALS;
        }
        LIVENESS_INTERVALS
    }

    /// Checks the options. `closes` is the default of `close_on_last_sender` and `close_on_last_receiver`.
    pub(super) fn settings<T>(
        &self,
        codec_name: &str,
        closes: bool,
    ) -> Result<Settings, CreateError> {
        let capacities = Geometry::CAPACITIES;
        let capacity = number(
            "capacity",
            self.capacity,
            &(*capacities.start() as usize..=*capacities.end() as usize),
        )?;
        let largest_max_dead_letters = self.capacity.max(128);
        let max_leases = self.max_leases.unwrap_or(self.capacity);
        let max_deliveries = number("max_deliveries", self.max_deliveries as usize, &(1..=15))?;
        Ok(Settings {
            limits: Limits {
                capacity,
                max_deliveries: u8::try_from(max_deliveries).unwrap_or(u8::MAX),
                max_dead_letters: number(
                    "max_dead_letters",
                    self.max_dead_letters,
                    &(0..=largest_max_dead_letters),
                )?,
                close_waits_for_leases: self.close_waits_for_leases,
                close_on_last_sender: self.close_on_last_sender.unwrap_or(closes),
                close_on_last_receiver: self.close_on_last_receiver.unwrap_or(closes),
            },
            evict_dead_letters: self.evict_dead_letters,
            max_leases: number("max_leases", max_leases, &(1..=1 << 20))?,
            max_message_len: within(
                "max_message_len",
                self.max_message_len,
                &Geometry::MAX_MESSAGE_LENS,
                "from 128 bytes to 1 GiB",
            )?,
            inline_len: within(
                "inline_len",
                self.inline_len.unwrap_or(default_inline_len::<T>(capacity)),
                &Geometry::INLINE_LENS,
                "at most 4096 bytes",
            )?,
            memory_limit: self.memory_limit as u64,
            max_idle_memory: self.max_idle_memory as u64,
            preallocate: self.preallocate,
            spin: within("spin", self.spin, &SPINS, "at most 10 ms")?,
            liveness_interval: within(
                "liveness_interval",
                self.liveness_interval,
                &self.liveness_intervals(),
                "from 1 ms to 10 s",
            )?,
            schema: self.schema.as_deref().map(Schema::new),
            type_name: type_name::<T>().to_owned(),
            codec_name: codec_name.to_owned(),
        })
    }
}
