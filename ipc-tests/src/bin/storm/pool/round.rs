//! One round of a storm over pools: starts a parent, kills its workers, and ends it, by a kill or by a request to shut
//! down, while its workers are still killed.

use super::{
    accounting::Accounting,
    config::Config,
    events::{Event, Record, open_ledger},
    parent::{CANCEL, DRAIN, NEVER_STARTED, ParentArguments, SHUTDOWN_FILE},
    report::ReportNumbers,
    totals::Totals,
};
use ipc_tests::{
    Pid, Signal,
    ledger::{Ledger, Scratch},
    rounds::Rng,
};
use nix::sys::signal::kill;
use std::{
    env,
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The longest time before a parent is ended, in milliseconds.
const MAX_LIFE: u64 = 600;
/// A process that lives this much longer than its parent is an orphan. Generous: a benchmark may stop all processes of
/// this machine for a minute.
const ORPHAN_LIMIT: Duration = Duration::from_mins(1);
/// An environment variable that all processes of a round have.
const ROUND_VARIABLE: &str = "STORM_ROUND";
/// An environment variable that workers have, and parents do not.
const WORKER_VARIABLE: &str = "WORKRING_WORKER";
/// The file that a parent prints to.
const OUTPUT: &str = "output";

/// How a parent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Killed,
    /// It shuts its pool down: the content of [`SHUTDOWN_FILE`].
    ShutDown(&'static str),
}

struct Round<'a> {
    config: &'a Config,
    rng: Rng,
    scratch: Scratch,
    ledger: Ledger,
    parent: Child,
    retries: u32,
    kills: u64,
}

/// Runs one round.
pub(super) fn run(config: &Config, mut rng: Rng) -> Totals {
    let endings = [
        Ending::Killed,
        Ending::ShutDown(DRAIN),
        Ending::ShutDown(CANCEL),
    ];
    let ending = *rng.choice(&endings).expect("one of them");
    let mut round = Round::start(config, rng);
    let end = Instant::now() + Duration::from_millis(round.rng.u64(0..MAX_LIFE));
    let exited = round.kill_workers_until(Some(end));
    match ending {
        Ending::Killed => round.parent.kill().expect("kill"),
        Ending::ShutDown(how) => {
            fs::write(round.scratch.path().join(SHUTDOWN_FILE), how).expect("write");
        }
    }
    let status = exited.or_else(|| match ending {
        Ending::Killed => Some(round.parent.wait().expect("wait")),
        Ending::ShutDown(_) => round.kill_workers_until(None),
    });
    round.balance(status.expect("the parent has ended"))
}

impl<'a> Round<'a> {
    fn start(config: &'a Config, mut rng: Rng) -> Self {
        let scratch = Scratch::new().expect("a directory");
        let retries = rng.u32(0..3);
        let arguments = ParentArguments {
            workers: config.workers,
            capacity: *rng.choice(&[1, 4, 64, 1000]).expect("one of them"),
            retries,
            seed: rng.u64(..),
            scratch: scratch.path(),
        };
        let output = File::create(scratch.path().join(OUTPUT)).expect("a file");
        let parent = Command::new(env::current_exe().expect("this program"))
            .args(arguments.to_arguments())
            .env(ROUND_VARIABLE, scratch.to_string())
            .stdin(Stdio::null())
            .stdout(output)
            .spawn()
            .expect("start a parent");
        Self {
            config,
            rng,
            ledger: open_ledger(scratch.path()),
            scratch,
            parent,
            retries,
            kills: 0,
        }
    }

    /// Kills random workers until `end`, or until the parent has ended. Returns the parent's status if it has ended.
    fn kill_workers_until(&mut self, end: Option<Instant>) -> Option<ExitStatus> {
        loop {
            let pause = self.rng.f64() * 2.0 / self.config.kills_per_second;
            let mut pause = Duration::from_secs_f64(pause);
            if let Some(end) = end {
                pause = pause.min(end.saturating_duration_since(Instant::now()));
            }
            // Keeps the pace. It does not wait for any other process.
            thread::sleep(pause);
            if let Some(status) = self.parent.try_wait().expect("wait") {
                return Some(status);
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return None;
            }
            let workers = self.processes(true);
            if let Some(&victim) = self.rng.choice(&workers) {
                self.kill_worker(victim);
            }
        }
    }

    fn kill_worker(&mut self, victim: Pid) {
        let record = Record {
            event: Event::KillingWorker,
            task: 0,
            attempt: 0,
            pid: victim.as_raw().unsigned_abs(),
        };
        // Before the kill, so that all its consequences are recorded later.
        record.append_to(&self.ledger);
        // An error means that the process has ended already.
        self.kills += u64::from(kill(victim, Signal::SIGKILL).is_ok());
    }

    /// Returns the processes of this round, or only its workers. Zombies are not among them.
    fn processes(&self, only_workers: bool) -> Vec<Pid> {
        let mark = format!("{ROUND_VARIABLE}={}", self.scratch);
        let is_meant = |pid: &Pid| {
            let variables = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let has = |is_it: &dyn Fn(&[u8]) -> bool| variables.split(|&byte| byte == 0).any(is_it);
            has(&|variable| variable == mark.as_bytes())
                && (!only_workers
                    || has(&|variable| variable.starts_with(WORKER_VARIABLE.as_bytes())))
        };
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .map(Pid::from_raw)
            .filter(is_meant)
            .collect()
    }

    /// Waits until all processes of this round have ended. Kills and returns those that do not.
    fn await_or_kill_orphans(&self) -> Vec<Pid> {
        let end = Instant::now() + ORPHAN_LIMIT;
        loop {
            let left = self.processes(false);
            if left.is_empty() {
                return left;
            }
            if Instant::now() >= end {
                for &orphan in &left {
                    let _ = kill(orphan, Signal::SIGKILL);
                }
                return left;
            }
            // Leaves the processor to them.
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn balance(self, status: ExitStatus) -> Totals {
        let orphans = self.await_or_kill_orphans();
        let output = fs::read_to_string(self.scratch.path().join(OUTPUT)).expect("text");
        let is_killed = status.signal() == Some(Signal::SIGKILL as i32);
        let never_started = output.starts_with(NEVER_STARTED);
        let mut totals = Totals {
            kills: self.kills,
            parents: 1,
            parents_killed: is_killed.into(),
            never_started: never_started.into(),
            orphans: orphans.len() as u64,
            ..Totals::default()
        };
        let mut violation = |line: String| totals.violations.push(line);
        if !orphans.is_empty() {
            violation(format!("orphans: {orphans:?}"));
        }
        if !is_killed && !status.success() {
            violation(format!("a parent ended with {status}"));
        }
        let report = ReportNumbers::find_in(&output);
        if !is_killed && !never_started && report.is_none() {
            violation("a parent ended without a report".to_owned());
        }
        let accounting = Accounting::read(self.scratch.path());
        accounting.balance(self.config.workers, self.retries, report, &mut totals);
        totals
    }
}
