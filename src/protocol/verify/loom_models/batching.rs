//! Batches: the next holder sees what the last one has done with the messages, and no batch is missed.

use super::heap_queue::{HeapQueue, LIMITS};
use super::peer::Peer;
use super::{explore, short_or_full};
use crate::protocol::batch::BatchMarks;
use crate::protocol::steps::receive::Receive;
use crate::protocol::steps::{OwnedBlock, batch, settle};
use crate::protocol::{Corrupt, SharedState};
use crate::sync::loom_tools::{Mutex, thread};
use std::sync::Arc;

fn marks<'a>(receiver: &'a Peer, held: &OwnedBlock) -> &'a BatchMarks {
    let batch = batch::batch(&*receiver.queue, held.index()).expect("no corruption");
    batch.expect("a batch").marks
}

fn settle(receiver: &Peer, held: OwnedBlock) {
    settle::settle_batch(&*receiver.queue, held).expect("no corruption");
}

/// A message that is done is not delivered again, and a message that was returned has used up a delivery (BATCH-2,
/// BATCH-3).
#[test]
fn the_next_holder_of_a_batch_sees_the_marks_of_the_last() {
    explore("two receivers of one batch", Some(4), || {
        let queue = HeapQueue::new(LIMITS, 1, 0);
        let (first, second) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        first.send_batch(7, 2);
        let held = first.receive().expect("just sent");
        let holder = thread::spawn(move || {
            for message in 0..2 {
                let mark = marks(&first, &held).get(message);
                marks(&first, &held).record_delivery(message, mark);
            }
            marks(&first, &held).mark_done(0);
            settle(&first, held);
        });
        let held = second.receive().expect("no process closes the queue");
        let seen = [0, 1].map(|message| marks(&second, &held).get(message));
        assert!(seen[0].is_done() && seen[1].is_live(LIMITS.max_deliveries));
        assert_eq!(seen[1].failed_deliveries(), 1);
        marks(&second, &held).mark_done(1);
        settle(&second, held);
        holder.join().expect("no panic");
        queue.assert_all_free(2);
    });
}

/// One thread of a process finds the queue closed and drained, while another thread has taken a batch and is about to
/// open it, under a lock as in `queue::batches`.
#[test]
fn a_batch_that_another_thread_has_just_taken_is_not_missed() {
    let interruptions = short_or_full(3, 5);
    explore(
        "two threads of one process, one batch, closed",
        interruptions,
        || {
            let queue = HeapQueue::new(LIMITS, 1, 0);
            let (one, other) = (Peer::new(&queue, 0), Peer::new(&queue, 0));
            one.send_batch(7, 2);
            assert!(one.close());
            let here = Arc::new(Mutex::new(0));
            let receive = |peer: Peer, here: Arc<Mutex<u32>>| match peer.try_receive() {
                Receive::Message(held) => {
                    let mut here = here.lock().expect("no panic in here");
                    *here += 1;
                    let batch = batch::batch(&*peer.queue, held.index()).expect("no corruption");
                    batch.expect("a batch").open(held.word());
                }
                Receive::Closed => {
                    let here = here.lock().expect("no panic in here");
                    let in_transit: Result<bool, Corrupt> =
                        batch::has_unopened_batch(&*peer.queue, peer.index);
                    assert!(
                        in_transit.expect("no corruption") || *here == 1,
                        "the batch was missed"
                    );
                }
                Receive::Empty => panic!("the queue is closed"),
            };
            let theirs = Arc::clone(&here);
            let thread = thread::spawn(move || receive(other, theirs));
            receive(one, Arc::clone(&here));
            thread.join().expect("no panic");
            assert_eq!(*here.lock().expect("no panic in here"), 1);
            assert!(!queue.lifecycle().load().is_open());
        },
    );
}
