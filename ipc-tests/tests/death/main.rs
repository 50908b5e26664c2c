//! Goal: a process that is killed or stopped at any moment costs the others nothing: they notice a death by themselves,
//! finish or undo what the dead process had begun, and never take a live process for a dead one (K1 to K6).
//!
//! Method: `src/bin/peer.rs` plays the victims, which are killed or stopped at a point that they have reported. The
//! tools `stepkill` and `storm` do the same at every instruction and at random (see `tests/tools`).

mod events;
mod paces;
mod recovery;
mod standstill;
mod verdicts;
