//! Recovery on copies: what a victim would leave if it died at a boundary, without its death.
//!
//! During one pass through an operation, the bytes of the queue's memory are looked at after each instruction. If no
//! boundary before had the same, they get a file of their own, to which this process attaches in its own place. Nobody
//! else has that file mapped or holds a lock in it, so the verdict on the victim is the real one: it is dead there. It is
//! recovered, and everything is checked as after a real death. Copies cost little, so there are several of each state: in
//! one of them nobody knows of the death for some laps, and in the others what is sent afterwards lies in different
//! blocks, for what is wrong with a slot may harm only the message that comes there a lap later, in a certain block.

use crate::{
    queue::{Failure, Queue},
    round::Death,
};
use ipc_tests::memfd::Contents;
use std::{collections::HashSet, fs::File, mem};

/// The copies of one pass.
#[derive(Default)]
pub(crate) struct Copies {
    /// The queue's memory.
    file: Option<File>,
    /// What was in it at the last boundary.
    contents: Contents,
    /// The same, while it is compared.
    now: Contents,
    /// Of all contents so far.
    digests: HashSet<u64>,
}

impl Copies {
    /// How many different ones there were.
    pub(crate) fn len(&self) -> usize {
        self.digests.len()
    }

    /// Whether the queue is in a state that it was not in before.
    pub(crate) fn is_new(&mut self, queue: &Queue) -> bool {
        let file = self.file.get_or_insert_with(|| queue.memory());
        self.now.read(file);
        // Most instructions write nothing there.
        if self.now == self.contents {
            return false;
        }
        mem::swap(&mut self.now, &mut self.contents);
        self.digests.insert(self.contents.digest())
    }

    /// Lets the victim die in copies of the queue, which is in the state that was last looked at.
    pub(crate) fn recover(&self, queue: &Queue, death: &Death) -> Result<(), Failure> {
        /// A queue has 64 small blocks or a few more.
        const TURNS: usize = 8;
        const BLOCKS: usize = 8;
        death.befall(queue.copy(&self.contents), true)?;
        for turn in 0..TURNS {
            let copy = queue.copy(&self.contents);
            copy.skip_blocks(turn * BLOCKS);
            death.befall(copy, false)?;
        }
        Ok(())
    }
}
