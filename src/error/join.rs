//! Errors of waiting for several tasks of a pool.

use core::fmt;
use std::error::Error;

/// The error of [`TypedPool::join_deadline`](crate::pool::TypedPool::join_deadline) and the like: tasks are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinTimeout {
    /// How many tasks were in flight when the time was over.
    pub in_flight: usize,
}

impl fmt::Display for JoinTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} tasks were still in flight when the time was over: wait longer, or cancel them",
            self.in_flight
        )
    }
}

impl Error for JoinTimeout {}

/// The error of [`wait_any`](crate::pool::wait_any) and [`wait_any_deadline`](crate::pool::wait_any_deadline).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitAnyError {
    /// No outcome was known by the deadline.
    TimedOut,
    /// There are no handles.
    Empty,
    /// The handles are of several pools, for which no single wait exists.
    DifferentPools,
}

impl fmt::Display for WaitAnyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => {
                "no task had its outcome when the time was over: wait longer, or cancel them"
            }
            Self::Empty => "there are no handles to wait for: pass at least one",
            Self::DifferentPools => {
                "the handles are of several pools: wait for those of one pool at a time"
            }
        })
    }
}

impl Error for WaitAnyError {}
