//! What is explored: a queue of a few words, and a script for each of its processes.

use super::process::{Deed, Life, Local, Process, Since, Then, message_of, waits};
use super::words::{Memory, Word, small};
use crate::protocol::Limits;
use crate::protocol::peers::{PeerKind, PeerState, Roles};
use crate::protocol::ring::RingSize;

/// A small queue and its processes. The process of number `n` begins in row `n`, unless it joins later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Configuration {
    pub(super) name: &'static str,
    pub(super) limits: Limits,
    pub(super) blocks: u8,
    /// Whether blocks may hold batches.
    pub(super) batches: bool,
    pub(super) scripts: &'static [&'static [Deed]],
    /// Which processes may die, as a mask, ...
    pub(super) mortal: u8,
    /// ... and how many of them in one run.
    pub(super) deaths: u8,
    /// The lap that all slots are in at first: `u32::MAX`, and laps wrap after one trip.
    pub(super) first_lap: u32,
    /// It has so many states that it is explored in full runs only.
    pub(super) long: bool,
}

/// Limits to start from: nothing closes by itself.
pub(super) const LIMITS: Limits = Limits {
    capacity: 1,
    max_deliveries: 3,
    max_dead_letters: 3,
    close_waits_for_leases: false,
    close_on_last_sender: false,
    close_on_last_receiver: false,
};

/// What configurations start from.
pub(super) const PLAIN: Configuration = Configuration {
    name: "",
    limits: LIMITS,
    blocks: 2,
    batches: false,
    scripts: &[],
    mortal: 0,
    deaths: 0,
    first_lap: 0,
    long: false,
};

/// What the one does who comes when all others are done.
const SUCCESSOR: &[Deed] = &[Deed::Drain(Then::Acknowledge), Deed::DiscardAllLetters];
/// What the one does who comes when all others are done or dead.
const SURVIVOR: &[Deed] = &[
    Deed::Sweep,
    Deed::Drain(Then::Acknowledge),
    Deed::DiscardAllLetters,
];
/// What somebody does while all others have stopped.
const PASSER: &[Deed] = &[
    Deed::Sweep,
    Deed::Send,
    Deed::Drain(Then::Acknowledge),
    Deed::DiscardAllLetters,
];
/// What everybody does who is attached while the others are done or dead, and receives nothing.
const SWEEPER: &[Deed] = &[Deed::Sweep];
const CLOSER: &[Deed] = &[Deed::Close, Deed::Drain(Then::Acknowledge), Deed::Send];

impl Configuration {
    pub(super) fn size(&self) -> RingSize {
        RingSize::for_capacity(self.limits.capacity, 2)
    }

    pub(super) fn slots(&self) -> u8 {
        small(self.size().slots())
    }

    /// One for each process, and one for the survivor.
    pub(super) fn rows(&self) -> u8 {
        small(self.scripts.len() as u64) + 1
    }

    /// The position that all hints are at first.
    pub(super) fn start(&self) -> u64 {
        u64::from(self.first_lap) * self.size().slots()
    }

    pub(super) fn script(&self, process: usize, epilogue: Epilogue) -> &'static [Deed] {
        match (self.scripts.get(process), epilogue) {
            (Some(script), _) => script,
            (None, Epilogue::Successor) => SUCCESSOR,
            (None, Epilogue::Survivor) => SURVIVOR,
            (None, Epilogue::Passer) => PASSER,
            (None, Epilogue::Closer) => CLOSER,
            (None, Epilogue::Sweeper) => SWEEPER,
        }
    }

    pub(super) fn message(&self, process: usize, sent: u8) -> u8 {
        message_of(self.scripts, process, sent)
    }

    /// Memory with the row of everybody who is there from the start.
    pub(super) fn memory(&self) -> Memory {
        let mut memory = Memory::new(self.size(), self.first_lap);
        let mut arrivals = crate::protocol::lifecycle::LifecycleState::from_bits(0);
        for (row, script) in (0..).zip(self.scripts) {
            if is_there(script) {
                let tenant = PeerState::from_bits(0).settled(Roles::BOTH);
                memory.set(Word::PeerIndex(row), tenant.bits());
                arrivals = arrivals.after_arrival(Roles::BOTH);
            }
        }
        let survivor = PeerState::from_bits(0).settled(Roles::NONE);
        memory.set(Word::PeerIndex(self.rows() - 1), survivor.bits());
        memory.set(Word::Lifecycle, arrivals.bits());
        debug_assert!(memory.row(self.rows() - 1).kind() == Some(PeerKind::Live));
        memory
    }

    /// The processes of the start, the survivor apart.
    pub(super) fn processes(&self, memory: &Memory) -> Vec<Process> {
        (0..)
            .zip(self.scripts)
            .map(|(row, script)| {
                let local = Local::new(row, memory.get(Word::PeerIndex(row)), 0);
                let mut process = Process::new(local, script);
                if !is_there(script) {
                    process.locks = [None; 2];
                }
                if script.first() == Some(&Deed::Redeem) {
                    process.life = Life::Unborn;
                }
                process
            })
            .collect()
    }

    /// Somebody who begins when the others are done, dead or stopped.
    pub(super) fn latecomer(&self, memory: &Memory, epilogue: Epilogue) -> Process {
        let row = self.rows() - 1;
        let local = Local::new(row, memory.get(Word::PeerIndex(row)), 0);
        let mut process = Process::new(local, self.script(self.scripts.len(), epilogue));
        process.since = Since::default();
        process
    }

    /// Whether nothing depends on when this word is looked at, for nobody ever changes what is read of it. Such an
    /// access is done together with the next one.
    pub(super) fn is_quiet(&self, word: Word) -> bool {
        let dies = self.deaths > 0;
        let closes = self.any(|&deed| closes(deed));
        let returns = self.any(|&deed| returns(deed));
        let ends = self.limits.close_on_last_sender || self.limits.close_on_last_receiver;
        match word {
            Word::Parking(_) => !self.any(|&deed| waits(deed)),
            Word::Lifecycle => !(closes || dies && ends),
            Word::Returned => !closes && !returns && !dies,
            Word::PeerIndex(_) => !dies && !self.any(|&deed| moves(deed)),
            Word::Position(_) => !dies && !returns,
            // What is read of these is used only if the block's word has not changed.
            Word::Length(_) | Word::Note(_) => true,
            Word::Slot(_)
            | Word::Block(_)
            | Word::Head
            | Word::Tail
            | Word::Beyond(_)
            | Word::Mark(..) => false,
        }
    }

    fn any(&self, is: impl Fn(&Deed) -> bool) -> bool {
        self.scripts.iter().copied().flatten().any(is)
    }
}

/// Whether a row may change.
const fn moves(deed: Deed) -> bool {
    matches!(
        deed,
        Deed::Join | Deed::HandOn(..) | Deed::Redeem | Deed::Leave(_) | Deed::Detach
    )
}

/// Whether the life of the queue may change.
const fn closes(deed: Deed) -> bool {
    matches!(deed, Deed::Close | Deed::Cancel) || moves(deed)
}

/// Whether a message may come back.
const fn returns(deed: Deed) -> bool {
    matches!(
        deed,
        Deed::Receive(then) | Deed::ReceivePatiently(then) | Deed::ReceiveBriefly(then)
            | Deed::ReceiveAll(then) | Deed::Drain(then)
            if !matches!(then, Then::Acknowledge | Then::Keep)
    )
}

/// Whether a process is attached from the start.
fn is_there(script: &[Deed]) -> bool {
    !matches!(script.first(), Some(Deed::Join | Deed::Redeem))
}

/// Who comes at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epilogue {
    Successor,
    Survivor,
    Passer,
    Closer,
    Sweeper,
}
