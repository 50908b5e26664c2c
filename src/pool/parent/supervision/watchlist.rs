//! What the supervisor waits for: the keys of its descriptors, and what a wait has found.

/// The keys of a watchlist: that of commands, and those of a slot's link and process.
pub(crate) const COMMANDS_KEY: u64 = 0;

pub(crate) const fn key_of_link(index: usize) -> u64 {
    1 + 2 * index as u64
}

pub(crate) const fn key_of_process(index: usize) -> u64 {
    2 + 2 * index as u64
}

/// What a wait has found.
#[derive(Default)]
pub(crate) struct Ready {
    pub(crate) commands: bool,
    /// Slots whose worker has said something, and those whose worker has ended.
    pub(crate) readable: Vec<usize>,
    pub(crate) ended: Vec<usize>,
}

impl Ready {
    pub(crate) fn of(keys: Vec<u64>) -> Self {
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
