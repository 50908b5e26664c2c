//! What became of every task, by the notes of all.
//!
//! | what the notes say of a task                         | it has to have                                      |
//! |------------------------------------------------------|-----------------------------------------------------|
//! | accepted, by a parent that has made its report       | one outcome                                         |
//! | accepted, by a parent that was killed                | one outcome or none                                 |
//! | completed                                            | been done                                           |
//! | crashed                                              | been tried as often as it may be: the parent looks  |
//! | neither accepted nor refused                         | nothing: but the last one of a parent that was killed |
//!
//! POOLSTORM-1. No task is begun more often than once and for each retry. No attempt is begun twice; and another one is begun only
//!     when the worker of the one before was killed: none is run again that was not lost with its worker.
//! POOLSTORM-4. A task that was done by a worker that was not killed is completed, by that very attempt, whatever happens
//!     meanwhile: its result is not lost at the end. One that is said to have crashed had its last worker killed.
//! POOLSTORM-5. No more tasks run at a time than there are workers.
//! POOLSTORM-2. The report's numbers are those of the notes, and they add up.
//! POOLSTORM-3. No more workers have died than were killed, and each task that has crashed has cost as many as it was tried. (Not
//!     all attempts are noted by workers: one may be killed before it comes to that.)

use super::Totals;
use ipc_tests::ledger::{Entry, Ledger};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The name of the ledger of a parent and its workers.
pub(crate) const LEDGER: &str = "ledger";

/// What is noted of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By the parent: it was submitted.
    Accepted = 1,
    /// By a worker.
    Begun,
    Done,
    /// By the parent: its outcome.
    Completed,
    Crashed,
    /// Crashed when the pool was being shut down, and not tried again for that.
    CutShort,
    Cancelled,
    /// By who kills: this worker is about to be killed.
    Killing,
}

/// What a note is about, besides the number of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) task: u64,
    pub(crate) attempt: u32,
    /// Of the worker; 0 in notes of the parent.
    pub(crate) pid: u32,
}

impl About {
    const TASK_BITS: u32 = 32;
    const ATTEMPT_BITS: u32 = 8;

    /// As the ledger holds it.
    pub(crate) fn number(self) -> u64 {
        assert!(self.task >> Self::TASK_BITS == 0 && self.attempt >> Self::ATTEMPT_BITS == 0);
        let pid = u64::from(self.pid) << Self::ATTEMPT_BITS | u64::from(self.attempt);
        pid << Self::TASK_BITS | self.task
    }

    fn of(number: u64) -> Self {
        let rest = number >> Self::TASK_BITS;
        let low = |number: u64, bits: u32| number & ((1 << bits) - 1);
        Self {
            task: low(number, Self::TASK_BITS),
            attempt: u32::try_from(low(rest, Self::ATTEMPT_BITS)).expect("8 bits"),
            pid: u32::try_from(rest >> Self::ATTEMPT_BITS).expect("24 bits"),
        }
    }
}

/// One attempt of a task, as its worker has noted it.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    number: u32,
    pid: u32,
    is_done: bool,
}

#[derive(Clone, Debug, Default)]
struct Account {
    accepted: u32,
    begun: u32,
    done: u32,
    completed: u32,
    crashed: u32,
    cut_short: u32,
    cancelled: u32,
    attempts: Vec<Attempt>,
    /// Which attempt its outcome is of.
    settled_by: u32,
}

impl Account {
    const fn outcomes(&self) -> u32 {
        self.completed + self.crashed + self.cut_short + self.cancelled
    }

    fn begin(&mut self, about: About) {
        self.begun += 1;
        self.attempts.push(Attempt {
            number: about.attempt,
            pid: about.pid,
            is_done: false,
        });
    }

    fn end(&mut self, about: About) {
        self.done += 1;
        let same = |attempt: &&mut Attempt| {
            (attempt.number, attempt.pid) == (about.attempt, about.pid) && !attempt.is_done
        };
        if let Some(attempt) = self.attempts.iter_mut().find(same) {
            attempt.is_done = true;
        }
    }

    /// POOLSTORM-1 and POOLSTORM-4, in words.
    fn faults(&self, killed: &BTreeSet<u32>) -> Vec<&'static str> {
        let mut faults = Vec::new();
        let lives = |attempt: &Attempt| !killed.contains(&attempt.pid);
        for (place, one) in self.attempts.iter().enumerate() {
            let later = || self.attempts.iter().skip(place + 1);
            if later().any(|other| other.number == one.number) {
                faults.push("was begun twice in one attempt");
            }
            if later().next().is_some() && lives(one) {
                faults.push("was begun again, though its worker was not killed");
            }
            let settled = self.completed > 0 && self.settled_by == one.number;
            if one.is_done && lives(one) && self.outcomes() > 0 && !settled {
                faults.push("was done by a worker that was not killed, and has another outcome");
            }
        }
        if let Some(last) = self.attempts.last() {
            let cut = self.crashed + self.cut_short > 0;
            if cut && lives(last) && last.number == self.settled_by {
                faults.push("crashed, though its worker was not killed");
            }
        }
        if self.completed > 0
            && !self
                .attempts
                .iter()
                .any(|one| one.is_done && one.number == self.settled_by)
        {
            faults.push("is completed by an attempt that was not done");
        }
        faults
    }
}

/// A parent's report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    submitted: u64,
    completed: u64,
    failed: u64,
    timed_out: u64,
    cancelled: u64,
    lost: u64,
    started: u64,
    died: u64,
    retried: u64,
}

impl Numbers {
    pub(crate) fn read(line: &str) -> Self {
        let number = |text: &str| text.parse().expect("a number");
        let all: Vec<u64> = line.split_whitespace().map(number).collect();
        let &[
            submitted,
            completed,
            failed,
            timed_out,
            cancelled,
            lost,
            started,
            died,
            _killed,
            retried,
        ] = all.as_slice()
        else {
            panic!("a report of ten numbers: {line}");
        };
        Self {
            submitted,
            completed,
            failed,
            timed_out,
            cancelled,
            lost,
            started,
            died,
            retried,
        }
    }
}

/// The accounts of one parent.
#[derive(Debug, Default)]
pub(crate) struct Books {
    tasks: BTreeMap<u64, Account>,
    killed: BTreeSet<u32>,
    /// Workers that run a task.
    running: BTreeSet<u32>,
    most_running: usize,
}

impl Books {
    pub(crate) fn read(directory: &Path) -> Self {
        let mut books = Self::default();
        // There is none if nobody has noted anything.
        for entry in Ledger::read(directory, LEDGER).unwrap_or_default() {
            books.enter(entry);
        }
        books
    }

    fn enter(&mut self, entry: Entry) {
        let about = About::of(entry.number);
        let is = |kind: Kind| kind as u8 == entry.kind;
        if is(Kind::Killing) {
            self.killed.insert(about.pid);
            self.running.remove(&about.pid);
            return;
        }
        let account = self.tasks.entry(about.task).or_default();
        if is(Kind::Begun) {
            account.begin(about);
            // Who has noted that before it was killed may be late.
            if !self.killed.contains(&about.pid) {
                self.running.insert(about.pid);
                self.most_running = self.most_running.max(self.running.len());
            }
            return;
        }
        if is(Kind::Done) {
            account.end(about);
            self.running.remove(&about.pid);
            return;
        }
        if !is(Kind::Accepted) {
            account.settled_by = about.attempt;
        }
        let kinds = [
            (Kind::Accepted, &mut account.accepted),
            (Kind::Completed, &mut account.completed),
            (Kind::Crashed, &mut account.crashed),
            (Kind::CutShort, &mut account.cut_short),
            (Kind::Cancelled, &mut account.cancelled),
        ];
        let found = kinds
            .into_iter()
            .find(|(kind, _)| *kind as u8 == entry.kind);
        *found.expect("a kind of note").1 += 1;
    }

    /// Counts, and looks whether it adds up. Without a report: the parent was killed, or never had a pool.
    pub(crate) fn close(
        self,
        workers: u32,
        retries: u32,
        report: Option<Numbers>,
        totals: &mut Totals,
    ) {
        if self.most_running > workers as usize {
            let most = self.most_running;
            let line = format!("{most} tasks ran at a time, of {workers} workers");
            totals.violations.push(line);
        }
        let mut unheard = 0;
        let mut deaths = 0;
        let mut repeats = 0;
        for (number, account) in &self.tasks {
            let tries = account.attempts.iter().filter(|attempt| attempt.number > 1);
            repeats += tries.count() as u64;
            totals.accepted += u64::from(account.accepted);
            totals.completed += u64::from(account.completed);
            totals.crashed += u64::from(account.crashed + account.cut_short);
            deaths += u64::from(account.crashed * (retries + 1) + account.cut_short);
            totals.cancelled += u64::from(account.cancelled);
            let mut wrong = |what: &str| {
                let line = format!("task {number}: {what}: {account:?}, {retries} retries");
                totals.violations.push(line);
            };
            if account.outcomes() > 1 || account.accepted > 1 || account.done > account.begun {
                wrong("has several outcomes");
                totals.duplicated += 1;
            }
            for fault in account.faults(&self.killed) {
                wrong(fault);
                totals.duplicated += 1;
            }
            if account.begun > retries + 1 {
                wrong("was begun too often");
                totals.duplicated += 1;
            }
            if account.completed > 0 && account.done == 0 {
                wrong("was not done, and is said to be");
                totals.lost += 1;
            }
            if account.accepted == 0 {
                unheard += 1;
            }
            if account.outcomes() == 0 {
                if report.is_some() {
                    wrong("has no outcome");
                    totals.lost += 1;
                } else {
                    totals.abandoned += 1;
                }
            }
        }
        if unheard > u64::from(report.is_none()) {
            let line = format!("{unheard} tasks that nobody has submitted");
            totals.violations.push(line);
        }
        if deaths > totals.kills {
            let line = format!(
                "{} kills, and {deaths} workers that died of tasks",
                totals.kills
            );
            totals.violations.push(line);
        }
        if let Some(report) = report {
            Self::compare(report, totals);
            if repeats > report.retried || report.retried > totals.kills {
                let kills = totals.kills;
                let line = format!("{repeats} retries seen, {kills} kills: {report:?}");
                totals.violations.push(line);
            }
            if report.started < u64::from(workers) {
                let line = format!("fewer were started than there are workers: {report:?}");
                totals.violations.push(line);
            }
        }
    }

    /// See POOLSTORM-2, and POOLSTORM-3. The totals are of this parent alone.
    fn compare(report: Numbers, totals: &mut Totals) {
        let of_notes = (
            totals.accepted,
            totals.completed,
            totals.crashed,
            totals.cancelled,
        );
        let of_report = (
            report.submitted,
            report.completed,
            report.lost,
            report.cancelled,
        );
        let sum =
            report.completed + report.failed + report.timed_out + report.cancelled + report.lost;
        if of_notes != of_report || sum != report.submitted {
            let line = format!("the report does not balance: {report:?}, but {of_notes:?}");
            totals.violations.push(line);
        }
        if report.died > totals.kills {
            let line = format!("more has died than was killed: {report:?}");
            totals.violations.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    //! Books of a task, each with something that a broken pool might do.

    use super::*;

    const REPORT: &str = "1 1 0 0 0 0 2 0 0 0";
    const ONE: u32 = 50;
    const OTHER: u32 = 51;

    /// A note of a worker or of who kills.
    fn by(kind: Kind, attempt: u32, pid: u32) -> (Kind, About) {
        let task = if kind == Kind::Killing { 0 } else { 7 };
        (kind, About { task, attempt, pid })
    }

    /// A note of the parent.
    fn says(kind: Kind, attempt: u32) -> (Kind, About) {
        by(kind, attempt, 0)
    }

    fn violations(notes: &[(Kind, About)], retries: u32, report: Option<&str>) -> Vec<String> {
        let mut books = Books::default();
        for &(kind, about) in notes {
            books.enter(Entry {
                kind: kind as u8,
                number: about.number(),
            });
        }
        let mut totals = Totals {
            kills: 3,
            ..Totals::default()
        };
        books.close(2, retries, report.map(Numbers::read), &mut totals);
        totals.violations
    }

    /// What is noted of one attempt that is done.
    fn run(attempt: u32, pid: u32) -> [(Kind, About); 2] {
        [by(Kind::Begun, attempt, pid), by(Kind::Done, attempt, pid)]
    }

    fn killed(pid: u32) -> (Kind, About) {
        by(Kind::Killing, 0, pid)
    }

    #[test]
    fn a_note_says_what_it_is_about() {
        let about = About {
            task: 123_456,
            attempt: 200,
            pid: 4_194_303,
        };
        assert_eq!(About::of(about.number()), about);
    }

    #[test]
    fn what_is_as_it_should_be_is_no_violation() {
        use Kind::{Accepted, Begun, Cancelled, Completed, Crashed, CutShort};
        let crashed = "1 0 0 0 0 1 3 1 0 0";
        let cancelled = "1 0 0 0 1 0 2 0 0 0";
        let retried = "1 1 0 0 0 0 3 1 0 1";
        let accepted = says(Accepted, 0);
        let [begun, done] = run(1, ONE);
        let again = run(2, OTHER);
        for (notes, retries, report) in [
            (
                vec![accepted, begun, done, says(Completed, 1)],
                0,
                Some(REPORT),
            ),
            (
                vec![begun, done, says(Completed, 1), accepted],
                0,
                Some(REPORT),
            ),
            (
                [
                    &[accepted, begun, killed(ONE)],
                    &again[..],
                    &[says(Completed, 2)],
                ]
                .concat(),
                1,
                Some(retried),
            ),
            (
                vec![accepted, begun, killed(ONE), says(Crashed, 1)],
                0,
                Some(crashed),
            ),
            (
                vec![accepted, begun, done, killed(ONE), says(Crashed, 1)],
                0,
                Some(crashed),
            ),
            // The second time, it was killed before it had noted anything.
            (
                vec![accepted, begun, killed(ONE), says(Crashed, 2)],
                1,
                Some(crashed),
            ),
            (
                vec![accepted, begun, killed(ONE), says(CutShort, 1)],
                3,
                Some(crashed),
            ),
            (vec![accepted, says(Cancelled, 0)], 0, Some(cancelled)),
            (vec![accepted], 0, None),
            (vec![by(Begun, 1, ONE), done], 0, None),
        ] {
            let found = violations(&notes, retries, report);
            assert!(found.is_empty(), "{notes:?}: {found:?}");
        }
    }

    #[test]
    fn whatever_a_broken_pool_does_is_one() {
        use Kind::{Accepted, Begun, Cancelled, Completed, Crashed};
        let accepted = says(Accepted, 0);
        let [begun, done] = run(1, ONE);
        let completed = says(Completed, 1);
        let well = vec![accepted, begun, done, completed];
        let again = run(1, OTHER);
        let retry = run(2, OTHER);
        for (notes, retries, report) in [
            (vec![accepted, begun, done], 0, Some(REPORT)),
            (vec![accepted, completed], 0, Some(REPORT)),
            (
                vec![accepted, begun, done, completed, completed],
                0,
                Some(REPORT),
            ),
            ([&well[..], &again].concat(), 0, Some(REPORT)),
            // The same attempt again, once its worker is dead: it was not said to have been begun, or not collected.
            (
                [
                    &[accepted, begun, done, killed(ONE)],
                    &again[..],
                    &[completed],
                ]
                .concat(),
                1,
                Some(REPORT),
            ),
            // Another attempt, and nobody has died.
            (
                [&[accepted, begun], &retry[..], &[says(Completed, 2)]].concat(),
                1,
                Some("1 1 0 0 0 0 3 0 0 1"),
            ),
            // A result that was there is lost.
            (
                vec![accepted, begun, done, says(Cancelled, 1)],
                0,
                Some("1 0 0 0 1 0 2 0 0 0"),
            ),
            (
                vec![accepted, begun, says(Crashed, 1)],
                0,
                Some("1 0 0 0 0 1 3 1 0 0"),
            ),
            (
                vec![accepted, begun, killed(ONE), says(Crashed, 1)],
                3,
                Some("1 0 0 0 0 1 3 1 0 0"),
            ),
            (vec![begun, done, completed], 0, Some(REPORT)),
            (well.clone(), 0, Some("2 1 0 0 0 0 2 0 0 0")),
            (well.clone(), 0, Some("2 2 0 0 0 0 2 0 0 0")),
            (well.clone(), 0, Some("1 1 0 0 0 0 6 4 0 0")),
            (well.clone(), 0, Some("1 1 0 0 0 0 1 0 0 0")),
            (well.clone(), 0, Some("1 1 0 0 0 0 2 0 0 9")),
            // Three at a time, of two workers.
            (
                [
                    &well[..],
                    &[by(Begun, 1, 60), by(Begun, 1, 61), by(Begun, 1, 62)],
                ]
                .concat(),
                9,
                None,
            ),
        ] {
            // One case is one that is judged by the number of deaths alone.
            let found = violations(&notes, retries, report);
            assert!(!found.is_empty(), "{notes:?}, {retries}, {report:?}");
        }
    }
}
