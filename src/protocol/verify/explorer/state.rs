//! A state of a queue and its processes, and one step of one of them.

use super::configuration::{Configuration, Epilogue};
use super::ledger::{Ledger, Violation, writes};
use super::mutants::Mutant;
use super::process::{Call, Life, Local, Outcome, Process};
use super::words::{Access, Memory, Park, Word};
use crate::mutants::Mutant as Flaw;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) memory: Memory,
    pub(super) processes: Vec<Process>,
    pub(super) ledger: Ledger,
    pub(super) deaths: u8,
    /// How often all have slept for a whole slice.
    pub(super) slices: u8,
}

/// How states follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub(super) configuration: &'static Configuration,
    /// What the model does wrong.
    pub(super) mutant: Option<Mutant>,
    /// What the real functions do wrong.
    pub(super) flaw: Option<Flaw>,
    /// Every access is a step of its own, and a process remembers all that it has read: as the real functions do.
    pub(super) literal: bool,
    pub(super) epilogue: Epilogue,
    pub(super) program: Program,
}

/// Who does the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Model,
    Real,
}

/// What a step has done to memory: for people, and to compare.
pub(super) type Trace = Vec<(Word, Access, u64)>;

/// One way on from a state.
#[derive(Clone, Debug)]
pub(super) struct Next {
    pub(super) state: State,
    /// There are more ways, of which this is only the first.
    pub(super) more: bool,
    pub(super) trace: Trace,
    pub(super) wrong: Option<Violation>,
}

impl Machine {
    /// The same, its steps done by another program.
    pub(super) fn of(self, program: Program) -> Self {
        Self { program, ..self }
    }

    pub(super) fn start(&self) -> State {
        let memory = self.configuration.memory();
        let mut state = State {
            memory,
            processes: self.configuration.processes(&memory),
            ledger: Ledger::new(&memory, self.configuration.rows()),
            deaths: 0,
            slices: 0,
        };
        for process in 0..state.processes.len() {
            Ledger::begin(&mut state, self.configuration, process);
        }
        state
    }

    /// Whether a process can do a step.
    pub(super) fn is_enabled(&self, state: &State, process: usize) -> bool {
        let it = &state.processes[process];
        if it.life != Life::Running || it.is_over() {
            return false;
        }
        if !it.log.is_empty() || process >= self.configuration.scripts.len() {
            return true;
        }
        match it.call {
            // By itself, for a sweep asks about the living too.
            Call::LookAfter(row) if it.is_set_on(row, self.script(process)) => {
                let tenant = state.memory.row(row);
                self.has_died(state, row, tenant.incarnation().get()) && tenant.is_taken()
            }
            Call::Join => (0..self.configuration.rows()).any(|row| can_join(state, row)),
            _ => true,
        }
    }

    fn script(&self, process: usize) -> &'static [super::process::Deed] {
        self.configuration.script(process, self.epilogue)
    }

    /// Whether every process that has died, has been recovered.
    pub(super) fn are_recovered(&self, state: &State) -> bool {
        (0..self.configuration.rows()).all(|row| {
            let tenant = state.memory.row(row);
            !tenant.is_taken() || !self.has_died(state, row, tenant.incarnation().get())
        })
    }

    /// What the kernel says.
    fn has_died(&self, state: &State, row: u8, incarnation: u64) -> bool {
        row + 1 < self.configuration.rows()
            && !state
                .processes
                .iter()
                .any(|process| process.has_lock(row, incarnation))
    }

    /// Let a process die, if it may.
    pub(super) fn kill(&self, state: &State, process: usize) -> Option<State> {
        let it = state.processes.get(process)?;
        let may = self.configuration.mortal >> process & 1 != 0
            && state.deaths < self.configuration.deaths
            && !matches!(it.life, Life::Dead | Life::Unborn);
        may.then(|| {
            let mut state = state.clone();
            state.deaths += 1;
            state.processes[process].die();
            state
        })
    }

    /// The slices of all sleepers end.
    pub(super) fn end_slices(state: &State) -> State {
        let mut state = state.clone();
        state.slices += 1;
        for process in &mut state.processes {
            if let Life::Asleep(_) = process.life {
                process.life = Life::Running;
                process.log.push(SLICE_OVER);
            }
        }
        state
    }

    /// One step of a process, up to its next access to a word that others depend on.
    pub(super) fn step(&self, state: &State, process: usize, choice: u8) -> Next {
        let mut run = Run::new(*self, state, process, choice);
        loop {
            let (call, local) = (
                run.state.processes[process].call,
                run.state.processes[process].local,
            );
            run.at = 0;
            run.local = local;
            let outcome;
            (run, outcome) = match self.program {
                Program::Model => super::model::perform(run, call),
                Program::Real => super::real::perform(run, call),
            };
            let Some(outcome) = outcome else {
                break;
            };
            run.end_call(outcome);
            let is_over = run.state.processes[process].is_over();
            if run.has_acted || run.wrong.is_some() || is_over {
                break;
            }
        }
        run.finish()
    }
}

fn can_join(state: &State, row: u8) -> bool {
    let tenant = state.memory.row(row);
    let incarnation = tenant.incarnation().get();
    let is_locked = |other: &Process| other.has_lock(row, incarnation);
    !tenant.is_taken() && !state.processes.iter().any(is_locked)
}

/// What a sleep gives.
pub(super) const WOKEN: u64 = 1;
pub(super) const SLICE_OVER: u64 = 2;

/// A process in the middle of a step.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) machine: Machine,
    pub(super) state: State,
    pub(super) process: usize,
    pub(super) local: Local,
    log: Vec<u64>,
    /// How much of the log has been told again.
    at: usize,
    choice: u8,
    more: bool,
    /// A word that others depend on has been accessed.
    has_acted: bool,
    trace: Trace,
    wrong: Option<Violation>,
}

impl Run {
    fn new(machine: Machine, state: &State, process: usize, choice: u8) -> Self {
        let mut state = state.clone();
        let log = core::mem::take(&mut state.processes[process].log);
        Self {
            machine,
            local: state.processes[process].local,
            state,
            process,
            log,
            at: 0,
            choice,
            more: false,
            has_acted: false,
            trace: Vec::new(),
            wrong: None,
        }
    }

    pub(super) fn configuration(&self) -> &'static Configuration {
        self.machine.configuration
    }

    /// What it is about.
    pub(super) fn deed(&self) -> Option<super::process::Deed> {
        let deed = self.state.processes[self.process].deed;
        let script = self.machine.script(self.process);
        script.get(usize::from(deed)).copied()
    }

    /// What the access has given, now or when it was done; `None`: the step is over before it.
    ///
    /// Of what it reads, a process remembers what `view` makes of it.
    pub(super) fn access(
        &mut self,
        word: Word,
        access: Access,
        view: impl Fn(u64) -> u64,
    ) -> Option<u64> {
        let literal = self.machine.literal;
        if let Some(&told) = self.log.get(self.at) {
            self.at += 1;
            return Some(if literal { view(told) } else { told });
        }
        let quiet = !literal && self.configuration().is_quiet(word);
        let is_asleep = self.state.processes[self.process].life != Life::Running;
        if self.wrong.is_some() || is_asleep || self.has_acted && !quiet {
            return None;
        }
        self.has_acted |= !quiet;
        let seen = self.perform(word, access)?;
        self.at += 1;
        self.log.push(if literal { seen } else { view(seen) });
        Some(view(seen))
    }

    fn perform(&mut self, word: Word, access: Access) -> Option<u64> {
        let seen = match (access, word) {
            (Access::Wake(count), Word::Parking(park)) => self.wake(park, count),
            (Access::Sleep(expected), Word::Parking(park)) => {
                if self.state.memory.get(word) == expected {
                    self.trace.push((word, access, 0));
                    self.state.processes[self.process].life = Life::Asleep(park);
                    return None;
                }
                WOKEN
            }
            (Access::Verdict(incarnation), Word::PeerIndex(row)) => {
                u64::from(self.machine.has_died(&self.state, row, incarnation))
            }
            (Access::Lock(incarnation), Word::PeerIndex(row)) => {
                u64::from(self.lock(row, incarnation))
            }
            _ => self.state.memory.access(word, access),
        };
        self.trace.push((word, access, seen));
        self.assert_quiet(word, seen);
        if writes(access) && self.state.memory.get(word) != seen {
            let changed = Ledger::changed(
                &mut self.state,
                self.machine.configuration,
                self.process,
                word,
                seen,
            );
            self.wrong = changed.err();
        }
        Some(seen)
    }

    /// Nobody changes what counts as quiet, but for one who comes when nobody else moves.
    fn assert_quiet(&self, word: Word, before: u64) {
        let read = matches!(word, Word::Lifecycle | Word::Returned | Word::PeerIndex(_));
        let is_late = self.process >= self.configuration().scripts.len();
        let is_same = self.state.memory.get(word) == before;
        assert!(
            !read || is_same || is_late || !self.configuration().is_quiet(word),
            "{word:?} is not quiet in {}",
            self.configuration().name
        );
    }

    fn wake(&mut self, park: Park, count: u32) -> u64 {
        let sleepers: Vec<usize> = (0..self.state.processes.len())
            .filter(|&other| self.state.processes[other].life == Life::Asleep(park))
            .collect();
        // One of several: each is a way on.
        let first = if count == 1 {
            usize::from(self.choice)
        } else {
            0
        };
        self.more |= count == 1 && first + 1 < sleepers.len();
        let woken = sleepers.iter().skip(first).take(count as usize);
        let mut number = 0;
        for &sleeper in woken {
            self.state.processes[sleeper].life = Life::Running;
            self.state.processes[sleeper].log.push(WOKEN);
            number += 1;
        }
        number
    }

    fn lock(&mut self, row: u8, incarnation: u64) -> bool {
        let is_free = !self
            .state
            .processes
            .iter()
            .any(|other| other.has_lock(row, incarnation));
        let locks = &mut self.state.processes[self.process].locks;
        if is_free {
            locks.rotate_right(1);
            locks[0] = Some((row, incarnation));
        }
        is_free
    }

    /// Start the process of this number, which is given the lock that this one has got last, and its ticket.
    fn spawn(&mut self, child: u8) {
        let locks = &mut self.state.processes[self.process].locks;
        let Some((row, incarnation)) = locks[0].take() else {
            return;
        };
        locks.rotate_left(1);
        let ticket = self.state.memory.get(Word::PeerIndex(row));
        let child = &mut self.state.processes[usize::from(child)];
        child.locks[0] = Some((row, incarnation));
        child.life = Life::Running;
        child.local.row = row;
        child.local.tenant = ticket;
    }

    fn end_call(&mut self, outcome: Outcome) {
        let configuration = self.machine.configuration;
        let ended = Ledger::ended(&mut self.state, configuration, self.process, outcome);
        if self.wrong.is_none() {
            self.wrong = ended.err();
        }
        self.log.clear();
        if let (Call::HandOn(child), Outcome::Done) =
            (self.state.processes[self.process].call, outcome)
        {
            self.spawn(child);
        }
        let script = self.machine.script(self.process);
        let process = &mut self.state.processes[self.process];
        process.local = self.local;
        process.go_on(script, configuration.rows(), configuration.batches, outcome);
        if outcome == Outcome::Woken && self.machine.mutant == Some(Mutant::LeaverEatsAWake) {
            process.leave_wait(script);
        }
        Ledger::begin(&mut self.state, configuration, self.process);
    }

    fn finish(mut self) -> Next {
        self.state.processes[self.process].log = self.log;
        Next {
            state: self.state,
            more: self.more,
            trace: self.trace,
            wrong: self.wrong,
        }
    }
}
