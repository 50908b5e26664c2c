//! Figures of a queue that changes while it is looked at: they are exact, or said not to be of one moment.
//!
//! Method: messages are sent and received at a chosen step of the copy, as other processes do at any.

use super::address::Address;
use super::figures::Figures;
use super::view::{QueueView, State};
use crate::queue::{Options, Receiver, Sender};
use crate::segment::image::Step;

/// A named queue, which is removed at the end.
struct Queue {
    name: String,
    tx: Sender<u32>,
    rx: Receiver<u32>,
}

impl Queue {
    fn new(test: &str) -> Self {
        let name = format!("unit-view-{test}-{}", std::process::id());
        let (tx, rx) = Options::new(16)
            .create_named(&name)
            .expect("a queue of this name");
        Self { name, tx, rx }
    }

    fn view(&self) -> QueueView {
        QueueView::open(&Address::Named(self.name.clone())).expect("a queue")
    }

    /// Returns what the queue itself counts.
    fn figures(&self) -> Figures {
        let stats = self.tx.stats();
        Figures {
            accepted: stats.accepted,
            acknowledged: stats.acknowledged,
            queued: stats.queued,
            held: stats.held,
            returned: stats.returned,
            dead_letters: stats.dead_letters,
            dropped_letters: stats.dropped_letters,
            discarded: stats.discarded,
        }
    }

    /// Moves more messages than the queue has room for: hints that were copied before are far behind afterwards.
    fn move_many(&self) {
        for number in 0..40 {
            self.tx.send(number).expect("room");
            self.rx.recv().expect("a message");
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let _ = crate::os::named::unlink(&self.name);
    }
}

#[test]
fn a_look_during_which_messages_move_is_taken_again_and_is_exact() {
    let queue = Queue::new("once");
    queue.tx.send_many(0..5).expect("room");
    let mut view = queue.view();
    let mut steps = 0;
    let moves_once = |step| {
        steps += 1;
        if steps == 1 {
            assert_eq!(step, Step::Shared);
            queue.move_many();
        }
    };
    view.image.refresh_while(moves_once).expect("read");
    let snapshot = view.snapshot();
    assert_eq!(steps, 4, "the first copy is torn, and the second is not");
    assert!(snapshot.is_settled && snapshot.damage.is_none());
    assert_eq!(snapshot.figures, queue.figures());
}

#[test]
fn figures_of_a_torn_look_balance_and_are_not_called_damage() {
    let queue = Queue::new("always");
    queue.tx.send_many(0..5).expect("room");
    let mut view = queue.view();
    let before = view.snapshot().figures;
    for torn_after in [Step::Shared, Step::All] {
        let moves_always = |step| {
            if step == torn_after {
                queue.move_many();
            }
        };
        view.image.refresh_while(moves_always).expect("read");
        let snapshot = view.snapshot();
        assert!(!snapshot.is_settled, "a torn look is called whole");
        assert_eq!((snapshot.damage, snapshot.state), (None, State::Open));
        assert!(snapshot.depth <= 16, "{snapshot:?}");
        let figures = snapshot.figures.since(&before);
        assert!(snapshot.figures.is_balanced() && figures.is_balanced());
        assert!(figures.accepted >= before.accepted, "{figures:?}");
    }
    view.refresh().expect("read");
    let snapshot = view.snapshot();
    assert!(snapshot.is_settled);
    assert_eq!(snapshot.figures, queue.figures());
}
