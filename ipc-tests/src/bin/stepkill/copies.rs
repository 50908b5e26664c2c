//! Recovery in copies: what a victim would leave behind if it died at a boundary, without killing it.
//!
//! The operation is stepped through once, and after each instruction the bytes of the queue's memory are compared with
//! those of all boundaries before. Each new content is copied to a file of its own, to which this process attaches in
//! its own place. No other process has mapped that file or holds a lock in it, so the victim is dead there by the
//! queue's real liveness check. It is recovered, and everything is checked as after a real death.
//!
//! Copies cost little, so each content is copied several times. In one copy the death is noticed only after some laps.
//! In the others what is sent afterwards is put in different blocks, because a wrong slot may harm only the message
//! that gets it a lap later in a certain block.

use crate::{queue::Queue, round::AssumedDeath, violation::Failure};
use ipc_tests::memfd::Contents;
use std::{collections::HashSet, fs::File, mem};

/// The contents of one operation.
#[derive(Default)]
pub(crate) struct Copies {
    /// The queue's memory.
    file: Option<File>,
    /// Its content at the last boundary.
    contents: Contents,
    /// A buffer for its content now.
    now: Contents,
    /// Digests of all contents so far.
    digests: HashSet<u64>,
}

impl Copies {
    /// Returns how many different contents there were.
    pub(crate) fn len(&self) -> usize {
        self.digests.len()
    }

    /// Reads the queue's memory. Returns whether its content is new.
    pub(crate) fn is_new_content(&mut self, queue: &Queue) -> bool {
        let file = self.file.get_or_insert_with(|| queue.memory());
        self.now.read(file);
        // Most instructions do not write to the queue.
        if self.now == self.contents {
            return false;
        }
        mem::swap(&mut self.now, &mut self.contents);
        self.digests.insert(self.contents.digest())
    }

    /// Recovers copies of the content that was read last, in which the victim is dead.
    pub(crate) fn recover(&self, queue: &Queue, death: &AssumedDeath) -> Result<(), Failure> {
        /// All of them reach each small block: a queue has 64 or a few more.
        const COPIES: usize = 8;
        const BLOCKS_PER_COPY: usize = 8;
        death.recover(queue.copy(&self.contents), true)?;
        for number in 0..COPIES {
            let copy = queue.copy(&self.contents);
            copy.skip_blocks(number * BLOCKS_PER_COPY);
            death.recover(copy, false)?;
        }
        Ok(())
    }
}
