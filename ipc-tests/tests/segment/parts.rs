//! M1: a new queue has little memory. A size of messages gets its memory when the first message needs it, in whichever
//! process; where there is none, an error names the limit.

use ipc_tests::support::{LIMIT, dismiss, hand_over};
use ipc_tests::{guarded, memfd};
use std::{os::unix::fs::MetadataExt, process};
use workring::{
    Options, Receiver, SendError, Sender,
    error::{CreateError, MemoryLimit, OpenError},
    queue::Raw,
};

type Ends = (Sender<Vec<u8>, Raw>, Receiver<Vec<u8>, Raw>);

const KIB: usize = 1024;

fn queue(options: &Options) -> Ends {
    options.channel_with().expect("a queue")
}

/// Returns how many bytes the file of the only queue of this process occupies.
fn allocated() -> u64 {
    let file = memfd::reopen("workring");
    512 * file.metadata().expect("metadata").blocks()
}

#[test]
fn a_new_queue_has_memory_for_its_ring_only() {
    guarded(LIMIT, || {
        for (capacity, most) in [(16, 128 * KIB), (1024, 512 * KIB)] {
            let (tx, rx) = workring::channel::<u64>(capacity).expect("a queue");
            let memory = tx.stats().memory;
            assert!(memory <= most, "{memory} bytes for {capacity} numbers");
            for number in 0..5000 {
                tx.send(number).expect("room");
                assert_eq!(rx.recv(), Ok(number));
            }
            assert_eq!(rx.stats().memory, memory);
            assert_eq!(allocated(), memory as u64);
        }
    });
}

#[test]
fn a_size_takes_memory_with_its_first_message_and_keeps_it() {
    guarded(LIMIT, || {
        let (tx, rx) = queue(&Options::new(16));
        let mut before = tx.stats();
        for length in [200, 1000, 4000, 16_000, 64_000] {
            let has = |stats: &workring::queue::Stats| {
                let mut sizes = stats.blocks.iter();
                let size = sizes.find(|size| size.payload >= length).expect("a size");
                (size.committed, size.free, size.total)
            };
            let (committed, free, total) = has(&before);
            assert!(committed == 0 && free == total && total >= 16, "{before:?}");
            for _ in 0..100 {
                tx.send(vec![7; length]).expect("memory");
                assert_eq!(rx.recv().expect("a message").len(), length);
            }
            let after = rx.stats();
            let taken = after.memory - before.memory;
            assert!(taken >= 16 * length && taken < 2 << 20, "{taken} bytes");
            assert_eq!(has(&after), (total, total, total));
            assert_eq!(allocated(), after.memory as u64);
            before = after;
        }
    });
}

#[test]
fn batches_take_the_memory_that_they_need() {
    guarded(LIMIT, || {
        let (tx, rx) = workring::channel::<u64>(16).expect("a queue");
        let before = tx.stats().memory;
        assert_eq!(tx.send_many(0..64).expect("memory"), 64);
        assert!(tx.stats().memory > before, "a batch has a block of its own");
        assert_eq!(tx.stats().queued, 64);
        let mut numbers = Vec::new();
        while numbers.len() < 64 {
            rx.recv_many(&mut numbers, 64).expect("messages");
        }
        assert!(numbers.into_iter().eq(0..64));
    });
}

#[test]
fn processes_use_a_size_that_another_one_has_used_first() {
    guarded(LIMIT, || {
        let options = Options::new(16);
        let ((tx, input), (output, rx)) = (queue(&options), queue(&options));
        let relay = hand_over("relay", &[&1], |handoff| {
            handoff.give("in", &input)?.give("out", &output)
        });
        drop((input, output));
        let mut memory = rx.stats().memory;
        for length in [64_000, 200, 16_000, 1000, 4000] {
            // The child is the first to send this size to the other queue.
            tx.send(vec![7; length]).expect("memory");
            assert_eq!(rx.recv().expect("a message"), vec![7; length]);
            let now = rx.stats().memory;
            assert!(now > memory, "{length} bytes");
            memory = now;
        }
        drop(tx);
        dismiss(relay);
    });
}

#[test]
fn a_size_without_memory_is_an_error_that_names_the_limit() {
    guarded(LIMIT, || {
        let base = queue(&Options::new(16)).0.stats().memory;
        // The table of peers, and the two smallest sizes beyond the ring.
        let limit = base + 60 * KIB + 110 * KIB;
        let (tx, rx) = queue(&Options::new(16).memory_limit(limit));
        tx.send(vec![1; 200]).expect("memory");
        tx.send(vec![2; 1000]).expect("memory");
        let refused = tx.send(vec![3; 60_000]).expect_err("no memory");
        let SendError::NoMemory {
            value,
            limit: named,
            wanted,
            available,
            ..
        } = refused
        else {
            panic!("{refused:?}")
        };
        assert_eq!((value, named), (vec![3; 60_000], MemoryLimit::Queue));
        assert!(
            wanted > 16 * 60_000 && available < 110 * KIB as u64,
            "{wanted} {available}"
        );
        // A huge message leaves the memory of the others alone.
        let refused = tx.send(vec![4; 100_000]).expect_err("no memory");
        assert!(matches!(refused, SendError::NoMemory { .. }), "{refused:?}");
        tx.send(vec![5; 900]).expect("its size has memory");
        for first in [1, 2, 5] {
            assert_eq!(rx.recv().expect("a message").first(), Some(&first));
        }
        assert!(rx.stats().memory <= limit);
    });
}

#[test]
fn a_queue_without_memory_for_its_ring_is_not_made() {
    guarded(LIMIT, || {
        let refused = Options::new(16).memory_limit(64 * KIB).channel::<u64>();
        let Err(CreateError::NoMemory {
            limit, available, ..
        }) = refused
        else {
            panic!("the ring takes more")
        };
        assert_eq!((limit, available), (MemoryLimit::Queue, 64 << 10));
    });
}

#[test]
fn a_queue_that_is_preallocated_takes_no_memory_later() {
    guarded(LIMIT, || {
        let (tx, rx) = queue(&Options::new(16).preallocate(true));
        let memory = tx.stats().memory;
        for length in [1, 200, 1000, 4000, 16_000, 64 * KIB] {
            tx.send(vec![7; length]).expect("memory");
            assert_eq!(rx.recv().expect("a message").len(), length);
        }
        assert_eq!(rx.stats().memory, memory);
        assert_eq!(allocated(), memory as u64);
    });
}

#[test]
fn the_table_of_peers_grows_by_the_page() {
    guarded(LIMIT, || {
        let name = format!("parts-{}", process::id());
        let options = Options::new(16).close_on_last_receiver(false);
        let base = queue(&options).0.stats().memory;
        // Room for one more page.
        let options = options.memory_limit(base + 4 * KIB);
        let made = options.create_named_with::<Vec<u8>, Raw>(&name);
        let (tx, rx) = made.expect("a queue");
        let mut others: Vec<Receiver<Vec<u8>, Raw>> = Vec::new();
        for number in 1..128 {
            others.push(workring::open(&name).expect("an entry"));
            let pages = number / 64;
            let stats = tx.stats();
            assert_eq!(stats.memory, base + pages * 4 * KIB, "{number}");
            assert_eq!(stats.peers.len(), 1 + number);
        }
        let refused = workring::open::<Receiver<Vec<u8>, Raw>>(&name);
        let Err(OpenError::NoMemory { limit, wanted, .. }) = refused else {
            panic!("the limit leaves no room for a third page")
        };
        assert_eq!(limit, MemoryLimit::Queue);
        assert!(wanted > 0);
        tx.send(vec![7]).expect("room");
        let last = others.last().expect("many");
        assert_eq!(last.recv().expect("a message"), [7]);
        drop(others.pop());
        others.push(workring::open(&name).expect("the entry that was given up"));
        drop((tx, rx, others));
        workring::queue::remove_named(&name).expect("no process is attached");
    });
}
