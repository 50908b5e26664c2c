//! Names for actions and limits that many configurations share.

use super::super::action::{Action, Settlement};
use super::super::configuration::{BASE, Configuration, LIMITS};
use crate::protocol::Limits;

pub(super) const RECEIVE: Action = Action::Receive(Settlement::Acknowledge);
pub(super) const RECEIVE_BATCH: Action = Action::Receive(Settlement::AcknowledgeBatch);
pub(super) const RETURN: Action = Action::Receive(Settlement::Return);

/// A message is delivered at most twice.
pub(super) const TWO_DELIVERIES: Limits = Limits {
    max_deliveries: 2,
    ..LIMITS
};
/// A message is delivered once; one dead letter is kept.
pub(super) const ONE_DELIVERY: Limits = Limits {
    max_deliveries: 1,
    max_dead_letters: 1,
    ..LIMITS
};
/// Messages are delivered again; one dead letter is kept.
pub(super) const ONE_DEAD_LETTER: Limits = Limits {
    max_dead_letters: 1,
    ..LIMITS
};
pub(super) const SETTLED: Limits = Limits {
    close_waits_for_leases: true,
    ..LIMITS
};
pub(super) const CLOSE_ON_LAST_SENDER: Limits = Limits {
    close_on_last_sender: true,
    ..LIMITS
};
pub(super) const BATCHED: Configuration = Configuration {
    batches: true,
    ..BASE
};
