//! One boundary: a queue, a victim, what happens to it, and whether all is well afterwards.

use crate::{
    carriers::Carriers,
    operations::{Given, HEIR, Meanwhile, Operation, THIRD},
    queue::{Failure, Queue, Testimony, Violation},
    route::{Leap, Route, Survey},
    tracer::{Halt, Traced},
};
use std::{env, process, process::Command};
use workring::{Handoff, error::HandoffError};

/// What becomes of the last victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Killed,
    /// It is killed, and the others do not know for some laps.
    KilledUnnoticed,
    /// It stands still while the parent goes on for some laps, and then goes on too.
    Stopped,
    /// It stands still, and meanwhile two others put some laps through, and further ones come and hold messages, in the
    /// rows of the dead too, and one of them dies.
    StoppedInTraffic,
}

/// A process that does an operation up to a boundary.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) operation: &'static Operation,
    pub(crate) route: Route,
}

/// A process, and how far it came.
struct Actor {
    operation: &'static Operation,
    traced: Traced,
    ended: bool,
}

/// What there is when the last victim is about to begin.
struct Stage {
    /// Before the queue, which is to go after it.
    victim: Actor,
    queue: Queue,
    /// The process ids of those who went before.
    dead: Vec<u32>,
    testimony: Testimony,
}

/// Plays one boundary: every actor but the last is killed at its own.
pub(crate) fn play(parts: &[Part], fate: Fate, carriers: &mut Carriers) -> Result<(), Failure> {
    let stage = Stage::set(parts)?;
    let Stage {
        mut queue,
        mut victim,
        mut dead,
        mut testimony,
    } = stage;
    let last = parts.last().expect("a part");
    victim.walk(&mut queue, last.route, |_, _| ())?;
    match fate {
        Fate::Killed => dead.push(victim.die(&mut testimony)),
        Fate::KilledUnnoticed => {
            dead.push(victim.die(&mut testimony));
            go_on(&mut queue, last.operation.meanwhile)?;
        }
        Fate::Stopped => {
            go_on(&mut queue, last.operation.meanwhile)?;
            dead.drain(..).for_each(|id| queue.report(id));
            queue.do_a_lap()?;
            queue.hoard();
            victim.finish(&mut queue, &mut testimony)?;
            queue.let_go();
        }
        Fate::StoppedInTraffic => {
            let traffic = Traffic::begin(&mut queue, &mut dead, carriers)?;
            victim.finish(&mut queue, &mut testimony)?;
            traffic.end(&mut queue, &mut testimony)?;
        }
    }
    settle(queue, &dead, &testimony)
}

/// Reports the dead, in the order of whose deaths they are given, and checks everything.
fn settle(mut queue: Queue, dead: &[u32], testimony: &Testimony) -> Result<(), Failure> {
    // The latest first: somebody who has died while it cleared up after another.
    for &id in dead.iter().rev() {
        queue.report(id);
    }
    queue.settle(testimony)
}

fn go_on(queue: &mut Queue, meanwhile: Meanwhile) -> Result<(), Failure> {
    match meanwhile {
        Meanwhile::Laps => queue.do_laps(),
        Meanwhile::Close => queue.close(),
    }
}

/// The address of every instruction of an operation, up to so many. At each boundary `look` is told how many came before,
/// and may look at the queue, and at what would be known of the victim if it died now.
pub(crate) fn survey(
    operation: &'static Operation,
    steps: u64,
    mut look: impl FnMut(u64, &Queue, &Death),
) -> Result<Survey, Failure> {
    let route = Route::on_foot(steps);
    let mut addresses = Vec::new();
    let mut stage = Stage::set(&[Part { operation, route }])?;
    let death = Death::expected(&stage);
    let note = |queue: &Queue, address| {
        look(addresses.len() as u64, queue, &death);
        addresses.push(address);
    };
    stage.victim.walk(&mut stage.queue, route, note)?;
    look(addresses.len() as u64, &stage.queue, &death);
    Ok(Survey::new(addresses))
}

/// The death of a victim in its operation, which is real only in copies of the queue.
pub(crate) struct Death {
    /// The victim is the last of them.
    dead: Vec<u32>,
    testimony: Testimony,
    meanwhile: Meanwhile,
}

impl Death {
    fn expected(stage: &Stage) -> Self {
        let Stage {
            victim,
            dead,
            testimony,
            ..
        } = stage;
        let (mut dead, mut testimony) = (dead.clone(), testimony.clone());
        dead.push(victim.traced.id());
        victim.testify(&mut testimony);
        testimony.uncertain.extend(victim.operation.in_flight);
        testimony.answer(victim.traced.said());
        Self {
            dead,
            testimony,
            meanwhile: victim.operation.meanwhile,
        }
    }

    /// Recovers a copy of the queue, and checks everything. `unnoticed`: the others do not know for some laps.
    pub(crate) fn befall(&self, mut copy: Queue, unnoticed: bool) -> Result<(), Failure> {
        if unnoticed {
            go_on(&mut copy, self.meanwhile)?;
        }
        settle(copy, &self.dead, &self.testimony)
    }
}

/// Those who come while a victim stands still.
struct Traffic {
    /// Has messages in hand that the dead have left, and perhaps the row of one of them.
    heir: Option<Actor>,
}

impl Traffic {
    fn begin(
        queue: &mut Queue,
        dead: &mut Vec<u32>,
        carriers: &mut Carriers,
    ) -> Result<Self, Failure> {
        queue.have_laps_done(carriers)?;
        queue.do_a_lap()?;
        let third = Actor::enter(&THIRD, 0, queue);
        dead.drain(..).for_each(|id| queue.report(id));
        let heir = Actor::enter(&HEIR, 0, queue);
        queue.do_a_lap()?;
        if let Some(third) = third {
            // It dies with a message in its hands, which nobody takes before the victim goes on.
            let id = third.die(&mut Testimony::default());
            queue.report(id);
        }
        Ok(Self { heir })
    }

    fn end(self, queue: &mut Queue, testimony: &mut Testimony) -> Result<(), Failure> {
        // Whatever the victim has taken from the heir by mistake is met before the heir lets it go.
        while queue.receive().is_some() {}
        match self.heir {
            Some(heir) => heir.finish(queue, testimony),
            None => Ok(()),
        }
    }
}

impl Stage {
    /// A queue, and all actors at the beginning of their operation; then all but the last are killed.
    fn set(parts: &[Part]) -> Result<Self, Failure> {
        let (last, before) = parts.split_last().expect("a part");
        // An operation on what a dead process has left needs one.
        let corpse = last.operation.corpse.filter(|_| before.is_empty());
        let first = corpse.unwrap_or(parts.first().expect("a part").operation);
        let name = first.named.then(|| format!("stepkill-{}", process::id()));
        let mut queue = Queue::new(&(first.options)(), name);
        queue.vary(last.route.boundary);
        (first.stage)(&mut queue);
        let mut testimony = Testimony::default();
        testimony.settled = first.settled;
        let operations = corpse
            .into_iter()
            .chain(parts.iter().map(|part| part.operation));
        let mut actors: Vec<Actor> = Vec::new();
        for operation in operations {
            let before = actors.last().map_or(0, |actor| actor.traced.id());
            actors.push(Actor::enter(operation, before, &queue).expect("an open queue"));
        }
        if first.last_sender {
            queue.tx = None;
        }
        let victim = actors.pop().expect("a part");
        let mut actors = actors.into_iter();
        let mut dead = Vec::new();
        if corpse.is_some() {
            let mut corpse = actors.next().expect("it has entered");
            corpse.walk_until_it_dies(&mut queue)?;
            dead.push(corpse.die(&mut testimony));
        }
        for (mut actor, part) in actors.zip(before) {
            actor.walk(&mut queue, part.route, |_, _| ())?;
            dead.push(actor.die(&mut testimony));
        }
        (last.operation.bridge)(&mut queue);
        Ok(Self {
            victim,
            queue,
            dead,
            testimony,
        })
    }
}

impl Actor {
    /// `None`: the queue is closed.
    fn enter(operation: &'static Operation, corpse: u32, queue: &Queue) -> Option<Self> {
        let mut command = Command::new(env::current_exe().expect("this program"));
        let name = queue.name().unwrap_or("-");
        command.args(["victim", operation.name, &corpse.to_string(), name]);
        let handoff = Handoff::new();
        let handoff = match operation.given {
            Given::Sender => handoff.give("queue", queue.tx.as_ref().expect("a sender")),
            Given::Receiver => handoff.give("queue", &queue.rx),
            Given::Nothing => Ok(handoff),
        };
        let handoff = match handoff {
            Err(HandoffError::Closed) => return None,
            handoff => handoff.expect("give"),
        };
        let mut traced = Traced::start(&mut command, handoff);
        traced.sleeper = operation.relief.is_some();
        Some(Self {
            operation,
            traced,
            ended: false,
        })
    }

    /// Goes to its boundary, or to the end of its operation if that comes first. `look` gets the address of each step,
    /// before that.
    fn walk(
        &mut self,
        queue: &mut Queue,
        route: Route,
        mut look: impl FnMut(&Queue, u64),
    ) -> Result<(), Failure> {
        if let Some(leap) = route.leap {
            self.leap(queue, leap)?;
        }
        let mut asleep = false;
        for _ in 0..route.steps {
            if self.ended {
                break;
            }
            if asleep {
                self.relieve(queue);
                look(queue, Survey::ASLEEP);
            } else {
                look(queue, self.traced.address());
            }
            asleep = self.step()? == Halt::Asleep;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Halt, Failure> {
        let halt = self.traced.step();
        self.ended = halt == Halt::Marked;
        match halt {
            Halt::Ended(code) => Err(ended_early(code)),
            halt => Ok(halt),
        }
    }

    fn leap(&mut self, queue: &mut Queue, leap: Leap) -> Result<(), Failure> {
        self.traced.halt_at(Some(leap.address));
        let mut visits = 0;
        while visits < leap.visits && !self.ended {
            match self.traced.run_on() {
                Halt::Stepped => visits += u64::from(self.traced.address() == leap.address),
                Halt::Asleep => self.relieve(queue),
                Halt::Marked => self.ended = true,
                Halt::Ended(code) => return Err(ended_early(code)),
            }
        }
        self.traced.halt_at(None);
        Ok(())
    }

    /// Goes to where it is to be found dead.
    fn walk_until_it_dies(&mut self, queue: &mut Queue) -> Result<(), Failure> {
        let mut halt = Halt::Marked;
        while !(self.operation.dies)(queue, halt) {
            halt = self.step()?;
            assert!(!self.ended, "it was to die in its operation");
        }
        Ok(())
    }

    fn relieve(&self, queue: &mut Queue) {
        let relief = self.operation.relief;
        relief.expect("only those fall asleep that can be woken")(queue);
    }

    /// Adds what is known of its operation without its own words.
    fn testify(&self, testimony: &mut Testimony) {
        testimony.cancels |= self.operation.cancels;
        testimony.tickets += u64::from(self.operation.gives);
    }

    /// Is killed; its process id. If its operation is at an end, it first says what came of it.
    fn die(mut self, testimony: &mut Testimony) -> u32 {
        if self.ended {
            assert_eq!(self.traced.run(), Halt::Marked, "it says what it did");
        } else {
            testimony.uncertain.extend(self.operation.in_flight);
        }
        self.testify(testimony);
        let id = self.traced.id();
        testimony.answer(&self.traced.kill());
        id
    }

    /// Goes on to the end of the process.
    fn finish(mut self, queue: &mut Queue, testimony: &mut Testimony) -> Result<(), Failure> {
        let code = loop {
            match self.traced.run() {
                Halt::Marked | Halt::Stepped => {}
                Halt::Asleep => self.relieve(queue),
                Halt::Ended(code) => break code,
            }
        };
        self.testify(testimony);
        testimony.answer(&self.traced.last_words());
        if code != 0 {
            let story = format!("the stopped one went on and ended with code {code}");
            return Err(Failure::new(Violation::Wedged, story));
        }
        Ok(())
    }
}

fn ended_early(code: i32) -> Failure {
    let story = format!("it ended in its operation, with code {code}");
    Failure::new(Violation::Wedged, story)
}
