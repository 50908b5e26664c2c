//! Verification of the protocol. Compiled for tests only, and not part of the published package.
//!
//! | module          | method                                                                               |
//! |-----------------|--------------------------------------------------------------------------------------|
//! | `explorer`      | a search over all states of a model, and of the real functions beside it             |
//! | `part_explorer` | the same for the real function that commits parts                                    |
//! | `loom_models`   | the real functions on small rings, in every interleaving and under weak memory       |

// A build with mutants has one switched on for the whole process. The explorer needs one for each search.
#[cfg(not(any(loom, workring_mutants)))]
mod explorer;
#[cfg(loom)]
pub(crate) mod loom_models;
#[cfg(not(any(loom, workring_mutants)))]
mod part_explorer;
