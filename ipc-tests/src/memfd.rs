//! The memory files of this process: for tests that overwrite or copy the memory of a queue.

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
    unistd::{Whence, lseek},
};
use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
};

/// Another description, for reading and writing, of the only memory file of this process whose name contains `mark`.
#[must_use]
pub fn reopen(mark: &str) -> File {
    let wanted = format!("/memfd:{mark}");
    let entries = fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let mut paths = entries.map(|entry| entry.path());
    let found = paths.find(|path| {
        let target = fs::read_link(path).unwrap_or_default();
        target.display().to_string().starts_with(&wanted)
    });
    let path = found.unwrap_or_else(|| panic!("no descriptor of {wanted}"));
    let file = File::options().read(true).write(true).open(path);
    file.expect("another description")
}

/// The contents of a file. Ranges without memory are zero, and stay without memory in a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    length: u64,
    /// The ranges that have memory, in order.
    parts: Vec<Range<u64>>,
    /// The bytes of these ranges, one after the other.
    bytes: Vec<u8>,
}

/// The unit in which the kernel allocates memory.
const PAGE: usize = 4096;

impl Contents {
    /// Reads all of a file, whose position moves.
    pub fn read(&mut self, file: &File) {
        self.length = file.metadata().expect("metadata").len();
        self.parts.clear();
        let (mut read, mut end) = (0, 0);
        while let Some(start) = seek(file, end, Whence::SeekData) {
            end = seek(file, start, Whence::SeekHole).expect("there is a hole at the end");
            let after = read + usize::try_from(end - start).expect("a length");
            // What is there from the last time is overwritten.
            if self.bytes.len() < after {
                self.bytes.resize(after, 0);
            }
            let room = self.bytes.get_mut(read..after).expect("there is room");
            file.read_exact_at(room, start).expect("read what is there");
            self.parts.push(start..end);
            read = after;
        }
        self.bytes.truncate(read);
    }

    /// Returns a hash of the bytes. Ranges without memory count as zeros.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.length.hash(&mut hasher);
        let starts = self
            .parts
            .iter()
            .flat_map(|part| part.clone().step_by(PAGE));
        let pages = starts.zip(self.bytes.chunks(PAGE));
        let nonzero = pages.filter(|(_, page)| page.iter().any(|&byte| byte != 0));
        nonzero.for_each(|page| page.hash(&mut hasher));
        hasher.finish()
    }

    /// Returns a new memory file with the same bytes, of a size that cannot change, that is open nowhere else.
    #[must_use]
    pub fn to_file(&self) -> OwnedFd {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create("copy", flags).expect("a memory file"));
        file.set_len(self.length).expect("a length");
        let mut rest = self.bytes.as_slice();
        for part in &self.parts {
            let length = usize::try_from(part.end - part.start).expect("a length");
            let (bytes, after) = rest.split_at(length);
            file.write_all_at(bytes, part.start).expect("room");
            rest = after;
        }
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("sealed");
        file.into()
    }
}

/// The first position from `start` on that is memory, or is none; `None` if there is none to the end.
fn seek(file: &File, start: u64, whence: Whence) -> Option<u64> {
    let start = start.try_into().expect("a position");
    match lseek(file, start, whence) {
        Ok(found) => Some(found.try_into().expect("a position")),
        Err(Errno::ENXIO) => None,
        Err(error) => panic!("lseek: {error}"),
    }
}

/// Another description, for reading and writing, of a file that the process of this id has open under this number.
#[must_use]
pub fn of_process(process_id: u32, number: i32) -> File {
    let path = format!("/proc/{process_id}/fd/{number}");
    let file = File::options().read(true).write(true).open(path);
    file.expect("another description")
}

/// Opens a file of this process a second time.
#[must_use]
pub fn again(file: impl AsFd) -> File {
    of_process(std::process::id(), file.as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guarded;
    use core::time::Duration;

    const LIMIT: Duration = Duration::from_mins(1);

    #[test]
    fn a_copy_has_the_same_bytes_and_no_more_memory() {
        guarded(LIMIT, || {
            let file = File::from(memfd_create("original", MFdFlags::MFD_CLOEXEC).expect("a file"));
            file.set_len(1 << 30).expect("a length");
            file.write_all_at(b"first", 0).expect("room");
            file.write_all_at(b"last", (1 << 30) - 4).expect("room");
            let mut contents = Contents::default();
            contents.read(&file);
            let copy = File::from(contents.to_file());
            let mut of_copy = Contents::default();
            of_copy.read(&copy);
            assert_eq!(of_copy, contents);
            assert_eq!(contents.bytes.len(), 2 * PAGE);
            let mut end = [0; 4];
            copy.read_exact_at(&mut end, (1 << 30) - 4).expect("read");
            assert_eq!(&end, b"last");
            assert!(copy.set_len(1).is_err(), "it is sealed");
        });
    }

    #[test]
    fn equal_bytes_have_equal_digests_and_others_have_others() {
        guarded(LIMIT, || {
            let file = File::from(memfd_create("original", MFdFlags::MFD_CLOEXEC).expect("a file"));
            file.set_len(1 << 20).expect("a length");
            let digest = || {
                let mut contents = Contents::default();
                contents.read(&file);
                contents.digest()
            };
            let empty = digest();
            file.write_all_at(&[0; 100], 10_000).expect("room");
            assert_eq!(digest(), empty, "zeros with memory");
            file.write_all_at(&[1], 10_000).expect("room");
            let one = digest();
            assert_ne!(one, empty);
            file.write_all_at(&[0], 10_000).expect("room");
            assert_eq!(digest(), empty);
            file.write_all_at(&[1], 50_000).expect("room");
            assert_ne!(digest(), one, "elsewhere");
        });
    }
}
