//! One boundary: a queue, a victim, what happens to the victim, and the checks.

use crate::{
    operations::{DYING_NEWCOMER, Meanwhile, NEWCOMER, Operation},
    path::{Path, Trace},
    queue::Queue,
    testimony::Testimony,
    traced_operation::TracedOperation,
    traffic::TrafficProcesses,
    violation::Failure,
};
use std::process;

/// What happens to the last victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    KilledAndReported,
    /// It is killed, and the others go on for some laps before the death is reported.
    KilledAndReportedLate,
    /// It is stopped while the parent goes on for some laps, and then continued.
    Stopped,
    /// It is stopped while two other processes go on for some laps, and further ones attach, take messages, reuse the
    /// peer entries of the dead, and one of them dies. Then it is continued.
    StoppedInTraffic,
}

/// A process that runs an operation up to a boundary.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) operation: &'static Operation,
    pub(crate) path: Path,
}

/// The state when the last victim is about to begin its operation.
struct Setup {
    // Before the queue, so that it is dropped first.
    victim: TracedOperation,
    queue: Queue,
    /// Process ids of the dead, in the order of their deaths.
    dead: Vec<u32>,
    testimony: Testimony,
}

/// Runs one boundary. All parts but the last are killed at their boundaries; `fate` is that of the last.
pub(crate) fn run_round(
    parts: &[Part],
    fate: Fate,
    traffic: &mut TrafficProcesses,
) -> Result<(), Failure> {
    let Setup {
        mut queue,
        mut victim,
        mut dead,
        mut testimony,
    } = Setup::new(parts)?;
    let last = parts.last().expect("a part");
    victim.run_to_boundary(&mut queue, last.path, |_, _| ())?;
    match fate {
        Fate::KilledAndReported => dead.push(victim.kill(&mut testimony)),
        Fate::KilledAndReportedLate => {
            dead.push(victim.kill(&mut testimony));
            go_on(&mut queue, last.operation.meanwhile)?;
        }
        Fate::Stopped => {
            go_on(&mut queue, last.operation.meanwhile)?;
            dead.drain(..).for_each(|id| queue.report_exit(id));
            queue.do_a_lap()?;
            queue.hold_messages();
            victim.finish(&mut queue, &mut testimony)?;
            queue.acknowledge_held();
        }
        Fate::StoppedInTraffic => {
            let newcomers = Newcomers::start(&mut queue, &mut dead, traffic)?;
            victim.finish(&mut queue, &mut testimony)?;
            newcomers.finish(&mut queue, &mut testimony)?;
        }
    }
    report_and_check(queue, &dead, &testimony)
}

/// Reports the deaths, and checks everything.
fn report_and_check(mut queue: Queue, dead: &[u32], testimony: &Testimony) -> Result<(), Failure> {
    // The latest death first: that process may have died while it recovered another.
    for &id in dead.iter().rev() {
        queue.report_exit(id);
    }
    queue.check(testimony)
}

fn go_on(queue: &mut Queue, meanwhile: Meanwhile) -> Result<(), Failure> {
    match meanwhile {
        Meanwhile::Laps => queue.do_laps(),
        Meanwhile::Close => queue.close(),
    }
}

/// Steps once through an operation, up to this many instructions. Calls `at_boundary` at each boundary, with its
/// number, the queue, and the victim's death as if it died there.
pub(crate) fn trace(
    operation: &'static Operation,
    steps: u64,
    mut at_boundary: impl FnMut(u64, &Queue, &AssumedDeath),
) -> Result<Trace, Failure> {
    let path = Path::of_steps(steps);
    let mut addresses = Vec::new();
    let mut setup = Setup::new(&[Part { operation, path }])?;
    let death = AssumedDeath::of_victim(&setup);
    let before_step = |queue: &Queue, address| {
        at_boundary(addresses.len() as u64, queue, &death);
        addresses.push(address);
    };
    let queue = &mut setup.queue;
    setup.victim.run_to_boundary(queue, path, before_step)?;
    at_boundary(addresses.len() as u64, queue, &death);
    Ok(Trace::new(addresses))
}

/// A death of the victim that takes place only in copies of the queue.
pub(crate) struct AssumedDeath {
    /// Process ids of the dead. The victim is the last one.
    dead: Vec<u32>,
    testimony: Testimony,
    meanwhile: Meanwhile,
}

impl AssumedDeath {
    fn of_victim(setup: &Setup) -> Self {
        let mut dead = setup.dead.clone();
        dead.push(setup.victim.id());
        Self {
            dead,
            testimony: setup.victim.testimony_of_death(setup.testimony.clone()),
            meanwhile: setup.victim.operation.meanwhile,
        }
    }

    /// Recovers a copy of the queue, and checks everything. If `report_late`, the others go on for some laps before the
    /// death is reported.
    pub(crate) fn recover(&self, mut copy: Queue, report_late: bool) -> Result<(), Failure> {
        if report_late {
            go_on(&mut copy, self.meanwhile)?;
        }
        report_and_check(copy, &self.dead, &self.testimony)
    }
}

/// The processes that attach while the victim is stopped.
struct Newcomers {
    /// Holds messages that the dead have left, and perhaps has the peer entry of a dead process. `None` if the queue is
    /// closed.
    holder: Option<TracedOperation>,
}

impl Newcomers {
    fn start(
        queue: &mut Queue,
        dead: &mut Vec<u32>,
        traffic: &mut TrafficProcesses,
    ) -> Result<Self, Failure> {
        queue.do_laps_elsewhere(traffic)?;
        queue.do_a_lap()?;
        let dying = TracedOperation::start(&DYING_NEWCOMER, 0, queue);
        dead.drain(..).for_each(|id| queue.report_exit(id));
        let holder = TracedOperation::start(&NEWCOMER, 0, queue);
        queue.do_a_lap()?;
        if let Some(dying) = dying {
            // It holds a message, which no process takes before the victim is continued.
            let id = dying.kill(&mut Testimony::default());
            queue.report_exit(id);
        }
        Ok(Self { holder })
    }

    fn finish(self, queue: &mut Queue, testimony: &mut Testimony) -> Result<(), Failure> {
        // Receives before the holder acknowledges: a message that the victim has taken from it by mistake is seen.
        queue.receive_all();
        match self.holder {
            Some(holder) => holder.finish(queue, testimony),
            None => Ok(()),
        }
    }
}

impl Setup {
    /// Makes a queue, starts all processes up to the beginning of their operations, and kills all but the last.
    fn new(parts: &[Part]) -> Result<Self, Failure> {
        let (last, earlier) = parts.split_last().expect("a part");
        // In a pair the first part is the predecessor of the second.
        let predecessor = last.operation.predecessor.filter(|_| earlier.is_empty());
        let first = predecessor.unwrap_or(parts.first().expect("a part").operation);
        let name = first
            .has_name
            .then(|| format!("stepkill-{}", process::id()));
        let mut queue = Queue::new(&(first.options)(), name);
        queue.set_round(last.path.boundary);
        (first.prepare_queue)(&mut queue);
        let mut testimony = Testimony {
            close_waits_for_leases: first.close_waits_for_leases,
            ..Testimony::default()
        };
        let operations = predecessor
            .into_iter()
            .chain(parts.iter().map(|part| part.operation));
        let mut processes: Vec<TracedOperation> = Vec::new();
        for operation in operations {
            let before = processes.last().map_or(0, TracedOperation::id);
            let started = TracedOperation::start(operation, before, &queue);
            processes.push(started.expect("an open queue"));
        }
        if first.victim_has_last_sender {
            queue.tx = None;
        }
        let victim = processes.pop().expect("a part");
        let mut processes = processes.into_iter();
        let mut dead = Vec::new();
        if predecessor.is_some() {
            let mut process = processes.next().expect("it was started");
            process.run_to_death(&mut queue)?;
            dead.push(process.kill(&mut testimony));
        }
        for (mut process, part) in processes.zip(earlier) {
            process.run_to_boundary(&mut queue, part.path, |_, _| ())?;
            dead.push(process.kill(&mut testimony));
        }
        (last.operation.before_act)(&mut queue);
        Ok(Self {
            victim,
            queue,
            dead,
            testimony,
        })
    }
}
