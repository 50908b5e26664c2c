//! The life of one parent, seen by who kills its workers, and then ends it: by force, or by asking, while its workers are
//! still killed.

use super::{
    Shape, Totals,
    books::{About, Books, Kind, LEDGER, Numbers},
    parent::{CANCEL, Commands, DRAIN, END, REPORT, STILLBORN},
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

/// How long a parent lives before it is ended, at the most, in milliseconds.
const LONGEST: u64 = 600;
/// Whoever lives so much longer than its parent is an orphan. Somebody who measures may stop everything meanwhile.
const PATIENCE: Duration = Duration::from_mins(1);
/// A variable that all processes of a life have.
const MARK: &str = "STORM_LIFE";
/// A variable that workers have, and parents don't.
const WORKER: &str = "WORKRING_WORKER";
/// What a parent prints.
const OUTPUT: &str = "output";

/// How a parent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Killed,
    Asked(&'static str),
}

struct Life<'a> {
    shape: &'a Shape,
    rng: Rng,
    scratch: Scratch,
    ledger: Ledger,
    parent: Child,
    retries: u32,
    kills: u64,
}

/// The whole of it.
pub(crate) fn live(shape: &Shape, mut rng: Rng) -> Totals {
    let endings = [Ending::Killed, Ending::Asked(DRAIN), Ending::Asked(CANCEL)];
    let ending = *rng.choice(&endings).expect("one of them");
    let mut life = Life::begin(shape, rng);
    let end = Instant::now() + Duration::from_millis(life.rng.u64(0..LONGEST));
    let mut status = life.rage(Some(end));
    match ending {
        Ending::Killed => life.parent.kill().expect("kill"),
        Ending::Asked(how) => fs::write(life.scratch.path().join(END), how).expect("write"),
    }
    status = status.or_else(|| match ending {
        Ending::Killed => Some(life.parent.wait().expect("wait")),
        Ending::Asked(_) => life.rage(None),
    });
    life.close(status.expect("it has ended"))
}

impl<'a> Life<'a> {
    fn begin(shape: &'a Shape, mut rng: Rng) -> Self {
        let scratch = Scratch::new().expect("a directory");
        let retries = rng.u32(0..3);
        let orders = Commands {
            workers: shape.workers,
            capacity: *rng.choice(&[1, 4, 64, 1000]).expect("one of them"),
            retries,
            seed: rng.u64(..),
            scratch: scratch.path(),
        };
        let output = File::create(scratch.path().join(OUTPUT)).expect("a file");
        let parent = Command::new(env::current_exe().expect("this program"))
            .args(orders.to_arguments())
            .env(MARK, scratch.to_string())
            .stdin(Stdio::null())
            .stdout(output)
            .spawn()
            .expect("start a parent");
        Self {
            shape,
            rng,
            ledger: Ledger::create(scratch.path(), LEDGER).expect("the ledger"),
            scratch,
            parent,
            retries,
            kills: 0,
        }
    }

    /// Kills workers until then, or until the parent has ended.
    fn rage(&mut self, end: Option<Instant>) -> Option<ExitStatus> {
        loop {
            let pause = self.rng.f64() * 2.0 / self.shape.kills_per_second;
            let mut pause = Duration::from_secs_f64(pause);
            if let Some(end) = end {
                pause = pause.min(end.saturating_duration_since(Instant::now()));
            }
            // To keep the pace, not to wait for anything.
            thread::sleep(pause);
            if let Some(status) = self.parent.try_wait().expect("wait") {
                return Some(status);
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return None;
            }
            let workers = self.processes(true);
            if let Some(&victim) = self.rng.choice(&workers) {
                // Before it is killed, so that whatever comes of that is noted later.
                let about = About {
                    pid: victim.as_raw().unsigned_abs(),
                    ..About::default()
                };
                self.ledger.note(Kind::Killing as u8, about.number());
                // An error: it has ended meanwhile.
                self.kills += u64::from(kill(victim, Signal::SIGKILL).is_ok());
            }
        }
    }

    /// The processes of this life, or its workers alone. Zombies are none.
    fn processes(&self, workers: bool) -> Vec<Pid> {
        let mark = format!("{MARK}={}", self.scratch);
        let is_meant = |pid: &Pid| {
            let variables = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let has = |is_it: &dyn Fn(&[u8]) -> bool| variables.split(|&byte| byte == 0).any(is_it);
            has(&|variable| variable == mark.as_bytes())
                && (!workers || has(&|variable| variable.starts_with(WORKER.as_bytes())))
        };
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .map(Pid::from_raw)
            .filter(is_meant)
            .collect()
    }

    /// Waits for those whom the parent has left: they end by themselves. Kills and gives those who don't.
    fn orphans(&self) -> Vec<Pid> {
        let end = Instant::now() + PATIENCE;
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
            // To leave the processor to them.
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn close(self, status: ExitStatus) -> Totals {
        let orphans = self.orphans();
        let output = fs::read_to_string(self.scratch.path().join(OUTPUT)).expect("text");
        let is_killed = status.signal() == Some(Signal::SIGKILL as i32);
        let is_stillborn = output.starts_with(STILLBORN);
        let mut totals = Totals {
            kills: self.kills,
            parents: 1,
            parents_killed: is_killed.into(),
            stillborn: is_stillborn.into(),
            orphans: orphans.len() as u64,
            ..Totals::default()
        };
        if !orphans.is_empty() {
            totals.violations.push(format!("orphans: {orphans:?}"));
        }
        if !is_killed && !status.success() {
            totals
                .violations
                .push(format!("a parent ended with {status}"));
        }
        let report = output.lines().find_map(|line| line.strip_prefix(REPORT));
        let numbers = report.map(Numbers::read);
        if !is_killed && !is_stillborn && numbers.is_none() {
            totals
                .violations
                .push("a parent ended without a report".to_owned());
        }
        Books::read(self.scratch.path()).close(
            self.shape.workers,
            self.retries,
            numbers,
            &mut totals,
        );
        totals
    }
}
