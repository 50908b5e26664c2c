//! A configuration: a small queue, a script for each of its processes, and how many of them may die.

use super::action::{Action, LARGEST, Settlement, messages_in};
use super::memory::{Memory, Word, to_u8};
use super::process::{LocalState, Process, Status};
use crate::protocol::Limits;
use crate::protocol::huge_memory::HugeClass;
use crate::protocol::ids::Position;
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::peers::{PeerKind, PeerState, Roles};
use crate::protocol::ring::RingSize;

/// A small queue and its processes. Process `n` starts in peer entry `n`, unless it joins later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Configuration {
    pub(super) name: &'static str,
    pub(super) limits: Limits,
    pub(super) blocks: u8,
    /// Whether blocks may hold batches.
    pub(super) batches: bool,
    /// All blocks are huge: they get memory when they are used.
    pub(super) huge: Option<HugeBlocks>,
    pub(super) scripts: &'static [&'static [Action]],
    /// The processes with futures: for each the mask of those scripts that are threads of it, one of them the reactor.
    pub(super) lanes: &'static [u8],
    /// How often a pending future is polled although it was not woken, in one wait.
    pub(super) extra_polls: u8,
    /// Bit `n` is set if process `n` may die. All threads of a process die with it.
    pub(super) mortal: u8,
    /// At most this many processes die in one run.
    pub(super) max_deaths: u8,
    /// The lap in which all slots are at first. From `u32::MAX`, laps wrap after one trip round the ring.
    pub(super) first_lap: u32,
    /// Explores only schedules in which no parking word is raised more often. Two processes that announce a sleep may keep
    /// each other from it again and again.
    pub(super) max_epoch: Option<u64>,
    /// Explored in the full form only, because it has too many states.
    pub(super) only_in_full: bool,
}

/// Huge blocks, and the limits on their memory. Payloads have few units, and memory comes and goes unit by unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct HugeBlocks {
    /// The classes, the smallest first. At most two blocks of a class are used in turn.
    pub(super) classes: &'static [HugeClass],
    /// The queue's own limit.
    pub(super) memory_limit: u64,
    /// What the kernel grants, if there is a limit.
    pub(super) machine_limit: Option<u64>,
    /// How much memory idle blocks keep.
    pub(super) max_idle_memory: u64,
    /// Explores only schedules in which no block becomes free more often. Senders that wait for memory may refuse it to
    /// each other again and again.
    pub(super) max_generation: u64,
}

impl HugeBlocks {
    /// Returns the class of this number, or the last one ([`LARGEST`]).
    pub(super) fn class(&self, number: u8) -> &'static HugeClass {
        let last = self.classes.len() - 1;
        &self.classes[last.min(number.into())]
    }

    pub(super) fn class_of(&self, block: u8) -> &'static HugeClass {
        let mut classes = self.classes.iter();
        let class = classes.find(|class| class.blocks.contains(&block.into()));
        class.expect("each block has a class")
    }

    /// Returns how much memory all blocks together may have.
    pub(super) fn limit(&self) -> u64 {
        self.machine_limit
            .map_or(self.memory_limit, |limit| limit.min(self.memory_limit))
    }
}

/// The limits that configurations start from: nothing closes by itself.
pub(super) const LIMITS: Limits = Limits {
    capacity: 1,
    max_deliveries: 3,
    max_dead_letters: 3,
    close_waits_for_leases: false,
    close_on_last_sender: false,
    close_on_last_receiver: false,
};

/// What configurations start from.
pub(super) const BASE: Configuration = Configuration {
    name: "",
    limits: LIMITS,
    blocks: 2,
    batches: false,
    huge: None,
    scripts: &[],
    lanes: &[],
    extra_polls: 0,
    mortal: 0,
    max_deaths: 0,
    first_lap: 0,
    max_epoch: None,
    only_in_full: false,
};

/// A process that is added to a state and runs alone, while no other process moves, to show what is still possible.
/// It has the last peer entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Receives everything that is left.
    Drain,
    /// Recovers the dead, then receives everything that is left.
    RecoverAndDrain,
    /// Recovers the dead, sends, then receives everything that no process holds.
    SendAndDrain,
    /// Closes the queue, receives what is left, and finds that it cannot send.
    CloseAndDrain,
    /// Recovers the dead and receives nothing.
    Recover,
}

impl Probe {
    const fn script(self, is_huge: bool) -> &'static [Action] {
        const DRAIN: Action = Action::Drain(Settlement::Acknowledge);
        match self {
            Self::SendAndDrain if is_huge => &[
                Action::Sweep,
                Action::SendHuge(LARGEST),
                DRAIN,
                Action::DiscardDeadLetters,
            ],
            Self::CloseAndDrain if is_huge => &[Action::Close, DRAIN, Action::SendHuge(LARGEST)],
            Self::Drain => &[DRAIN, Action::DiscardDeadLetters],
            Self::RecoverAndDrain => &[Action::Sweep, DRAIN, Action::DiscardDeadLetters],
            Self::SendAndDrain => &[
                Action::Sweep,
                Action::Send,
                DRAIN,
                Action::DiscardDeadLetters,
            ],
            Self::CloseAndDrain => &[Action::Close, DRAIN, Action::Send],
            Self::Recover => &[Action::Sweep],
        }
    }
}

impl Configuration {
    pub(super) fn size(&self) -> RingSize {
        RingSize::for_capacity(self.limits.capacity, 2)
    }

    pub(super) fn slots(&self) -> u8 {
        to_u8(self.size().slots())
    }

    /// Returns the slot of a position.
    pub(super) fn slot_of(&self, position: Position) -> Word {
        Word::Slot(to_u8(self.size().slot_number(position)))
    }

    /// Returns the number of peer entries: one for each process and one for the probe.
    pub(super) fn peers(&self) -> u8 {
        to_u8(self.scripts.len() as u64) + 1
    }

    /// Returns the position at which all hints start.
    pub(super) fn start(&self) -> u64 {
        u64::from(self.first_lap) * self.size().slots()
    }

    pub(super) fn script(&self, process: usize, probe: Probe) -> &'static [Action] {
        self.scripts
            .get(process)
            .copied()
            .unwrap_or_else(|| probe.script(self.huge.is_some()))
    }

    /// Returns the number of the lane that a process is a thread of.
    pub(super) fn lane_of(&self, process: usize) -> Option<usize> {
        self.lanes.iter().position(|lane| lane >> process & 1 != 0)
    }

    /// Returns the mask of a process and of all other threads of the same process.
    pub(super) fn threads_of(&self, process: usize) -> u8 {
        self.lane_of(process)
            .map_or(1 << process, |lane| self.lanes[lane])
    }

    /// Returns the number of the last of the first `sent` messages that a process sends.
    pub(super) fn message(&self, process: usize, sent: u8) -> u8 {
        let by_others = self.scripts.iter().take(process);
        let by_others: usize = by_others.map(|script| messages_in(script)).sum();
        to_u8(by_others as u64) + sent.saturating_sub(1)
    }

    /// Returns the memory with the peer entries of all processes that are attached from the start.
    pub(super) fn memory(&self) -> Memory {
        let mut memory = Memory::new(self.size(), self.first_lap);
        let mut lifecycle = LifecycleState::from_bits(0);
        for (peer, script) in (0..).zip(self.scripts) {
            if is_attached_at_start(script) {
                let state = PeerState::from_bits(0).attached(Roles::BOTH);
                memory.set(Word::Peer(peer), state.bits());
                lifecycle = lifecycle.after_arrival(Roles::BOTH);
            }
        }
        let probe = PeerState::from_bits(0).attached(Roles::NONE);
        memory.set(Word::Peer(self.peers() - 1), probe.bits());
        memory.set(Word::Lifecycle, lifecycle.bits());
        debug_assert!(memory.peer(self.peers() - 1).kind() == Some(PeerKind::Live));
        memory
    }

    /// Returns the processes at the start, without a probe.
    pub(super) fn processes(&self, memory: &Memory) -> Vec<Process> {
        (0..)
            .zip(self.scripts)
            .map(|(peer, script)| {
                let local = LocalState::new(peer, memory.get(Word::Peer(peer)));
                let mut process = Process::new(local, script);
                if !is_attached_at_start(script) {
                    process.locks = [None; 2];
                }
                if script.first() == Some(&Action::Redeem) {
                    process.status = Status::NotStarted;
                }
                process
            })
            .collect()
    }

    /// Returns the process that a probe is.
    pub(super) fn probe(&self, memory: &Memory, probe: Probe) -> Process {
        let peer = self.peers() - 1;
        let local = LocalState::new(peer, memory.get(Word::Peer(peer)));
        Process::new(local, probe.script(self.huge.is_some()))
    }

    /// Returns whether the moment of an access to this word makes no difference in this configuration, because no
    /// process changes what others read of it. Such an access is no step of its own: it is done together with the next
    /// one.
    pub(super) fn is_independent(&self, word: Word) -> bool {
        let dies = self.max_deaths > 0;
        let changes_lifecycle = self.any(Action::changes_lifecycle);
        let returns = self.any(Action::returns_messages);
        let closes_by_itself =
            self.limits.close_on_last_sender || self.limits.close_on_last_receiver;
        match word {
            Word::Parking(_) => !self.any(Action::waits),
            Word::Lifecycle => !(changes_lifecycle || dies && closes_by_itself),
            Word::Returned => !changes_lifecycle && !returns && !dies,
            Word::Peer(_) => !dies && !self.any(Action::changes_peers),
            // What is read of these is used only if the word of the block has not changed.
            Word::Length(_) | Word::Note(_) => true,
            Word::Committed(_)
            | Word::MemoryOf(_)
            | Word::Memory
            | Word::Slot(_)
            | Word::Block(_)
            | Word::Position(_)
            | Word::Head
            | Word::Tail
            | Word::ExtraMessages(_)
            | Word::Mark(..)
            | Word::Lane => false,
        }
    }

    fn any(&self, is: impl Fn(Action) -> bool) -> bool {
        self.scripts
            .iter()
            .copied()
            .flatten()
            .any(|&action| is(action))
    }
}

fn is_attached_at_start(script: &[Action]) -> bool {
    !matches!(script.first(), Some(Action::Join | Action::Redeem))
}
