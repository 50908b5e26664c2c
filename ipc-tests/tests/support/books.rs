//! What a queue has, and whether its books balance.

use workring::{Codec, Receiver, Stats};

/// What is there now, one by one.
pub(crate) fn all<T, C: Codec<T>>(rx: &Receiver<T, C>) -> Vec<T> {
    let messages = rx.try_iter().map(|message| message.expect("a message"));
    messages.collect()
}

/// The values of the dead letters, oldest first, with their attempts; the letters stay.
pub(crate) fn letters<C: Codec<u32>>(rx: &Receiver<u32, C>) -> Vec<(u32, u32)> {
    let open: Vec<_> = rx.dead_letters().collect();
    let read = open.iter();
    read.map(|letter| {
        let bytes = letter.bytes().try_into().expect("four bytes");
        (u32::from_le_bytes(bytes), letter.deliveries())
    })
    .collect()
}

pub(crate) fn assert_balanced<T, C: Codec<T>>(rx: &Receiver<T, C>) {
    assert_adds_up(&rx.stats());
}

/// Each message is in one place.
pub(crate) fn assert_adds_up(stats: &Stats) {
    let places = [
        stats.acknowledged,
        stats.queued,
        stats.held,
        stats.returned,
        stats.dead_letters,
        stats.dropped_letters,
        stats.discarded,
    ];
    assert_eq!(stats.accepted, places.iter().sum::<u64>(), "{stats:?}");
}

/// Nothing is left in any block.
pub(crate) fn assert_all_free<T, C: Codec<T>>(rx: &Receiver<T, C>) {
    for class in rx.stats().blocks {
        assert_eq!(class.free, class.total, "{class:?}");
    }
}
