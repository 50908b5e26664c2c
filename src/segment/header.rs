//! Writes the settings of a queue into the header of its segment, and reads them when a process attaches.
//!
//! HEADER-1. A segment is complete or refused: the magic number is stored last, and nothing is read before it is found.
//! HEADER-2. Each value that is read is checked against its range, so that a header which a stray write has changed is
//!           refused, or describes a sound queue of the very size of its file.
//!
//! Crash: a process that dies while it makes a segment leaves a file without the magic number, which every peer
//! refuses.

use super::attach_error::AttachError;
use super::geometry::Geometry;
use super::layout::{Header, MAGIC, NAME_BYTES, VERSION};
use super::schema::Schema;
use super::settings::{SPINS, STORED_LIVENESS_INTERVALS, Settings};
#[cfg(feature = "cli")]
use crate::os::memory;
use crate::protocol::Limits;
use crate::sync::{AtomicU64, Ordering};
use core::ops::RangeInclusive;
use core::time::Duration;
#[cfg(feature = "cli")]
use std::io;
#[cfg(feature = "cli")]
use std::os::fd::AsFd;

/// Said of a file without [`MAGIC`].
pub(super) const INCOMPLETE: &str = "it does not start with the mark of a complete segment";

/// Bits of [`Header::flags`].
const CLOSE_WAITS_FOR_LEASES: u64 = 1;
const CLOSE_ON_LAST_SENDER: u64 = 2;
const CLOSE_ON_LAST_RECEIVER: u64 = 4;
const EVICT_DEAD_LETTERS: u64 = 8;
const PREALLOCATE: u64 = 16;

impl Header {
    /// Writes the header of a new segment. The words of the protocol need no such step: in a new file they are zero,
    /// which means empty slots of lap 0, free blocks, free peer entries, and an open queue.
    pub(super) fn write(&self, geometry: &Geometry, settings: &Settings) {
        let limits = &settings.limits;
        let flags = [
            (limits.close_waits_for_leases, CLOSE_WAITS_FOR_LEASES),
            (limits.close_on_last_sender, CLOSE_ON_LAST_SENDER),
            (limits.close_on_last_receiver, CLOSE_ON_LAST_RECEIVER),
            (settings.evict_dead_letters, EVICT_DEAD_LETTERS),
            (settings.preallocate, PREALLOCATE),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set);
        let flags = flags.fold(0, |all, (_, flag)| all | flag);
        let schema = settings.schema.as_ref();
        for (field, value) in [
            (&self.version, VERSION),
            (&self.fingerprint, geometry.fingerprint()),
            (&self.length, geometry.length as u64),
            (&self.schema_hash, schema.map_or(0, Schema::hash)),
            (&self.capacity, u64::from(limits.capacity)),
            (&self.max_message_len, settings.max_message_len as u64),
            (&self.inline_len, settings.inline_len as u64),
            (&self.memory_limit, settings.memory_limit),
            (&self.max_idle_memory, settings.max_idle_memory),
            (&self.max_deliveries, u64::from(limits.max_deliveries)),
            (&self.max_leases, u64::from(settings.max_leases)),
            (&self.max_dead_letters, u64::from(limits.max_dead_letters)),
            (&self.spin_nanoseconds, nanoseconds(settings.spin)),
            (
                &self.liveness_interval_nanoseconds,
                nanoseconds(settings.liveness_interval),
            ),
            (&self.flags, flags),
        ] {
            field.store(value, Ordering::Relaxed);
        }
        write_name(&self.type_name, &settings.type_name);
        write_name(&self.codec_name, &settings.codec_name);
        write_name(&self.schema_name, schema.map_or("", Schema::name));
        // Release: pairs with the load of the magic number in `read` (HEADER-1).
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// Copies the header of a segment from its file, with `pread(2)`.
    #[cfg(feature = "cli")]
    pub(super) fn read_from(file: impl AsFd) -> io::Result<Self> {
        let mut bytes = [0; size_of::<Self>()];
        memory::read_exactly(file, &mut bytes, 0)?;
        let mut words = bytes.chunks_exact(size_of::<u64>()).map(|word| {
            let word = word.try_into().unwrap_or_default();
            AtomicU64::new(u64::from_ne_bytes(word))
        });
        let mut next = || words.next().unwrap_or_default();
        // In the order of the fields, which is that of a `repr(C)`.
        Ok(Self {
            magic: next(),
            version: next(),
            fingerprint: next(),
            length: next(),
            schema_hash: next(),
            capacity: next(),
            max_message_len: next(),
            inline_len: next(),
            memory_limit: next(),
            max_idle_memory: next(),
            max_deliveries: next(),
            max_leases: next(),
            max_dead_letters: next(),
            spin_nanoseconds: next(),
            liveness_interval_nanoseconds: next(),
            flags: next(),
            type_name: core::array::from_fn(|_| next()),
            codec_name: core::array::from_fn(|_| next()),
            schema_name: core::array::from_fn(|_| next()),
        })
    }

    /// Reads and checks the header of a segment whose file has `size` bytes.
    pub(super) fn read(&self, size: usize) -> Result<(Geometry, Settings), AttachError> {
        // Acquire: pairs with the store in `write` (HEADER-1).
        if self.magic.load(Ordering::Acquire) != MAGIC {
            return Err(AttachError::NotASegment(INCOMPLETE));
        }
        let theirs = get(&self.version);
        if theirs != VERSION && !mutant!(VersionNotChecked) {
            return Err(AttachError::Version {
                theirs,
                ours: VERSION,
            });
        }
        let (capacity, inline_len, geometry) = self.read_geometry(size)?;
        let settings = self.read_settings(capacity, inline_len, geometry.max_message_len)?;
        Ok((geometry, settings))
    }

    /// Reads the capacity, the inline length and the largest message, each once, and checks that they fit this build
    /// and the file.
    fn read_geometry(&self, size: usize) -> Result<(u32, usize, Geometry), AttachError> {
        let capacity = u32::try_from(get(&self.capacity))
            .ok()
            .filter(|capacity| Geometry::CAPACITIES.contains(capacity))
            .ok_or(AttachError::NotASegment("its capacity is out of range"))?;
        let max_message_len = usize::try_from(get(&self.max_message_len))
            .ok()
            .filter(|max_message_len| Geometry::MAX_MESSAGE_LENS.contains(max_message_len))
            .ok_or(AttachError::NotASegment(
                "its largest message is out of range",
            ))?;
        let inline_len = usize::try_from(get(&self.inline_len))
            .ok()
            .filter(|inline_len| Geometry::INLINE_LENS.contains(inline_len))
            .ok_or(AttachError::NotASegment(
                "its inline length is out of range",
            ))?;
        let geometry = Geometry::new(capacity, max_message_len, inline_len);
        let (theirs, ours) = (get(&self.fingerprint), geometry.fingerprint());
        if theirs != ours && !mutant!(FingerprintNotChecked) {
            return Err(AttachError::Layout { theirs, ours });
        }
        let is_length_right = geometry.length == size && get(&self.length) == size as u64;
        if !is_length_right && !mutant!(LengthNotChecked) {
            return Err(AttachError::NotASegment(
                "its length does not fit its capacity and largest message",
            ));
        }
        Ok((capacity, inline_len, geometry))
    }

    /// Reads what the geometry does not depend on.
    fn read_settings(
        &self,
        capacity: u32,
        inline_len: usize,
        max_message_len: usize,
    ) -> Result<Settings, AttachError> {
        let small = |field: &AtomicU64, what| {
            u32::try_from(get(field)).map_err(|_| AttachError::NotASegment(what))
        };
        let flags = get(&self.flags);
        let limits = Limits {
            capacity,
            max_deliveries: u8::try_from(get(&self.max_deliveries))
                .ok()
                .filter(|deliveries| (1..=15).contains(deliveries))
                .ok_or(AttachError::NotASegment(
                    "its number of deliveries is out of range",
                ))?,
            max_dead_letters: small(
                &self.max_dead_letters,
                "its number of dead letters is out of range",
            )?,
            close_waits_for_leases: flags & CLOSE_WAITS_FOR_LEASES != 0,
            close_on_last_sender: flags & CLOSE_ON_LAST_SENDER != 0,
            close_on_last_receiver: flags & CLOSE_ON_LAST_RECEIVER != 0,
        };
        Ok(Settings {
            limits,
            evict_dead_letters: flags & EVICT_DEAD_LETTERS != 0,
            preallocate: flags & PREALLOCATE != 0,
            max_leases: small(&self.max_leases, "its number of leases is out of range")?,
            max_message_len,
            inline_len,
            memory_limit: get(&self.memory_limit),
            max_idle_memory: get(&self.max_idle_memory),
            spin: duration_within(
                &self.spin_nanoseconds,
                &SPINS,
                "its spin time is out of range",
            )?,
            liveness_interval: duration_within(
                &self.liveness_interval_nanoseconds,
                &STORED_LIVENESS_INTERVALS,
                "its liveness interval is out of range",
            )?,
            schema: Schema::stored(get(&self.schema_hash), read_name(&self.schema_name)),
            type_name: read_name(&self.type_name),
            codec_name: read_name(&self.codec_name),
        })
    }
}

fn get(field: &AtomicU64) -> u64 {
    field.load(Ordering::Relaxed)
}

fn duration_within(
    nanoseconds: &AtomicU64,
    allowed: &RangeInclusive<Duration>,
    what: &'static str,
) -> Result<Duration, AttachError> {
    let duration = Duration::from_nanos(get(nanoseconds));
    if allowed.contains(&duration) {
        Ok(duration)
    } else {
        Err(AttachError::NotASegment(what))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the part of a name that the header has room for: its end, from the start of a character on.
pub(crate) fn shortened(name: &str) -> &str {
    let from = name.len().saturating_sub(NAME_BYTES);
    (from..=name.len())
        .find_map(|from| name.get(from..))
        .unwrap_or_default()
}

fn write_name(words: &[AtomicU64], name: &str) {
    let bytes = shortened(name).as_bytes();
    for (word, chunk) in words.iter().zip(bytes.chunks(8)) {
        let mut padded = [0; 8];
        for (to, from) in padded.iter_mut().zip(chunk) {
            *to = *from;
        }
        word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
    }
}

fn read_name(words: &[AtomicU64]) -> String {
    let bytes: Vec<u8> = words
        .iter()
        .flat_map(|word| get(word).to_le_bytes())
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
