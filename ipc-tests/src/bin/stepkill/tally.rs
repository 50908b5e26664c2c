//! Counts boundaries and violations, and ends the program if it hangs.

use crate::violation::{Failure, Violation};
use std::{
    collections::BTreeMap,
    fmt,
    process::exit,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

/// How many seconds may pass between the starts of two trials. Time in which this process is stopped does not count.
const LIMIT: u32 = 240;
const SECOND: Duration = Duration::from_secs(1);

/// The counts of a campaign.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    /// Boundaries at which a victim was killed or stopped; in mode copy, those at which the queue's content was read.
    pub(crate) boundaries: u64,
    /// Boundaries at which the queue's content was compared with all contents seen earlier.
    pub(crate) compared: u64,
    /// Copies that were recovered.
    pub(crate) copies: u64,
    violations: BTreeMap<Violation, u64>,
}

impl Tally {
    pub(crate) fn is_sound(&self) -> bool {
        self.violations.is_empty()
    }

    fn add_violation(&mut self, violation: Violation) {
        *self.violations.entry(violation).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |violation| self.violations.get(&violation).copied().unwrap_or(0);
        if self.compared > 0 {
            let (compared, copies) = (self.compared, self.copies);
            writeln!(f, "copies: {compared} boundaries, {copies} that differ")?;
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

/// Keeps the tally, and ends the program if no new trial starts for [`LIMIT`] seconds.
pub(crate) struct Supervisor {
    tally: Arc<Mutex<Tally>>,
    current: Sender<String>,
}

impl Supervisor {
    pub(crate) fn start() -> Self {
        let (current, next) = channel::<String>();
        let tally: Arc<Mutex<Tally>> = Arc::default();
        let watched = Arc::clone(&tally);
        thread::spawn(move || {
            let (mut label, mut seconds) = (String::new(), 0);
            while seconds < LIMIT {
                match next.recv_timeout(SECOND) {
                    Ok(next) => (label, seconds) = (next, 0),
                    Err(RecvTimeoutError::Disconnected) => return,
                    // Counts one second, even if this process was stopped for longer.
                    Err(RecvTimeoutError::Timeout) => seconds += 1,
                }
            }
            let mut tally = watched.lock().unwrap_or_else(PoisonError::into_inner);
            tally.add_violation(Violation::Wedged);
            println!("WEDGED, no progress: {label}\n{tally}");
            exit(1);
        });
        Self { tally, current }
    }

    pub(crate) fn tally(&self) -> Tally {
        let tally = self.tally.lock();
        tally.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs one trial, and prints and counts its failure. `options` is the command line that repeats it.
    pub(crate) fn run(&self, options: &str, trial: impl FnOnce() -> Result<(), Failure>) {
        let _ = self.current.send(options.to_owned());
        if let Err(Failure { violation, story }) = trial() {
            self.count(|tally| tally.add_violation(violation));
            println!("{violation:?}: {story}\n  to repeat it: stepkill {options}");
        }
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut tally);
    }
}
