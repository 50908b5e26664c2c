//! Every order in which processes commit the parts of a queue ([`crate::protocol::parts`]), and every place where they
//! may die.
//!
//! **What is explored.** Two parts of two units of memory each, and two or three processes with a script: to commit a
//! part and use it, or to look at all parts that are committed. The processes run the real function,
//! [`commit::commit`]. Each access to the word, and each system call, is one step; between any two steps another
//! process may run, and a mortal one may die. The search visits every state once.
//!
//! **How.** A process is what its accesses since the start have given. For a step its script is run again from the
//! start, with these replayed, and left by unwinding before the next access but one.
//!
//! **What is checked**, in every state: a part that is marked has all of its memory, a part that is not reserved has
//! none, and all parts keep the queue's own limit. No unit is used without memory. A commit that succeeds leaves the
//! mark. When no process can go on, another one can commit every part that is reserved, whichever processes have died.
//!
//! **What is not covered**: pages of the peer table, and that huge blocks leave enough of the limit (PARTS-4).
#![allow(
    clippy::indexing_slicing,
    reason = "numbers of processes and parts are made here, and a wrong one should end the test"
)]

use crate::error::{MemoryLimit, OutOfMemory};
use crate::mutants::{self, Mutant};
use crate::protocol::parts::{Part, PartMemory, PartSet, PartsState, PartsWord};
use crate::protocol::steps::commit;
use crate::sync::observed::{self, Observer, watch};
use core::cell::RefCell;
use core::ptr::from_ref;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

const PARTS: usize = 2;
/// The units of memory of a part: one for its headers, one for its payloads.
const UNITS: u64 = 2;

/// What a process does in turn.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// Commits a part, and if that succeeds uses it.
    Send(usize),
    /// Uses all parts that are marked.
    Scan,
    /// Uses a part without a look at the mark: a fault.
    UseUnseen(usize),
}
use Action::{Scan, Send, UseUnseen};

#[derive(Clone, Copy, Debug)]
struct Configuration {
    scripts: &'static [&'static [Action]],
    /// The queue's own limit, in units.
    own_limit: u64,
    /// What the kernel grants.
    machine_limit: u64,
    /// Bit `n` is set if process `n` may die.
    mortal: u8,
    mutant: Option<Mutant>,
}

const BASE: Configuration = Configuration {
    scripts: &[],
    own_limit: u64::MAX,
    machine_limit: u64::MAX,
    mortal: 0,
    mutant: None,
};

/// An access, or a system call.
#[derive(Clone, Copy, Debug)]
enum Step {
    Word(observed::Access),
    /// Asks how much memory is left. Gives what the machine has granted.
    Look,
    /// Takes a unit of a part. Gives 0 if the kernel refuses.
    Take(usize, u64),
    /// Reads or writes a unit of a part.
    Use(usize, u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    is_over: bool,
    log: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    word: u64,
    /// Which units of each part have memory.
    memory: [u64; PARTS],
    processes: Vec<Process>,
}

impl State {
    fn in_use(&self) -> u64 {
        self.memory
            .iter()
            .map(|units| u64::from(units.count_ones()))
            .sum()
    }

    /// Does a step. Returns what the process gets.
    fn perform(&mut self, step: Step, configuration: &Configuration) -> Result<u64, String> {
        let seen = self.word;
        match step {
            Step::Word(observed::Access::Load) => {}
            Step::Word(observed::Access::Or(bits)) => self.word |= bits,
            Step::Word(observed::Access::Exchange(expected, to)) => {
                if seen == expected {
                    self.word = to;
                }
            }
            Step::Word(other) => unreachable!("{other:?}"),
            Step::Look => return Ok(self.in_use()),
            Step::Take(part, unit) => {
                let has = self.memory[part] >> unit & 1 != 0;
                if !has && self.in_use() >= configuration.machine_limit {
                    return Ok(0);
                }
                self.memory[part] |= 1 << unit;
                return Ok(1);
            }
            Step::Use(part, unit) if self.memory[part] >> unit & 1 == 0 => {
                return Err(format!("unit {unit} of part {part} is used without memory"));
            }
            Step::Use(..) => {}
        }
        Ok(seen)
    }

    fn check(&self, configuration: &Configuration) -> Result<(), String> {
        let queue = Queue::in_state(self.word);
        let state = queue.parts.load();
        for number in 0..PARTS {
            let part = part(number);
            let units = self.memory[number];
            if state.committed().has(part) && units != (1 << UNITS) - 1 {
                return Err(format!(
                    "part {number} is marked and has only {units:b} (PARTS-2)"
                ));
            }
            if !state.reserved().has(part) && units != 0 {
                return Err(format!(
                    "part {number} has memory and is not reserved (PARTS-3)"
                ));
            }
        }
        if self.in_use() > configuration.own_limit {
            return Err(format!(
                "{} units exceed the limit (PARTS-3)",
                self.in_use()
            ));
        }
        Ok(())
    }
}

fn part(number: usize) -> Part {
    Part::new(number).expect("there are at least two")
}

/// What a process unwinds with when its step is done.
struct StepEnd;

/// Runs one process: replays its log, and then does one step.
struct Stepper {
    word: usize,
    configuration: &'static Configuration,
    inner: RefCell<Inner>,
}

struct Inner {
    state: State,
    log: Vec<u64>,
    replayed: usize,
    is_done: bool,
    violation: Option<String>,
}

impl Stepper {
    fn step(&self, step: Step) -> u64 {
        let mut inner = self.inner.borrow_mut();
        if let Some(&seen) = inner.log.get(inner.replayed) {
            inner.replayed += 1;
            return seen;
        }
        let performed = if inner.is_done {
            None
        } else {
            inner.is_done = true;
            Some(inner.state.perform(step, self.configuration))
        };
        match performed {
            Some(Ok(seen)) => {
                inner.log.push(seen);
                inner.replayed += 1;
                return seen;
            }
            Some(Err(violation)) => inner.violation = Some(violation),
            None => {}
        }
        drop(inner);
        resume_unwind(Box::new(StepEnd))
    }
}

impl Observer for Stepper {
    fn access(&self, address: usize, access: observed::Access) -> Option<u64> {
        (address == self.word).then(|| self.step(Step::Word(access)))
    }
}

/// The parts of the model. Outside a step, the word is a plain one.
struct Queue {
    parts: PartsWord,
    stepper: RefCell<Option<Rc<Stepper>>>,
    configuration: Option<&'static Configuration>,
}

impl Queue {
    fn in_state(word: u64) -> Self {
        Self {
            parts: PartsWord::from_bits(word),
            stepper: RefCell::default(),
            configuration: None,
        }
    }

    fn step(&self, step: Step) -> u64 {
        let stepper = self.stepper.borrow().clone();
        stepper.expect("called within a step").step(step)
    }

    fn configuration(&self) -> &'static Configuration {
        self.configuration.expect("called within a step")
    }

    fn use_part(&self, number: usize) {
        for unit in 0..UNITS {
            self.step(Step::Use(number, unit));
        }
    }

    fn use_marked(&self, state: PartsState, wanted: impl Fn(usize) -> bool) {
        for number in (0..PARTS).filter(|number| wanted(*number)) {
            if state.committed().has(part(number)) {
                self.use_part(number);
            }
        }
    }

    fn run(&self, script: &[Action]) {
        for action in script {
            match *action {
                Send(number) => {
                    if commit::commit(self, part(number)).is_ok() {
                        let state = self.parts.load();
                        assert!(state.committed().has(part(number)), "no mark");
                        self.use_marked(state, |other| other == number);
                    }
                }
                Scan => self.use_marked(self.parts.load(), |_| true),
                UseUnseen(number) => self.use_part(number),
            }
        }
    }
}

impl PartMemory for Queue {
    fn parts(&self) -> &PartsWord {
        &self.parts
    }

    fn check_own_limit(&self, part: Part, reserved: PartSet) -> Result<(), OutOfMemory> {
        let others = Part::all().filter(|other| reserved.has(*other) && *other != part);
        let available = self.configuration().own_limit;
        let available = available.saturating_sub(others.count() as u64 * UNITS);
        OutOfMemory::check(MemoryLimit::Queue, UNITS, available)
    }

    fn check_limits_of_system(&self, _: Part) -> Result<(), OutOfMemory> {
        let available = self.configuration().machine_limit;
        if available == u64::MAX {
            return Ok(());
        }
        let available = available.saturating_sub(self.step(Step::Look));
        OutOfMemory::check(MemoryLimit::Machine, UNITS, available)
    }

    fn take_part(&self, part: Part) -> Result<(), OutOfMemory> {
        for unit in 0..UNITS {
            if self.step(Step::Take(part.number(), unit)) == 0 {
                return OutOfMemory::check(MemoryLimit::Machine, UNITS, 0);
            }
        }
        Ok(())
    }
}

/// Lets a process do one step. Returns the state after it.
fn advance(
    configuration: &'static Configuration,
    state: &State,
    process: usize,
    script: &[Action],
) -> Result<State, String> {
    let mut queue = Queue::in_state(0);
    queue.configuration = Some(configuration);
    let stepper = Rc::new(Stepper {
        word: from_ref(&queue.parts).addr(),
        configuration,
        inner: RefCell::new(Inner {
            log: state.processes[process].log.clone(),
            state: state.clone(),
            replayed: 0,
            is_done: false,
            violation: None,
        }),
    });
    queue.stepper.replace(Some(Rc::clone(&stepper)));
    let observer: Rc<dyn Observer> = Rc::<Stepper>::clone(&stepper);
    let run = || {
        watch(observer, || {
            mutants::with(configuration.mutant, || queue.run(script));
        });
    };
    let is_over = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(()) => true,
        Err(reason) if reason.is::<StepEnd>() => false,
        Err(panic) => resume_unwind(panic),
    };
    let mut inner = stepper.inner.borrow_mut();
    if let Some(violation) = inner.violation.take() {
        return Err(violation);
    }
    let mut next = inner.state.clone();
    next.processes[process] = Process {
        is_over,
        log: if is_over {
            Vec::new()
        } else {
            inner.log.clone()
        },
    };
    next.check(configuration)?;
    Ok(next)
}

/// Visits all states. Returns their number, or what is wrong in one of them.
fn explore(configuration: &'static Configuration) -> Result<usize, String> {
    let new = Process {
        is_over: false,
        log: Vec::new(),
    };
    let start = State {
        word: 0,
        memory: [0; PARTS],
        processes: vec![new.clone(); configuration.scripts.len()],
    };
    let mut known = HashSet::from([start.clone()]);
    let mut open = vec![start];
    while let Some(state) = open.pop() {
        let alive = state
            .processes
            .iter()
            .zip(configuration.scripts)
            .enumerate();
        let alive = alive.filter(|(_, (process, _))| !process.is_over);
        let mut is_at_rest = true;
        for (number, (_, script)) in alive {
            is_at_rest = false;
            let mut successors = vec![advance(configuration, &state, number, script)?];
            if configuration.mortal >> number & 1 != 0 {
                let mut dead = state.clone();
                dead.processes[number] = Process {
                    is_over: true,
                    log: Vec::new(),
                };
                successors.push(dead);
            }
            open.extend(
                successors
                    .into_iter()
                    .filter(|next| known.insert(next.clone())),
            );
        }
        if is_at_rest {
            can_be_committed_by_another(configuration, state)?;
        }
    }
    Ok(known.len())
}

/// Checks that one more process can commit each part that is reserved, as far as the machine has memory.
fn can_be_committed_by_another(
    configuration: &'static Configuration,
    mut state: State,
) -> Result<(), String> {
    const SCRIPTS: [&[Action]; PARTS] = [&[Send(0)], &[Send(1)]];
    let reserved = Queue::in_state(state.word).parts.load().reserved();
    if configuration.machine_limit != u64::MAX {
        return Ok(());
    }
    for number in (0..PARTS).filter(|number| reserved.has(part(*number))) {
        state.processes.push(Process {
            is_over: false,
            log: Vec::new(),
        });
        let probe = state.processes.len() - 1;
        while !state.processes[probe].is_over {
            state = advance(configuration, &state, probe, SCRIPTS[number])?;
        }
        if !Queue::in_state(state.word)
            .parts
            .load()
            .committed()
            .has(part(number))
        {
            return Err(format!("part {number} stays reserved"));
        }
    }
    Ok(())
}

const ONE_PART: Configuration = Configuration {
    scripts: &[&[Send(0)], &[Send(0)], &[Scan, Scan]],
    mortal: 0b11,
    ..BASE
};
const LIMIT_FOR_ONE: Configuration = Configuration {
    scripts: &[&[Send(0), Scan], &[Send(1), Send(0)], &[Scan]],
    own_limit: UNITS,
    mortal: 0b11,
    ..BASE
};

#[test]
fn two_processes_commit_a_part_while_a_third_looks_and_either_may_die() {
    static CONFIGURATION: Configuration = ONE_PART;
    let states = explore(&CONFIGURATION).expect("no violation");
    println!("{states} states");
    assert!(states > 1000, "{states}");
}

#[test]
fn processes_that_commit_different_parts_keep_the_limit() {
    static BOTH: Configuration = Configuration {
        scripts: &[&[Send(0)], &[Send(1)], &[Scan]],
        own_limit: 2 * UNITS,
        mortal: 0b11,
        ..BASE
    };
    static CONFIGURATION: Configuration = LIMIT_FOR_ONE;
    let states = explore(&CONFIGURATION).expect("no violation");
    println!("{states} states");
    println!("{} states", explore(&BOTH).expect("no violation"));
}

#[test]
fn a_part_that_the_kernel_refuses_is_not_used() {
    static CONFIGURATION: Configuration = Configuration {
        scripts: &[&[Send(0), Send(0)], &[Send(1)], &[Scan]],
        machine_limit: 3,
        mortal: 0b10,
        ..BASE
    };
    let states = explore(&CONFIGURATION).expect("no violation");
    println!("{states} states");
}

#[test]
fn faults_are_found() {
    static EARLY: Configuration = Configuration {
        mutant: Some(Mutant::PartMarkedEarly),
        ..ONE_PART
    };
    static NOT_RESERVED: Configuration = Configuration {
        mutant: Some(Mutant::PartNotReserved),
        ..LIMIT_FOR_ONE
    };
    static UNSEEN: Configuration = Configuration {
        scripts: &[&[Send(0)], &[UseUnseen(0)]],
        ..BASE
    };
    for (configuration, expected) in [
        (&EARLY, "is marked and has only"),
        (&NOT_RESERVED, "not reserved"),
        (&UNSEEN, "is used without memory"),
    ] {
        let violation = explore(configuration).expect_err("a fault");
        assert!(violation.contains(expected), "{violation}");
    }
}
