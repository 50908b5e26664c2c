//! The numbers of a pool's report, as a line that the parent prints.

use std::fmt::{self, Display};
use workring::pool::Report;

/// The numbers that are compared with the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReportNumbers {
    pub(super) submitted: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) timed_out: u64,
    pub(super) cancelled: u64,
    pub(super) lost: u64,
    pub(super) started: u64,
    pub(super) died: u64,
    pub(super) retried: u64,
}

impl From<&Report> for ReportNumbers {
    fn from(report: &Report) -> Self {
        Self {
            submitted: report.submitted,
            completed: report.completed,
            failed: report.failed,
            timed_out: report.timed_out,
            cancelled: report.cancelled,
            lost: report.lost,
            started: report.started,
            died: report.died,
            retried: report.retried,
        }
    }
}

impl ReportNumbers {
    /// What a line with these numbers begins with.
    const PREFIX: &'static str = "report ";

    /// Returns the numbers of the first such line. Panics if they are not complete.
    pub(super) fn find_in(output: &str) -> Option<Self> {
        let line = output
            .lines()
            .find_map(|line| line.strip_prefix(Self::PREFIX))?;
        Some(Self::parse(line))
    }

    pub(super) fn parse(line: &str) -> Self {
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
            retried,
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
            started,
            died,
            retried,
        }
    }
}

impl Display for ReportNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{} {} {} {} {} {} {} {} {}",
            Self::PREFIX,
            self.submitted,
            self.completed,
            self.failed,
            self.timed_out,
            self.cancelled,
            self.lost,
            self.started,
            self.died,
            self.retried
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_report_is_found_and_parsed() {
        let printed = "a line\nreport 9 1 2 3 4 5 6 7 8\n";
        let numbers = ReportNumbers::find_in(printed).expect("a report");
        assert_eq!(numbers.to_string(), "report 9 1 2 3 4 5 6 7 8");
        assert!(ReportNumbers::find_in("a line\n").is_none());
    }
}
