//! Looking at a queue while other threads and processes write to it as fast as they can.

use super::support::{Name, Watchdog, program, rounds, spawn};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use workring::inspect::{Address, Figures, QueueView};
use workring::queue::Raw;
use workring::{Options, Receiver, Sender};

/// Sends, receives, leases, returns and drops without a pause, until `stop`.
fn storm(tx: &Sender<Vec<u8>, Raw>, rx: &Receiver<Vec<u8>, Raw>, stop: &AtomicBool) {
    let mut many = Vec::new();
    let mut round: u8 = 0;
    while !stop.load(Ordering::Relaxed) {
        round = round.wrapping_add(1);
        let length = if round.is_multiple_of(7) { 500 } else { 20 };
        let _ = tx.try_send(vec![round; length]);
        let _ = tx.try_send_many((0..round % 5).map(|number| vec![number; 8]));
        let _ = rx.try_recv();
        if let Ok(lease) = rx.try_lease() {
            if round.is_multiple_of(3) {
                lease.nack();
            } else {
                lease.ack();
            }
        }
        many.clear();
        let _ = rx.try_recv_many(&mut many, 3);
        if round == 0 {
            rx.dead_letters()
                .for_each(workring::queue::DeadLetter::discard);
        }
    }
}

fn in_a_storm(name: &Name, look: impl FnOnce()) {
    let options = Options::new(16).max_deliveries(2);
    let (tx, rx) = options
        .create_named_with::<Vec<u8>, Raw>(&name.0)
        .expect("a queue");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            let (tx, rx, stop) = (tx.clone(), rx.clone(), &stop);
            scope.spawn(move || storm(&tx, &rx, stop));
        }
        look();
        stop.store(true, Ordering::Relaxed);
    });
}

/// Checks that figures balance, and do not go back.
fn check(figures: &Figures, earlier: &Figures) {
    assert!(figures.is_balanced(), "{figures:?}");
    assert!(
        figures.accepted >= earlier.accepted,
        "{earlier:?}, then {figures:?}"
    );
    assert!(
        figures.acknowledged >= earlier.acknowledged,
        "{earlier:?}, then {figures:?}"
    );
}

#[test]
fn figures_of_a_busy_queue_balance_and_do_not_go_back() {
    let _watchdog = Watchdog::with_limit(std::time::Duration::from_secs(600));
    let name = Name::new("busy");
    let looks = rounds(1000, 100_000);
    in_a_storm(&name, || {
        let address = Address::Named(name.0.clone());
        let mut view = QueueView::open(&address).expect("a queue");
        let mut earlier = Figures::default();
        let mut settled = 0;
        for _ in 0..looks {
            view.refresh().expect("readable");
            let snapshot = view.snapshot();
            assert_eq!(snapshot.damage, None, "{snapshot:?}");
            assert!(snapshot.depth <= 16, "{snapshot:?}");
            assert!(snapshot.figures.held <= 16 * 64, "{snapshot:?}");
            let figures = snapshot.figures.since(&earlier);
            check(&figures, &earlier);
            earlier = figures;
            settled += u32::from(snapshot.is_settled);
        }
        println!("{settled} of {looks} looks were of one moment; {earlier:?}");
        assert!(earlier.accepted > 0);
    });
    // At rest the copy is of one moment, and agrees with the library.
    let view = QueueView::open(&Address::Named(name.0.clone())).expect("a queue");
    assert!(view.snapshot().is_settled);
}

#[test]
fn stat_beside_a_storm_prints_figures_that_balance() {
    let _watchdog = Watchdog::start();
    let name = Name::new("storm");
    in_a_storm(&name, || {
        let arguments = ["stat", &name.0, "--json", "--watch", "0.02"];
        let mut child = spawn(program().args(arguments));
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut before = 0;
        for _ in 0..rounds(30, 1000) {
            let line = lines.next().expect("a line").expect("text");
            let value: Value = serde_json::from_str(&line).expect("JSON");
            super::schema::check("queue", &value);
            let messages = value["messages"].as_object().expect("figures");
            let number = |name: &str| messages[name].as_u64().expect("a number");
            let parts = messages.keys().filter(|name| *name != "accepted");
            let sum: u64 = parts.map(|name| number(name)).sum();
            assert_eq!(sum, number("accepted"), "{line}");
            assert!(number("accepted") >= before, "{line}");
            before = number("accepted");
        }
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(before > 0);
    });
}
