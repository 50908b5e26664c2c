//! Directories in which a user's processes meet, and the files there: `openat(2)`, `unlinkat(2)`, `fstat(2)`.
//!
//! | directory             | where                                                                            | mode |
//! |-----------------------|----------------------------------------------------------------------------------|------|
//! | private to a user     | `workring` in `$XDG_RUNTIME_DIR` or `/run/user/UID`, else `/tmp/workring-UID`      | 0700 |
//! | open to other users   | `/tmp/workring-UID-shared`: they may look up names, but not list or create any     | 0711 |
//! | chosen by the program | anywhere; this module neither makes nor removes it                               | only the user or root may write |
//!
//! DIRECTORY-1. A directory is used only if it belongs to the user that it should belong to, and no other user may create
//!     or rename files there. It is opened first and checked then, so the checked one is the one that is used.
//! DIRECTORY-2. A directory that this module has made is removed with its last file. A process that creates a file in it at
//!     that moment finds that it is gone, and makes it again.
//!
//! State: the directories and files.

use super::descriptor::beyond_stdio;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstat, lstat};
use nix::unistd::{UnlinkatFlags, mkdir, unlinkat};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Which users may look up names in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Private,
    Shared,
    Chosen(PathBuf),
}

/// Reason why a directory cannot be used.
#[derive(Debug)]
pub(crate) enum DirectoryError {
    /// It belongs to another user, or other users may write to it, or may look up names in a private one.
    NotPrivate {
        directory: PathBuf,
        owner: u32,
        mode: u32,
    },
    Os(io::Error),
}

impl DirectoryError {
    /// Returns whether a directory that this module makes was removed at the same moment (DIRECTORY-2).
    pub(crate) fn is_removed(&self, kind: &Kind) -> bool {
        let is_made = !matches!(kind, Kind::Chosen(_));
        is_made && matches!(self, Self::Os(error) if error.kind() == ErrorKind::NotFound)
    }
}

impl From<io::Error> for DirectoryError {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

impl From<nix::Error> for DirectoryError {
    fn from(error: nix::Error) -> Self {
        Self::Os(error.into())
    }
}

/// An open directory that was checked.
#[derive(Debug)]
pub(crate) struct Directory {
    file: OwnedFd,
    path: PathBuf,
    kind: Kind,
}

/// Returns the effective user id of this process.
pub(crate) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns the paths at which a directory of this user may be, the preferred one first.
fn candidates(kind: &Kind, user: u32) -> Vec<PathBuf> {
    match kind {
        Kind::Chosen(path) => vec![path.clone()],
        Kind::Shared => vec![format!("/tmp/workring-{user}-shared").into()],
        Kind::Private => {
            let chosen = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            let usual = PathBuf::from(format!("/run/user/{user}"));
            let parents = chosen.into_iter().chain([usual]);
            let mut found: Vec<_> = parents
                .filter(|parent| parent.is_absolute() && belongs_to(parent, user))
                .map(|parent| parent.join("workring"))
                .collect();
            found.push(format!("/tmp/workring-{user}").into());
            found.dedup();
            found
        }
    }
}

/// Returns whether only this user may create files in a directory.
fn belongs_to(directory: &Path, user: u32) -> bool {
    open_checked(directory, &Kind::Private, user).is_ok()
}

fn open_checked(path: &Path, kind: &Kind, user: u32) -> Result<OwnedFd, DirectoryError> {
    // PATH: other users may not list a shared directory, and do not need to.
    let mut flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if !matches!(kind, Kind::Chosen(_)) {
        flags |= OFlag::O_NOFOLLOW;
    }
    let file = beyond_stdio(open(path, flags, Mode::empty())?)?;
    let stat = fstat(&file)?;
    let mode = stat.st_mode & 0o7777;
    let forbidden = if *kind == Kind::Private { 0o077 } else { 0o022 };
    let is_owner = stat.st_uid == user || matches!(kind, Kind::Chosen(_)) && stat.st_uid == 0;
    if (!is_owner || mode & forbidden != 0) && !mutant!(DirectoryNotChecked) {
        return Err(DirectoryError::NotPrivate {
            directory: path.to_owned(),
            owner: stat.st_uid,
            mode,
        });
    }
    Ok(file)
}

impl Directory {
    /// Opens this user's directory. Makes it if it is not there. `NotFound`, for a directory that this module makes: it was
    /// removed at the same moment (DIRECTORY-2).
    pub(crate) fn create(kind: &Kind) -> Result<Self, DirectoryError> {
        let user = own_user();
        let path = candidates(kind, user).into_iter().next();
        let path = path.unwrap_or_default();
        match kind {
            Kind::Private => make(&path, 0o700)?,
            Kind::Shared => make(&path, 0o711)?,
            Kind::Chosen(_) => {}
        }
        let file = open_checked(&path, kind, user)?;
        Ok(Self {
            file,
            path,
            kind: kind.clone(),
        })
    }

    /// Opens the directories of a user that exist, the preferred one first.
    ///
    /// # Errors
    ///
    /// There is at least one, and none can be used.
    pub(crate) fn of(kind: &Kind, user: u32) -> Result<Vec<Self>, DirectoryError> {
        let (mut found, mut unusable) = (Vec::new(), None);
        for path in candidates(kind, user) {
            match open_checked(&path, kind, user) {
                Ok(file) => found.push(Self {
                    file,
                    path,
                    kind: kind.clone(),
                }),
                Err(DirectoryError::Os(error)) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => unusable = Some(error),
            }
        }
        match unusable {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }

    /// Opens a file of mode 0600, or creates it. `NotFound`: the directory was removed (DIRECTORY-2).
    pub(crate) fn open_or_create(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        beyond_stdio(openat(&self.file, name, flags, mode)?)
    }

    /// Opens a file that exists.
    pub(crate) fn open(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        beyond_stdio(openat(&self.file, name, flags, Mode::empty())?)
    }

    /// Sets the mode of a file.
    pub(crate) fn set_mode(&self, name: &str, mode: u32) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(mode);
        Ok(fchmodat(
            &self.file,
            name,
            mode,
            FchmodatFlags::FollowSymlink,
        )?)
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.file, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(nix::Error::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the names of the files that end with `suffix`, without it.
    pub(crate) fn names_with(&self, suffix: &str) -> Vec<String> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter_map(|name| name.strip_suffix(suffix).map(str::to_owned))
            .collect()
    }

    /// Removes the directory if it is empty, and this module has made it (DIRECTORY-2).
    pub(crate) fn remove_if_empty(&self) {
        if !matches!(self.kind, Kind::Chosen(_)) {
            // An error means that it is in use.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Makes a directory with this mode, unless it is there.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    match mkdir(path, Mode::S_IRWXU) {
        Ok(()) | Err(nix::Error::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    // A new directory has the mode that the umask has left. So has one whose maker was killed right after it made it.
    let stat = lstat(path)?;
    let is_directory = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
    let is_new = stat.st_mode & 0o7777 & !0o700 == 0 && stat.st_mode & 0o7777 != mode;
    if is_directory && is_new && stat.st_uid == own_user() {
        let mode = Mode::from_bits_truncate(mode);
        fchmodat(AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink)?;
    }
    Ok(())
}
