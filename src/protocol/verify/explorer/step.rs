//! One step of a process, by the model or by the real functions.

use super::execution::{Execution, Successor};
use super::machine::{Machine, Program};
use super::state::State;
use super::{model, real};

/// Runs one step of a process: up to, but without, its second access to a word that others depend on. Where the
/// step has several possible results, `choice` selects one.
pub(super) fn step(machine: Machine, state: &State, process: usize, choice: u8) -> Successor {
    let mut execution = Execution::new(machine, state, process, choice);
    loop {
        let call = execution.restart_call();
        let outcome;
        (execution, outcome) = match machine.program {
            Program::Model => model::perform(execution, call),
            Program::Real => real::perform(execution, call),
        };
        let goes_on = outcome.is_some_and(|outcome| execution.end_call(outcome));
        if !goes_on {
            return execution.finish();
        }
    }
}
