//! Goal: each command of `workring` does what `docs/CLI.md` says, on real queues; commands that look take no part.
//!
//! Method: make queues with the library, run the program, and compare what it prints, and its exit code, with what the
//! library says of the queues. All JSON is checked against `docs/cli.schema.json`.
//!
//! | module       | what                                                                        |
//! |--------------|-----------------------------------------------------------------------------|
//! | `support`    | running the program; names that are removed at the end; a watchdog          |
//! | `schema`     | a small validator for the schema                                            |
//! | `looking`    | `ls`, `stat`, `peek`: what they show, and that they change nothing          |
//! | `strange`    | queues of another version, files that are none, overwritten segments        |
//! | `busy`       | looking at a queue that other processes are writing                         |
//! | `streams`    | `send` and `recv` in pipes; signals                                         |
//! | `steering`   | `drain`, `dead-letters`, `close`, `cancel`, `rm`, `gc`                      |
//! | `collecting` | `gc` where it removes queues for real, and what killed makers left            |
//! | `pooling`    | a live pool, its workers and what they run                                  |
//! | `other`      | `doctor`, errors                                                            |
//! | `shells`     | `completions`, `man`                                                        |
//! | `live`       | `top`, in a terminal of tmux                                                |
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test may panic"
)]

mod busy;
mod collecting;
mod live;
mod looking;
mod other;
mod pooling;
mod schema;
mod shells;
mod steering;
mod strange;
mod streams;
mod support;
