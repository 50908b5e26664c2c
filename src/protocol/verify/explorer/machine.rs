//! The transition system that is explored: its start, which processes can move, deaths, and timeouts.

use super::action::Action;
use super::call::Call;
use super::configuration::{Configuration, Probe};
use super::lane::Lane;
use super::memory::{ParkingSpot, Word};
use super::mutants::Mutant;
use super::process::Status;
use super::rules;
use super::state::State;
use crate::mutants::Mutant as CompiledMutant;
use crate::protocol::parking;

/// Which queue is explored, and which program does the steps of its processes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub(super) configuration: &'static Configuration,
    pub(super) program: Program,
    /// The fault of the model, if it has one.
    pub(super) mutant: Option<Mutant>,
    /// The fault of the real functions, if they have one.
    pub(super) compiled_mutant: Option<CompiledMutant>,
    /// Whether each access is a step of its own, and a process remembers all that it has read, as in the real
    /// functions. Otherwise the model forgets what no longer matters, which makes fewer states.
    pub(super) literal: bool,
    /// What a probe does, if there is one.
    pub(super) probe: Probe,
}

/// The program that does the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Model,
    Real,
}

/// What a sleep returns to a process that was woken, ...
pub(super) const WOKEN: u64 = 1;
/// ... and to one that has slept for a whole liveness interval.
pub(super) const TIMED_OUT: u64 = 2;
/// What a pending future is woken with when it is dropped.
pub(super) const DROPPED: u64 = 3;

impl Machine {
    /// Returns the same machine whose steps another program does.
    pub(super) fn with_program(self, program: Program) -> Self {
        Self { program, ..self }
    }

    pub(super) fn start(&self) -> State {
        let mut state = State::new(self.configuration);
        for process in 0..state.processes.len() {
            rules::call_began(&mut state, self.configuration, process);
        }
        state
    }

    pub(super) fn script(&self, process: usize) -> &'static [Action] {
        self.configuration.script(process, self.probe)
    }

    /// Returns whether a process is a probe, and not one of those of the configuration.
    pub(super) fn is_probe(&self, process: usize) -> bool {
        process >= self.configuration.scripts.len()
    }

    /// Returns whether a process can do a step.
    pub(super) fn is_enabled(&self, state: &State, process: usize) -> bool {
        let it = &state.processes[process];
        if it.status != Status::Running || it.is_finished() {
            return false;
        }
        if !it.log.is_empty() || self.is_probe(process) {
            return true;
        }
        match it.call {
            // A sweep makes the same call, and waits for no death.
            Call::RecoverIfDead(peer) if it.awaits_death_of(peer, self.script(process)) => {
                let entry = state.memory.peer(peer);
                entry.is_taken() && self.is_dead(state, peer, entry.incarnation().get())
            }
            call if call.locks_lane() => !self.is_lane_locked(state, process),
            Call::Join => (0..self.configuration.peers()).any(|peer| {
                let entry = state.memory.peer(peer);
                !entry.is_taken() && !state.is_locked(peer, entry.incarnation().get())
            }),
            _ => true,
        }
    }

    /// Returns whether the schedule that has led to this state is one of those that are explored.
    pub(super) fn is_within_bounds(&self, state: &State) -> bool {
        if let Some(limit) = self.configuration.max_epoch {
            let words = [ParkingSpot::Items, ParkingSpot::Space, ParkingSpot::Blocks];
            let epoch = |spot| state.memory.get(Word::Parking(spot)) / u64::from(parking::EPOCH);
            if words.into_iter().any(|spot| epoch(spot) > limit) {
                return false;
            }
        }
        let limit = self.configuration.huge.map(|huge| huge.max_generation);
        (0..self.configuration.blocks)
            .all(|block| limit.is_none_or(|limit| state.memory.block(block).generation() <= limit))
    }

    /// Returns whether each process that has died has been recovered.
    pub(super) fn are_recovered(&self, state: &State) -> bool {
        (0..self.configuration.peers()).all(|peer| {
            let entry = state.memory.peer(peer);
            !entry.is_taken() || !self.is_dead(state, peer, entry.incarnation().get())
        })
    }

    /// The kernel's answer to the question whether the tenant of a peer entry is dead: no process holds its lock.
    pub(super) fn is_dead(&self, state: &State, peer: u8, incarnation: u64) -> bool {
        let is_of_probe = peer + 1 == self.configuration.peers();
        !is_of_probe && !state.is_locked(peer, incarnation)
    }

    /// Returns the state after the death of a process, if it may die.
    pub(super) fn kill(&self, state: &State, process: usize) -> Option<State> {
        let it = state.processes.get(process)?;
        let may_die = self.configuration.mortal >> process & 1 != 0
            && state.deaths < self.configuration.max_deaths
            && !matches!(it.status, Status::Dead | Status::NotStarted);
        may_die.then(|| {
            let mut state = state.clone();
            state.deaths += 1;
            let threads = self.configuration.threads_of(process);
            for thread in (0..state.processes.len()).filter(|thread| threads >> thread & 1 != 0) {
                state.processes[thread].die();
            }
            if let Some(lane) = self.configuration.lane_of(process) {
                state.lanes[lane] = Lane::default();
            }
            state
        })
    }
}

// Futures.
impl Machine {
    /// Returns whether another thread of the same process is in the middle of a call that holds the lane's lock.
    pub(super) fn is_lane_locked(&self, state: &State, process: usize) -> bool {
        let threads = self.configuration.threads_of(process);
        (0..state.processes.len()).any(|other| {
            let it = &state.processes[other];
            let is_another = other != process && threads >> other & 1 != 0;
            is_another && it.call.locks_lane() && !it.log.is_empty()
        })
    }

    /// Returns the state in which a pending future is polled although it was not woken, if that may happen.
    pub(super) fn poll_anyway(&self, state: &State, process: usize) -> Option<State> {
        let it = &state.processes[process];
        let may_be_polled = it.status == Status::Parked
            && it.call == Call::Pend
            && it.local.extra_polls < self.configuration.extra_polls;
        may_be_polled.then(|| {
            let mut state = state.clone();
            let it = &mut state.processes[process];
            it.status = Status::Running;
            it.local.extra_polls += 1;
            it.log.push(WOKEN);
            state
        })
    }

    /// Returns the state in which a future is dropped that is pending, or was woken and is not polled yet, if that may
    /// happen.
    pub(super) fn drop_future(&self, state: &State, process: usize) -> Option<State> {
        let it = &state.processes[process];
        let action = self.script(process).get(usize::from(it.action));
        let may_be_dropped = matches!(action, Some(Action::ReceiveAsyncOrDrop(_)))
            && it.call == Call::Pend
            && (it.status == Status::Parked || it.log == [WOKEN]);
        may_be_dropped.then(|| {
            let mut state = state.clone();
            let it = &mut state.processes[process];
            it.status = Status::Running;
            it.log = vec![DROPPED];
            state
        })
    }

    /// Returns whether a process is a reactor that sleeps without a limit, since no future waits.
    fn is_idle_reactor(&self, state: &State, process: usize) -> bool {
        let lane = self.configuration.lane_of(process);
        lane.is_some_and(|lane| state.lanes[lane].line == 0)
    }

    /// Returns the state after all sleepers have slept for a whole liveness interval.
    pub(super) fn time_out_sleepers(&self, state: &State) -> State {
        let mut after = state.clone();
        after.timeouts += 1;
        for (number, process) in after.processes.iter_mut().enumerate() {
            let is_asleep = matches!(process.status, Status::Asleep(_));
            if is_asleep && !self.is_idle_reactor(state, number) {
                process.status = Status::Running;
                process.log.push(TIMED_OUT);
            }
        }
        after
    }
}
