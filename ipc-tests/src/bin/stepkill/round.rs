//! One boundary: a queue, a victim, what happens to it, and whether all is well afterwards.

use crate::{
    operations::{Given, Operation},
    queue::{Failure, Queue, Testimony, Violation},
    tracer::{Halt, Traced},
};
use std::{env, process::Command};
use workring::Handoff;

/// What becomes of the last victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Killed,
    /// It is killed, and the others do not know for some laps.
    KilledUnnoticed,
    /// It stands still while the others go on for some laps, and then goes on too.
    Stopped,
}

/// A process that does an operation up to a boundary.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) operation: &'static Operation,
    pub(crate) steps: u64,
}

/// A process, and how far it came.
struct Actor {
    part: Part,
    traced: Traced,
    ended: bool,
    /// It is asleep, or was.
    slept: bool,
}

/// Plays one boundary: every actor but the last is killed at its own.
pub(crate) fn play(parts: &[Part], fate: Fate) -> Result<(), Failure> {
    let parts = with_corpse(parts);
    let (mut queue, mut actors) = set_the_stage(&parts);
    let mut testimony = Testimony::default();
    let last = actors.pop().expect("a part");
    let mut dead = Vec::new();
    for mut actor in actors {
        actor.walk(&mut queue, |_| ());
        dead.push(actor.die(&mut testimony));
    }
    let mut last = last;
    last.walk(&mut queue, |_| ());
    match fate {
        Fate::Killed => dead.push(last.die(&mut testimony)),
        Fate::KilledUnnoticed => {
            dead.push(last.die(&mut testimony));
            queue.do_laps()?;
        }
        Fate::Stopped => {
            queue.do_laps()?;
            for id in dead.drain(..) {
                queue.report(id);
            }
            queue.do_laps()?;
            last.finish(&mut queue, &mut testimony)?;
        }
    }
    // The latest first: somebody who has died while it cleared up after another.
    for id in dead.into_iter().rev() {
        queue.report(id);
    }
    queue.settle(&testimony)
}

/// The address of every instruction of an operation, up to so many, in the order in which they are done.
pub(crate) fn trace(operation: &'static Operation, steps: u64) -> Vec<u64> {
    let part = Part { operation, steps };
    let (mut queue, mut actors) = set_the_stage(&with_corpse(&[part]));
    let mut last = actors.pop().expect("a part");
    for actor in actors {
        actor.die(&mut Testimony::default());
    }
    let mut addresses = Vec::new();
    last.walk(&mut queue, |traced| addresses.push(traced.address()));
    addresses
}

/// An operation on what a dead process has left needs one.
fn with_corpse(parts: &[Part]) -> Vec<Part> {
    let corpse = match parts {
        [part] => part.operation.corpse,
        _ => None,
    };
    let corpse = corpse.map(|operation| Part {
        operation,
        steps: 0,
    });
    corpse.into_iter().chain(parts.iter().copied()).collect()
}

/// A queue, and all actors at the beginning of their operation.
fn set_the_stage(parts: &[Part]) -> (Queue, Vec<Actor>) {
    let first = parts.first().expect("a part").operation;
    let mut queue = Queue::new(&(first.options)());
    (first.stage)(&mut queue);
    let mut actors: Vec<Actor> = Vec::new();
    for &part in parts {
        let corpse = actors.last().map_or(0, |actor| actor.traced.id());
        actors.push(Actor::enter(part, corpse, &queue));
    }
    if first.last_sender {
        queue.tx = None;
    }
    (queue, actors)
}

impl Actor {
    fn enter(part: Part, corpse: u32, queue: &Queue) -> Self {
        let operation = part.operation;
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["victim", operation.name, &corpse.to_string()]);
        let handoff = match operation.given {
            Given::Sender => Handoff::new().give("queue", queue.tx.as_ref().expect("a sender")),
            Given::Receiver => Handoff::new().give("queue", &queue.rx),
        };
        let mut traced = Traced::start(&mut command, handoff.expect("give"));
        traced.sleeper = operation.relief.is_some();
        Self {
            part,
            traced,
            ended: false,
            slept: false,
        }
    }

    /// Goes to its boundary, or to the end of its operation if that comes first. `look` is called before each step.
    fn walk(&mut self, queue: &mut Queue, mut look: impl FnMut(&Traced)) {
        let mut asleep = false;
        for _ in 0..self.part.steps {
            if asleep {
                self.relieve(queue);
            } else {
                look(&self.traced);
            }
            match self.traced.step() {
                Halt::Stepped => asleep = false,
                Halt::Asleep => {
                    asleep = true;
                    self.slept = true;
                }
                Halt::Marked => {
                    self.ended = true;
                    return;
                }
                Halt::Ended(code) => panic!("it ended in its operation, with code {code}"),
            }
        }
    }

    fn relieve(&self, queue: &mut Queue) {
        let relief = self.part.operation.relief;
        relief.expect("only those fall asleep that can be woken")(queue);
    }

    /// Is killed; its process id. If its operation is at an end, it first says what came of it.
    fn die(mut self, testimony: &mut Testimony) -> u32 {
        if self.ended {
            assert_eq!(self.traced.run(), Halt::Marked, "it says what it did");
        } else {
            testimony.uncertain.extend(self.part.operation.in_flight);
        }
        testimony.cancels |= self.part.operation.cancels;
        let id = self.traced.id();
        testimony.hear(&self.traced.kill());
        id
    }

    /// Goes on to the end of the process.
    fn finish(mut self, queue: &mut Queue, testimony: &mut Testimony) -> Result<(), Failure> {
        let operation = self.part.operation;
        let code = loop {
            match self.traced.run() {
                Halt::Marked | Halt::Stepped => {}
                Halt::Asleep => self.relieve(queue),
                Halt::Ended(code) => break code,
            }
        };
        testimony.cancels |= operation.cancels;
        testimony.hear(&self.traced.last_words());
        if code != 0 {
            let story = format!("the stopped one went on and ended with code {code}");
            return Err(Failure::new(Violation::Wedged, story));
        }
        Ok(())
    }
}
