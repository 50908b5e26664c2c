//! A violation of a rule.

/// The rule that is violated, and how, for people.
pub(in super::super) type Violation = String;

/// Returns a violation of the rule `label` unless it `holds`.
pub(in super::super) fn check(
    holds: bool,
    label: &str,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(format!("{label}: {}", what()))
    }
}
