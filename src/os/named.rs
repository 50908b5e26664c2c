//! Files with a name: POSIX shared memory in `/dev/shm`, which outlives all processes. `open(2)` with `O_TMPFILE`,
//! `linkat(2)`, `unlink(2)`.
//!
//! | file                                                   | name   | left behind by a crash                     |
//! |--------------------------------------------------------|--------|--------------------------------------------|
//! | made by [`create_unnamed`], memory committed           | none   | nothing: it ends with its last descriptor  |
//! | being filled by its creator                            | none   | nothing                                    |
//! | [`publish`]ed                                          | its own | the whole segment, until it is [`unlink`]ed |
//!
//! NAME-1. A file gets its name by one `linkat(2)`, which fails if the name exists, and only when the file is complete.
//!     So no process opens an incomplete file, and no crash leaves one.
//! NAME-2. The file's memory is committed before anything is written to it: a full file system is an error of
//!     `fallocate(2)` and not a `SIGBUS`.
//! NAME-3. The size of a file with a name cannot be sealed (a memfd's can, but a memfd has no name). So a file is used
//!     only if it is a regular file that belongs to this user and that no other user may open. A process that could
//!     shrink it could as well stop or kill its peers.
//! NAME-4. A process that attaches holds a lock on one byte beyond the file's end ([`LOCK_BYTE`]) shared with other
//!     attaching processes; one that removes the file holds it exclusively. So no process attaches to a file that is
//!     losing its name.
//!
//! NAME-5. A name that begins with `~` is that of a mailbox: of the process that receives from it. Its file is removed
//!     when that process drops it, or by another process that finds no live receiver attached. One that begins with `~~`
//!     is that of a file which is being made, see [`staging`](super::staging). Programs cannot choose such names.
//!
//! With the feature `shared-memory`, a file is made or opened by the crate `shared_memory`; the module `shmem` says what
//! that crate does of all this, and what not.
//!
//! State: the files in `/dev/shm`, and the locks on them; with the feature `testing`, the names that this process has given.

use super::budget;
use super::descriptor::beyond_stdio;
use super::locks;
use super::memory::{self, MemoryError};
use super::procfs;
use nix::fcntl::{self, AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::unistd::{ftruncate, linkat};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The folder in which `shm_open(3)` creates files.
pub(super) const FOLDER: &str = "/dev/shm";

/// The offset of the lock of NAME-4, beyond those of all peers and incarnations.
const LOCK_BYTE: u64 = 1 << 62;

/// Reason why a file cannot be opened by its name.
#[derive(Debug)]
pub(crate) enum NamedFileError {
    NotFound,
    /// It belongs to another user, or other users may open it (NAME-3).
    NotPrivate {
        owner: u32,
        mode: u32,
    },
    /// It is not a regular file.
    NotAFile,
    Os(io::Error),
}

impl From<io::Error> for NamedFileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Os(error),
        }
    }
}

/// Returns the prefix of this user's files, which keeps the names of different users apart.
fn prefix() -> String {
    format!("workring-{}-", user())
}

/// Returns the name of the file, by which `shm_open(3)` finds it.
pub(crate) fn os_id(name: &str) -> String {
    prefix() + name
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(os_id(name))
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns whether a file, of whatever kind, has this name.
pub(crate) fn exists(name: &str) -> bool {
    fs::symlink_metadata(path(name)).is_ok()
}

/// Creates a file without a name: of `length` bytes, the first `committed` of which have memory, and of mode 0600.
pub(crate) fn create_unnamed(length: usize, committed: usize) -> Result<OwnedFd, MemoryError> {
    let size = i64::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    budget::check_file_size(length as u64)?;
    let private = Mode::S_IRUSR | Mode::S_IWUSR;
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let file = beyond_stdio(fcntl::open(FOLDER, flags, private)?)?;
    // `open` has applied the umask to the mode.
    fchmod(&file, private)?;
    ftruncate(&file, size)?;
    memory::commit(&file, 0..committed)?;
    Ok(file)
}

/// Gives a file its name (NAME-1). Returns false if the name exists.
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
        Err(nix::Error::ENOENT) => Err(procfs::unreadable(&nix::Error::ENOENT.into())),
        Err(error) => Err(error.into()),
    }
}

/// Gives a file another name (NAME-1): the one at `path`, which is in the same folder. Returns false if the name exists.
#[cfg(feature = "shared-memory")]
pub(super) fn rename(path: &Path, name: &str) -> io::Result<bool> {
    let flags = fcntl::RenameFlags::RENAME_NOREPLACE;
    match fcntl::renameat2(AT_FDCWD, path, AT_FDCWD, &self::path(name), flags) {
        Ok(()) => Ok(true),
        Err(nix::Error::EEXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The names that this process has given to files, for [`names_given`].
#[cfg(feature = "testing")]
static GIVEN: parking_lot::Mutex<Vec<String>> = parking_lot::Mutex::new(Vec::new());

/// Records that this process has given this name to a file.
pub(crate) fn note_given(name: &str) {
    #[cfg(feature = "testing")]
    GIVEN.lock().push(name.to_owned());
    #[cfg(not(feature = "testing"))]
    let _ = name;
}

/// Returns the names that this process has given to files and that exist.
#[cfg(feature = "testing")]
pub(crate) fn names_given() -> Vec<String> {
    let mut given = GIVEN.lock();
    given.retain(|name| exists(name));
    given.clone()
}

/// Opens the file of this name, with a description of its own. It is private to this user (NAME-3).
pub(crate) fn open(name: &str) -> Result<OwnedFd, NamedFileError> {
    open_path(&path(name))
}

/// Opens the file of this name as [`open`] does, only for reading.
#[cfg(feature = "cli")]
pub(crate) fn open_to_read(name: &str) -> Result<OwnedFd, NamedFileError> {
    open_path_for(&path(name), OFlag::O_RDONLY)
}

/// Opens a file in the folder as [`open`] does.
pub(super) fn open_path(path: &Path) -> Result<OwnedFd, NamedFileError> {
    open_path_for(path, OFlag::O_RDWR)
}

fn open_path_for(path: &Path, access: OFlag) -> Result<OwnedFd, NamedFileError> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() {
        return Err(NamedFileError::NotAFile);
    }
    check_private(found.uid(), found.mode())?;
    let flags = access | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = fcntl::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    let file = beyond_stdio(file)?;
    // The name may be that of another file by now.
    let opened = fstat(&file).map_err(io::Error::from)?;
    check_private(opened.st_uid, opened.st_mode)?;
    Ok(file)
}

fn check_private(owner: u32, mode: u32) -> Result<(), NamedFileError> {
    let mode = mode & 0o7777;
    if owner == user() && mode == 0o600 || mutant!(NameOfOthersUsed) {
        Ok(())
    } else {
        Err(NamedFileError::NotPrivate { owner, mode })
    }
}

/// Returns the size of a regular file that is private to this user (NAME-3); `None` if the file is another one.
pub(crate) fn private_size(file: impl AsFd) -> io::Result<Option<usize>> {
    let stat = fstat(file)?;
    let is_file = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
    if !is_file || check_private(stat.st_uid, stat.st_mode).is_err() {
        return Ok(None);
    }
    Ok(usize::try_from(stat.st_size).ok())
}

/// Returns whether the file begins with this word. Reads the file and not a mapping: a read from a mapping allocates
/// memory where the file has none, and raises `SIGBUS` if there is none.
pub(crate) fn begins_with(file: impl AsFd, word: u64) -> io::Result<bool> {
    let mut bytes = [0; 8];
    let read = rustix::io::pread(file, &mut bytes, 0)?;
    Ok(read == bytes.len() && u64::from_ne_bytes(bytes) == word)
}

/// Locks the file against removal until [`unlock`], or until the description is closed (NAME-4). Returns false if a
/// process removes the file, or checks whether it can. The caller checks afterwards whether the file [still has its
/// name](has_name).
pub(crate) fn try_lock_shared(file: impl AsFd) -> io::Result<bool> {
    locks::try_lock_shared(file, LOCK_BYTE)
}

/// Ends [`try_lock_shared`] or [`try_lock_exclusive`].
pub(crate) fn unlock(file: impl AsFd) -> io::Result<()> {
    locks::unlock(file, LOCK_BYTE)
}

/// Locks the file against attaching until [`unlock`], or until the description is closed (NAME-4). Returns false if
/// another process attaches or removes the file now.
pub(crate) fn try_lock_exclusive(file: impl AsFd) -> io::Result<bool> {
    locks::try_lock(file, LOCK_BYTE)
}

/// Returns whether the file still has its name.
pub(crate) fn has_name(file: impl AsFd) -> io::Result<bool> {
    Ok(fstat(file)?.st_nlink > 0)
}

/// Removes the name. The file ends when no process has it open or mapped.
pub(crate) fn unlink(name: &str) -> io::Result<()> {
    fs::remove_file(path(name))
}

/// Returns the path of the file of this name.
#[cfg(feature = "cli")]
pub(crate) fn file_of(name: &str) -> PathBuf {
    path(name)
}

/// Returns when the file of this name was made or changed last. What is written to a mapping of it does not count.
#[cfg(feature = "cli")]
pub(crate) fn last_change(name: &str) -> io::Result<std::time::SystemTime> {
    let found = fs::symlink_metadata(path(name))?;
    let modified = found.modified()?;
    let seconds = u64::try_from(found.ctime()).unwrap_or(0);
    let changed = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    Ok(modified.max(changed))
}

/// Returns the names of this user's files, sorted. Among them are those of NAME-5.
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
    use crate::os::descriptor::comes_true;

    /// A name that only this test uses. Its file is removed on drop.
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
    fn a_new_file_has_its_memory_before_it_has_a_name() {
        let name = Name::new("unnamed");
        let file = create_unnamed(1 << 20, 8192).expect("a file");
        assert_eq!(memory::allocated(&file).expect("fstat"), 8192);
        assert!(!has_name(&file).expect("fstat") && !exists(&name.0));
        assert!(publish(&file, &name.0).expect("linkat"));
        assert!(has_name(&file).expect("fstat") && exists(&name.0));
        assert!(list().expect("/dev/shm").contains(&name.0));
        assert_eq!(private_size(&file).expect("fstat"), Some(1 << 20));
        let second = create_unnamed(4096, 4096).expect("a file");
        assert!(
            !publish(&second, &name.0).expect("linkat"),
            "published twice"
        );
    }

    #[test]
    fn attaching_and_removing_a_file_exclude_each_other() {
        let name = Name::new("lock");
        let file = create_unnamed(4096, 4096).expect("a file");
        assert!(publish(&file, &name.0).expect("linkat"));
        let (one, other) = (
            open(&name.0).expect("the file"),
            open(&name.0).expect("the file"),
        );
        assert!(try_lock_shared(&one).expect("lock") && try_lock_shared(&other).expect("lock"));
        assert!(
            !try_lock_exclusive(&file).expect("lock"),
            "a process is attaching"
        );
        unlock(&one).expect("unlock");
        drop(other);
        assert!(comes_true(|| try_lock_exclusive(&file).expect("lock")));
        assert!(
            !try_lock_shared(&one).expect("lock"),
            "a process is removing it"
        );
        unlink(&name.0).expect("unlink");
        drop(file);
        assert!(
            comes_true(|| try_lock_shared(&one).expect("lock")),
            "the file was closed, and its lock with it"
        );
        assert!(!has_name(&one).expect("fstat"));
    }
}
