//! Limits on memory.

use core::fmt;

/// Which limit leaves too little memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryLimit {
    /// The queue's own, [`Options::memory_limit`](crate::Options::memory_limit).
    Queue,
    /// The limit of a memory control group (cgroup) that this process is in: `memory.max` less `memory.current`, where
    /// file
    /// cache does not count as used.
    Cgroup,
    /// The machine's memory: `MemAvailable`, or what the kernel is willing to commit.
    Machine,
    /// `RLIMIT_FSIZE`, which must leave room for the whole queue, with every block that it may ever use.
    FileSize,
    /// The size of the file system that holds the queue.
    FileSystem,
    /// `RLIMIT_AS`, which must leave room for the whole queue, with every block that it may ever use. If `RLIMIT_AS` is
    /// not set, the address space of the processor or `vm.max_map_count` was the limit, and 0 bytes are reported as
    /// left.
    AddressSpace,
}

impl MemoryLimit {
    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "the queue's memory limit",
            Self::Cgroup => "the memory control group",
            Self::Machine => "the machine",
            Self::FileSize => "RLIMIT_FSIZE",
            Self::FileSystem => "the file system",
            Self::AddressSpace => "RLIMIT_AS",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Queue => "raise `Options::memory_limit`",
            Self::Cgroup => "raise its limit, or use less memory elsewhere in it",
            Self::Machine => "use less memory elsewhere",
            Self::FileSystem => "make it larger",
            Self::FileSize | Self::AddressSpace => "raise it, or lower `Options::max_message_len`",
        }
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A limit leaves fewer bytes than were requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory {
    pub(crate) limit: MemoryLimit,
    pub(crate) wanted: u64,
    pub(crate) available: u64,
}

impl OutOfMemory {
    /// Returns an error if less is available than wanted.
    pub(crate) fn check(limit: MemoryLimit, wanted: u64, available: u64) -> Result<(), Self> {
        if wanted <= available {
            return Ok(());
        }
        Err(Self {
            limit,
            wanted,
            available,
        })
    }
}

/// Writes the sentence for a request of `wanted` bytes when `limit` leaves only `available`.
pub(super) fn no_memory(
    f: &mut fmt::Formatter<'_>,
    limit: MemoryLimit,
    wanted: u64,
    available: u64,
) -> fmt::Result {
    write!(
        f,
        "{wanted} bytes of memory are needed, but {limit} leaves {available}: {}",
        limit.remedy()
    )
}
