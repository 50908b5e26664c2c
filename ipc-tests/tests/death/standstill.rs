//! Goal: a process that is stopped, at any instruction, delays no other process (K2).
//!
//! Method: pumps move numbers from one queue to another. One of them is stopped at a random moment, and the others must
//! move several laps of the ring while it is stopped. The number that the stopped pump holds arrives when it continues.
//! This is repeated; `stepkill` stops a process at every instruction.

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
const MOVED_MEANWHILE: usize = 3_500;
/// How many numbers are in flight: more than a stopped pump can hold.
const IN_FLIGHT: u64 = 8;

struct Flow {
    to_pumps: Sender<u64>,
    from_pumps: Receiver<u64>,
    next: u64,
    in_flight: u64,
    books: Books<u64>,
}

impl Flow {
    /// Sends numbers and receives them from the pumps, until `count` have arrived.
    fn run(&mut self, count: usize) {
        for _ in 0..count {
            while self.in_flight < IN_FLIGHT {
                self.to_pumps.send(self.next).expect("open");
                self.books.sent(self.next);
                self.next += 1;
                self.in_flight += 1;
            }
            self.books
                .received(self.from_pumps.recv().expect("a number"));
            self.in_flight -= 1;
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
            in_flight: 0,
            books: Books::new(),
        };
        for _ in 0..rounds(30, 3_000) {
            flow.run(rng.usize(1..400));
            let pump = rng.choice(&mut pumps).expect("a pump");
            pump.stop();
            flow.run(MOVED_MEANWHILE);
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
