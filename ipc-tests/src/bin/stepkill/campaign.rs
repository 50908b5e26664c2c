//! Many boundaries, and the count of what went wrong.

use crate::{
    operations::{OPERATIONS, Operation, RECOVERING},
    queue::{Failure, Violation},
    round::{Fate, Part, play, survey},
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
/// No boundary takes that long, also when all of this machine's tests are paused for a benchmark.
const LIMIT: Duration = Duration::from_mins(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Kill,
    Stop,
    Pairs,
}

impl Mode {
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        match name {
            "kill" => Ok(Self::Kill),
            "stop" => Ok(Self::Stop),
            "pairs" => Ok(Self::Pairs),
            _ => Err(format!("no mode {name}; there are: kill, stop, pairs")),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
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
    boundaries: u64,
    violations: BTreeMap<Violation, u64>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |violation| self.violations.get(&violation).copied().unwrap_or(0);
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
            let mut doing = String::new();
            loop {
                match done.recv_timeout(LIMIT) {
                    Ok(next) => doing = next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => break,
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

    fn watch(&self, label: &str, play: impl FnOnce() -> Result<(), Failure>) {
        let _ = self.doing.send(label.to_owned());
        let result = play();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.boundaries += 1;
        if let Err(Failure { violation, story }) = result {
            *tally.violations.entry(violation).or_default() += 1;
            println!("{violation:?}: {story}\n  again: {label}");
        }
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

    pub(crate) fn run(&self) -> ExitCode {
        println!("seed {}", self.seed);
        lay_out_alike();
        let warden = Warden::new();
        let mut rng = Rng::with_seed(self.seed);
        match self.mode {
            Mode::Kill => {
                self.every_boundary(&[Fate::Killed, Fate::KilledUnnoticed], &mut rng, &warden);
            }
            Mode::Stop => {
                self.every_boundary(&[Fate::Stopped, Fate::StoppedInTraffic], &mut rng, &warden);
            }
            Mode::Pairs => self.pairs(&mut rng, &warden),
        }
        let tally = warden.tally();
        println!("{tally}");
        ExitCode::from(u8::from(!tally.violations.is_empty()))
    }

    fn label(&self, operation: &Operation, steps: &[u64]) -> String {
        let (name, mode) = (operation.name, self.mode.name());
        let steps: Vec<_> = steps.iter().map(ToString::to_string).collect();
        format!("--op {name} --mode {mode} --at {}", steps.join(","))
    }

    fn every_boundary(&self, fates: &[Fate], rng: &mut Rng, warden: &Warden) {
        for &operation in &self.operations {
            let start = Instant::now();
            let survey = survey(operation, self.within);
            let steps = match &self.at {
                Some(steps) => steps.clone(),
                None => self.choose(survey.boundaries(), rng),
            };
            for &steps in &steps {
                let route = survey.route(steps);
                let part = Part { operation, route };
                warden.watch(&self.label(operation, &[steps]), || {
                    let mut fates = self.fates(&survey, steps, fates).iter();
                    fates.try_for_each(|&fate| play(&[part], fate))
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

    /// What the victim suffers at a boundary: of an operation that is not tried as a whole, one in turn.
    fn fates<'a>(&self, survey: &Survey, steps: u64, all: &'a [Fate]) -> &'a [Fate] {
        if self.at.is_some() || !survey.is_long() {
            return all;
        }
        let turn = usize::from(!steps.is_multiple_of(2));
        all.get(turn..=turn).unwrap_or(all)
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
        let mut known: BTreeMap<&str, (Survey, Vec<u64>)> = BTreeMap::new();
        let mut draw = |operation: &'static Operation, at: Option<u64>, rng: &mut Rng| {
            let (survey, boundaries) = known.entry(operation.name).or_insert_with(|| {
                let survey = survey(operation, self.within);
                let boundaries = survey.boundaries();
                (survey, boundaries)
            });
            let drawn = rng.choice(boundaries.iter()).copied().unwrap_or_default();
            let steps = at.unwrap_or(drawn);
            let route = survey.route(steps);
            (steps, Part { operation, route })
        };
        let mut victims = self.operations.clone();
        victims.retain(|operation| operation.corpse.is_none());
        let pairs = match self.at {
            Some(_) => 1,
            None => self.sample.unwrap_or(PAIRS),
        };
        let at = self.at.clone().unwrap_or_default();
        for _ in 0..pairs {
            let &victim = rng.choice(&victims).expect("an operation with a victim");
            let (i, first) = draw(victim, at.first().copied(), rng);
            let (j, second) = draw(&RECOVERING, at.get(1).copied(), rng);
            warden.watch(&self.label(victim, &[i, j]), || {
                play(&[first, second], Fate::Killed)
            });
        }
    }
}
