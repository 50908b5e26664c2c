//! Fences on behalf of other processes: `membarrier(2)`.
//!
//! A process that has registered can be interrupted for a full fence at any time. So the side of a handshake that runs
//! for each message needs no fence of its own, and the side that runs seldom, before it sleeps, makes one for all.

use rustix::thread::{MembarrierCommand, membarrier};

/// Registers this process, so that [`fence_registered`] of any process makes a full fence in all of its threads. Returns
/// whether that is so from now on. A container may refuse it, and kernels before 4.16 do not know it.
#[must_use]
pub(crate) fn register() -> bool {
    membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
}

/// Makes a full fence in each running thread of every registered process, and in this one. Returns whether it has.
#[must_use]
pub(crate) fn fence_registered() -> bool {
    membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_registers_a_process_also_makes_the_fence() {
        if register() {
            assert!(fence_registered());
        }
    }
}
