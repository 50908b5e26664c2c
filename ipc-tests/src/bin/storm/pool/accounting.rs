//! Checks, from the ledger, that each task of one pool has one outcome.
//!
//! | the ledger says of a task                         | it has to have                                     |
//! | ------------------------------------------------- | -------------------------------------------------- |
//! | accepted, by a parent that has printed its report | one outcome                                        |
//! | accepted, by a parent that was killed             | one outcome or none                                |
//! | completed                                         | been done                                          |
//! | crashed                                           | used all permitted attempts (the parent checks it) |
//! | not accepted                                      | no record, except the last task of a killed parent |
//!
//! POOLSTORM-1. A task is begun at most once for each permitted attempt, and no attempt is begun twice. A further
//!              attempt begins only after the worker of the one before was killed: only tasks that were lost with their
//!              worker are retried.
//! POOLSTORM-2. The numbers of the report are those of the ledger, and add up.
//! POOLSTORM-3. No more workers have died than were killed, and each crashed task has cost as many as it had attempts.
//!              (A worker that is killed at once has not recorded its attempt.)
//! POOLSTORM-4. A task that was done by a worker that was not killed is completed, by that attempt: no result is lost
//!              at the end. The last worker of a crashed task was killed.
//! POOLSTORM-5. At most as many tasks run at a time as the pool has workers.

use super::{
    events::{Event, LEDGER, Record},
    report::ReportNumbers,
    totals::Totals,
};
use ipc_tests::ledger::Ledger;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// One attempt of a task, as its worker has recorded it.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    number: u32,
    pid: u32,
    is_done: bool,
}

/// What the ledger says of one task. The numbers count records.
#[derive(Clone, Debug, Default)]
struct Account {
    accepted: u32,
    done: u32,
    completed: u32,
    crashed: u32,
    crashed_in_shutdown: u32,
    cancelled: u32,
    attempts: Vec<Attempt>,
    /// The attempt that the outcome is of.
    outcome_attempt: u32,
}

impl Account {
    const fn outcomes(&self) -> u32 {
        self.completed + self.crashed + self.crashed_in_shutdown + self.cancelled
    }

    fn begin(&mut self, record: Record) {
        self.attempts.push(Attempt {
            number: record.attempt,
            pid: record.pid,
            is_done: false,
        });
    }

    fn finish(&mut self, record: Record) {
        self.done += 1;
        let is_same = |attempt: &&mut Attempt| {
            (attempt.number, attempt.pid) == (record.attempt, record.pid) && !attempt.is_done
        };
        if let Some(attempt) = self.attempts.iter_mut().find(is_same) {
            attempt.is_done = true;
        }
    }

    /// Returns the violations of POOLSTORM-1 that duplicate work, and those of POOLSTORM-4.
    fn wrong_attempts(&self, killed: &BTreeSet<u32>, max_attempts: u32) -> Vec<&'static str> {
        let mut wrong = Vec::new();
        let is_alive = |attempt: &Attempt| !killed.contains(&attempt.pid);
        for (index, attempt) in self.attempts.iter().enumerate() {
            let later = || self.attempts.iter().skip(index + 1);
            if later().any(|other| other.number == attempt.number) {
                wrong.push("was begun twice in one attempt");
            }
            if later().next().is_some() && is_alive(attempt) {
                wrong.push("was begun again, though its worker was not killed");
            }
            let is_completed = self.completed > 0 && self.outcome_attempt == attempt.number;
            if attempt.is_done && is_alive(attempt) && self.outcomes() > 0 && !is_completed {
                wrong.push("was done by a worker that was not killed, and has another outcome");
            }
        }
        if let Some(last) = self.attempts.last() {
            let crashed = self.crashed + self.crashed_in_shutdown > 0;
            if crashed && is_alive(last) && last.number == self.outcome_attempt {
                wrong.push("crashed, though its worker was not killed");
            }
        }
        let is_outcome =
            |attempt: &Attempt| attempt.is_done && attempt.number == self.outcome_attempt;
        if self.completed > 0 && !self.attempts.iter().any(is_outcome) {
            wrong.push("is completed by an attempt that was not done");
        }
        if self.attempts.len() > max_attempts as usize {
            wrong.push("was begun too often");
        }
        wrong
    }
}

/// The accounts of one pool.
#[derive(Debug, Default)]
pub(super) struct Accounting {
    tasks: BTreeMap<u64, Account>,
    /// Process ids of workers that were killed.
    killed: BTreeSet<u32>,
    /// Process ids of workers that run a task.
    running: BTreeSet<u32>,
    most_running: usize,
}

impl Accounting {
    pub(super) fn read(directory: &Path) -> Self {
        let mut accounting = Self::default();
        // There is no ledger if no process has recorded anything.
        for entry in Ledger::read(directory, LEDGER).unwrap_or_default() {
            accounting.add(Record::decode(entry));
        }
        accounting
    }

    /// Adds the next record of the ledger.
    fn add(&mut self, record: Record) {
        let pid = record.pid;
        if record.event == Event::KillingWorker {
            self.killed.insert(pid);
            self.running.remove(&pid);
            return;
        }
        let account = self.tasks.entry(record.task).or_default();
        let outcomes = match record.event {
            Event::KillingWorker => return,
            Event::Begun => {
                account.begin(record);
                // A worker may record this after the record of its kill.
                if !self.killed.contains(&pid) {
                    self.running.insert(pid);
                    self.most_running = self.most_running.max(self.running.len());
                }
                return;
            }
            Event::Done => {
                account.finish(record);
                self.running.remove(&pid);
                return;
            }
            Event::Accepted => {
                account.accepted += 1;
                return;
            }
            Event::Completed => &mut account.completed,
            Event::Crashed => &mut account.crashed,
            Event::CrashedInShutdown => &mut account.crashed_in_shutdown,
            Event::Cancelled => &mut account.cancelled,
        };
        *outcomes += 1;
        account.outcome_attempt = record.attempt;
    }

    /// Checks the whole ledger, and adds its counts to `totals`, which are of this pool alone. Without a report: the
    /// parent was killed, or its pool was never started.
    pub(super) fn balance(
        self,
        workers: u32,
        retries: u32,
        report: Option<ReportNumbers>,
        totals: &mut Totals,
    ) {
        if self.most_running > workers as usize {
            let most = self.most_running;
            let line = format!("{most} tasks ran at a time, of {workers} workers");
            totals.violations.push(line);
        }
        for (number, account) in &self.tasks {
            self.check_task(*number, account, retries, report.is_some(), totals);
        }
        self.check_submissions(report.is_some(), totals);
        self.check_deaths(retries, totals);
        if let Some(report) = report {
            self.check_report(report, workers, totals);
        }
    }

    fn check_task(
        &self,
        number: u64,
        account: &Account,
        retries: u32,
        has_report: bool,
        totals: &mut Totals,
    ) {
        totals.accepted += u64::from(account.accepted);
        totals.completed += u64::from(account.completed);
        totals.crashed += u64::from(account.crashed + account.crashed_in_shutdown);
        totals.cancelled += u64::from(account.cancelled);
        let describe =
            |what: &str| format!("task {number}: {what}: {account:?}, {retries} retries");
        let mut duplicated = account.wrong_attempts(&self.killed, retries + 1);
        let begun = account.attempts.len();
        if account.outcomes() > 1 || account.accepted > 1 || account.done as usize > begun {
            duplicated.push("has several outcomes");
        }
        let mut lost = Vec::new();
        if account.completed > 0 && account.done == 0 {
            lost.push("is completed, and was not done");
        }
        if account.outcomes() == 0 {
            if has_report {
                lost.push("has no outcome");
            } else {
                totals.abandoned += 1;
            }
        }
        totals.duplicated += duplicated.len() as u64;
        totals.lost += lost.len() as u64;
        let wrong = duplicated.into_iter().chain(lost);
        totals.violations.extend(wrong.map(describe));
    }

    /// Checks that every task was submitted. A parent that was killed may not have recorded its last submission.
    fn check_submissions(&self, has_report: bool, totals: &mut Totals) {
        let not_accepted = self.tasks.values().filter(|account| account.accepted == 0);
        let count = not_accepted.count();
        if count > usize::from(!has_report) {
            let line = format!("{count} tasks that the parent has not submitted");
            totals.violations.push(line);
        }
    }

    /// Checks the second part of POOLSTORM-3.
    fn check_deaths(&self, retries: u32, totals: &mut Totals) {
        let deaths = self.tasks.values().map(|account| {
            u64::from(account.crashed * (retries + 1) + account.crashed_in_shutdown)
        });
        let (deaths, kills) = (deaths.sum::<u64>(), totals.kills);
        if deaths > kills {
            let line = format!("{kills} kills, and {deaths} workers that died in crashed tasks");
            totals.violations.push(line);
        }
    }

    /// Checks POOLSTORM-2 and the first part of POOLSTORM-3.
    fn check_report(&self, report: ReportNumbers, workers: u32, totals: &mut Totals) {
        let of_ledger = (
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
        if of_ledger != of_report || sum != report.submitted {
            let line = format!("the report does not balance: {report:?}, but {of_ledger:?}");
            totals.violations.push(line);
        }
        let kills = totals.kills;
        if report.died > kills {
            let line = format!("more workers have died than were killed: {report:?}");
            totals.violations.push(line);
        }
        let attempts = self.tasks.values().flat_map(|account| &account.attempts);
        let retried = attempts.filter(|attempt| attempt.number > 1).count() as u64;
        if retried > report.retried || report.retried > kills {
            let line = format!("{retried} retries recorded, {kills} kills: {report:?}");
            totals.violations.push(line);
        }
        if report.started < u64::from(workers) {
            let line = format!("fewer workers were started than the pool has: {report:?}");
            totals.violations.push(line);
        }
    }
}

#[cfg(test)]
#[path = "accounting/tests.rs"]
mod tests;
