//! The parent's side.

mod builder;
mod commands;
mod dispatch;
mod events;
mod handle;
mod map;
mod pool;
mod report;
mod results;
mod settings;
mod shared;
mod shutdown;
mod start;
mod supervision;

pub use builder::Builder;
pub use events::Event;
pub use handle::TaskHandle;
pub use map::Map;
pub use pool::{Drain, Pool};
pub use report::Report;
pub use settings::Workers;
pub use shutdown::Shutdown;
