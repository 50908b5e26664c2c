//! The `tracing` events of a sweep ([`super::sweep`]).

use crate::announce::{Importance, Notice, announce};
use crate::protocol::ids::PeerIndex;
use crate::protocol::peers::PeerState;
#[cfg(feature = "tracing")]
use crate::protocol::peers::{PeerKind, Role};
use crate::protocol::steps::recover::Repairs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What a sweep has found, to be emitted when it is over (SWEEP-1).
#[derive(Debug, Default)]
pub(super) struct SweepReport {
    pub(super) deaths: Vec<Death>,
    /// Peers that live, but have lost their lock: index and process id.
    pub(super) unlocked: Vec<(PeerIndex, u32)>,
}

/// A peer that was found dead, and what this process has repaired.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "tracing"),
    expect(dead_code, reason = "only events report it")
)]
pub(super) struct Death {
    pub(super) peer: PeerIndex,
    /// 0 if the peer never recorded who it was.
    pub(super) process_id: u32,
    pub(super) state: PeerState,
    pub(super) repairs: Repairs,
}

impl SweepReport {
    /// Emits an event for each finding, where this thread's events go ([`crate::announce`]). If the subscriber panics,
    /// the other events are still emitted; then the first panic reaches the caller (SWEEP-3).
    pub(super) fn emit(self) {
        let unlocked = self
            .unlocked
            .into_iter()
            .map(|(peer, process_id)| -> Notice {
                Box::new(move || emit_unlocked(peer, process_id))
            });
        let deaths = self
            .deaths
            .into_iter()
            .map(|death| -> Notice { Box::new(move || emit_death(&death)) });
        let mut first_panic = None;
        for notice in unlocked.chain(deaths) {
            let emitted = catch_unwind(AssertUnwindSafe(|| {
                announce(Importance::Lifecycle, notice);
            }));
            match emitted {
                Ok(()) => {}
                Err(panic) if first_panic.is_none() => first_panic = Some(panic),
                // To drop a panic's payload may panic as well.
                Err(panic) => core::mem::forget(panic),
            }
        }
        if let Some(panic) = first_panic {
            resume_unwind(panic);
        }
    }
}

#[cfg(feature = "tracing")]
fn emit_death(death: &Death) {
    let Death {
        peer,
        process_id,
        state,
        repairs,
    } = death;
    if state.kind() == Some(PeerKind::Ticket) {
        tracing::info!(
            target: "workring",
            peer = peer.get(),
            "a process that was given a queue ended before it inherited it; its place is free again"
        );
        return;
    }
    tracing::warn!(
        target: "workring",
        pid = (*process_id != 0).then_some(*process_id),
        peer = peer.get(),
        sends = state.has_role(Role::Sender),
        receives = state.has_role(Role::Receiver),
        returned = repairs.returned,
        dead_letters = repairs.dead_letters,
        discarded = repairs.discarded,
        put_back = repairs.put_back,
        withdrawn = repairs.withdrawn,
        "a process died while it was attached to a queue; what it held is recovered"
    );
}

#[cfg(not(feature = "tracing"))]
fn emit_death(_: &Death) {}

#[cfg(feature = "tracing")]
fn emit_unlocked(peer: PeerIndex, process_id: u32) {
    tracing::error!(
        target: "workring",
        pid = process_id,
        peer = peer.get(),
        "a process uses a queue, but has lost its lock: did it close all descriptors?"
    );
}

#[cfg(not(feature = "tracing"))]
fn emit_unlocked(_: PeerIndex, _: u32) {}

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use super::*;
    use crate::sync::{AtomicU32, Ordering};
    use std::sync::Arc;
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// Counts events, and panics on each.
    struct Panicking(Arc<AtomicU32>);

    impl Subscriber for Panicking {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            resume_unwind(Box::new(number));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// A sweep found two deaths at once, and the subscriber panicked on the first: no event told of the second.
    #[test]
    fn a_panic_of_the_subscriber_on_one_death_does_not_suppress_the_next() {
        let death = |peer| Death {
            peer: PeerIndex::from_low_bits(peer),
            process_id: 7,
            state: PeerState::from_bits(0),
            repairs: Repairs::default(),
        };
        let report = SweepReport {
            deaths: vec![death(1), death(2)],
            unlocked: vec![(PeerIndex::from_low_bits(3), 8)],
        };
        let events = Arc::new(AtomicU32::new(0));
        let subscriber = Panicking(Arc::clone(&events));
        let panic = tracing::subscriber::with_default(subscriber, || {
            catch_unwind(AssertUnwindSafe(|| report.emit()))
        });
        assert_eq!(events.load(Ordering::Relaxed), 3);
        let panic = panic.expect_err("a panic of the subscriber");
        assert_eq!(panic.downcast_ref::<u32>(), Some(&0), "the first one");
    }
}
