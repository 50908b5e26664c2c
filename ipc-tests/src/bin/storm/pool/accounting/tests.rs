//! Ledgers of one task, each with something that a correct or a broken pool might do.

use super::*;
use Event::{Accepted, Begun, Cancelled, Completed, Crashed, CrashedInShutdown};

const ONE: u32 = 50;
const OTHER: u32 = 51;

/// Numbers of a report: submitted, completed, failed, timed out, cancelled, lost, started, died, retried.
const COMPLETED: &str = "1 1 0 0 0 0 2 0 0";
const CRASHED: &str = "1 0 0 0 0 1 3 1 0";
const CANCELLED: &str = "1 0 0 0 1 0 2 0 0";

/// A record of a worker.
fn by(event: Event, attempt: u32, pid: u32) -> Record {
    Record {
        event,
        task: 7,
        attempt,
        pid,
    }
}

/// A record of the parent.
fn parent(event: Event, attempt: u32) -> Record {
    by(event, attempt, 0)
}

/// What a worker records of one attempt that it finishes.
fn run(attempt: u32, pid: u32) -> [Record; 2] {
    [by(Begun, attempt, pid), by(Event::Done, attempt, pid)]
}

fn killed(pid: u32) -> Record {
    Record {
        event: Event::KillingWorker,
        task: 0,
        attempt: 0,
        pid,
    }
}

/// Returns the violations of a pool of two workers, of which three were killed.
fn violations(records: &[Record], retries: u32, report: Option<&str>) -> Vec<String> {
    let mut accounting = Accounting::default();
    for &record in records {
        accounting.add(record);
    }
    let mut totals = Totals {
        kills: 3,
        ..Totals::default()
    };
    accounting.balance(2, retries, report.map(ReportNumbers::parse), &mut totals);
    totals.violations
}

#[track_caller]
fn assert_sound(records: &[Record], retries: u32, report: Option<&str>) {
    let found = violations(records, retries, report);
    assert!(found.is_empty(), "{records:?}: {found:?}");
}

#[track_caller]
fn assert_violation(expected: &str, records: &[Record], retries: u32, report: Option<&str>) {
    let found = violations(records, retries, report);
    let is_found = found.iter().any(|line| line.contains(expected));
    assert!(is_found, "{expected}: {records:?}: {found:?}");
}

#[test]
fn a_completed_task_balances_in_whatever_order_it_is_recorded() {
    let accepted = parent(Accepted, 0);
    let [begun, done] = run(1, ONE);
    let completed = parent(Completed, 1);
    assert_sound(&[accepted, begun, done, completed], 0, Some(COMPLETED));
    assert_sound(&[begun, done, completed, accepted], 0, Some(COMPLETED));
}

#[test]
fn a_task_whose_worker_was_killed_balances() {
    let accepted = parent(Accepted, 0);
    let [begun, done] = run(1, ONE);
    let again = run(2, OTHER);
    let crash = [accepted, begun, killed(ONE)];
    let retried = [&crash[..], &again, &[parent(Completed, 2)]].concat();
    assert_sound(&retried, 1, Some("1 1 0 0 0 0 3 1 1"));
    let crashed = [&crash[..], &[parent(Crashed, 1)]].concat();
    assert_sound(&crashed, 0, Some(CRASHED));
    let crashed_after_work = [accepted, begun, done, killed(ONE), parent(Crashed, 1)];
    assert_sound(&crashed_after_work, 0, Some(CRASHED));
    // The worker of the second attempt was killed before it recorded anything.
    let crashed_again = [&crash[..], &[parent(Crashed, 2)]].concat();
    assert_sound(&crashed_again, 1, Some(CRASHED));
    let crashed_in_shutdown = [&crash[..], &[parent(CrashedInShutdown, 1)]].concat();
    assert_sound(&crashed_in_shutdown, 3, Some(CRASHED));
}

#[test]
fn a_cancelled_task_balances() {
    let records = [parent(Accepted, 0), parent(Cancelled, 0)];
    assert_sound(&records, 0, Some(CANCELLED));
}

#[test]
fn a_parent_that_was_killed_may_leave_tasks_without_outcome() {
    assert_sound(&[parent(Accepted, 0)], 0, None);
    assert_sound(&run(1, ONE), 0, None);
}

#[test]
fn lost_results_are_found() {
    let accepted = parent(Accepted, 0);
    let [begun, done] = run(1, ONE);
    let no_outcome = [accepted, begun, done];
    assert_violation("has no outcome", &no_outcome, 0, Some(COMPLETED));
    let not_done = [accepted, parent(Completed, 1)];
    assert_violation("was not done", &not_done, 0, Some(COMPLETED));
    let cancelled = [accepted, begun, done, parent(Cancelled, 1)];
    assert_violation("has another outcome", &cancelled, 0, Some(CANCELLED));
}

#[test]
fn duplicated_work_is_found() {
    let accepted = parent(Accepted, 0);
    let [begun, done] = run(1, ONE);
    let completed = parent(Completed, 1);
    let sound = [accepted, begun, done, completed];
    let twice = [&sound[..], &[completed]].concat();
    assert_violation("several outcomes", &twice, 0, Some(COMPLETED));
    let too_often = [&sound[..], &run(1, OTHER)].concat();
    assert_violation("begun too often", &too_often, 0, Some(COMPLETED));
    // The result of the first run was there when its worker was killed.
    let same_attempt = [
        &[accepted, begun, done, killed(ONE)],
        &run(1, OTHER)[..],
        &[completed],
    ]
    .concat();
    assert_violation("twice in one attempt", &same_attempt, 1, Some(COMPLETED));
    let retry_of_live_worker = [
        &[accepted, begun],
        &run(2, OTHER)[..],
        &[parent(Completed, 2)],
    ]
    .concat();
    let report = Some("1 1 0 0 0 0 3 0 1");
    assert_violation("begun again", &retry_of_live_worker, 1, report);
}

#[test]
fn crashes_without_deaths_are_found() {
    let begun = [parent(Accepted, 0), by(Begun, 1, ONE)];
    let of_live_worker = [&begun[..], &[parent(Crashed, 1)]].concat();
    assert_violation("was not killed", &of_live_worker, 0, Some(CRASHED));
    let fewer_kills = [&begun[..], &[killed(ONE), parent(Crashed, 1)]].concat();
    assert_violation("3 kills, and 4 workers", &fewer_kills, 3, Some(CRASHED));
}

#[test]
fn reports_that_differ_from_the_ledger_are_found() {
    let [begun, done] = run(1, ONE);
    let completed = parent(Completed, 1);
    let not_submitted = [begun, done, completed];
    assert_violation("has not submitted", &not_submitted, 0, Some(COMPLETED));
    let sound = [parent(Accepted, 0), begun, done, completed];
    for (expected, report) in [
        ("does not balance", "2 1 0 0 0 0 2 0 0"),
        ("does not balance", "2 2 0 0 0 0 2 0 0"),
        ("more workers have died", "1 1 0 0 0 0 6 4 0"),
        ("fewer workers were started", "1 1 0 0 0 0 1 0 0"),
        ("retries recorded", "1 1 0 0 0 0 2 0 9"),
    ] {
        assert_violation(expected, &sound, 0, Some(report));
    }
}

#[test]
fn more_running_tasks_than_workers_are_found() {
    let running = [60, 61, 62].map(|pid| by(Begun, 1, pid));
    assert_violation("3 tasks ran at a time, of 2 workers", &running, 9, None);
}
