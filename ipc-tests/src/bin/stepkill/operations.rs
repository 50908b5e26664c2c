//! The operations that victims run.
//!
//! Messages are numbers, and each sender sends them in rising order. A victim prints what it did before its operation,
//! so that only the messages of the operation itself are uncertain when it is killed.
//!
//! | file              | content                                               |
//! | ----------------- | ----------------------------------------------------- |
//! | `operation.rs`    | what an operation consists of                         |
//! | `actions.rs`      | what parents and victims do in them                   |
//! | `futures.rs`      | operations with futures                               |
//! | `predecessors.rs` | processes that are dead when another operation begins |
//! | `catalogue.rs`    | all operations that can be chosen                     |

#[path = "operations/actions.rs"]
mod actions;
#[path = "operations/catalogue.rs"]
mod catalogue;
#[path = "operations/futures.rs"]
mod futures;
#[path = "operations/operation.rs"]
mod operation;
#[path = "operations/predecessors.rs"]
mod predecessors;

pub(crate) use catalogue::{DYING_NEWCOMER, NEWCOMER, OPERATIONS};
pub(crate) use operation::{Connected, GivenEnd, Meanwhile, Operation};
pub(crate) use predecessors::RECOVERING;

/// Returns the operation of this name, of all that a child process may run.
pub(crate) fn find(name: &str) -> Option<&'static Operation> {
    OPERATIONS
        .iter()
        .chain(predecessors::PREDECESSORS.iter().copied())
        .chain([&NEWCOMER, &DYING_NEWCOMER])
        .find(|operation| operation.name == name)
}
