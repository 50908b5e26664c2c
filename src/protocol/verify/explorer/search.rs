//! Every state that can be reached, breadth first, each once.
//!
//! Of a state that has been seen, 128 bits of a hash are kept, and how it was reached. In every state that nobody can
//! go on from, somebody comes and puts everything in order (the *survivor*), and the books are closed. In some of the
//! others, chosen by their hash, everybody is stopped: each process must then be able to end its call alone, and a
//! *passer* must be able to send, receive and close.

use super::configuration::Epilogue;
use super::ledger::{Ledger, Violation};
use super::process::{Deed, Life};
use super::state::{Machine, Next, Program, State, WOKEN};
use core::hash::{BuildHasherDefault, Hash, Hasher};
use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// So many pre-emptions at the most: that a process is interrupted in the middle of a call.
    pub(super) preemptions: Option<u8>,
    /// The books of one state in so many are closed with everybody else stopped.
    pub(super) standstill: u64,
    /// Each step is done by the model and by the real function, and must be the same.
    pub(super) compares: bool,
}

/// How one state follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    Step(u8, u8),
    Kill(u8),
    EndSlices,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) states: usize,
    pub(super) steps: u64,
    pub(super) ends: u64,
    pub(super) time: Duration,
    pub(super) wrong: Option<Counterexample>,
}

/// A shortest way to something that must not be.
#[derive(Debug)]
pub(super) struct Counterexample {
    pub(super) what: Violation,
    pub(super) moves: Vec<Move>,
}

/// Steps that one process needs for anything.
const LONG: usize = 3_000;

struct Node {
    state: State,
    number: usize,
    last: u8,
    used: u8,
}

struct Search {
    machine: Machine,
    bounds: Bounds,
    seen: HashSet<u128, BuildHasherDefault<Plain>>,
    ways: Vec<(u32, Move)>,
    next: VecDeque<Node>,
    steps: u64,
    ends: u64,
}

/// Explore the machine.
pub(super) fn explore(machine: Machine, bounds: Bounds) -> Report {
    let start = Instant::now();
    let mut search = Search {
        machine,
        bounds,
        seen: HashSet::default(),
        ways: Vec::new(),
        next: VecDeque::new(),
        steps: 0,
        ends: 0,
    };
    search.reach(machine.start(), 0, Move::EndSlices, 0, 0);
    let mut wrong = None;
    while let Some(node) = search.next.pop_front() {
        if let Err((what, last)) = search.expand(&node) {
            let mut moves = search.way_to(node.number);
            moves.extend(last);
            wrong = Some(Counterexample { what, moves });
            break;
        }
    }
    Report {
        states: search.ways.len(),
        steps: search.steps,
        ends: search.ends,
        time: start.elapsed(),
        wrong,
    }
}

type Wrong = (Violation, Option<Move>);

impl Search {
    fn reach(&mut self, state: State, from: usize, by: Move, last: u8, used: u8) {
        let mut hasher = Wide::default();
        state.hash(&mut hasher);
        (last, used).hash(&mut hasher);
        if self.seen.insert(hasher.wide()) {
            let number = self.ways.len();
            self.ways
                .push((u32::try_from(from).expect("fewer states"), by));
            self.next.push_back(Node {
                state,
                number,
                last,
                used,
            });
        }
    }

    fn way_to(&self, number: usize) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut number = number;
        while number > 0 {
            let (from, by) = self.ways[number];
            moves.push(by);
            number = from as usize;
        }
        moves.reverse();
        moves
    }

    fn expand(&mut self, node: &Node) -> Result<(), Wrong> {
        let state = &node.state;
        let mut is_stuck = true;
        for process in 0..state.processes.len() {
            if self.machine.is_enabled(state, process) {
                is_stuck = false;
                self.step(node, process)?;
            }
            if let Some(next) = self.machine.kill(state, process) {
                let number = u8::try_from(process).expect("few");
                self.reach(next, node.number, Move::Kill(number), node.last, node.used);
            }
        }
        if is_stuck {
            self.ends += 1;
            self.at_an_end(node).map_err(|what| (what, None))?;
        } else if (node.number as u64).is_multiple_of(self.bounds.standstill) {
            self.stand_still(state).map_err(|what| (what, None))?;
        }
        Ok(())
    }

    fn step(&mut self, node: &Node, process: usize) -> Result<(), Wrong> {
        let number = u8::try_from(process).expect("few processes");
        let mut used = node.used;
        if let Some(most) = self.bounds.preemptions {
            let last = usize::from(node.last);
            let was_busy = node.state.processes.get(last).is_some_and(|process| {
                process.life == Life::Running && !process.is_over() && !process.log.is_empty()
            });
            used += u8::from(last != process && was_busy);
            if used > most {
                return Ok(());
            }
        }
        for choice in 0.. {
            self.steps += 1;
            let next = self.machine.step(&node.state, process, choice);
            let by = Move::Step(number, choice);
            if self.bounds.compares {
                let real = self.machine.of(Program::Real);
                let real = real.step(&node.state, process, choice);
                if let Some(what) = difference(&next, &real) {
                    return Err((what, Some(by)));
                }
            }
            if let Some(what) = next.wrong {
                return Err((what, Some(by)));
            }
            let last = if self.bounds.preemptions.is_some() {
                number
            } else {
                0
            };
            self.reach(next.state, node.number, by, last, used);
            if !next.more {
                break;
            }
        }
        Ok(())
    }

    /// Nobody goes on: everybody is done, dead, asleep, or waits for a death.
    fn at_an_end(&mut self, node: &Node) -> Result<(), Violation> {
        let state = &node.state;
        let sleeps = |life: Life| matches!(life, Life::Asleep(_));
        let is_recovered = self.machine.are_recovered(state);
        if is_recovered {
            // Then nothing depends on slices: recovery has woken everybody, and left nothing undone.
            self.look_for_lost_wakes(state)?;
            Ledger::at_rest(state, self.machine.configuration)?;
        }
        let mut sleepers = state.processes.iter().filter(|it| sleeps(it.life));
        // A slice is all that a death can cost.
        if state.slices < state.deaths + u8::from(state.deaths > 0) && sleepers.next().is_some() {
            let next = Machine::end_slices(state);
            self.reach(next, node.number, Move::EndSlices, node.last, node.used);
            return Ok(());
        }
        self.look_for_lost_wakes(state)?;
        Ledger::balance(state, self.machine.configuration)?;
        if !is_recovered {
            let swept = self.alone(state, Epilogue::Sweeper)?;
            Ledger::at_rest(&swept, self.machine.configuration)?;
        }
        // While nobody dies, nothing depends on sweeps.
        let epilogue = if state.deaths > 0 {
            Epilogue::Survivor
        } else {
            Epilogue::Successor
        };
        let state = self.alone(state, epilogue)?;
        let configuration = self.machine.configuration;
        let may_end = !configuration.limits.close_waits_for_leases || state.ledger.is_settled();
        let life = state.memory.lifecycle();
        if life.is_closing() && may_end && !life.has_ended() {
            return Err("I8: closed and drained, and nobody is told".to_owned());
        }
        Ledger::settle(&state, configuration)
    }

    fn look_for_lost_wakes(&self, state: &State) -> Result<(), Violation> {
        for sleeper in 0..state.processes.len() {
            if matches!(state.processes[sleeper].life, Life::Asleep(_)) {
                self.look_for_lost_wake(state, sleeper)?;
            }
        }
        Ok(())
    }

    /// Nobody sleeps although there is what it waits for.
    fn look_for_lost_wake(&self, state: &State, sleeper: usize) -> Result<(), Violation> {
        let mut state = state.clone();
        let (deed, hand) = (
            state.processes[sleeper].deed,
            state.processes[sleeper].local.hand,
        );
        state.processes[sleeper].life = Life::Running;
        state.processes[sleeper].log.push(WOKEN);
        for _ in 0..LONG {
            let next = self.machine.step(&state, sleeper, 0);
            if let Some(wrong) = next.wrong {
                return Err(wrong);
            }
            state = next.state;
            let it = &state.processes[sleeper];
            if let Life::Asleep(_) = it.life {
                return Ok(());
            }
            let got_something = it.local.hand != hand;
            if it.deed != deed && !got_something && self.is_brief(sleeper, deed) {
                return Ok(());
            }
            if it.deed != deed || got_something || it.is_over() {
                return Err(format!("P: a wake was lost: process {sleeper} sleeps"));
            }
        }
        Err(format!("process {sleeper} finds no sleep"))
    }

    /// Whether a deed ends after one sleep, whatever there is.
    fn is_brief(&self, process: usize, deed: u8) -> bool {
        let script = self.machine.configuration.scripts.get(process);
        let deed = script.and_then(|script| script.get(usize::from(deed)));
        matches!(deed, Some(Deed::ReceiveBriefly(_)))
    }

    /// Let somebody come who does all that is left, while nobody else moves.
    fn alone(&self, state: &State, epilogue: Epilogue) -> Result<State, Violation> {
        let machine = Machine {
            epilogue,
            ..self.machine
        };
        let mut state = state.clone();
        let process = state.processes.len();
        let configuration = machine.configuration;
        let latecomer = configuration.latecomer(&state.memory, epilogue);
        state.processes.push(latecomer);
        Ledger::begin(&mut state, configuration, process);
        for _ in 0..LONG {
            if state.processes[process].is_over() {
                return Ok(state);
            }
            let next = machine.step(&state, process, 0);
            if let Some(wrong) = next.wrong {
                return Err(format!("{wrong}, by the {epilogue:?}"));
            }
            state = next.state;
        }
        Err(format!("the {epilogue:?} is held up"))
    }

    fn stand_still(&self, state: &State) -> Result<(), Violation> {
        let after = self.alone(state, Epilogue::Passer)?;
        after.ledger.all_received()?;
        self.alone(state, Epilogue::Closer)?;
        for process in 0..state.processes.len() {
            if self.machine.is_enabled(state, process) {
                self.end_call_alone(state, process)?;
            }
        }
        Ok(())
    }

    /// One process goes on while nobody else moves, to the end of its call.
    fn end_call_alone(&self, state: &State, process: usize) -> Result<(), Violation> {
        let mut state = state.clone();
        for _ in 0..LONG {
            let next = self.machine.step(&state, process, 0);
            if let Some(wrong) = next.wrong {
                return Err(wrong);
            }
            state = next.state;
            let it = &state.processes[process];
            if it.life != Life::Running || it.log.is_empty() || it.is_over() {
                return Ok(());
            }
        }
        Err(format!("process {process} is held up by one that stopped"))
    }
}

/// What the real function did that the model did not, if anything.
fn difference(model: &Next, real: &Next) -> Option<Violation> {
    let is_same =
        (&model.trace, &model.state, &model.wrong) == (&real.trace, &real.state, &real.wrong);
    let knows = |next: &Next| {
        let processes = next.state.processes.iter();
        processes
            .map(|process| (process.call, process.log.clone(), process.local))
            .collect::<Vec<_>>()
    };
    let it = |next: &Next| format!("did {:x?}, and then {:x?}", next.trace, knows(next));
    (!is_same).then(|| format!("the model {}, the real one {}", it(model), it(real)))
}

impl Counterexample {
    /// Every access on the way, for people.
    pub(super) fn describe(&self, machine: Machine) -> String {
        use core::fmt::Write;
        let mut text = String::new();
        let mut state = machine.start();
        for &by in &self.moves {
            match by {
                Move::Step(process, choice) => {
                    let number = usize::from(process);
                    let call = state.processes[number].call;
                    let next = machine.step(&state, number, choice);
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
                Move::EndSlices => {
                    let _ = writeln!(text, "a slice ends");
                    state = Machine::end_slices(&state);
                }
            }
        }
        let _ = write!(text, "{}", self.what);
        text
    }
}

/// A hash of 128 bits: two lanes, each mixed by multiplication.
struct Wide(u64, u64);

impl Default for Wide {
    fn default() -> Self {
        Self(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344)
    }
}

impl Wide {
    fn mix(&mut self, value: u64) {
        self.0 = (self.0 ^ value)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
        self.1 = (self.1.rotate_left(23) ^ value).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }

    fn wide(&self) -> u128 {
        let fold = |lane: u64| (lane ^ lane >> 32).wrapping_mul(0xff51_afd7_ed55_8ccd);
        u128::from(fold(self.0) ^ self.1 >> 29) << 64 | u128::from(fold(self.1) ^ self.0 >> 31)
    }
}

impl Hasher for Wide {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut value = [0; 8];
            value[..eight.len()].copy_from_slice(eight);
            self.mix(u64::from_le_bytes(value));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value.cast_unsigned() as u64);
    }
}

/// For what is a hash already.
#[derive(Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut value = [0; 8];
            value[..eight.len()].copy_from_slice(eight);
            self.0 ^= u64::from_le_bytes(value);
        }
    }

    fn write_u128(&mut self, value: u128) {
        let [_, _, _, _, _, _, _, _, low @ ..] = value.to_be_bytes();
        self.0 = u64::from_be_bytes(low);
    }
}
