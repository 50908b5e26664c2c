//! Giving an end of a queue to a child process.
//!
//! The parent makes a *ticket*: a row of the peers table that counts as present from that moment on, and an
//! open file description with the row's lock, which the child alone inherits. So the parent may drop its own
//! end at once without closing the queue, and a child that dies early lets go of the lock like any other
//! process. The environment tells the child which descriptor and row are meant.

use super::attachment::{Attachment, Refused};
use super::end::End;
use super::end::sealed::{AnyAttachment, AnyHandle, EndRole};
use super::fit;
use crate::error::{HandoffError, InheritError};
use crate::os::process;
use crate::os::supply::Shortage;
use crate::protocol::Words;
use crate::protocol::peers::{Incarnation, Role, Row, Tenancy, Tenant};
use crate::segment::{Refusal, Segment};
use core::fmt;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::process::{Child, Command};
use std::sync::Arc;

/// Where a child finds what it was given: `name=end,descriptor,inode,row,incarnation`, separated by `;`.
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
}

struct TicketToGive {
    name: String,
    role: Role,
    attachment: Arc<Attachment>,
    row: Row,
    tenant: Tenant,
    file: OwnedFd,
}

impl Handoff {
    /// Nothing given yet.
    pub const fn new() -> Self {
        Self {
            tickets: Vec::new(),
        }
    }

    /// Give `end` to the child, who will find it under `name`: letters, digits, `-`, `_` and `.`. The
    /// caller's own end stays as it is. Never waits.
    ///
    /// # Errors
    ///
    /// [`HandoffError`]: the name can't be used; the queue is closed or has no row left for another process;
    /// the system has no descriptors or no `/proc`.
    pub fn give<E: End>(mut self, name: &str, end: &E) -> Result<Self, HandoffError> {
        if !is_plain(name) || self.tickets.iter().any(|ticket| ticket.name == name) {
            return Err(HandoffError::InvalidName {
                name: name.to_owned(),
            });
        }
        let AnyHandle(handle) = end.handle();
        let role = handle.role();
        let (file, row, tenant) =
            handle
                .attachment
                .make_ticket(role)
                .map_err(|refused| match refused {
                    Refused::Closed => HandoffError::Closed,
                    Refused::TooManyPeers => HandoffError::TooManyPeers {
                        max: usize::from(Row::COUNT),
                    },
                    Refused::Forked => HandoffError::Forked,
                    Refused::Corrupt(corrupt) => HandoffError::Corrupt {
                        what: corrupt.what(),
                    },
                    Refused::Os(source) => HandoffError::Os {
                        what: "no descriptor for the child",
                        source,
                    },
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
    /// # Errors
    ///
    /// What [`Command::spawn`] says. In a forked child, whose tickets are its parent's, `Unsupported`.
    pub fn spawn(mut self, command: &mut Command) -> io::Result<Child> {
        if self
            .tickets
            .iter()
            .any(|ticket| ticket.attachment.is_elsewhere())
        {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                HandoffError::Forked,
            ));
        }
        let given = self
            .tickets
            .iter()
            .map(TicketToGive::to_text)
            .collect::<io::Result<Vec<_>>>()?;
        command.env(VARIABLE, given.join(";"));
        let files: Vec<_> = self.tickets.iter().map(|ticket| &ticket.file).collect();
        let permission = process::inherit_into(command, &files);
        let spawned = command.spawn();
        drop(permission);
        command.env_remove(VARIABLE);
        let child = spawned?;
        // The child has the descriptions now, and with them the locks: it alone decides when they go.
        self.tickets.clear();
        Ok(child)
    }
}

impl TicketToGive {
    fn to_text(&self) -> io::Result<String> {
        let (name, end, file) = (&self.name, end_name(self.role), process::number(&self.file));
        let (row, incarnation) = (self.row.get(), self.tenant.incarnation().get());
        Ok(format!(
            "{name}={end},{file},{},{row},{incarnation}",
            process::inode(&self.file)?
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
        f.debug_list()
            .entries(self.tickets.iter().map(|ticket| &ticket.name))
            .finish()
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

/// What the environment says of one ticket.
struct Given {
    name: String,
    end: String,
    file: RawFd,
    inode: u64,
    row: Row,
    incarnation: Incarnation,
}

impl Given {
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('=')?;
        let mut parts = rest.split(',');
        let given = Self {
            name: name.to_owned(),
            end: parts.next()?.to_owned(),
            file: parts.next()?.parse().ok()?,
            inode: parts.next()?.parse().ok()?,
            row: Row::new(parts.next()?.parse().ok()?)?,
            incarnation: Incarnation::new(parts.next()?.parse().ok()?),
        };
        parts.next().is_none().then_some(given)
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
    inherit_tagged(name, 0)
}

/// As [`inherit`], for a queue that was made with [`Options::schema`](crate::Options::schema).
///
/// # Errors
///
/// As [`inherit`], and [`InheritError::Schema`] if the tags differ.
pub fn inherit_tagged<E: End>(name: &str, schema: u64) -> Result<E, InheritError> {
    /// Descriptors that this process has taken over: to take one twice would close it under its owner.
    static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

    let variable = std::env::var(VARIABLE).unwrap_or_default();
    let all: Vec<Given> = variable.split(';').filter_map(Given::parse).collect();
    let Some(given) = all.iter().find(|given| given.name == name) else {
        let given = all.iter().map(|given| given.name.clone()).collect();
        return Err(InheritError::NotGiven {
            name: name.to_owned(),
            given,
        });
    };
    let EndRole(role) = E::ROLE;
    if given.end != end_name(role) {
        let given = end_name(if role == Role::Sender {
            Role::Receiver
        } else {
            Role::Sender
        });
        return Err(InheritError::WrongEnd {
            name: name.to_owned(),
            given,
        });
    }
    let taken_before = || InheritError::AlreadyTaken {
        name: name.to_owned(),
    };
    let mut taken = TAKEN.lock();
    if taken.contains(&given.file) {
        return Err(taken_before());
    }
    // A program started by the child has the variable too, and, if the child took the descriptor over, nothing
    // or a file of its own under its number.
    let file = process::take_inherited(given.file, given.inode).map_err(|_| taken_before())?;
    taken.insert(given.file);
    drop(taken);
    let segment = Segment::attach(file).map_err(|refusal| match refusal {
        Refusal::NotASegment(what) => InheritError::NotAQueue { what },
        Refusal::Version { theirs, ours } => InheritError::Version { theirs, ours },
        Refusal::Layout { theirs, ours } => InheritError::Layout { theirs, ours },
        Refusal::NoMemory(Shortage {
            limit,
            wanted,
            available,
        }) => InheritError::NoMemory {
            limit,
            wanted,
            available,
        },
        Refusal::Os(source) => InheritError::Os {
            what: "the queue could not be mapped",
            source,
        },
    })?;
    let ticket = segment
        .row(given.row)
        .map(crate::protocol::peers::PeerRow::load);
    let ticket = ticket.filter(|ticket| {
        ticket.tenancy() == Some(Tenancy::Ticket)
            && ticket.incarnation() == given.incarnation
            && ticket.roles().has(role)
    });
    let ticket = ticket.ok_or_else(taken_before)?;
    let identity = process::identity().map_err(|source| InheritError::Os {
        what: "this process could not be identified",
        source,
    })?;
    let fits = fit::check::<E>(&segment, schema);
    let attachment = Attachment::redeem(segment, given.row, ticket, role, identity)
        .map_err(|corrupt| InheritError::NotAQueue {
            what: corrupt.what(),
        })?
        .ok_or_else(taken_before)?;
    // Attached in any case, so that a process that does not fit leaves as any other does.
    let end = E::from_attachment(AnyAttachment(attachment));
    fits.map(|()| end).map_err(InheritError::from)
}
