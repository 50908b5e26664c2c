//! The processes of a queue, and how they are.

use crate::os::identity::Identity;
use crate::os::liveness::{Liveness, LivenessProbe};
use crate::os::open_files;
use crate::protocol::SharedState;
use crate::protocol::blocks::BlockState;
use crate::protocol::ids::PeerIndex;
use crate::protocol::peers::{PeerEntry, PeerKind, PeerState, Role};
use crate::protocol::steps::stats::BlockSnapshot;
use crate::segment::image::Image;

/// How a process of a queue is, as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerLiveness {
    /// It lives.
    Live,
    /// It lives, and is stopped or traced.
    Stopped,
    /// It has died, and no process of the queue has recovered yet what it held.
    Dead,
    /// It lives, but has lost the lock that shows it.
    Unlocked,
    /// It was given an end of the queue, and has not attached yet.
    Invited,
    /// It cannot be found out.
    Unknown,
}

/// A process that is attached to a queue, or was given an end of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The number of its entry.
    pub entry: u16,
    /// Its process id, in its own namespace. `None`: it has not attached yet.
    pub pid: Option<u32>,
    /// Its command line, if it is a process of this namespace.
    pub command: Option<String>,
    /// Whether it has a sender.
    pub sends: bool,
    /// Whether it has a receiver.
    pub receives: bool,
    /// The number of messages that it holds.
    pub holds: u64,
    /// How it is.
    pub liveness: PeerLiveness,
}

/// A block of messages that a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Holding {
    /// The number of the block.
    pub block: u32,
    /// How often the block was given up: the same block and generation mean the same messages.
    pub generation: u64,
    /// The entry of the process that holds it.
    pub entry: u16,
    /// Its process id, in its own namespace.
    pub pid: Option<u32>,
    /// The number of messages in it that are not settled.
    pub messages: u64,
}

/// Returns the blocks that processes hold, in the order of their numbers.
pub(super) fn holdings(image: &Image, blocks: &[BlockSnapshot]) -> Vec<Holding> {
    let holding = |(block, snapshot): (u32, &BlockSnapshot)| {
        let peer = snapshot.holder()?;
        let state: BlockState = snapshot.state;
        Some(Holding {
            block,
            generation: state.generation(),
            entry: peer.get(),
            pid: image.peer(peer).map(PeerEntry::process_id),
            messages: snapshot.messages.unsettled(),
        })
    };
    (0..).zip(blocks).filter_map(holding).collect()
}

/// Returns the processes in the order of their entries.
pub(super) fn peers(image: &Image, me: &Identity, holdings: &[Holding]) -> Vec<Peer> {
    let probe = LivenessProbe::new(image.file(), image.file_id(), me);
    let peer = |index: PeerIndex| {
        let entry = image.peer(index)?;
        let state = entry.load();
        if !matches!(state.kind(), Some(PeerKind::Ticket | PeerKind::Live)) {
            return None;
        }
        let identity = identity_of(entry, state);
        let is_here = identity
            .is_some_and(|identity| identity.pid_namespace == me.pid_namespace && probe.is_some());
        let pid = (state.kind() == Some(PeerKind::Live)).then(|| entry.process_id());
        let process = pid.filter(|_| is_here).and_then(open_files::process);
        let checked = probe
            .as_ref()
            .map(|probe| probe.check(image.lock_byte(index, state), identity, false));
        let liveness = match checked {
            Some(Ok(Liveness::Dead)) => PeerLiveness::Dead,
            _ if state.kind() == Some(PeerKind::Ticket) => PeerLiveness::Invited,
            Some(Ok(Liveness::Unlocked)) => PeerLiveness::Unlocked,
            Some(Ok(Liveness::Alive)) => match &process {
                Some(process) if process.is_stopped => PeerLiveness::Stopped,
                _ => PeerLiveness::Live,
            },
            Some(Err(_)) | None => PeerLiveness::Unknown,
        };
        let held = holdings.iter().filter(|held| held.entry == index.get());
        Some(Peer {
            entry: index.get(),
            pid,
            command: process
                .filter(|_| liveness != PeerLiveness::Dead)
                .map(|process| process.command),
            sends: state.has_role(Role::Sender),
            receives: state.has_role(Role::Receiver),
            holds: held.map(|held| held.messages).sum(),
            liveness,
        })
    };
    (0..image.peer_count())
        .filter_map(PeerIndex::new)
        .filter_map(peer)
        .collect()
}

/// Returns the identity that a live peer has recorded; `None` for one that has not attached yet.
fn identity_of(entry: &PeerEntry, state: PeerState) -> Option<Identity> {
    if state.kind() != Some(PeerKind::Live) {
        return None;
    }
    let tag = entry.identity()?;
    Some(Identity {
        process: tag.process,
        pid_namespace: tag.pid_namespace,
        time_namespace: tag.time_namespace,
        image: tag.image,
    })
}
