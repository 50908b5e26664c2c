//! K2, at random moments: a process that is stopped, at any instruction, holds up no other.
//!
//! Pumps carry numbers from one queue to another. Again and again one of them is stopped at a random moment; then the
//! others must carry several laps of the ring past it. What the stopped one had in hand comes when it goes on.

use ipc_tests::support::{LIMIT, dismiss, hand_over};
use ipc_tests::{
    child::Peer,
    guarded,
    ledger::Books,
    rounds::{Rng, rounds, seed},
};
use workring::{Options, Receiver, Sender};

const PUMPS: usize = 3;
/// More than three laps of the smallest ring, which has 1,024 slots.
const CARRIED_PAST: usize = 3_500;
/// Numbers under way at a time: more than a stopped pump can have in hand.
const UNDER_WAY: u64 = 8;

struct Flow {
    to_pumps: Sender<u64>,
    from_pumps: Receiver<u64>,
    next: u64,
    under_way: u64,
    books: Books<u64>,
}

impl Flow {
    /// Waits until `count` numbers have made their round.
    fn run(&mut self, count: usize) {
        for _ in 0..count {
            while self.under_way < UNDER_WAY {
                self.to_pumps.send(self.next).expect("open");
                self.books.sent(self.next);
                self.next += 1;
                self.under_way += 1;
            }
            self.books
                .received(self.from_pumps.recv().expect("a number"));
            self.under_way -= 1;
        }
    }
}

#[test]
fn a_stopped_process_holds_up_no_other() {
    guarded(LIMIT, || {
        let mut rng = Rng::with_seed(seed());
        let options = Options::new(4);
        let (to_pumps, incoming) = options.channel::<u64>().expect("a queue");
        let (outgoing, from_pumps) = options.channel::<u64>().expect("a queue");
        let mut pumps: Vec<Peer> = (0..PUMPS)
            .map(|_| {
                hand_over("forwarder", &[], |to| {
                    to.give("in", &incoming)?.give("out", &outgoing)
                })
            })
            .collect();
        drop((incoming, outgoing));
        for pump in &mut pumps {
            assert_eq!(pump.answer(), "ready");
        }
        let mut flow = Flow {
            to_pumps,
            from_pumps,
            next: 0,
            under_way: 0,
            books: Books::new(),
        };
        for _ in 0..rounds(30, 3_000) {
            flow.run(rng.usize(1..400));
            let pump = rng.choice(&mut pumps).expect("a pump");
            pump.stop();
            flow.run(CARRIED_PAST);
            pump.resume();
        }
        let Flow {
            to_pumps,
            from_pumps,
            mut books,
            ..
        } = flow;
        drop(to_pumps);
        from_pumps
            .iter()
            .for_each(|number| books.received(number.expect("a number")));
        books.assert_balanced();
        pumps.into_iter().for_each(dismiss);
    });
}
