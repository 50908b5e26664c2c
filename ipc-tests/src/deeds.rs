//! Tasks with effects that are seen from outside: in a ledger, in the parent's log, or on the link.

use crate::ledger::Ledger;
use serde::{Deserialize, Serialize};
use std::{
    error::Error,
    fs,
    net::Shutdown,
    os::{
        fd::{BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixDatagram,
    },
    path::PathBuf,
    process, thread,
};
use tracing::field::Empty;
use tracing::{Level, debug, enabled, error, info, info_span, warn};
use workring::pool::{Context, Task};

/// The name of the ledger of [`Deed::Note`].
pub const LEDGER: &str = "deeds";
/// An entry of that kind: a task was begun.
pub const BEGUN: u8 = 1;
/// ... and done.
pub const DONE: u8 = 2;

/// One kind of work for each thing to be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// Returns the number.
    Echo(u64),
    /// Enters in the ledger of this directory that this number was begun, and done.
    Note(PathBuf, u64),
    /// Returns the process id of its worker.
    Pid,
    /// Ends its worker by `abort`.
    Abort,
    /// Ends its worker by `exit(0)`.
    Exit,
    /// Runs until it is cancelled, and fails then.
    UntilCancelled,
    /// Logs this text as an error, and less important things around it.
    Log(String),
    /// Logs this text as a warning, in two spans.
    LogWithin(String),
    /// Panics with this text, in a thread of its own.
    PanicElsewhere(String),
    /// Sends these datagrams to the parent.
    Inject(Vec<Vec<u8>>),
    /// Ends its side of the link, and runs until it is cancelled.
    Mute,
}

impl Task for Deed {
    type Output = u64;
    type Error = String;

    fn run(self, context: &Context) -> Result<u64, String> {
        match self {
            Self::Echo(number) => return Ok(number),
            Self::Note(directory, number) => {
                let ledger =
                    Ledger::create(directory, LEDGER).map_err(|error| error.to_string())?;
                ledger.note(BEGUN, number);
                ledger.note(DONE, number);
                return Ok(number);
            }
            Self::Pid => {}
            Self::Abort => process::abort(),
            Self::Exit => process::exit(0),
            Self::UntilCancelled => return until_cancelled(context),
            Self::Mute => {
                let link = links().pop().ok_or("there is no link")?;
                link.shutdown(Shutdown::Write)
                    .map_err(|error| error.to_string())?;
                return until_cancelled(context);
            }
            Self::Log(text) => {
                debug!("beneath notice");
                error!(task = context.id().get(), colour = "mauve", "{text}");
                info!(debug = enabled!(Level::DEBUG), length = text.len());
            }
            Self::LogWithin(text) => {
                let outer = info_span!("outer", size = 3, kind = Empty);
                outer.record("kind", "big");
                let _entered = outer.enter();
                info_span!("inner").in_scope(|| warn!(ratio = 0.5, flag = true, "{text}"));
            }
            Self::PanicElsewhere(text) => {
                let thread = thread::spawn(move || panic!("{text}"));
                thread.join().expect_err("a panic");
            }
            Self::Inject(datagrams) => {
                let link = links().pop().ok_or("there is no link")?;
                for datagram in datagrams {
                    link.send(&datagram).map_err(|error| error.to_string())?;
                }
            }
        }
        Ok(process::id().into())
    }

    fn prepare_worker() -> Result<(), Box<dyn Error + Send + Sync>> {
        info!("prepared");
        Ok(())
    }
}

fn until_cancelled(context: &Context) -> Result<u64, String> {
    while !context.is_cancelled() {
        thread::yield_now();
    }
    Err("cancelled".to_owned())
}

/// Other descriptors of this process's ends of links between parents and workers: of all sockets of their kind.
#[must_use]
pub fn links() -> Vec<UnixDatagram> {
    /// As `/proc/net/unix` has it: `SOCK_SEQPACKET`.
    const KIND: &str = "0005";
    let sockets = fs::read_to_string("/proc/net/unix").expect("/proc");
    let inodes: Vec<String> = sockets
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, _, _, _, kind, _, inode, ..] = fields.as_slice() else {
                return None;
            };
            (*kind == KIND).then(|| format!("socket:[{inode}]"))
        })
        .collect();
    let all = fs::read_dir("/proc/self/fd").expect("/proc");
    let links = all.flatten().filter(|entry| {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        inodes
            .iter()
            .any(|inode| target.as_os_str() == inode.as_str())
    });
    let numbers = links.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .map(|number| UnixDatagram::from(another(number)))
        .collect()
}

#[allow(unsafe_code, reason = "the pool does not give its link away")]
fn another(number: RawFd) -> OwnedFd {
    // SAFETY: it was open a moment ago, and its owner is a pool or a worker that lives.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    descriptor.try_clone_to_owned().expect("another descriptor")
}
