//! The configurations: small queues with scripts of two or three actions for each of two to four processes, by subject.

mod batching;
mod cells;
mod closing;
mod dead_letters;
mod dying;
mod futures;
mod huge;
mod membership;
mod returning;
mod sending;
mod shorthand;
mod sleeping;

use super::configuration::Configuration;

pub(super) const SENDING: &[Configuration] = sending::CONFIGURATIONS;
pub(super) const CELLS: &[Configuration] = cells::CONFIGURATIONS;
pub(super) const DYING: &[Configuration] = dying::CONFIGURATIONS;
pub(super) const RETURNING: &[Configuration] = returning::CONFIGURATIONS;
pub(super) const CLOSING: &[Configuration] = closing::CONFIGURATIONS;
pub(super) const DEAD_LETTERS: &[Configuration] = dead_letters::CONFIGURATIONS;
pub(super) const SLEEPING: &[Configuration] = sleeping::CONFIGURATIONS;
pub(super) const FUTURES: &[Configuration] = futures::CONFIGURATIONS;
pub(super) const MEMBERSHIP: &[Configuration] = membership::CONFIGURATIONS;
pub(super) const BATCHING: &[Configuration] = batching::CONFIGURATIONS;
pub(super) const HUGE: &[Configuration] = huge::CONFIGURATIONS;

const ALL: [&[Configuration]; 11] = [
    SENDING,
    CELLS,
    DYING,
    RETURNING,
    CLOSING,
    DEAD_LETTERS,
    SLEEPING,
    FUTURES,
    MEMBERSHIP,
    BATCHING,
    HUGE,
];

/// Returns the configuration of this name.
pub(super) fn named(name: &str) -> &'static Configuration {
    let mut all = ALL.into_iter().flatten();
    let found = all.find(|configuration| configuration.name == name);
    found.unwrap_or_else(|| panic!("no configuration `{name}`"))
}
