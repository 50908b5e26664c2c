//! The transition system that is explored: its start, which processes can move, deaths, and timeouts.

use super::action::Action;
use super::call::Call;
use super::configuration::{Configuration, Probe};
use super::mutants::Mutant;
use super::process::Status;
use super::rules;
use super::state::State;
use crate::mutants::Mutant as CompiledMutant;

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
            Call::Join => (0..self.configuration.peers()).any(|peer| {
                let entry = state.memory.peer(peer);
                !entry.is_taken() && !state.is_locked(peer, entry.incarnation().get())
            }),
            _ => true,
        }
    }

    /// Returns whether the schedule that has led to this state is one of those that are explored.
    pub(super) fn is_within_bounds(&self, state: &State) -> bool {
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
            state.processes[process].die();
            state
        })
    }
}

/// Returns the state after all sleepers have slept for a whole liveness interval.
pub(super) fn time_out_sleepers(state: &State) -> State {
    let mut state = state.clone();
    state.timeouts += 1;
    for process in &mut state.processes {
        if let Status::Asleep(_) = process.status {
            process.status = Status::Running;
            process.log.push(TIMED_OUT);
        }
    }
    state
}
