//! What the supervisor waits for: the keys of its descriptors, and what a wait has found.

use super::captured::StandardStream;

/// The key of the notifier of commands.
pub(super) const COMMANDS_KEY: u64 = 0;

/// The number of keys of a slot.
const KEYS: u64 = 4;

/// Returns the key of the link of a slot's worker.
pub(super) const fn key_of_link(index: usize) -> u64 {
    1 + KEYS * index as u64
}

/// Returns the key of the process of a slot's worker.
pub(super) const fn key_of_process(index: usize) -> u64 {
    2 + KEYS * index as u64
}

/// Returns the key of a captured stream of a slot's worker.
pub(super) const fn key_of_output(index: usize, stream: StandardStream) -> u64 {
    let at = match stream {
        StandardStream::Output => 3,
        StandardStream::Error => 4,
    };
    at + KEYS * index as u64
}

/// What a wait has found.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) commands: bool,
    /// Slots whose worker has sent a message or closed its link.
    pub(super) readable: Vec<usize>,
    /// Slots whose worker has ended.
    pub(super) ended: Vec<usize>,
    /// Captured streams that have something, or have ended, and the slots of their workers.
    pub(super) output: Vec<(usize, StandardStream)>,
}

impl Ready {
    pub(super) fn from_keys(keys: Vec<u64>) -> Self {
        let mut ready = Self::default();
        for key in keys {
            let Some(number) = key.checked_sub(1) else {
                ready.commands = true;
                continue;
            };
            let Ok(index) = usize::try_from(number / KEYS) else {
                continue;
            };
            match number % KEYS {
                0 => ready.readable.push(index),
                1 => ready.ended.push(index),
                2 => ready.output.push((index, StandardStream::Output)),
                _ => ready.output.push((index, StandardStream::Error)),
            }
        }
        ready
    }
}
