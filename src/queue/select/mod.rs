//! Waiting for several queues at once, to receive from one of them or to send to one.
//!
//! | file          | content                                                                                          |
//! |---------------|--------------------------------------------------------------------------------------------------|
//! | `set`         | [`Select`], the set of operations, and its methods                                               |
//! | `operation`   | what a wait needs from an operation; what became of one                                          |
//! | `receiving`   | receives and leases                                                                              |
//! | `sending`     | sends                                                                                            |
//! | `wait`        | the wait: attempts, spinning, sleep, and wakes that are passed on                                |
//! | `selected`    | [`SelectedOperation`], which completes an operation                                              |
//!
//! The state belongs to one [`Select`]. During a wait, each operation is
//!
//! | state    | it holds                        | sleeps on                  | becomes                                      |
//! |----------|---------------------------------|----------------------------|----------------------------------------------|
//! | Waiting  | nothing                         | `items`; a send `blocks`   | Done, or Offered, by an attempt              |
//! | Offered  | a block with its message        | `space`                    | Done, by `Publish`; Waiting, after the wait  |
//! | Done     | the message, or the result      |                            |                                              |
//!
//! SELECT-1. One operation of a wait is Done, and no other one changes its queue. So what was not selected has neither
//!     taken nor sent anything.
//! SELECT-2. The words of all operations are announced before the last attempts, each word once, however many operations
//!     sleep on it: a second announcement would make the first one's key stale, and no sleep would last.
//! SELECT-3. After a sleep, a wait that ends with one operation passes on the wake of every other word that has changed
//!     since it was announced (PARK-4). It may have had that wake, and has not looked at that queue since.
//! SELECT-4. An attempt that changes what its operation sleeps on is followed by another announcement.

mod operation;
mod receiving;
mod selected;
mod sending;
mod set;
mod wait;

pub use selected::SelectedOperation;
pub use set::Select;
