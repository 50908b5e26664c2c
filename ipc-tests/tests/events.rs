//! What is said of a death.

use crate::support::{hand_over, prompt, sleepy};
use ipc_tests::{Signal, child::Peer};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    dispatcher::with_default,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

mod support;

type Said = BTreeMap<&'static str, String>;

/// Keeps what events say.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<Said>>>);

struct Fields<'a>(&'a mut Said);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "workring"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut said = Said::new();
        event.record(&mut Fields(&mut said));
        self.0.lock().expect("no panic").push(said);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn ask(peer: &mut Peer, order: &str) -> String {
    peer.say(order);
    peer.hear()
}

#[test]
fn an_event_says_who_died_and_what_was_done() {
    prompt(|| {
        let listener = Listener::default();
        let (tx, rx) = sleepy(8).channel::<u32>().expect("a queue");
        let mut victim = hand_over("mortal", &[], |handoff| handoff.give("tasks", &rx));
        assert_eq!(victim.hear(), "ready");
        for number in 0..3 {
            tx.send(number).expect("room");
        }
        assert_eq!(ask(&mut victim, "lease 3"), "leased");
        let id = victim.pid().as_raw().try_into().expect("a process id");
        with_default(&Dispatch::new(listener.clone()), || {
            rx.report_exit(id);
            victim.signal(Signal::SIGKILL);
            victim.wait();
            rx.report_exit(id);
        });
        let said = listener.0.lock().expect("no panic");
        let [death] = &said[..] else {
            panic!("one death: {said:?}");
        };
        let has = |event: &Said, field, value: &str| {
            event.get(field).is_some_and(|said| said.contains(value))
        };
        assert!(has(death, "pid", &id.to_string()) && has(death, "message", "died"));
        assert!(has(death, "returned", "3") && has(death, "receives", "true"));
    });
}
