//! Giving an end of a queue to a child process.
//!
//! The parent makes a *ticket*: a row of the peers table that counts as present from that moment on, and an
//! open file description with the row's lock, which the child alone inherits. So the parent may drop its own
//! end at once without closing the queue, and a child that dies early lets go of the lock like any other
//! process. The environment tells the child which descriptor and row are meant.
//!
//! Other descriptors can be given along; a worker's link with its parent is one.

use super::attachment::{Attachment, Refused};
use super::compatibility;
use super::end::End;
use super::end::sealed::{AnyAttachment, AnyHandle, EndRole};
use crate::error::{HandoffError, InheritError};
use crate::os::budget::OutOfMemory;
use crate::os::child::ChildProcess;
use crate::os::descriptor::{self, beyond_stdio};
use crate::os::identity;
use crate::os::inherit::InheritedFiles;
use crate::os::spawn::SpawnRequest;
use crate::protocol::SharedState;
use crate::protocol::peers::{Incarnation, PeerIndex, PeerKind, PeerState, Role};
use crate::segment::{AttachError, Segment};
use core::fmt;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::process::{Child, Command};
use std::sync::Arc;

/// Where a child finds what it was given, separated by `;`: `name=end,descriptor,inode,row,incarnation` for an end of a
/// queue, `name=file,descriptor,inode` for any other descriptor.
const VARIABLE: &str = "WORKRING_INHERIT";

/// Gives ends of queues to a child process that is about to be started.
///
/// The role counts as present from [`give`](Handoff::give) on: drop your own end at once if you like. A
/// hand-off that is dropped, or whose `spawn` fails, takes back what it gave.
///
/// The child calls [`inherit`] for each name. It should do so at the start of `main`: until then, programs
/// that it starts itself inherit the queues' descriptors too.
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
    tickets: Vec<TicketToGive>,
    files: Vec<FileToGive>,
}

/// Any descriptor that is not an end of a queue.
struct FileToGive {
    name: String,
    file: OwnedFd,
}

struct TicketToGive {
    name: String,
    role: Role,
    attachment: Arc<Attachment>,
    row: PeerIndex,
    tenant: PeerState,
    file: OwnedFd,
}

impl Handoff {
    /// Nothing given yet.
    pub const fn new() -> Self {
        Self {
            tickets: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The names of all that was given.
    fn names(&self) -> impl Iterator<Item = &String> {
        let files = self.files.iter().map(|file| &file.name);
        self.tickets.iter().map(|ticket| &ticket.name).chain(files)
    }

    fn check_name(&self, name: &str) -> Result<(), HandoffError> {
        if is_plain(name) && self.names().all(|other| other != name) {
            return Ok(());
        }
        Err(HandoffError::InvalidName {
            name: name.to_owned(),
        })
    }

    /// Give a descriptor to the child, who will find it with [`inherit_fd`]. Once the child is started, it alone has it.
    pub(crate) fn give_fd(mut self, name: &str, file: OwnedFd) -> Result<Self, HandoffError> {
        self.check_name(name)?;
        let name = name.to_owned();
        let file = beyond_stdio(file).map_err(no_descriptor)?;
        self.files.push(FileToGive { name, file });
        Ok(self)
    }

    /// Give `end` to the child, who will find it under `name`: letters, digits, `-`, `_` and `.`. The
    /// caller's own end stays as it is. Never waits.
    ///
    /// # Errors
    ///
    /// [`HandoffError`]: the name can't be used; the queue is closed or has no row left for another process;
    /// the system has no descriptors or no `/proc`.
    pub fn give<E: End>(mut self, name: &str, end: &E) -> Result<Self, HandoffError> {
        self.check_name(name)?;
        let AnyHandle(handle) = end.handle();
        let role = handle.role();
        let (file, row, tenant) =
            handle
                .attachment
                .make_ticket(role)
                .map_err(|refused| match refused {
                    Refused::Closed => HandoffError::Closed,
                    Refused::TooManyPeers => HandoffError::TooManyPeers {
                        max: usize::from(PeerIndex::COUNT),
                    },
                    Refused::Forked => HandoffError::Forked,
                    Refused::Corrupt(corrupt) => HandoffError::Corrupt {
                        what: corrupt.what(),
                    },
                    Refused::Os(source) => no_descriptor(source),
                })?;
        let attachment = Arc::clone(&handle.attachment);
        self.tickets.push(TicketToGive {
            name: name.to_owned(),
            role,
            attachment,
            row,
            tenant,
            file,
        });
        Ok(self)
    }

    /// Start the child with what was given, as [`Command::spawn`] does. The command keeps
    /// nothing of it: to start another child with it, use another `Handoff`.
    ///
    /// What the child inherits is prepared between fork and exec, so that the standard library has to fork. The system
    /// then copies the page tables of this process, which takes up to 0.15 s for each GiB of memory that it has in use.
    /// A [pool](crate::pool) starts its workers without that.
    ///
    /// # Errors
    ///
    /// What [`Command::spawn`] says. In a forked child, whose tickets are its parent's, `Unsupported`.
    pub fn spawn(mut self, command: &mut Command) -> io::Result<Child> {
        let (text, inheritance) = self.prepare()?;
        command.env(VARIABLE, text);
        let permission = inheritance.bind(command);
        let spawned = command.spawn();
        drop(permission);
        command.env_remove(VARIABLE);
        let child = spawned?;
        self.forget_tickets();
        Ok(child)
    }

    /// Starts the child as [`spawn`](Self::spawn) does, but without a copy of this process's memory.
    pub(crate) fn start(mut self, mut order: SpawnRequest) -> io::Result<ChildProcess> {
        let (text, inheritance) = self.prepare()?;
        order.environment.push((VARIABLE.into(), Some(text.into())));
        let process = ChildProcess::spawn(&order, &inheritance)?;
        self.forget_tickets();
        Ok(process)
    }

    /// What the child finds in its environment, and what it inherits.
    fn prepare(&self) -> io::Result<(String, InheritedFiles)> {
        if self
            .tickets
            .iter()
            .any(|ticket| ticket.attachment.is_forked_child())
        {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                HandoffError::Forked,
            ));
        }
        let tickets = self.tickets.iter().map(TicketToGive::to_text);
        let given = tickets
            .chain(self.files.iter().map(FileToGive::to_text))
            .collect::<io::Result<Vec<_>>>()?;
        let mut inheritance = InheritedFiles::default();
        for ticket in &self.tickets {
            let segment = ticket.attachment.segment();
            let byte = segment.lock_byte(ticket.row, ticket.tenant);
            inheritance.add_ticket(&ticket.file, byte)?;
        }
        for file in &self.files {
            inheritance.add_file(&file.file);
        }
        Ok((given.join(";"), inheritance))
    }

    /// The child has the locks now: it alone decides when they go.
    fn forget_tickets(&mut self) {
        self.tickets.clear();
    }
}

fn no_descriptor(source: io::Error) -> HandoffError {
    HandoffError::Os {
        what: "no descriptor for the child",
        source,
    }
}

impl FileToGive {
    fn to_text(&self) -> io::Result<String> {
        let (name, file) = (&self.name, descriptor::number(&self.file));
        Ok(format!(
            "{name}={FILE},{file},{}",
            descriptor::inode(&self.file)?
        ))
    }
}

impl TicketToGive {
    fn to_text(&self) -> io::Result<String> {
        let (name, end, file) = (
            &self.name,
            end_name(self.role),
            descriptor::number(&self.file),
        );
        let (row, incarnation) = (self.row.get(), self.tenant.incarnation().get());
        Ok(format!(
            "{name}={end},{file},{},{row},{incarnation}",
            descriptor::inode(&self.file)?
        ))
    }
}

impl Drop for Handoff {
    fn drop(&mut self) {
        for ticket in self.tickets.drain(..) {
            ticket.attachment.void_ticket(ticket.row, ticket.tenant);
        }
    }
}

impl fmt::Debug for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Whether this can name a hand-off, or a queue.
pub(super) fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(is_plain)
}

const fn end_name(role: Role) -> &'static str {
    match role {
        Role::Sender => "Sender",
        Role::Receiver => "Receiver",
    }
}

/// Descriptors that this process has taken over: to take one twice would close it under its owner.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// In the place of an end's name.
const FILE: &str = "file";

/// What the environment says of one thing that was given.
struct Given {
    name: String,
    file: RawFd,
    inode: u64,
    what: What,
}

/// What a descriptor is of.
enum What {
    End {
        role: Role,
        row: PeerIndex,
        incarnation: Incarnation,
    },
    File,
}

impl Given {
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('=')?;
        let mut parts = rest.split(',');
        let kind = parts.next()?;
        let given = Self {
            name: name.to_owned(),
            file: parts.next()?.parse().ok()?,
            inode: parts.next()?.parse().ok()?,
            what: if kind == FILE {
                What::File
            } else {
                What::End {
                    role: [Role::Sender, Role::Receiver]
                        .into_iter()
                        .find(|&role| end_name(role) == kind)?,
                    row: PeerIndex::new(parts.next()?.parse().ok()?)?,
                    incarnation: Incarnation::new(parts.next()?.parse().ok()?),
                }
            },
        };
        parts.next().is_none().then_some(given)
    }

    /// What was given to this process under `name`.
    fn find(name: &str) -> Result<Self, InheritError> {
        let variable = std::env::var(VARIABLE).unwrap_or_default();
        let all: Vec<Self> = variable.split(';').filter_map(Self::parse).collect();
        let names = all.iter().map(|given| given.name.clone()).collect();
        let found = all.into_iter().find(|given| given.name == name);
        found.ok_or_else(|| InheritError::NotGiven {
            name: name.to_owned(),
            given: names,
        })
    }

    /// What to say if somebody asks for something else.
    fn into_wrong_end(self) -> InheritError {
        let given = match self.what {
            What::End { role, .. } => end_name(role),
            What::File => FILE,
        };
        InheritError::WrongEnd {
            name: self.name,
            given,
        }
    }

    /// Take the descriptor over: this program is its owner from now on, and no other one inherits it.
    fn take(&self) -> Result<OwnedFd, InheritError> {
        let mut taken = TAKEN.lock();
        if taken.contains(&self.file) {
            return Err(self.was_taken_before());
        }
        // A program started by the child has the variable too, and, if the child took the descriptor over, nothing
        // or a file of its own under its number.
        let file = descriptor::take_inherited(self.file, self.inode);
        let file = file.map_err(|_| self.was_taken_before())?;
        taken.insert(self.file);
        Ok(file)
    }

    /// Another descriptor of the same, unless it was taken over before.
    fn borrow(&self) -> Result<OwnedFd, InheritError> {
        let taken = TAKEN.lock();
        if taken.contains(&self.file) {
            return Err(self.was_taken_before());
        }
        descriptor::duplicate_inherited(self.file, self.inode).map_err(|_| self.was_taken_before())
    }

    fn was_taken_before(&self) -> InheritError {
        InheritError::AlreadyTaken {
            name: self.name.clone(),
        }
    }
}

/// Take over the descriptor that the parent gave this process under `name`, with [`Handoff::give_fd`].
pub(crate) fn inherit_fd(name: &str) -> Result<OwnedFd, InheritError> {
    let given = Given::find(name)?;
    match given.what {
        What::File => given.take(),
        What::End { .. } => Err(given.into_wrong_end()),
    }
}

/// Returns a descriptor of what the parent gave this process under `name` with [`Handoff::give_fd`], and leaves the one
/// that was given for [`inherit_fd`].
pub(crate) fn borrow_fd(name: &str) -> Result<OwnedFd, InheritError> {
    let given = Given::find(name)?;
    match given.what {
        What::File => given.borrow(),
        What::End { .. } => Err(given.into_wrong_end()),
    }
}

/// Take over the end that the parent gave this process under `name`.
///
/// The type says which end: a [`Sender`](crate::Sender) or a [`Receiver`](crate::Receiver), of the very
/// message type and codec that the queue was made with. Never waits for other processes. The descriptor is
/// closed on exec from here on.
///
/// # Errors
///
/// [`InheritError`]: nothing was given under that name, or it was taken over before, or it is the other end,
/// or the two programs do not fit each other.
///
/// # Examples
///
/// See [`Handoff`].
pub fn inherit<E: End>(name: &str) -> Result<E, InheritError> {
    inherit_expecting(name, None)
}

/// As [`inherit`], for a queue that was made with [`Options::schema`](crate::Options::schema).
///
/// # Errors
///
/// As [`inherit`], and [`InheritError::Schema`] if the schemas differ.
pub fn inherit_as<E: End>(name: &str, schema: &str) -> Result<E, InheritError> {
    inherit_expecting(name, Some(schema))
}

fn inherit_expecting<E: End>(name: &str, schema: Option<&str>) -> Result<E, InheritError> {
    let given = Given::find(name)?;
    let EndRole(role) = E::ROLE;
    let What::End {
        role: its,
        row,
        incarnation,
    } = given.what
    else {
        return Err(given.into_wrong_end());
    };
    if its != role {
        return Err(given.into_wrong_end());
    }
    let file = given.take()?;
    let segment = Segment::attach(file).map_err(|refusal| match refusal {
        AttachError::NotASegment(what) => InheritError::NotAQueue { what },
        AttachError::Version { theirs, ours } => InheritError::Version { theirs, ours },
        AttachError::Layout { theirs, ours } => InheritError::Layout { theirs, ours },
        AttachError::NoMemory(OutOfMemory {
            limit,
            wanted,
            available,
        }) => InheritError::NoMemory {
            limit,
            wanted,
            available,
        },
        AttachError::Os(source) => InheritError::Os {
            what: "the queue could not be mapped",
            source,
        },
    })?;
    let ticket = segment
        .peer(row)
        .map(crate::protocol::peers::PeerEntry::load);
    let ticket = ticket.filter(|ticket| {
        ticket.kind() == Some(PeerKind::Ticket)
            && ticket.incarnation() == incarnation
            && ticket.roles().has(role)
    });
    let ticket = ticket.ok_or_else(|| given.was_taken_before())?;
    let identity = identity::current().map_err(|source| InheritError::Os {
        what: "this process could not be identified",
        source,
    })?;
    let fits = compatibility::check::<E>(&segment, schema);
    let attachment = Attachment::redeem(segment, row, ticket, role, identity)
        .map_err(|corrupt| InheritError::NotAQueue {
            what: corrupt.what(),
        })?
        .ok_or_else(|| given.was_taken_before())?;
    // Attached in any case, so that a process that does not fit leaves as any other does.
    let end = E::from_attachment(AnyAttachment(attachment));
    fits.map(|()| end).map_err(InheritError::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::link::{Link, RecvOutcome};
    use crate::os::memory_use;
    use crate::os::spawn::Program;
    use crate::queue::{Receiver, channel};
    use crate::segment::board::Board;
    use std::os::fd::AsFd;

    /// How this test starts itself as a child: what it then finds in the environment was given by its parent.
    fn this_test(name: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", &format!("queue::handoff::tests::{name}")]);
        command
    }

    fn hear(link: &Link) -> Option<Vec<u8>> {
        match link.recv(&mut [0; 100]).expect("receive") {
            RecvOutcome::Datagram(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }

    /// The child's side: hand on what came by one link to the other, and what the queue holds.
    fn be_a_child() {
        let (left, right) = (
            Link::from(inherit_fd("left").expect("given")),
            Link::from(inherit_fd("right").expect("given")),
        );
        let again = inherit_fd("left");
        assert!(matches!(again, Err(InheritError::AlreadyTaken { .. })));
        let wrong = inherit_fd("tasks");
        let given = "Receiver";
        assert!(matches!(wrong, Err(InheritError::WrongEnd { given: its, .. }) if its == given));
        let wrong = inherit::<Receiver<u32>>("right");
        assert!(matches!(
            wrong,
            Err(InheritError::WrongEnd { given: FILE, .. })
        ));
        let tasks: Receiver<u32> = inherit("tasks").expect("given");
        right.send(&hear(&left).expect("a word")).expect("sent");
        let task = tasks.recv().expect("a task");
        right.send(task.to_string().as_bytes()).expect("sent");
        // What the child starts has none of it.
        let open = Command::new("ls").arg("/proc/self/fd").output();
        let open = String::from_utf8(open.expect("a list").stdout).expect("numbers");
        let inherited = |link: &Link| {
            let number = descriptor::number(link).to_string();
            open.lines().any(|line| line == number)
        };
        let (left, right_too) = (inherited(&left), inherited(&right));
        right
            .send(format!("{left} {right_too}").as_bytes())
            .expect("sent");
    }

    #[test]
    fn a_child_gets_descriptors_beside_its_ends_of_queues() {
        if std::env::var_os(VARIABLE).is_some() {
            return be_a_child();
        }
        let (left, its_left) = Link::pair().expect("a link");
        let (right, its_right) = Link::pair().expect("a link");
        let (tx, rx) = channel::<u32>(4).expect("a queue");
        let handoff = Handoff::new()
            .give_fd("left", its_left.into())
            .and_then(|handoff| handoff.give("tasks", &rx))
            .and_then(|handoff| handoff.give_fd("right", its_right.into()))
            .expect("given");
        assert_eq!(format!("{handoff:?}"), r#"["tasks", "left", "right"]"#);
        let mut command = this_test("a_child_gets_descriptors_beside_its_ends_of_queues");
        let mut child = handoff.spawn(&mut command).expect("a child");
        left.send(b"a word").expect("sent");
        tx.send(7).expect("room");
        assert_eq!(hear(&right).expect("an answer"), b"a word");
        assert_eq!(hear(&right).expect("an answer"), b"7");
        assert_eq!(hear(&right).expect("an answer"), b"false false");
        // The end of a link: the parent has not kept the child's side.
        assert!(hear(&right).is_none() && hear(&left).is_none());
        assert!(child.wait().expect("an end").success());
    }

    /// T2, of what a pool is made of besides queues. In a process of its own, where no other test opens or maps anything.
    #[test]
    fn a_thousand_boards_links_and_children_leave_memory_and_descriptors_as_they_were() {
        const NAME: &str =
            "a_thousand_boards_links_and_children_leave_memory_and_descriptors_as_they_were";
        const ALONE: &str = "WORKRING_TEST_ALONE";
        /// What the allocator and the test harness may come to need.
        const SLACK: u64 = 4 << 20;
        if std::env::var_os(ALONE).is_none() {
            let alone = this_test(NAME).env(ALONE, "1").status().expect("this test");
            assert!(alone.success());
            return;
        }
        let inventory = || {
            let open = std::fs::read_dir("/proc/self/fd").expect("/proc").count();
            let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
            let maps = maps.lines().filter(|line| line.contains("memfd")).count();
            let memory = memory_use::own().expect("statm");
            (open, maps, memory)
        };
        let cycle = |round: u32| {
            let (parent, worker) = Link::pair().expect("a link");
            let board = Board::create(4, 1000).expect("a board");
            let file = board.as_fd().try_clone_to_owned().expect("a descriptor");
            let handoff = Handoff::new().give_fd("link", worker.into());
            let handoff = handoff.and_then(|handoff| handoff.give_fd("board", file));
            // Starting a program takes longer than all the rest.
            if round.is_multiple_of(5) {
                let order = SpawnRequest::new(Program::File("true".into()));
                let mut process = handoff.expect("given").start(order).expect("a child");
                assert_eq!(hear(&parent), None, "it ends without a word");
                process.reap().expect("reaped");
            }
        };
        (0..50).for_each(cycle);
        let before = inventory();
        (0..1000).for_each(cycle);
        let after = inventory();
        assert_eq!((before.0, before.1), (after.0, after.1));
        assert!(after.2 <= before.2 + SLACK, "{before:?}, then {after:?}");
    }

    #[test]
    fn a_name_is_given_once_whatever_it_names() {
        let file = || Link::pair().expect("a link").0.into();
        let (_tx, rx) = channel::<u32>(4).expect("a queue");
        let given = || Handoff::new().give_fd("it", file()).expect("given");
        for again in [given().give_fd("it", file()), given().give("it", &rx)] {
            let again = again.expect_err("twice");
            assert!(matches!(again, HandoffError::InvalidName { .. }), "{again}");
        }
        let strange = Handoff::new().give_fd("a;b", file());
        assert!(matches!(strange, Err(HandoffError::InvalidName { .. })));
        let (mine, its) = Link::pair().expect("a link");
        drop(Handoff::new().give_fd("it", its.into()).expect("given"));
        assert!(
            mine.has_hung_up().expect("poll"),
            "a hand-off that is dropped"
        );
    }
}
