//! Verification of the protocol. Compiled for tests only, and not part of the published package.
//!
//! | module        | method                                                                                     |
//! |---------------|--------------------------------------------------------------------------------------------|
//! | `explorer`    | an explicit-state search over a model, and over the real functions beside it               |
//! | `loom_models` | the real functions on two-slot rings, through every interleaving that loom can produce     |
//! | `testing`     | the heap-backed queue and the processes that `loom_models` runs                            |

// The explorer chooses mutants by itself.
#[cfg(not(any(loom, workring_mutants)))]
mod explorer;
#[cfg(loom)]
mod loom_models;
#[cfg(loom)]
mod testing;
