//! Tasks that are registered at link time.
//!
//! | file         | content                                                                    |
//! |--------------|----------------------------------------------------------------------------|
//! | `entry`      | what is registered of a task                                               |
//! | `tasks`      | all registered tasks of the program and its libraries                      |
//! | `returned`   | what a task's function returns, as a result with a `Failure`               |
//!
//! Each task is an entry of a section of the program file: the linker collects those of all libraries. So the list is
//! complete before any code of the program runs, constructors included. (Crates that collect by constructors, such as
//! `inventory`, cannot say that.) The section is made by `linkme`.

mod entry;
mod returned;
mod tasks;

pub use entry::{Registered, RegisteredTask};
pub use returned::{Returned, TaskResult, ViaBox, ViaDebug, ViaDisplay, ViaError, ViaFailure};
pub use tasks::TASKS;
pub(crate) use tasks::{RegisteredTasks, registered};
