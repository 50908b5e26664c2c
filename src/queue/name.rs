//! Names that a program gives to its queues.

/// Returns whether this can name a queue, or what a hand-off gives: ASCII letters, digits, `-`, `_` and `.`, at least one.
pub(super) fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(is_plain)
}
