use super::*;
use crate::codec::Codec;
use crate::pool::outcome::TaskId;
use crate::pool::parent::results::{Emissions, TaskSpans};
use crate::pool::parent::settings::{ProgressSettings, WhenFull};
use crate::pool::wire::emission::{EmissionCodec, EmissionHead, EmissionMessage};
use crate::queue::{Options, Sender};
use crate::segment::board::Board;
use std::thread;

/// The capacity of the queue, and so the largest number of results that have been sent and not received.
const CAPACITY: usize = 1024;

fn results() -> (Sender<EncodedResult, EncodedResultCodec>, Arc<Results>) {
    let queue = Options::new(CAPACITY).channel_with::<EncodedResult, EncodedResultCodec>();
    let (sender, receiver) = queue.expect("a queue");
    let board = Arc::new(Board::create(1, 8, false).expect("a board"));
    let settings = ProgressSettings {
        bound: 1,
        when_full: WhenFull::DropOldest,
    };
    let spans = TaskSpans::new(Arc::clone(&board));
    let tasks = TaskTable::new(4, 8, Emissions::new(board, settings), None, spans);
    let commands = Arc::new(Commands::new().expect("an eventfd"));
    let owner = OwnerProcess::current().expect("a page");
    (sender, Results::new(receiver, tasks, 1, commands, owner))
}

/// Returns a value that a task has emitted, which has ended.
const fn value() -> EmissionMessage<'static> {
    EmissionMessage {
        head: EmissionHead {
            worker: 0,
            attempt: 1,
            number: 1,
            index: 0,
        },
        task: TaskId(0),
        type_name: "()",
        value: &[],
    }
}

/// Workers that emit values may send them as fast as they are received.
#[test]
fn collecting_ends_with_what_was_sent_before_although_more_comes() {
    assert!(EmissionCodec::encoded_len(&value()).is_ok());
    // Several times, since the receiving thread may be faster than all others for a moment.
    for _ in 0..8 {
        collect_from_a_flood();
    }
}

fn collect_from_a_flood() {
    let (sender, results) = results();
    thread::scope(|scope| {
        for _ in 0..4 {
            let sender = sender.clone();
            // Without a sleep, which would take longer to end than it takes to receive all.
            scope.spawn(move || {
                while !sender.is_closed() {
                    let _ = sender.try_send_ref::<_, EmissionCodec>(&value());
                }
            });
        }
        while !sender.is_full() {
            thread::yield_now();
        }
        results.collect();
        let received = results.queue().stats().acknowledged;
        results.queue().close();
        let sent_before = CAPACITY as u64;
        assert!(received >= sent_before, "{received}");
        assert!(received < sent_before + 2 * BATCH as u64, "{received}");
    });
}
