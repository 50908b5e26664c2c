//! The parent's own memory of its tasks: which are in flight, and outcomes that nobody has claimed yet.

mod operations;
mod receive;
mod state;
mod streams;

pub(super) use receive::{FORKED, Results};
pub(super) use state::{
    InFlight, MapStep, NextUnclaimed, Owner, Refused, State, TicketRange, WaitError,
};
pub(super) use streams::StreamId;
