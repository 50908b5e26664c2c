//! Files in `/dev/shm` that are being made under a name which no process opens.
//!
//! The name is `~~NAMESPACE-PROCESS-NUMBER` (NAME-5 of [`named`]): the process-id namespace of the maker, its process id
//! and start time, and a number that it counts up.
//!
//! | file                                | name                | left behind by a crash                            |
//! |-------------------------------------|---------------------|---------------------------------------------------|
//! | being made                          | the staging name    | the file, until [`remove_leftovers`] finds it     |
//! | complete, and [`Staged::publish`]ed | its own             | the whole segment, until it is removed            |
//! | given up                            | none                | nothing                                           |
//!
//! STAGING-1. A file is removed as a leftover only if its maker is dead: no process of this namespace has that id and
//!     start time. A file that was made in another namespace is left to processes of that namespace.
//!
//! State: the counter, and the files.

use super::{named, procfs};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

/// How the names begin.
const MARK: &str = "~~";

/// The maker of a file, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Maker {
    pid_namespace: u64,
    process_id: u32,
    start_time: u32,
}

impl Maker {
    fn current() -> io::Result<Self> {
        Ok(Self {
            pid_namespace: fs::metadata("/proc/self/ns/pid")
                .map_err(|error| procfs::unreadable(&error))?
                .ino(),
            process_id: std::process::id(),
            start_time: procfs::Stat::own()
                .map_err(|error| procfs::unreadable(&error))?
                .start_time,
        })
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(MARK)?.split('-');
        let pid_namespace = parts.next()?.parse().ok()?;
        let (process_id, start_time) = parts.next()?.split_once('.')?;
        Some(Self {
            pid_namespace,
            process_id: process_id.parse().ok()?,
            start_time: start_time.parse().ok()?,
        })
    }

    /// Returns whether this process can tell that the maker is dead (STAGING-1).
    fn is_dead(self, own: Self) -> bool {
        let is_visible =
            self.pid_namespace == own.pid_namespace && procfs::is_own_namespace().unwrap_or(false);
        let Some(id) = i32::try_from(self.process_id).ok().filter(|_| is_visible) else {
            return false;
        };
        if kill(Pid::from_raw(id), None) == Err(Errno::ESRCH) {
            return true;
        }
        let stat = procfs::Stat::of(self.process_id);
        stat.is_ok_and(|stat| stat.has_ended || stat.start_time != self.start_time)
    }
}

/// Returns whether this is the name of a file that is being made.
pub(crate) fn is_staging(name: &str) -> bool {
    name.starts_with(MARK)
}

/// Returns, of these names of this user, those of files that dead processes were making (STAGING-1).
pub(crate) fn leftovers(names: &[String]) -> Vec<&String> {
    let staged = || {
        let makers = names.iter().map(|name| (name, Maker::parse(name)));
        makers.filter_map(|(name, maker)| Some((name, maker?)))
    };
    if staged().next().is_none() {
        return Vec::new();
    }
    // Without `/proc` no process can be found dead.
    let Ok(own) = Maker::current() else {
        return Vec::new();
    };
    let dead = staged().filter(|(_, maker)| maker.is_dead(own));
    dead.map(|(name, _)| name).collect()
}

/// Removes, of these names of this user, those of files that dead processes were making.
pub(crate) fn remove_leftovers(names: &[String]) {
    for name in leftovers(names) {
        // A failure means that another process has removed it.
        let _ = named::unlink(name);
    }
}

#[cfg(feature = "shared-memory")]
pub(crate) use adopt::{AdoptError, Staged, adopt, new_os_id};

/// Files that the crate `shared_memory` makes and opens.
#[cfg(feature = "shared-memory")]
mod adopt {
    use super::{MARK, Maker};
    use crate::os::memory::FileId;
    use crate::os::named::{self, FOLDER, NamedFileError};
    use crate::os::shmem::SharedMapping;
    use crate::sync::{AtomicU64, Ordering};
    use std::fs;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::{Path, PathBuf};

    /// Returns a name for `ShmemConf::os_id` that no other file has.
    pub(crate) fn new_os_id() -> io::Result<String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let maker = Maker::current()?;
        let name = format!(
            "{MARK}{}-{}.{}-{number}",
            maker.pid_namespace, maker.process_id, maker.start_time
        );
        Ok(named::os_id(&name))
    }

    /// Why a mapping cannot be used.
    #[derive(Debug)]
    pub(crate) enum AdoptError {
        File(NamedFileError),
        /// The name of the mapping is that of another file now.
        OtherFile,
    }

    impl From<io::Error> for AdoptError {
        fn from(error: io::Error) -> Self {
            Self::File(NamedFileError::Os(error))
        }
    }

    fn path(mapping: &SharedMapping) -> PathBuf {
        Path::new(FOLDER).join(mapping.os_id())
    }

    /// Opens the file of a mapping, with a description of its own (SHMEM-2). The file is private to this user (NAME-3).
    pub(crate) fn adopt(mapping: &SharedMapping) -> Result<OwnedFd, AdoptError> {
        let file = named::open_path(&path(mapping)).map_err(AdoptError::File)?;
        let address = mapping.start().map_or(0, |start| start.addr().get());
        if FileId::of(&file)?.is_mapped_at(address)? || mutant!(OtherFileAdopted) {
            Ok(file)
        } else {
            Err(AdoptError::OtherFile)
        }
    }

    /// The name of a file that is being made. Dropping it removes the name, unless it was published.
    #[derive(Debug)]
    pub(crate) struct Staged(Option<PathBuf>);

    impl Staged {
        /// Takes care of the name of a mapping whose owner this process was.
        pub(crate) fn new(mapping: &SharedMapping) -> Self {
            Self(Some(path(mapping)))
        }

        /// Gives the file its own name (SHMEM-3). Returns false if the name exists.
        pub(crate) fn publish(mut self, name: &str) -> io::Result<bool> {
            let Some(path) = &self.0 else {
                return Ok(false);
            };
            let is_published = named::rename(path, name)?;
            if is_published {
                self.0 = None;
            }
            Ok(is_published)
        }
    }

    impl Drop for Staged {
        fn drop(&mut self) {
            if let Some(path) = &self.0 {
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(maker: Maker) -> String {
        format!(
            "{MARK}{}-{}.{}-7",
            maker.pid_namespace, maker.process_id, maker.start_time
        )
    }

    #[test]
    fn a_file_is_a_leftover_only_if_its_maker_is_dead() {
        let own = Maker::current().expect("/proc");
        assert_eq!(Maker::parse(&name_of(own)), Some(own));
        let reused = Maker {
            start_time: own.start_time.wrapping_add(1),
            ..own
        };
        let elsewhere = Maker {
            pid_namespace: own.pid_namespace + 1,
            ..reused
        };
        // The highest id that Linux gives is 2^22.
        let gone = Maker {
            process_id: 1 << 30,
            ..own
        };
        assert!(!own.is_dead(own) && !elsewhere.is_dead(own));
        assert!(reused.is_dead(own) && gone.is_dead(own));
        for name in ["jobs", "~1-2.3-4", "~~", "~~1", "~~1-2-3", "~~a-1.2-3"] {
            assert_eq!(Maker::parse(name), None, "{name}");
        }
    }
}
