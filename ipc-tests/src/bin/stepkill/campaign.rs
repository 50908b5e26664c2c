//! Many boundaries, and the count of what went wrong.

use crate::{
    carriers::Carriers,
    copies::Copies,
    operations::{OPERATIONS, Operation, RECOVERING},
    queue::{Failure, Queue, Violation},
    round::{self, Death, Fate, Part, play},
    route::Survey,
    tracer::lay_out_alike,
};
use ipc_tests::rounds::Rng;
use std::{
    collections::BTreeMap,
    fmt,
    process::{self, ExitCode},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// How many pairs, unless it is said.
const PAIRS: u64 = 10_000;
/// No boundary takes so many seconds. While all of this machine's tests are paused for a benchmark they are not counted.
const LIMIT: u32 = 240;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Kill,
    /// Only what is done on copies when somebody is to be killed.
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

/// What is to be tried.
pub(crate) struct Campaign {
    pub(crate) operations: Vec<&'static Operation>,
    pub(crate) mode: Mode,
    pub(crate) sample: Option<u64>,
    /// No boundary is after more instructions than this.
    pub(crate) within: u64,
    pub(crate) seed: u64,
    /// The steps of each part.
    pub(crate) at: Option<Vec<u64>>,
}

#[derive(Clone, Default)]
struct Tally {
    /// Those at which somebody was killed, or stopped; in mode copy, those that were looked at.
    boundaries: u64,
    /// Those at which it was looked whether there is something new to copy.
    looked: u64,
    /// Copies that were recovered.
    copies: u64,
    violations: BTreeMap<Violation, u64>,
}

impl Tally {
    fn add_boundary(&mut self) {
        self.boundaries += 1;
    }

    fn add_copy(&mut self) {
        self.copies += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |violation| self.violations.get(&violation).copied().unwrap_or(0);
        if self.looked > 0 {
            let (looked, copies) = (self.looked, self.copies);
            writeln!(f, "copies: {looked} boundaries, {copies} that differ")?;
        }
        write!(
            f,
            "stepkill: {} boundaries, {} wedged, {} lost, {} duplicated, {} leaked",
            self.boundaries,
            count(Violation::Wedged),
            count(Violation::Lost),
            count(Violation::Duplicated),
            count(Violation::Leaked)
        )
    }
}

/// Counts, and ends the program when nothing is counted for long.
struct Warden {
    tally: Arc<Mutex<Tally>>,
    doing: Sender<String>,
}

impl Warden {
    fn new() -> Self {
        let (doing, done) = channel::<String>();
        let tally: Arc<Mutex<Tally>> = Arc::default();
        let watched = Arc::clone(&tally);
        thread::spawn(move || {
            let (mut doing, mut waited) = (String::new(), 0);
            while waited < LIMIT {
                match done.recv_timeout(SECOND) {
                    Ok(next) => (doing, waited) = (next, 0),
                    Err(RecvTimeoutError::Disconnected) => return,
                    // Once, however long this process was paused.
                    Err(RecvTimeoutError::Timeout) => waited += 1,
                }
            }
            let mut tally = watched.lock().unwrap_or_else(PoisonError::into_inner);
            *tally.violations.entry(Violation::Wedged).or_default() += 1;
            println!("WEDGED, it does not end: {doing}\n{tally}");
            process::exit(1);
        });
        Self { tally, doing }
    }

    fn tally(&self) -> Tally {
        let tally = self.tally.lock();
        tally.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is tried, and counted by `count`.
    fn watch(
        &self,
        label: &str,
        count: impl FnOnce(&mut Tally),
        play: impl FnOnce() -> Result<(), Failure>,
    ) {
        let _ = self.doing.send(label.to_owned());
        let result = play();
        self.note(count);
        if let Err(Failure { violation, story }) = result {
            self.note(|tally| *tally.violations.entry(violation).or_default() += 1);
            println!("{violation:?}: {story}\n  again: {label}");
        }
    }

    fn note(&self, count: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut tally);
    }
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

    /// Refuses what could not be tried.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.mode == Mode::Pairs && self.victims().is_empty() {
            let names: Vec<_> = self.operations.iter().map(|one| one.name).collect();
            return Err(format!(
                "{} cannot be the first of a pair: it begins with a dead process already; \
                 use an operation without one, or another mode",
                names.join(", ")
            ));
        }
        Ok(())
    }

    /// The operations that can be the first of a pair.
    fn victims(&self) -> Vec<&'static Operation> {
        let all = self.operations.iter().copied();
        all.filter(|operation| operation.corpse.is_none()).collect()
    }

    pub(crate) fn run(&self) -> ExitCode {
        println!("seed {}", self.seed);
        lay_out_alike();
        let warden = Warden::new();
        let mut rng = Rng::with_seed(self.seed);
        match self.mode {
            Mode::Pairs => self.pairs(&mut rng, &warden),
            Mode::Kill | Mode::Copy | Mode::Stop => self.every_boundary(&mut rng, &warden),
        }
        let tally = warden.tally();
        println!("{tally}");
        if tally.boundaries == 0 {
            eprintln!("stepkill: no boundary was tried; the operation may be shorter than `--at`");
            return ExitCode::from(2);
        }
        ExitCode::from(u8::from(!tally.violations.is_empty()))
    }

    fn label(&self, operation: &Operation, steps: &[u64]) -> String {
        let (name, mode) = (operation.name, self.mode.name());
        let steps: Vec<_> = steps.iter().map(ToString::to_string).collect();
        format!("--op {name} --mode {mode} --at {}", steps.join(","))
    }

    fn every_boundary(&self, rng: &mut Rng, warden: &Warden) {
        let mut carriers = Carriers::default();
        for &operation in &self.operations {
            let start = Instant::now();
            let survey = match self.mode {
                Mode::Kill | Mode::Copy => self.every_copy(operation, warden),
                Mode::Stop | Mode::Pairs => self.survey(operation, warden, |_, _, _| ()),
            };
            let Some(survey) = survey else {
                continue;
            };
            let steps = match (&self.at, self.mode) {
                (_, Mode::Copy) => continue,
                (Some(steps), _) => steps.clone(),
                (None, _) => self.choose(survey.boundaries(), rng),
            };
            for &steps in &steps {
                let route = survey.route(steps);
                let part = Part { operation, route };
                let label = self.label(operation, &[steps]);
                warden.watch(&label, Tally::add_boundary, || {
                    let mut fates = self.fates(&survey, steps).iter();
                    fates.try_for_each(|&fate| play(&[part], fate, &mut carriers))
                });
            }
            println!(
                "{}: {} instructions, {} boundaries, {:.1?}",
                operation.name,
                survey.len(),
                steps.len(),
                start.elapsed()
            );
        }
    }

    /// Goes once through an operation, while nobody is killed. `None`: that failed already, which is told.
    fn survey(
        &self,
        operation: &'static Operation,
        warden: &Warden,
        look: impl FnMut(u64, &Queue, &Death),
    ) -> Option<Survey> {
        let (name, mode) = (operation.name, self.mode.name());
        let label = format!("--op {name} --mode {mode}, the operation as a whole");
        let mut survey = None;
        warden.watch(
            &label,
            |_| (),
            || {
                survey = Some(round::survey(operation, self.within, look)?);
                Ok(())
            },
        );
        survey
    }

    /// Goes once through an operation, and recovers a copy of each state that the queue has at a boundary.
    fn every_copy(&self, operation: &'static Operation, warden: &Warden) -> Option<Survey> {
        let start = Instant::now();
        let mut copies = Copies::default();
        let mut looked = 0;
        let survey = self.survey(operation, warden, |boundary, queue, death| {
            if self.at.as_ref().is_some_and(|at| !at.contains(&boundary)) {
                return;
            }
            looked += 1;
            if copies.is_new(queue) {
                let label = self.label(operation, &[boundary]);
                let recover = || copies.recover(queue, death);
                warden.watch(&label, Tally::add_copy, recover);
            }
        });
        warden.note(|tally| {
            tally.looked += looked;
            if self.mode == Mode::Copy {
                tally.boundaries += looked;
            }
        });
        let (name, copies) = (operation.name, copies.len());
        let time = start.elapsed();
        println!("{name}: {looked} boundaries looked at, {copies} copies, {time:.1?}");
        survey
    }

    /// What the victim suffers at a boundary: of an operation that is not tried as a whole, only every other time all.
    fn fates(&self, survey: &Survey, steps: u64) -> &'static [Fate] {
        let all = self.at.is_some() || !survey.is_long();
        let odd = !steps.is_multiple_of(2);
        match self.mode {
            Mode::Kill if all => &[Fate::Killed, Fate::KilledUnnoticed],
            Mode::Kill if odd => &[Fate::KilledUnnoticed],
            Mode::Kill => &[Fate::Killed],
            Mode::Stop if all || odd => &[Fate::StoppedInTraffic, Fate::Stopped],
            Mode::Stop => &[Fate::StoppedInTraffic],
            Mode::Copy | Mode::Pairs => &[],
        }
    }

    fn choose(&self, boundaries: Vec<u64>, rng: &mut Rng) -> Vec<u64> {
        let Some(sample) = self.sample else {
            return boundaries;
        };
        let amount = usize::try_from(sample).unwrap_or(usize::MAX);
        let mut chosen = rng.choose_multiple(boundaries, amount);
        chosen.sort_unstable();
        chosen
    }

    /// The victim and the boundaries of both are drawn by lot.
    fn pairs(&self, rng: &mut Rng, warden: &Warden) {
        let mut known: BTreeMap<&str, Option<(Survey, Vec<u64>)>> = BTreeMap::new();
        let mut draw = |operation: &'static Operation, at: Option<u64>, rng: &mut Rng| {
            let surveyed = known.entry(operation.name).or_insert_with(|| {
                let survey = self.survey(operation, warden, |_, _, _| ())?;
                let boundaries = survey.boundaries();
                Some((survey, boundaries))
            });
            let (survey, boundaries) = surveyed.as_ref()?;
            let drawn = rng.choice(boundaries.iter()).copied().unwrap_or_default();
            let steps = at.unwrap_or(drawn);
            let route = survey.route(steps);
            Some((steps, Part { operation, route }))
        };
        let victims = self.victims();
        let pairs = match self.at {
            Some(_) => 1,
            None => self.sample.unwrap_or(PAIRS),
        };
        let at = self.at.clone().unwrap_or_default();
        for _ in 0..pairs {
            let &victim = rng.choice(&victims).expect("an operation with a victim");
            let first = draw(victim, at.first().copied(), rng);
            let second = draw(&RECOVERING, at.get(1).copied(), rng);
            let (Some((i, first)), Some((j, second))) = (first, second) else {
                continue;
            };
            let label = self.label(victim, &[i, j]);
            warden.watch(&label, Tally::add_boundary, || {
                play(&[first, second], Fate::Killed, &mut Carriers::default())
            });
        }
    }
}
