//! Checks of a state for which processes run alone: no wake is lost (EXPLORE-15), no stopped process holds up another
//! (EXPLORE-16), and everything that was sent can be accounted for at the end.

use super::action::Action;
use super::configuration::Probe;
use super::machine::{Machine, WOKEN};
use super::process::Status;
use super::rules::{self, Violation, check};
use super::state::State;
use super::step::step;

/// A process that runs alone needs fewer steps than this for anything.
const MAX_STEPS_ALONE: usize = 3_000;

/// Adds a probe to the state and runs it to its end, while no other process moves. Returns the state after it.
pub(super) fn run_probe(machine: Machine, state: &State, probe: Probe) -> Result<State, Violation> {
    let machine = Machine { probe, ..machine };
    let mut state = state.clone();
    let process = state.processes.len();
    let configuration = machine.configuration;
    let added = configuration.probe(&state.memory, probe);
    state.processes.push(added);
    rules::call_began(&mut state, configuration, process);
    for _ in 0..MAX_STEPS_ALONE {
        if state.processes[process].is_finished() {
            return Ok(state);
        }
        let next = step(machine, &state, process, 0);
        if let Some(violation) = next.violation {
            return Err(format!("{violation}, by the probe {probe:?}"));
        }
        state = next.state;
    }
    Err(format!("EXPLORE-16: the probe {probe:?} is held up"))
}

/// Checks that, while all other processes are stopped, a newcomer can do everything, and each process can end its call.
pub(super) fn check_progress(machine: Machine, state: &State) -> Result<(), Violation> {
    let after = run_probe(machine, state, Probe::SendAndDrain)?;
    rules::check_all_received(&after)?;
    run_probe(machine, state, Probe::CloseAndDrain)?;
    for process in 0..state.processes.len() {
        if machine.is_enabled(state, process) {
            end_call_alone(machine, state, process)?;
        }
    }
    Ok(())
}

/// Checks that a process can end its call while no other process moves.
fn end_call_alone(machine: Machine, state: &State, process: usize) -> Result<(), Violation> {
    let mut state = state.clone();
    for _ in 0..MAX_STEPS_ALONE {
        let next = step(machine, &state, process, 0);
        if let Some(violation) = next.violation {
            return Err(violation);
        }
        state = next.state;
        let it = &state.processes[process];
        if it.status != Status::Running || it.log.is_empty() || it.is_finished() {
            return Ok(());
        }
    }
    Err(format!(
        "EXPLORE-16: process {process} is held up by a stopped one"
    ))
}

/// Checks that no process sleeps although what it waits for is there.
pub(super) fn check_wakes(machine: Machine, state: &State) -> Result<(), Violation> {
    for sleeper in 0..state.processes.len() {
        if state.processes[sleeper].status.sleeps() {
            check_sleeper(machine, state, sleeper)?;
        }
    }
    Ok(())
}

/// Wakes one sleeper and lets it run alone: it must go to sleep again.
fn check_sleeper(machine: Machine, state: &State, sleeper: usize) -> Result<(), Violation> {
    let mut state = state.clone();
    let it = &mut state.processes[sleeper];
    let (action, holding) = (it.action, it.local.holding);
    it.status = Status::Running;
    it.log.push(WOKEN);
    for _ in 0..MAX_STEPS_ALONE {
        let next = step(machine, &state, sleeper, 0);
        if let Some(violation) = next.violation {
            return Err(violation);
        }
        state = next.state;
        let it = &state.processes[sleeper];
        if it.status.sleeps() {
            return Ok(());
        }
        let got_something = it.local.holding != holding;
        if it.action != action && !got_something && sleeps_once(machine, sleeper, action) {
            return Ok(());
        }
        let moves_on = it.action != action || got_something || it.is_finished();
        check(!moves_on, "EXPLORE-15", || {
            format!("a wake was lost: process {sleeper} sleeps")
        })?;
    }
    Err(format!(
        "EXPLORE-16: process {sleeper} is woken, and does not sleep again"
    ))
}

/// Returns whether an action ends after one sleep, with or without a message.
fn sleeps_once(machine: Machine, process: usize, action: u8) -> bool {
    let script = machine.configuration.scripts.get(process);
    let action = script.and_then(|script| script.get(usize::from(action)));
    matches!(action, Some(Action::ReceiveOneSleep(_)))
}

/// Checks a state in which no process can go on, and no sleep will time out.
pub(super) fn check_end(machine: Machine, state: &State) -> Result<(), Violation> {
    let configuration = machine.configuration;
    check_wakes(machine, state)?;
    rules::check_stats(state, configuration)?;
    if !machine.are_recovered(state) {
        let recovered = run_probe(machine, state, Probe::Recover)?;
        rules::check_at_rest(&recovered, configuration)?;
    }
    // Without deaths, nothing may depend on a sweep.
    let probe = if state.deaths > 0 {
        Probe::RecoverAndDrain
    } else {
        Probe::Drain
    };
    let state = run_probe(machine, state, probe)?;
    let may_end = !configuration.limits.close_waits_for_leases || state.ledger.is_settled();
    let lifecycle = state.memory.lifecycle();
    let must_end = lifecycle.is_closing() && may_end;
    check(!must_end || lifecycle.has_ended(), "EXPLORE-8", || {
        "the queue is closed and drained, and no receiver got Closed".to_owned()
    })?;
    rules::check_final(&state, configuration)?;
    if configuration.huge.is_some() && !lifecycle.is_closing() {
        let after = run_probe(machine, &state, Probe::SendAndDrain)?;
        rules::check_memory_usable(&after, configuration)?;
    }
    Ok(())
}
