//! What a queue contains, and whether its statistics add up.

use workring::{
    Receiver,
    queue::{Codec, Stats},
};

/// Receives all messages that are in the queue now, one by one.
pub fn all<T, C: Codec<T>>(rx: &Receiver<T, C>) -> Vec<T> {
    let messages = rx.try_iter().map(|message| message.expect("a message"));
    messages.collect()
}

/// Returns the values of the dead letters, oldest first, each with its number of deliveries. The letters stay.
pub fn letters<C: Codec<u32>>(rx: &Receiver<u32, C>) -> Vec<(u32, u32)> {
    let open: Vec<_> = rx.dead_letters().collect();
    let read = open.iter();
    read.map(|letter| {
        let bytes = letter.bytes().try_into().expect("four bytes");
        (u32::from_le_bytes(bytes), letter.deliveries())
    })
    .collect()
}

/// Asserts that each message that the queue has accepted is in exactly one place.
pub fn assert_balanced<T, C: Codec<T>>(rx: &Receiver<T, C>) {
    assert_adds_up(&rx.stats());
}

/// Asserts that in these statistics each accepted message is in exactly one place.
pub fn assert_adds_up(stats: &Stats) {
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

/// Asserts that no block of the queue is in use.
pub fn assert_all_free<T, C: Codec<T>>(rx: &Receiver<T, C>) {
    for class in rx.stats().blocks {
        assert_eq!(class.free, class.total, "{class:?}");
    }
}
