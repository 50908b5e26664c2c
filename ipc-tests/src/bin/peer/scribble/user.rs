//! Uses a queue in all ways, and counts errors.

use ipc_tests::rounds::Rng;
use std::{
    fmt::{Debug, Display},
    time::{Duration, Instant},
};
use workring::{
    Handoff, Lease, Receiver, Sender,
    queue::{Bincode, Codec, Raw},
};

/// What was counted.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) corruptions: u64,
    pub(super) errors: u64,
}

impl Tally {
    /// Counts an error. Any error will do: a corrupt queue must only not panic or fault.
    pub(super) fn record<T, E: Display + Debug>(&mut self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                assert!(!error.to_string().is_empty(), "{error:?}");
                self.errors += 1;
                None
            }
        }
    }
}

/// A type of messages: how to make one, and the operations that only messages of bytes have.
pub(super) trait Message: Sized + Debug + Send {
    type Codec: Codec<Self>;
    const ROLE: &'static str;
    fn make(rng: &mut Rng) -> Self;
    fn in_place(
        _: &Sender<Self, Self::Codec>,
        _: &Receiver<Self, Self::Codec>,
        _: &mut Rng,
        _: &mut Tally,
    ) {
    }
}

/// Chooses the length of a message: mostly small, sometimes of any size class.
fn length(rng: &mut Rng) -> usize {
    let most = [8, 100, 96, 250, 1000, 4000, 16_000, 65_000];
    let most = if rng.u32(0..4) == 0 {
        *rng.choice(&most).expect("some")
    } else {
        100
    };
    rng.usize(0..=most)
}

impl Message for Vec<u8> {
    type Codec = Raw;
    const ROLE: &'static str = "scribbled-bytes";

    fn make(rng: &mut Rng) -> Self {
        vec![7; length(rng)]
    }

    fn in_place(
        tx: &Sender<Self, Raw>,
        rx: &Receiver<Self, Raw>,
        rng: &mut Rng,
        tally: &mut Tally,
    ) {
        let length = length(rng);
        if rng.bool() {
            let Some(mut room) = tally.record(tx.try_reserve(length)) else {
                return;
            };
            room.fill(7);
            let sent = match rng.u32(0..3) {
                0 => room.try_commit().map_err(|error| error.to_string()),
                1 => room
                    .commit_timeout(SHORT_WAIT)
                    .map_err(|error| error.to_string()),
                _ => return,
            };
            tally.record(sent);
        } else if let Some(lease) = tally.record(rx.lease_bytes_timeout(SHORT_WAIT)) {
            assert!(lease.iter().count() <= MAX_LENGTH);
            if rng.bool() {
                lease.ack();
            }
        }
    }
}

impl Message for (u64, String) {
    type Codec = Bincode;
    const ROLE: &'static str = "scribbled-texts";

    fn make(rng: &mut Rng) -> Self {
        (rng.u64(..), "x".repeat(length(rng)))
    }
}

/// The longest message.
const MAX_LENGTH: usize = 64 << 10;
/// The time limit of waits that sleep.
const SHORT_WAIT: Duration = Duration::from_micros(300);

/// Uses a queue by random operations.
pub(super) struct User<T, C: Codec<T>> {
    pub(super) tx: Sender<T, C>,
    pub(super) rx: Receiver<T, C>,
    leases: Vec<Lease<'static, T, C>>,
    pub(super) rng: Rng,
    pub(super) tally: Tally,
}

impl<T: Message<Codec = C>, C: Codec<T>> User<T, C> {
    pub(super) fn new(tx: Sender<T, C>, rx: Receiver<T, C>, rng: &mut Rng) -> Self {
        Self {
            tx,
            rx,
            leases: Vec::new(),
            rng: rng.fork(),
            tally: Tally::default(),
        }
    }

    /// Does one random operation.
    pub(super) fn step(&mut self) {
        match self.rng.u32(0..40) {
            0..12 => self.send(),
            12..22 => self.receive(),
            22..28 => self.lease(),
            28..33 => self.end_one_lease(),
            33 => self.read_dead_letters(),
            34 => self.query(),
            35 => {
                let handoff = Handoff::new().give("queue", &self.rx);
                drop(self.tally.record(handoff));
            }
            36 => (self.tx, self.rx) = (self.tx.clone(), self.rx.clone()),
            37 => T::in_place(&self.tx, &self.rx, &mut self.rng, &mut self.tally),
            38 => {
                for received in self.rx.try_iter().take(20) {
                    self.tally.record(received);
                }
            }
            _ => match self.rng.u32(0..10) {
                0 => drop(self.tx.close()),
                1 => drop(self.rx.cancel()),
                _ => {}
            },
        }
    }

    fn send(&mut self) {
        let (tx, message) = (&self.tx, T::make(&mut self.rng));
        let sent = match self.rng.u32(0..8) {
            0 => tx
                .send_timeout(message, SHORT_WAIT)
                .map_err(|error| error.to_string()),
            1 => {
                let deadline = Instant::now();
                let sent = tx.send_deadline(message, deadline);
                sent.map_err(|error| error.to_string())
            }
            2 => {
                // Ends the wait when it would sleep.
                tx.interrupter().interrupt();
                tx.send(message).map_err(|error| error.to_string())
            }
            _ => tx.try_send(message).map_err(|error| error.to_string()),
        };
        self.tally.record(sent);
    }

    fn receive(&mut self) {
        let rx = &self.rx;
        let received = match self.rng.u32(0..8) {
            0 => rx
                .recv_timeout(SHORT_WAIT)
                .map_err(|error| error.to_string()),
            1 => {
                let received = rx.recv_deadline(Instant::now());
                received.map_err(|error| error.to_string())
            }
            2 => {
                rx.interrupter().interrupt();
                rx.recv().map_err(|error| error.to_string())
            }
            _ => rx.try_recv().map_err(|error| error.to_string()),
        };
        self.tally.record(received);
    }

    fn lease(&mut self) {
        let lease = if self.rng.u32(0..8) == 0 {
            let lease = self.rx.lease_timeout(SHORT_WAIT);
            lease.map_err(|error| error.to_string())
        } else {
            self.rx.try_lease().map_err(|error| error.to_string())
        };
        let lease = self.tally.record(lease);
        self.leases.extend(lease.map(Lease::into_owned));
    }

    fn end_one_lease(&mut self) {
        let Some(lease) = self.leases.pop() else {
            return;
        };
        assert!(lease.deliveries() <= 15);
        match self.rng.u32(0..3) {
            0 => drop(lease.ack()),
            1 => lease.nack(),
            _ => drop(lease),
        }
    }

    fn read_dead_letters(&mut self) {
        for dead_letter in self.rx.dead_letters() {
            assert!(dead_letter.bytes().len() <= MAX_LENGTH && dead_letter.deliveries() <= 15);
            self.tally.record(dead_letter.decode());
            if self.rng.bool() {
                dead_letter.discard();
            }
        }
    }

    fn query(&self) {
        assert!(self.tx.len() <= self.rx.capacity());
        let stats = self.rx.stats();
        assert!(stats.peers.len() <= 1024, "{stats:?}");
        assert!(!format!("{:?} {:?}", self.tx, self.rx).is_empty());
        let _: (bool, bool, bool) = (self.tx.is_full(), self.rx.is_empty(), self.tx.is_closed());
    }
}
