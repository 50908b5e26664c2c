//! The options of a pool, by subject.

mod ends;
mod limits;
mod observation;
mod options;
mod process;
mod workers;

pub use options::Builder;
pub use process::Resource;
