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
//! B1. No task is begun more often than once and for each retry: none is run again that was not lost with its worker.
//! B2. The report's numbers are those of the notes, and they add up.
//! B3. No more workers have died than were killed, and each task that has crashed has cost as many as it was tried. (Not
//!     all attempts are noted by workers: one may be killed before it comes to that.)

use super::Totals;
use ipc_tests::ledger::{Entry, Ledger};
use std::{collections::BTreeMap, path::Path};

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
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    accepted: u32,
    begun: u32,
    done: u32,
    completed: u32,
    crashed: u32,
    cut_short: u32,
    cancelled: u32,
}

impl Account {
    const fn outcomes(self) -> u32 {
        self.completed + self.crashed + self.cut_short + self.cancelled
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
    died: u64,
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
            _started,
            died,
            _killed,
        ] = all.as_slice()
        else {
            panic!("a report of nine numbers: {line}");
        };
        Self {
            submitted,
            completed,
            failed,
            timed_out,
            cancelled,
            lost,
            died,
        }
    }
}

/// The accounts of one parent.
#[derive(Debug, Default)]
pub(crate) struct Books(BTreeMap<u64, Account>);

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
        let account = self.0.entry(entry.number).or_default();
        let kinds = [
            (Kind::Accepted, &mut account.accepted),
            (Kind::Begun, &mut account.begun),
            (Kind::Done, &mut account.done),
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
    pub(crate) fn close(self, retries: u32, report: Option<Numbers>, totals: &mut Totals) {
        let mut unheard = 0;
        let mut deaths = 0;
        for (number, account) in &self.0 {
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
        }
    }

    /// See B2, and B3. The totals are of this parent alone.
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

    const REPORT: &str = "1 1 0 0 0 0 2 0 0";

    fn violations(kinds: &[Kind], retries: u32, report: Option<&str>) -> Vec<String> {
        let mut books = Books::default();
        for &kind in kinds {
            books.enter(Entry {
                kind: kind as u8,
                number: 7,
            });
        }
        let mut totals = Totals {
            kills: 3,
            ..Totals::default()
        };
        books.close(retries, report.map(Numbers::read), &mut totals);
        totals.violations
    }

    #[test]
    fn what_is_as_it_should_be_is_no_violation() {
        use Kind::{Accepted, Begun, Cancelled, Completed, Crashed, CutShort, Done};
        let crashed = "1 0 0 0 0 1 3 1 0";
        let cancelled = "1 0 0 0 1 0 2 0 0";
        for (kinds, retries, report) in [
            (&[Accepted, Begun, Done, Completed][..], 0, Some(REPORT)),
            (&[Begun, Done, Completed, Accepted], 0, Some(REPORT)),
            (&[Accepted, Begun, Begun, Done, Completed], 1, Some(REPORT)),
            (&[Accepted, Begun, Crashed], 0, Some(crashed)),
            (&[Accepted, Begun, Done, Crashed], 0, Some(crashed)),
            // The second time, it was killed before it had noted anything.
            (&[Accepted, Begun, Crashed], 1, Some(crashed)),
            (&[Accepted, Begun, CutShort], 3, Some(crashed)),
            (&[Accepted, Cancelled], 0, Some(cancelled)),
            (&[Accepted], 0, None),
            (&[Begun, Done], 0, None),
        ] {
            let found = violations(kinds, retries, report);
            assert!(found.is_empty(), "{kinds:?}: {found:?}");
        }
    }

    #[test]
    fn whatever_a_broken_pool_does_is_one() {
        use Kind::{Accepted, Begun, Completed, Crashed, Done};
        for (kinds, retries, report) in [
            (&[Accepted, Begun, Done][..], 0, Some(REPORT)),
            (&[Accepted, Completed], 0, Some(REPORT)),
            (
                &[Accepted, Begun, Done, Completed, Completed],
                0,
                Some(REPORT),
            ),
            (&[Accepted, Begun, Begun, Done, Completed], 0, Some(REPORT)),
            (&[Accepted, Begun, Crashed], 3, Some("1 0 0 0 0 1 3 1 0")),
            (&[Begun, Done, Completed], 0, Some(REPORT)),
            (
                &[Accepted, Begun, Done, Completed],
                0,
                Some("2 1 0 0 0 0 2 0 0"),
            ),
            (
                &[Accepted, Begun, Done, Completed],
                0,
                Some("2 2 0 0 0 0 2 0 0"),
            ),
            (
                &[Accepted, Begun, Done, Completed],
                0,
                Some("1 1 0 0 0 0 6 4 0"),
            ),
        ] {
            assert!(!violations(kinds, retries, report).is_empty(), "{kinds:?}");
        }
    }
}
