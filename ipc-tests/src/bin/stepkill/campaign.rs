//! Runs many boundaries of the chosen operations.

use crate::{
    copies::Copies,
    operations::{OPERATIONS, Operation, RECOVERING},
    path::Trace,
    queue::Queue,
    round::{self, AssumedDeath, Fate, Part, run_round},
    tally::Supervisor,
    tracer::disable_address_randomization,
    traffic::TrafficProcesses,
};
use ipc_tests::rounds::Rng;
use std::{collections::BTreeMap, process::ExitCode, time::Instant};

/// How many pairs are tried without `--sample`.
const PAIRS: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Kill,
    /// Only what mode `kill` does with copies.
    Copy,
    Stop,
    Pairs,
}

impl Mode {
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        match name {
            "kill" => Ok(Self::Kill),
            "copy" => Ok(Self::Copy),
            "stop" => Ok(Self::Stop),
            "pairs" => Ok(Self::Pairs),
            _ => Err(format!(
                "no mode {name}; there are: kill, copy, stop, pairs"
            )),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Copy => "copy",
            Self::Stop => "stop",
            Self::Pairs => "pairs",
        }
    }
}

/// The options.
pub(crate) struct Campaign {
    pub(crate) operations: Vec<&'static Operation>,
    pub(crate) mode: Mode,
    pub(crate) sample: Option<u64>,
    /// The last boundary of each operation.
    pub(crate) within: u64,
    pub(crate) seed: u64,
    /// The only boundary to try; in mode pairs, one for each of the two.
    pub(crate) at: Option<Vec<u64>>,
}

impl Campaign {
    pub(crate) fn new() -> Self {
        Self {
            operations: OPERATIONS.iter().collect(),
            mode: Mode::Kill,
            sample: None,
            within: u64::MAX,
            seed: fastrand::u64(..),
            at: None,
        }
    }

    /// Returns an error for options with which nothing would be tried.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.mode == Mode::Pairs && self.first_operations().is_empty() {
            let names: Vec<_> = self.operations.iter().map(|one| one.name).collect();
            return Err(format!(
                "{} cannot be the first of a pair: it begins with a dead process already; \
                 use an operation without one, or another mode",
                names.join(", ")
            ));
        }
        Ok(())
    }

    /// Returns the operations that can be the first of a pair.
    fn first_operations(&self) -> Vec<&'static Operation> {
        let all = self.operations.iter().copied();
        all.filter(|operation| operation.predecessor.is_none())
            .collect()
    }

    pub(crate) fn run(&self) -> ExitCode {
        println!("seed {}", self.seed);
        disable_address_randomization();
        let supervisor = Supervisor::start();
        let mut rng = Rng::with_seed(self.seed);
        match self.mode {
            Mode::Pairs => self.run_pairs(&mut rng, &supervisor),
            Mode::Kill | Mode::Copy | Mode::Stop => self.run_boundaries(&mut rng, &supervisor),
        }
        let tally = supervisor.tally();
        println!("{tally}");
        if tally.boundaries == 0 {
            eprintln!("stepkill: no boundary was tried; the operation may be shorter than `--at`");
            return ExitCode::from(2);
        }
        ExitCode::from(u8::from(!tally.is_sound()))
    }

    /// Returns the options that repeat these boundaries.
    fn options(&self, operation: &Operation, boundaries: &[u64]) -> String {
        let (name, mode) = (operation.name, self.mode.name());
        let boundaries: Vec<_> = boundaries.iter().map(ToString::to_string).collect();
        format!("--op {name} --mode {mode} --at {}", boundaries.join(","))
    }

    fn run_boundaries(&self, rng: &mut Rng, supervisor: &Supervisor) {
        let mut traffic = TrafficProcesses::default();
        for &operation in &self.operations {
            let start = Instant::now();
            let trace = match self.mode {
                Mode::Kill | Mode::Copy => self.run_copies(operation, supervisor),
                Mode::Stop | Mode::Pairs => self.trace(operation, supervisor, |_, _, _| ()),
            };
            let Some(trace) = trace else {
                continue;
            };
            let boundaries = match (&self.at, self.mode) {
                (_, Mode::Copy) => continue,
                (Some(boundaries), _) => boundaries.clone(),
                (None, _) => self.choose_sample(trace.boundaries(), rng),
            };
            for &boundary in &boundaries {
                let path = trace.path_to(boundary);
                let part = Part { operation, path };
                supervisor.run(&self.options(operation, &[boundary]), || {
                    let mut fates = self.fates(&trace, boundary).iter();
                    fates.try_for_each(|&fate| run_round(&[part], fate, &mut traffic))
                });
                supervisor.count(|tally| tally.boundaries += 1);
            }
            println!(
                "{}: {} instructions, {} boundaries, {:.1?}",
                operation.name,
                trace.len(),
                boundaries.len(),
                start.elapsed()
            );
        }
    }

    /// Steps once through an operation while no process is killed. Returns `None` if that has failed.
    fn trace(
        &self,
        operation: &'static Operation,
        supervisor: &Supervisor,
        at_boundary: impl FnMut(u64, &Queue, &AssumedDeath),
    ) -> Option<Trace> {
        let (name, mode) = (operation.name, self.mode.name());
        let options = format!("--op {name} --mode {mode} (the operation as a whole)");
        let mut trace = None;
        supervisor.run(&options, || {
            trace = Some(round::trace(operation, self.within, at_boundary)?);
            Ok(())
        });
        trace
    }

    /// Steps once through an operation, and recovers a copy of each content that the queue has at a boundary.
    fn run_copies(&self, operation: &'static Operation, supervisor: &Supervisor) -> Option<Trace> {
        let start = Instant::now();
        let mut copies = Copies::default();
        let mut compared = 0;
        let trace = self.trace(operation, supervisor, |boundary, queue, death| {
            if self.at.as_ref().is_some_and(|at| !at.contains(&boundary)) {
                return;
            }
            compared += 1;
            if copies.is_new_content(queue) {
                let options = self.options(operation, &[boundary]);
                supervisor.run(&options, || copies.recover(queue, death));
                supervisor.count(|tally| tally.copies += 1);
            }
        });
        supervisor.count(|tally| {
            tally.compared += compared;
            if self.mode == Mode::Copy {
                tally.boundaries += compared;
            }
        });
        let (name, copies) = (operation.name, copies.len());
        let time = start.elapsed();
        println!("{name}: {compared} boundaries compared, {copies} copies, {time:.1?}");
        trace
    }

    /// Returns what happens to the victim at a boundary. In a long operation that is less, by turns.
    fn fates(&self, trace: &Trace, boundary: u64) -> &'static [Fate] {
        let all = self.at.is_some() || !trace.is_long();
        let is_odd = !boundary.is_multiple_of(2);
        match self.mode {
            Mode::Kill if all => &[Fate::KilledAndReported, Fate::KilledAndReportedLate],
            Mode::Kill if is_odd => &[Fate::KilledAndReportedLate],
            Mode::Kill => &[Fate::KilledAndReported],
            Mode::Stop if all || is_odd => &[Fate::StoppedInTraffic, Fate::Stopped],
            Mode::Stop => &[Fate::StoppedInTraffic],
            Mode::Copy | Mode::Pairs => &[],
        }
    }

    fn choose_sample(&self, boundaries: Vec<u64>, rng: &mut Rng) -> Vec<u64> {
        let Some(sample) = self.sample else {
            return boundaries;
        };
        let amount = usize::try_from(sample).unwrap_or(usize::MAX);
        let mut chosen = rng.choose_multiple(boundaries, amount);
        chosen.sort_unstable();
        chosen
    }

    /// Runs pairs of a random operation and its recovery, both up to a random boundary.
    fn run_pairs(&self, rng: &mut Rng, supervisor: &Supervisor) {
        let mut traces: BTreeMap<&str, Option<(Trace, Vec<u64>)>> = BTreeMap::new();
        let mut choose = |operation: &'static Operation, at: Option<u64>, rng: &mut Rng| {
            let surveyed = traces.entry(operation.name).or_insert_with(|| {
                let trace = self.trace(operation, supervisor, |_, _, _| ())?;
                let boundaries = trace.boundaries();
                Some((trace, boundaries))
            });
            let (trace, boundaries) = surveyed.as_ref()?;
            let random = rng.choice(boundaries.iter()).copied().unwrap_or_default();
            let boundary = at.unwrap_or(random);
            let path = trace.path_to(boundary);
            Some((boundary, Part { operation, path }))
        };
        let operations = self.first_operations();
        let pairs = match self.at {
            Some(_) => 1,
            None => self.sample.unwrap_or(PAIRS),
        };
        let at = self.at.clone().unwrap_or_default();
        for _ in 0..pairs {
            let &operation = rng.choice(&operations).expect("an operation");
            let first = choose(operation, at.first().copied(), rng);
            let second = choose(&RECOVERING, at.get(1).copied(), rng);
            let (Some((i, first)), Some((j, second))) = (first, second) else {
                continue;
            };
            supervisor.run(&self.options(operation, &[i, j]), || {
                let traffic = &mut TrafficProcesses::default();
                run_round(&[first, second], Fate::KilledAndReported, traffic)
            });
            supervisor.count(|tally| tally.boundaries += 1);
        }
    }
}
