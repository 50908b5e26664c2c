//! The parent's side of a hand-off: makes tickets for a child, and starts it.

use super::manifest::{self, Entry, Kind, VARIABLE};
use crate::error::{HandoffError, OutOfMemory};
use crate::os::child::ChildProcess;
use crate::os::descriptor::{self, beyond_stdio};
use crate::os::inherit::InheritedFiles;
use crate::os::spawn::SpawnRequest;
use crate::protocol::ids::PeerIndex;
use crate::protocol::peers::{PeerState, Role};
use crate::queue::attachment::{Attachment, Forked, JoinError};
use crate::queue::end::End;
use crate::queue::end::sealed::AnyHandle;
use crate::queue::name::is_plain;
use core::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::Arc;

/// A set of queue ends to pass to a child process that is about to be started.
///
/// A given end counts as present from [`give`](Handoff::give) on, so that you can drop your own end at once. A hand-off
/// that is dropped, or whose [`spawn`](Handoff::spawn) fails, takes back what it gave.
///
/// The child calls [`inherit`](crate::inherit()) for each name, best at the start of `main`: until then, programs that it
/// starts itself inherit the queues' descriptors too.
///
/// # Examples
///
/// ```no_run
/// use std::process::Command;
///
/// if std::env::args().nth(1).as_deref() == Some("worker") {
///     let tasks: workring::Receiver<String> = workring::inherit("tasks")?;
///     for task in tasks {
///         println!("{}", task?);
///     }
///     return Ok(());
/// }
///
/// let (tx, rx) = workring::channel::<String>(16)?;
/// let mut command = Command::new(std::env::current_exe()?);
/// command.arg("worker");
/// let mut child = workring::Handoff::new().give("tasks", &rx)?.spawn(&mut command)?;
/// drop(rx); // the child has the receiving end now
/// tx.send("task".to_owned())?;
/// drop(tx);
/// child.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
#[must_use = "dropping a hand-off takes back what it gave: call `spawn`"]
pub struct Handoff {
    ends: Vec<GivenEnd>,
    files: Vec<GivenFile>,
}

/// An end of a queue, with its ticket.
struct GivenEnd {
    name: String,
    role: Role,
    attachment: Arc<Attachment>,
    peer: PeerIndex,
    ticket: PeerState,
    /// The open file description that holds the ticket's lock.
    file: OwnedFd,
}

/// A descriptor of anything else.
struct GivenFile {
    name: String,
    file: OwnedFd,
}

impl Handoff {
    /// Creates an empty hand-off.
    pub const fn new() -> Self {
        Self {
            ends: Vec::new(),
            files: Vec::new(),
        }
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        let files = self.files.iter().map(|file| &file.name);
        self.ends.iter().map(|end| &end.name).chain(files)
    }

    fn check_name(&self, name: &str) -> Result<(), HandoffError> {
        if is_plain(name) && self.names().all(|other| other != name) {
            return Ok(());
        }
        Err(HandoffError::InvalidName {
            name: name.to_owned(),
        })
    }

    /// Gives a descriptor to the child, which takes it with `inherit_fd`. Once the child is started, only the child has
    /// it.
    pub(crate) fn give_fd(mut self, name: &str, file: OwnedFd) -> Result<Self, HandoffError> {
        self.check_name(name)?;
        let name = name.to_owned();
        let file = beyond_stdio(file).map_err(no_descriptor)?;
        self.files.push(GivenFile { name, file });
        Ok(self)
    }

    /// Gives `end` to the child, which [inherits](crate::inherit()) it under `name`: letters, digits, `-`, `_` and `.`,
    /// each name once. The caller's own end stays as it is. Never waits.
    ///
    /// # Errors
    ///
    /// [`HandoffError`]: the name cannot be used; the queue is closed, or its table of peers is full; the system has no
    /// descriptor left, or no `/proc`.
    pub fn give<E: End>(mut self, name: &str, end: &E) -> Result<Self, HandoffError> {
        self.check_name(name)?;
        let AnyHandle(handle) = end.handle();
        let (role, attachment) = (handle.role(), Arc::clone(&handle.attachment));
        let queue = handle.enter().map_err(|Forked| HandoffError::Forked)?;
        let (file, peer, ticket) = queue.make_ticket(role).map_err(no_ticket)?;
        self.ends.push(GivenEnd {
            name: name.to_owned(),
            role,
            attachment,
            peer,
            ticket,
            file,
        });
        Ok(self)
    }

    /// Starts the child with what was given, as [`Command::spawn`] does. The command keeps nothing of it: to start
    /// another child with the same command, use another `Handoff`.
    ///
    /// The standard library has to fork for this, because what the child inherits is prepared between fork and exec. The
    /// kernel then copies the page tables of this process, which takes up to 0.15 s for each GiB of memory that it has in
    /// use. A [pool](crate::pool) starts its workers without that.
    ///
    /// # Errors
    ///
    /// Those of [`Command::spawn`]. In a forked child, which does not own its parent's tickets, `Unsupported`.
    pub fn spawn(mut self, command: &mut Command) -> io::Result<Child> {
        let (text, inherited) = self.prepare()?;
        command.env(VARIABLE, text);
        let guard = inherited.bind(command);
        let spawned = command.spawn();
        drop(guard);
        command.env_remove(VARIABLE);
        let child = spawned?;
        self.forget_tickets();
        Ok(child)
    }

    /// Starts the child as [`spawn`](Self::spawn) does, but without a copy of this process's memory.
    pub(crate) fn start(mut self, mut request: SpawnRequest) -> io::Result<ChildProcess> {
        let (text, inherited) = self.prepare()?;
        let variable = (VARIABLE.into(), Some(text.into()));
        request.environment.push(variable);
        let child = ChildProcess::spawn(&request, &inherited)?;
        self.forget_tickets();
        Ok(child)
    }

    /// Returns the value of the child's environment variable, and the descriptors that the child inherits.
    fn prepare(&self) -> io::Result<(String, InheritedFiles)> {
        if self.ends.iter().any(|end| end.attachment.enter().is_err()) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                HandoffError::Forked,
            ));
        }
        let ends = self.ends.iter().map(GivenEnd::to_entry);
        let files = self.files.iter().map(GivenFile::to_entry);
        let entries = ends.chain(files).collect::<io::Result<Vec<_>>>()?;
        let mut inherited = InheritedFiles::default();
        for end in &self.ends {
            let byte = end.attachment.lock_byte(end.peer, end.ticket);
            inherited.add_ticket(&end.file, byte)?;
        }
        for file in &self.files {
            inherited.add_file(&file.file);
        }
        Ok((manifest::to_text(&entries), inherited))
    }

    /// Leaves the tickets to the child, which has been started: its locks decide from now on whether they count.
    fn forget_tickets(&mut self) {
        self.ends.clear();
    }
}

impl GivenEnd {
    fn to_entry(&self) -> io::Result<Entry> {
        let kind = Kind::End {
            role: self.role,
            peer: self.peer,
            incarnation: self.ticket.incarnation(),
        };
        entry(&self.name, &self.file, kind)
    }
}

impl GivenFile {
    fn to_entry(&self) -> io::Result<Entry> {
        entry(&self.name, &self.file, Kind::File)
    }
}

fn entry(name: &str, file: &OwnedFd, kind: Kind) -> io::Result<Entry> {
    Ok(Entry {
        name: name.to_owned(),
        descriptor: descriptor::number(file),
        inode: descriptor::inode(file)?,
        kind,
    })
}

pub(in crate::queue) fn no_ticket(error: JoinError) -> HandoffError {
    match error {
        JoinError::Closed => HandoffError::Closed,
        JoinError::TooManyPeers => HandoffError::TooManyPeers {
            max: usize::from(PeerIndex::COUNT),
        },
        JoinError::NoMemory(OutOfMemory {
            limit,
            wanted,
            available,
        }) => HandoffError::NoMemory {
            limit,
            wanted,
            available,
        },
        JoinError::Corrupt(corrupt) => HandoffError::Corrupt {
            what: corrupt.what(),
        },
        JoinError::Os(source) => no_descriptor(source),
    }
}

fn no_descriptor(source: io::Error) -> HandoffError {
    HandoffError::Os {
        what: "no descriptor for the child",
        source,
    }
}

impl Drop for Handoff {
    fn drop(&mut self) {
        for end in self.ends.drain(..) {
            if let Ok(queue) = end.attachment.enter() {
                queue.void_ticket(end.peer, end.ticket);
            }
        }
    }
}

impl fmt::Debug for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
