//! A path to a violation of a rule, and its description for people.

use super::machine::Machine;
use super::rules::Violation;
use super::step::step;
use core::fmt::Write;

/// What leads from one state to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// A step of this process, with this choice.
    Step(u8, u8),
    Kill(u8),
    /// The pending future of this process is polled for another reason than a wake.
    Poll(u8),
    /// The pending future of this process is dropped.
    Drop(u8),
    TimeOutSleepers,
}

/// A violation, and a shortest path to it.
#[derive(Debug)]
pub(super) struct Counterexample {
    pub(super) violation: Violation,
    pub(super) moves: Vec<Move>,
}

impl Counterexample {
    /// Describes each access on the path to the violation.
    pub(super) fn describe(&self, machine: Machine) -> String {
        let mut text = String::new();
        let mut state = machine.start();
        for &by in &self.moves {
            match by {
                Move::Step(process, choice) => {
                    let number = usize::from(process);
                    let call = state.processes[number].call;
                    let next = step(machine, &state, number, choice);
                    for (word, access, seen) in next.trace {
                        let _ = writeln!(
                            text,
                            "{process} {call:?}: {word:?} {access:x?} saw {seen:x}"
                        );
                    }
                    state = next.state;
                }
                Move::Kill(process) => {
                    let _ = writeln!(text, "{process} dies");
                    if let Some(next) = machine.kill(&state, process.into()) {
                        state = next;
                    }
                }
                Move::Poll(process) => {
                    let _ = writeln!(text, "{process} is polled for another reason");
                    if let Some(next) = machine.poll_anyway(&state, process.into()) {
                        state = next;
                    }
                }
                Move::Drop(process) => {
                    let _ = writeln!(text, "the future of {process} is dropped");
                    if let Some(next) = machine.drop_future(&state, process.into()) {
                        state = next;
                    }
                }
                Move::TimeOutSleepers => {
                    let _ = writeln!(text, "all sleepers time out");
                    state = machine.time_out_sleepers(&state);
                }
            }
        }
        let _ = write!(text, "{}", self.violation);
        text
    }
}
