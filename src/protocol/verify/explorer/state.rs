//! A state: the memory of a queue, its processes, and the ledger.

use super::configuration::Configuration;
use super::lane::Lane;
use super::ledger::Ledger;
use super::memory::Memory;
use super::process::{Process, Status};
use crate::protocol::blocks::BlockKind;

/// At most this many processes have futures.
const MAX_LANES: usize = 2;

/// A state of a queue and its processes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) memory: Memory,
    pub(super) processes: Vec<Process>,
    pub(super) ledger: Ledger,
    /// What the threads of each process with futures share.
    pub(super) lanes: [Lane; MAX_LANES],
    pub(super) deaths: u8,
    /// How often all sleepers have slept for a whole liveness interval.
    pub(super) timeouts: u8,
}

impl State {
    /// Returns the state in which everything starts.
    pub(super) fn new(configuration: &Configuration) -> Self {
        let memory = configuration.memory();
        Self {
            memory,
            processes: configuration.processes(&memory),
            ledger: Ledger::new(&memory, configuration.peers()),
            lanes: [Lane::default(); MAX_LANES],
            deaths: 0,
            timeouts: 0,
        }
    }

    /// Returns whether a process, by its number, is dead, or does not exist.
    pub(super) fn is_dead(&self, process: u8) -> bool {
        self.processes
            .get(usize::from(process))
            .is_none_or(|process| process.status == Status::Dead)
    }

    /// Returns whether any process holds the lock of this peer entry, of this incarnation.
    pub(super) fn is_locked(&self, peer: u8, incarnation: u64) -> bool {
        self.processes
            .iter()
            .any(|process| process.has_lock(peer, incarnation))
    }

    /// Returns the blocks of this kind, as a mask.
    pub(super) fn blocks(&self, configuration: &Configuration, kind: BlockKind) -> u8 {
        (0..configuration.blocks)
            .filter(|&block| self.memory.block(block).is(kind))
            .fold(0, |mask, block| mask | 1 << block)
    }
}
