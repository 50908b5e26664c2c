//! The execution of one step: the memory accesses of a process, checked by the rules.
//!
//! A call is run again from its start in each step. The accesses that it has made in earlier steps are replayed
//! from the process's log; the first new access is made; and before the second one the step ends.

use super::action::Action;
use super::call::{Call, Outcome};
use super::configuration::Configuration;
use super::lane::{Found, LaneAccess};
use super::machine::{DROPPED, Machine, TIMED_OUT, WOKEN};
use super::memory::{Access, ParkingSpot, Word, memory_in_use};
use super::mutants::Mutant;
use super::process::{LocalState, Status};
use super::rules::{self, Violation};
use super::state::State;

/// The accesses of a step: the word, the access, and the value that the word had before.
pub(super) type Trace = Vec<(Word, Access, u64)>;

/// The state that a step leads to.
#[derive(Clone, Debug)]
pub(super) struct Successor {
    pub(super) state: State,
    /// Whether the step has more possible results, which the next higher choice selects.
    pub(super) has_alternatives: bool,
    pub(super) trace: Trace,
    pub(super) violation: Option<Violation>,
}

/// A process in the middle of a step.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) machine: Machine,
    pub(super) state: State,
    pub(super) process: usize,
    pub(super) local: LocalState,
    log: Vec<u64>,
    /// The number of accesses of the log that are replayed.
    replayed: usize,
    choice: u8,
    has_alternatives: bool,
    /// Whether the step has made its access.
    has_accessed: bool,
    trace: Trace,
    violation: Option<Violation>,
}

impl Execution {
    /// Starts a step of `process`. Where the step has several possible results, `choice` selects one.
    pub(super) fn new(machine: Machine, state: &State, process: usize, choice: u8) -> Self {
        let mut state = state.clone();
        let log = core::mem::take(&mut state.processes[process].log);
        Self {
            machine,
            local: state.processes[process].local,
            state,
            process,
            log,
            replayed: 0,
            choice,
            has_alternatives: false,
            has_accessed: false,
            trace: Vec::new(),
            violation: None,
        }
    }

    pub(super) fn configuration(&self) -> &'static Configuration {
        self.machine.configuration
    }

    pub(super) fn action(&self) -> Option<Action> {
        let action = self.state.processes[self.process].action;
        let script = self.machine.script(self.process);
        script.get(usize::from(action)).copied()
    }

    /// Prepares to run the current call from its start, and returns it.
    pub(super) fn restart_call(&mut self) -> Call {
        self.replayed = 0;
        self.local = self.state.processes[self.process].local;
        self.state.processes[self.process].call
    }

    /// Returns what an access gives, now or in an earlier step. `None`: the step ends before this access.
    ///
    /// The process remembers only what `view` makes of the value that it reads.
    pub(super) fn access(
        &mut self,
        word: Word,
        access: Access,
        view: impl Fn(u64) -> u64,
    ) -> Option<u64> {
        let literal = self.machine.literal;
        if let Some(&logged) = self.log.get(self.replayed) {
            self.replayed += 1;
            return Some(if literal { view(logged) } else { logged });
        }
        // The use of a payload is only checked.
        let is_independent = !literal
            && match access {
                Access::UsePayload => true,
                Access::Lane(access) => access.is_independent(),
                _ => self.configuration().is_independent(word),
            };
        let runs = self.state.processes[self.process].status == Status::Running;
        let waits_for_lane = self.log.is_empty()
            && matches!(access, Access::Lane(access) if access.begins())
            && self.machine.is_lane_locked(&self.state, self.process);
        if self.violation.is_some()
            || !runs
            || waits_for_lane
            || self.has_accessed && !is_independent
        {
            return None;
        }
        self.has_accessed |= !is_independent;
        let seen = self.perform(word, access)?;
        self.replayed += 1;
        self.log.push(if literal { seen } else { view(seen) });
        Some(view(seen))
    }

    fn perform(&mut self, word: Word, access: Access) -> Option<u64> {
        if let Access::Lane(of_lane) = access {
            let given = self.access_lane(of_lane);
            self.trace.push((word, access, given.unwrap_or_default()));
            return given;
        }
        let before = self.state.memory.get(word);
        let seen = match (access, word) {
            (Access::Wake(count), Word::Parking(spot)) => self.wake(spot, count),
            (Access::Sleep(expected), Word::Parking(spot)) => {
                if self.state.memory.get(word) == expected {
                    self.trace.push((word, access, 0));
                    self.state.processes[self.process].status = Status::Asleep(spot);
                    return None;
                }
                WOKEN
            }
            (Access::IsDead(incarnation), Word::Peer(peer)) => {
                u64::from(self.machine.is_dead(&self.state, peer, incarnation))
            }
            (Access::Lock(incarnation), Word::Peer(peer)) => {
                u64::from(self.lock(peer, incarnation))
            }
            (Access::TakeMemory(unit), _) => u64::from(self.take_memory(word, unit)),
            (Access::GiveMemoryBack(unit), _) => {
                self.state.memory.set(word, before.min(unit));
                0
            }
            (Access::UsePayload, Word::MemoryOf(block)) => {
                let configuration = self.machine.configuration;
                let used = rules::payload_used(&self.state, configuration, self.process, block);
                self.violation = used.err();
                0
            }
            _ => self.state.memory.access(word, access),
        };
        self.trace.push((word, access, seen));
        self.assert_independent(word, seen);
        if self.state.memory.get(word) != before {
            let configuration = self.machine.configuration;
            let changed =
                rules::word_changed(&mut self.state, configuration, self.process, word, before);
            self.violation = changed.err();
        }
        Some(seen)
    }

    /// Asserts that no process changes a word that counts as independent, except a probe, which runs alone.
    fn assert_independent(&self, word: Word, before: u64) {
        let is_read = matches!(word, Word::Lifecycle | Word::Returned | Word::Peer(_));
        let is_same = self.state.memory.get(word) == before;
        let is_probe = self.machine.is_probe(self.process);
        assert!(
            !is_read || is_same || is_probe || !self.configuration().is_independent(word),
            "{word:?} is not independent in {}",
            self.configuration().name
        );
    }

    /// Takes memory for one unit of a huge block, unless it has some. The kernel refuses beyond its limit.
    fn take_memory(&mut self, word: Word, unit: u64) -> bool {
        let memory = &mut self.state.memory;
        if memory.get(word) > unit {
            return true;
        }
        let limit = self.machine.configuration.huge;
        let limit = limit.and_then(|huge| huge.machine_limit);
        let in_use = memory_in_use(memory.get(Word::Memory));
        let is_granted = limit.is_none_or(|limit| in_use < limit);
        if is_granted {
            memory.set(word, unit + 1);
        }
        is_granted
    }

    fn wake(&mut self, spot: ParkingSpot, count: u32) -> u64 {
        let sleepers: Vec<usize> = (0..self.state.processes.len())
            .filter(|&other| self.state.processes[other].status == Status::Asleep(spot))
            .collect();
        // Where one of several is woken, each choice is a successor of its own.
        let first = if count == 1 {
            usize::from(self.choice)
        } else {
            0
        };
        self.has_alternatives |= count == 1 && first + 1 < sleepers.len();
        let mut woken = 0;
        for &sleeper in sleepers.iter().skip(first).take(count as usize) {
            self.state.processes[sleeper].status = Status::Running;
            self.state.processes[sleeper].log.push(WOKEN);
            woken += 1;
        }
        woken
    }

    /// Does an access to the lane that this process is a thread of.
    fn access_lane(&mut self, access: LaneAccess) -> Option<u64> {
        let number = self.configuration().lane_of(self.process);
        let number = number.expect("a thread of a process with futures");
        let (me, bit) = (self.process, 1 << self.process);
        let lane = &mut self.state.lanes[number];
        Some(match access {
            LaneAccess::Admit { is_again } => {
                if lane.admit(bit, is_again) && self.machine.mutant != Some(Mutant::KickForgotten) {
                    self.kick(number);
                }
                0
            }
            LaneAccess::Stop if lane.has_in_line(bit) => {
                self.state.processes[me].status = Status::Parked;
                return None;
            }
            LaneAccess::Stop => WOKEN,
            LaneAccess::Leave => u64::from(lane.leave(bit)),
            LaneAccess::Call(found) => self.call_line(number, found),
            LaneAccess::Begin => {
                lane.is_asleep = false;
                lane.seen()
            }
            LaneAccess::End(key, found) => {
                lane.key = key;
                let called = self.call_line(number, found);
                self.state.lanes[number].is_asleep = called == 0;
                called
            }
            LaneAccess::Sleep => {
                let word = self.state.memory.get(Word::Parking(ParkingSpot::Items));
                if !lane.is_asleep || lane.key.is_some_and(|key| key != word) {
                    return Some(WOKEN);
                }
                let is_on_word = lane.key.is_some();
                self.state.processes[me].status = if is_on_word {
                    Status::Asleep(ParkingSpot::Items)
                } else {
                    Status::Parked
                };
                return None;
            }
        })
    }

    /// Wakes the reactor by the lane's own word.
    fn kick(&mut self, lane: usize) {
        for thread in 0..self.state.processes.len() {
            if self.configuration().lane_of(thread) == Some(lane)
                && self.state.processes[thread].call == Call::Rest
            {
                self.unpark(thread);
            }
        }
    }

    /// Takes futures out of the line and calls their tasks. Where one of several is called, each choice is a successor of
    /// its own. Returns how many.
    fn call_line(&mut self, number: usize, found: Found) -> u64 {
        let waiting = self.state.lanes[number].line;
        let mut chosen: Vec<usize> = (0..8).filter(|thread| waiting >> thread & 1 != 0).collect();
        match found {
            Found::Nothing => chosen.clear(),
            Found::One => {
                let choice = usize::from(self.choice);
                self.has_alternatives |= choice + 1 < chosen.len();
                chosen = chosen.into_iter().skip(choice).take(1).collect();
            }
            Found::All => {}
        }
        for &thread in &chosen {
            let lane = &mut self.state.lanes[number];
            lane.leave(1 << thread);
            self.unpark(thread);
        }
        chosen.len() as u64
    }

    fn unpark(&mut self, thread: usize) {
        let thread = &mut self.state.processes[thread];
        if thread.status == Status::Parked {
            thread.status = Status::Running;
            thread.log.push(WOKEN);
        }
    }

    fn lock(&mut self, peer: u8, incarnation: u64) -> bool {
        let is_free = !self.state.is_locked(peer, incarnation);
        let locks = &mut self.state.processes[self.process].locks;
        if is_free {
            locks.rotate_right(1);
            locks[0] = Some((peer, incarnation));
        }
        is_free
    }

    /// Starts the process `child`, and gives it the lock that this process has acquired last, with its ticket.
    fn spawn(&mut self, child: u8) {
        let locks = &mut self.state.processes[self.process].locks;
        let Some((peer, incarnation)) = locks[0].take() else {
            return;
        };
        locks.rotate_left(1);
        let ticket = self.state.memory.get(Word::Peer(peer));
        let child = &mut self.state.processes[usize::from(child)];
        child.locks[0] = Some((peer, incarnation));
        child.status = Status::Running;
        child.local.peer = peer;
        child.local.tenant = ticket;
    }

    /// Ends the current call and begins the next one. Returns whether the step goes on with it.
    pub(super) fn end_call(&mut self, outcome: Outcome) -> bool {
        let configuration = self.machine.configuration;
        let ended = rules::call_ended(&mut self.state, configuration, self.process, outcome);
        if self.violation.is_none() {
            self.violation = ended.err();
        }
        self.log.clear();
        let call = self.state.processes[self.process].call;
        if let (Call::HandOff(child), Outcome::Done) = (call, outcome) {
            self.spawn(child);
        }
        let script = self.machine.script(self.process);
        let process = &mut self.state.processes[self.process];
        process.local = self.local;
        process.advance(
            script,
            configuration.peers(),
            configuration.batches,
            configuration.huge.is_some(),
            outcome,
        );
        match (self.machine.mutant, outcome) {
            (Some(Mutant::WokenLeavesAtOnce), Outcome::Woken)
            | (Some(Mutant::DroppedStaysInLine), Outcome::Dropped) => process.leave_wait(script),
            (Some(Mutant::PendsWithoutRetry), Outcome::Done) if call == Call::Admit => {
                process.call = Call::CheckTail;
            }
            _ => {}
        }
        rules::call_began(&mut self.state, configuration, self.process);
        let is_finished = self.state.processes[self.process].is_finished();
        !(self.has_accessed || self.violation.is_some() || is_finished)
    }

    /// Ends the step.
    pub(super) fn finish(mut self) -> Successor {
        self.state.processes[self.process].log = self.log;
        Successor {
            state: self.state,
            has_alternatives: self.has_alternatives,
            trace: self.trace,
            violation: self.violation,
        }
    }

    /// Returns the outcome of a sleep, from what its access has given.
    pub(super) const fn slept(given: u64) -> Outcome {
        match given {
            TIMED_OUT => Outcome::TimedOut,
            DROPPED => Outcome::Dropped,
            _ => Outcome::Woken,
        }
    }
}
