//! Files in `/dev/shm` that have a name: POSIX shared memory, which outlives all processes.
//!
//! | file                       | name  | what a crash here leaves                                          |
//! |----------------------------|-------|-------------------------------------------------------------------|
//! | [`draft`]: made, committed | none  | nothing: it goes with its last descriptor                         |
//! | filled by its maker        | none  | nothing                                                           |
//! | [`publish`]ed              | its   | the whole segment, until it is [`unlink`]ed                       |
//!
//! NAME-1. A file gets its name by one `linkat(2)`, which fails if there is one, and only when it is complete: nobody
//!     ever opens a half-made one, and no crash leaves one.
//! NAME-2. Its memory is committed before anything is written to it: a full file system is an error of `fallocate(2)`,
//!     and never a `SIGBUS`.
//! NAME-3. A name with a file size that can change can't be sealed (a memfd can, but has no name). So only a regular
//!     file of this very user, that nobody else may open, is used: whoever could shrink it could just as well stop
//!     or kill its peers.
//! NAME-4. Who attaches has the *door* (a byte beyond the end, see [`super::locks`]) locked together with others who do
//!     so; who removes has it locked alone. So nobody attaches to a file that is losing its name.
//!
//! The crate `shared_memory` (0.12.4) is not used: each of these rules is out of its reach. Its `create` gives the
//! name first, with `shm_open(2)`, and the size afterwards, so that its own `open` may find a file of size 0; it
//! commits no memory; it maps before anything can be checked, and shows neither the descriptor, which the locks
//! need, nor the owner; and its names are left behind by `SIGKILL`, which NAME-1 does without.

use super::budget;
use super::descriptor::beyond_stdio;
use super::locks;
use super::memory::{self, Refused};
use super::process;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open as open_path};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::unistd::{ftruncate, linkat};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where `shm_open(3)` has its files.
const FOLDER: &str = "/dev/shm";

/// The byte of NAME-4, beyond those of all rows and incarnations.
const DOOR: u64 = 1 << 62;

/// Why a file can't be opened under its name.
#[derive(Debug)]
pub(crate) enum Obstacle {
    NotThere,
    /// NAME-3.
    NotPrivate {
        owner: u32,
        mode: u32,
    },
    NotAFile,
    Os(io::Error),
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotThere,
            _ => Self::Os(error),
        }
    }
}

/// Names of different users do not meet.
fn prefix() -> String {
    format!("workring-{}-", user())
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(prefix() + name)
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether there is anything of that name.
pub(crate) fn exists(name: &str) -> bool {
    fs::symlink_metadata(path(name)).is_ok()
}

/// A file of `length` bytes, of which the first `committed` have memory, of mode 0600, and without a name.
pub(crate) fn draft(length: usize, committed: usize) -> Result<OwnedFd, Refused> {
    let size = i64::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    budget::check_file_size(length as u64)?;
    let private = Mode::S_IRUSR | Mode::S_IWUSR;
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let file = beyond_stdio(open_path(FOLDER, flags, private)?)?;
    // Whatever the umask has left of it.
    fchmod(&file, private)?;
    ftruncate(&file, size)?;
    memory::commit(&file, 0..committed)?;
    Ok(file)
}

/// Give a draft its name (NAME-1). False if there is something of that name.
pub(crate) fn publish(file: impl AsFd, name: &str) -> io::Result<bool> {
    let from = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let linked = linkat(
        AT_FDCWD,
        from.as_str(),
        AT_FDCWD,
        &path(name),
        AtFlags::AT_SYMLINK_FOLLOW,
    );
    match linked {
        Ok(()) => Ok(true),
        Err(nix::Error::EEXIST) => Ok(false),
        Err(nix::Error::ENOENT) => Err(process::proc_is_needed(&nix::Error::ENOENT.into())),
        Err(error) => Err(error.into()),
    }
}

/// A description of its own of the file of that name, which is private (NAME-3).
pub(crate) fn open(name: &str) -> Result<OwnedFd, Obstacle> {
    let path = path(name);
    let found = fs::symlink_metadata(&path)?;
    if !found.is_file() {
        return Err(Obstacle::NotAFile);
    }
    check_private(found.uid(), found.mode())?;
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = open_path(&path, flags, Mode::empty()).map_err(io::Error::from)?;
    let file = beyond_stdio(file)?;
    // It may be another one by now.
    let opened = fstat(&file).map_err(io::Error::from)?;
    check_private(opened.st_uid, opened.st_mode)?;
    Ok(file)
}

fn check_private(owner: u32, mode: u32) -> Result<(), Obstacle> {
    let mode = mode & 0o7777;
    if owner == user() && mode == 0o600 || mutant!(NameOfOthersUsed) {
        Ok(())
    } else {
        Err(Obstacle::NotPrivate { owner, mode })
    }
}

/// The size of a regular file that is private (NAME-3); `None` if it is no such file.
pub(crate) fn private_size(file: impl AsFd) -> io::Result<Option<usize>> {
    let stat = fstat(file)?;
    let is_file = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
    if !is_file || check_private(stat.st_uid, stat.st_mode).is_err() {
        return Ok(None);
    }
    Ok(usize::try_from(stat.st_size).ok())
}

/// Whether the file begins with this word. Asked of the file, not of a mapping: to read from a mapping of a file
/// that somebody else has made takes memory where it has none, and for want of that it is a `SIGBUS`.
pub(crate) fn begins_with(file: impl AsFd, word: u64) -> io::Result<bool> {
    let mut bytes = [0; 8];
    let read = rustix::io::pread(file, &mut bytes, 0)?;
    Ok(read == bytes.len() && u64::from_ne_bytes(bytes) == word)
}

/// Keep those who would remove the file out until [`leave_door`], or until the description is closed (NAME-4). False if
/// somebody removes it, or looks whether it can be. Whoever is let in has to look whether it still has its name.
pub(crate) fn hold_door(file: impl AsFd) -> io::Result<bool> {
    locks::try_share(file, DOOR)
}

/// See [`hold_door`].
pub(crate) fn leave_door(file: impl AsFd) -> io::Result<()> {
    locks::unlock(file, DOOR)
}

/// Keep everybody else out until the description is closed (NAME-4). False if somebody is there.
pub(crate) fn bar_door(file: impl AsFd) -> io::Result<bool> {
    locks::try_lock(file, DOOR)
}

/// Whether the file still has its name.
pub(crate) fn has_name(file: impl AsFd) -> io::Result<bool> {
    Ok(fstat(file)?.st_nlink > 0)
}

/// Take the name away. The file goes when nobody has it open any more.
pub(crate) fn unlink(name: &str) -> io::Result<()> {
    fs::remove_file(path(name))
}

/// The names that this user has, sorted.
pub(crate) fn list() -> io::Result<Vec<String>> {
    let prefix = prefix();
    let mut names = Vec::new();
    for entry in fs::read_dir(FOLDER)? {
        let file = entry?.file_name();
        names.extend(
            file.to_str()
                .and_then(|file| file.strip_prefix(&prefix))
                .map(str::to_owned),
        );
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name of this test's own, without a file when it ends.
    struct Name(String);

    impl Name {
        fn new(test: &str) -> Self {
            Self(format!("unit-{test}-{}", std::process::id()))
        }
    }

    impl Drop for Name {
        fn drop(&mut self) {
            let _ = unlink(&self.0);
        }
    }

    #[test]
    fn a_draft_has_no_name_and_its_memory_before_it_is_published() {
        let name = Name::new("draft");
        let file = draft(1 << 20, 8192).expect("a draft");
        assert_eq!(memory::held(&file).expect("fstat"), 8192);
        assert!(!has_name(&file).expect("fstat") && !exists(&name.0));
        assert!(publish(&file, &name.0).expect("linkat"));
        assert!(has_name(&file).expect("fstat") && exists(&name.0));
        assert!(list().expect("/dev/shm").contains(&name.0));
        assert_eq!(private_size(&file).expect("fstat"), Some(1 << 20));
        let second = draft(4096, 4096).expect("a draft");
        assert!(
            !publish(&second, &name.0).expect("linkat"),
            "published twice"
        );
    }

    #[test]
    fn nobody_is_at_the_door_of_a_file_that_is_being_removed() {
        let name = Name::new("door");
        let file = draft(4096, 4096).expect("a draft");
        assert!(publish(&file, &name.0).expect("linkat"));
        let (one, other) = (
            open(&name.0).expect("it is there"),
            open(&name.0).expect("it is there"),
        );
        assert!(hold_door(&one).expect("lock") && hold_door(&other).expect("lock"));
        assert!(!bar_door(&file).expect("lock"), "somebody is attaching");
        leave_door(&one).expect("unlock");
        drop(other);
        assert!(bar_door(&file).expect("lock"));
        assert!(!hold_door(&one).expect("lock"), "somebody is removing it");
        unlink(&name.0).expect("unlink");
        drop(file);
        assert!(hold_door(&one).expect("lock"), "it is gone with its lock");
        assert!(!has_name(&one).expect("fstat"));
    }
}
