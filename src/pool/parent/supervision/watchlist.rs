//! What the supervisor waits for: the keys of its descriptors, and what a wait has found.

/// The key of the notifier of commands.
pub(super) const COMMANDS_KEY: u64 = 0;

/// Returns the key of the link of a slot's worker.
pub(super) const fn key_of_link(index: usize) -> u64 {
    1 + 2 * index as u64
}

/// Returns the key of the process of a slot's worker.
pub(super) const fn key_of_process(index: usize) -> u64 {
    2 + 2 * index as u64
}

/// What a wait has found.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) commands: bool,
    /// Slots whose worker has sent a message or closed its link.
    pub(super) readable: Vec<usize>,
    /// Slots whose worker has ended.
    pub(super) ended: Vec<usize>,
}

impl Ready {
    pub(super) fn from_keys(keys: Vec<u64>) -> Self {
        let mut ready = Self::default();
        for key in keys {
            let Some(number) = key.checked_sub(1) else {
                ready.commands = true;
                continue;
            };
            let Ok(index) = usize::try_from(number / 2) else {
                continue;
            };
            if number % 2 == 0 {
                ready.readable.push(index);
            } else {
                ready.ended.push(index);
            }
        }
        ready
    }
}
