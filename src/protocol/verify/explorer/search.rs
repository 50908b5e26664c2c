//! The search: every state that can be reached, breadth first, each once.
//!
//! The search keeps a hash of 128 bits of each state that it has reached, and the move that led there. It
//! checks each state in which no process can go on as an end, and some of the others, at a regular interval,
//! for progress ([`super::checks`]).

use super::checks::{check_end, check_progress, check_wakes};
use super::counterexample::{Counterexample, Move};
use super::execution::Successor;
use super::hash::{Hash128, Unhashed};
use super::machine::{Machine, Program};
use super::process::Status;
use super::rules::{self, Violation};
use super::state::State;
use super::step::step;
use core::hash::{BuildHasherDefault, Hash};
use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// What a search explores and checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Explores only schedules with at most this many pre-emptions: switches away from a process in the middle of a
    /// call.
    pub(super) preemptions: Option<u8>,
    /// One state in this many is checked for progress.
    pub(super) progress_interval: u64,
    /// Whether each step is done by the model and by the real function, and both must do the same.
    pub(super) compares: bool,
}

/// What a search has found.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) states: usize,
    pub(super) steps: u64,
    pub(super) ends: u64,
    pub(super) time: Duration,
    pub(super) counterexample: Option<Counterexample>,
}

/// A state that is not expanded yet.
struct Node {
    state: State,
    number: usize,
    /// The process that did the last step, where pre-emptions are counted.
    last: u8,
    preemptions: u8,
}

struct Search {
    machine: Machine,
    bounds: Bounds,
    seen: HashSet<u128, BuildHasherDefault<Unhashed>>,
    /// For each state: its predecessor, and the move from there.
    predecessors: Vec<(u32, Move)>,
    queue: VecDeque<Node>,
    steps: u64,
    ends: u64,
}

/// A violation in the state that is expanded, or after one more move from there.
struct Found(Violation, Option<Move>);

impl From<Violation> for Found {
    fn from(violation: Violation) -> Self {
        Self(violation, None)
    }
}

/// Explores the machine until a rule is violated, or to its end.
pub(super) fn explore(machine: Machine, bounds: Bounds) -> Report {
    let start = Instant::now();
    let mut search = Search {
        machine,
        bounds,
        seen: HashSet::default(),
        predecessors: Vec::new(),
        queue: VecDeque::new(),
        steps: 0,
        ends: 0,
    };
    search.reach(machine.start(), 0, Move::TimeOutSleepers, 0, 0);
    let mut counterexample = None;
    while let Some(node) = search.queue.pop_front() {
        if let Err(Found(violation, last)) = search.expand(&node) {
            let mut moves = search.path_to(node.number);
            moves.extend(last);
            counterexample = Some(Counterexample { violation, moves });
            break;
        }
    }
    Report {
        states: search.predecessors.len(),
        steps: search.steps,
        ends: search.ends,
        time: start.elapsed(),
        counterexample,
    }
}

impl Search {
    /// Adds a state to those that are to be expanded, unless it was reached before.
    fn reach(&mut self, state: State, from: usize, by: Move, last: u8, preemptions: u8) {
        let mut hash = Hash128::default();
        state.hash(&mut hash);
        (last, preemptions).hash(&mut hash);
        if self.seen.insert(hash.value()) {
            let number = self.predecessors.len();
            let from = u32::try_from(from).expect("fewer than 2^32 states");
            self.predecessors.push((from, by));
            self.queue.push_back(Node {
                state,
                number,
                last,
                preemptions,
            });
        }
    }

    fn path_to(&self, number: usize) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut number = number;
        while number > 0 {
            let (from, by) = self.predecessors[number];
            moves.push(by);
            number = from as usize;
        }
        moves.reverse();
        moves
    }

    fn expand(&mut self, node: &Node) -> Result<(), Found> {
        let state = &node.state;
        if !self.machine.is_within_bounds(state) {
            return Ok(());
        }
        let mut is_stuck = true;
        for process in 0..state.processes.len() {
            if self.machine.is_enabled(state, process) {
                is_stuck = false;
                self.expand_step(node, process)?;
            }
            if let Some(next) = self.machine.kill(state, process) {
                let by = Move::Kill(u8::try_from(process).expect("few processes"));
                self.reach(next, node.number, by, node.last, node.preemptions);
            }
            self.disturb_future(node, process);
        }
        if is_stuck {
            self.ends += 1;
            self.expand_stuck(node)?;
        } else if (node.number as u64).is_multiple_of(self.bounds.progress_interval) {
            check_progress(self.machine, state)?;
        }
        Ok(())
    }

    /// A future may be dropped, or polled for another reason, whenever it is pending.
    fn disturb_future(&mut self, node: &Node, process: usize) {
        let number = u8::try_from(process).expect("few processes");
        let moves = [
            (
                self.machine.poll_anyway(&node.state, process),
                Move::Poll(number),
            ),
            (
                self.machine.drop_future(&node.state, process),
                Move::Drop(number),
            ),
        ];
        for (next, by) in moves {
            if let Some(next) = next {
                self.reach(next, node.number, by, node.last, node.preemptions);
            }
        }
    }

    fn expand_step(&mut self, node: &Node, process: usize) -> Result<(), Found> {
        let number = u8::try_from(process).expect("few processes");
        let mut preemptions = node.preemptions;
        if let Some(limit) = self.bounds.preemptions {
            let last = usize::from(node.last);
            let was_in_call = node.state.processes.get(last).is_some_and(|process| {
                process.status == Status::Running
                    && !process.is_finished()
                    && !process.log.is_empty()
            });
            preemptions += u8::from(last != process && was_in_call);
            if preemptions > limit {
                return Ok(());
            }
        }
        for choice in 0.. {
            self.steps += 1;
            let next = step(self.machine, &node.state, process, choice);
            let by = Move::Step(number, choice);
            if self.bounds.compares {
                let real = self.machine.with_program(Program::Real);
                let real = step(real, &node.state, process, choice);
                if let Some(difference) = difference(&next, &real) {
                    return Err(Found(difference, Some(by)));
                }
            }
            if let Some(violation) = next.violation {
                return Err(Found(violation, Some(by)));
            }
            let last = if self.bounds.preemptions.is_some() {
                number
            } else {
                0
            };
            self.reach(next.state, node.number, by, last, preemptions);
            if !next.has_alternatives {
                break;
            }
        }
        Ok(())
    }

    /// No process can go on: each is finished, dead, asleep, or waits for a death.
    fn expand_stuck(&mut self, node: &Node) -> Result<(), Found> {
        let state = &node.state;
        if self.machine.are_recovered(state) {
            // Recovery wakes all sleepers and leaves nothing undone, so nothing may depend on a timeout any more.
            check_wakes(self.machine, state)?;
            rules::check_at_rest(state, self.machine.configuration)?;
        }
        let is_asleep = |status| matches!(status, Status::Asleep(_));
        let has_sleepers = state.processes.iter().any(|it| is_asleep(it.status));
        // Deaths cost sleepers one liveness interval each, and one more.
        if state.timeouts < state.deaths + u8::from(state.deaths > 0) && has_sleepers {
            let next = self.machine.time_out_sleepers(state);
            let by = Move::TimeOutSleepers;
            self.reach(next, node.number, by, node.last, node.preemptions);
            return Ok(());
        }
        check_end(self.machine, state)?;
        Ok(())
    }
}

/// Describes what the real function did differently from the model, if anything.
fn difference(model: &Successor, real: &Successor) -> Option<Violation> {
    let is_same = (&model.trace, &model.state, &model.violation)
        == (&real.trace, &real.state, &real.violation);
    let knowledge = |next: &Successor| {
        let processes = next.state.processes.iter();
        processes
            .map(|process| (process.call, process.log.clone(), process.local))
            .collect::<Vec<_>>()
    };
    let describe =
        |next: &Successor| format!("did {:x?}, and then {:x?}", next.trace, knowledge(next));
    (!is_same).then(|| {
        format!(
            "the model {}, the real function {}",
            describe(model),
            describe(real)
        )
    })
}
