//! The options of a pool, by subject.

mod ends;
mod limits;
mod options;
mod workers;

pub use options::Builder;
