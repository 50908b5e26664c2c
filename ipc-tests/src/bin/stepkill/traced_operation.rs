//! The parent's side of a victim: a traced process, and how far it has come in its operation.

use crate::{
    operations::{Connected, GivenEnd, Operation},
    path::{Breakpoint, Path, Trace},
    queue::Queue,
    testimony::Testimony,
    tracer::{Stop, TracedChild},
    victim_role::VICTIM_ROLE,
    violation::Failure,
};
use std::{
    env,
    process::{self, Command},
    thread,
};
use workring::{
    Handoff,
    error::HandoffError,
    rendezvous::{Connection, Listener},
};

pub(crate) struct TracedOperation {
    pub(crate) operation: &'static Operation,
    child: TracedChild,
    /// The parent's side of a connection to the process.
    _connection: Option<Connection>,
    /// The operation has returned.
    has_returned: bool,
}

impl TracedOperation {
    /// Starts a process, which stops before its operation. Returns `None` if the queue is closed.
    pub(crate) fn start(
        operation: &'static Operation,
        predecessor: u32,
        queue: &Queue,
    ) -> Option<Self> {
        let mut command = Command::new(env::current_exe().expect("this program"));
        let listener = Self::listener(operation);
        let name = listener.as_ref().map(Listener::name).or(queue.name());
        let name = name.unwrap_or("-");
        let (role, _) = VICTIM_ROLE;
        command.args([role, operation.name, &predecessor.to_string(), name]);
        let handoff = Handoff::new();
        let handoff = match operation.given_end {
            GivenEnd::Sender => handoff.give("queue", queue.tx.as_ref().expect("a sender")),
            GivenEnd::Receiver => handoff.give("queue", &queue.rx),
            GivenEnd::None => Ok(handoff),
        };
        let handoff = match handoff {
            Err(HandoffError::Closed) => return None,
            handoff => handoff.expect("give"),
        };
        let (mut child, connection) = thread::scope(|scope| {
            let accepting = listener
                .as_ref()
                .map(|listener| scope.spawn(|| Self::accept(operation, queue, listener)));
            // In this thread, which is the tracer from now on.
            let child = TracedChild::start(&mut command, handoff);
            (
                child,
                accepting.map(|thread| thread.join().expect("no panic")),
            )
        });
        child.may_sleep = operation.wake_up.is_some();
        Some(Self {
            operation,
            child,
            _connection: connection,
            has_returned: false,
        })
    }

    /// Returns a listener for the process to connect to.
    fn listener(operation: &Operation) -> Option<Listener> {
        if operation.connection == Connected::No {
            return None;
        }
        let name = format!("stepkill-{}", process::id());
        Some(Listener::bind(&name).expect("a name that no other process has"))
    }

    /// Accepts the process, and gives it what its operation takes.
    fn accept(operation: &Operation, queue: &Queue, listener: &Listener) -> Connection {
        let connection = listener.accept().expect("accept");
        if operation.connection == Connected::ParentGives {
            let tx = queue.tx.as_ref().expect("a sender");
            connection.give("queue", tx).expect("give");
        }
        connection
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Runs to the boundary, or to the end of the operation if that comes first. Calls `before_step` with the address
    /// of the next instruction before each single step.
    pub(crate) fn run_to_boundary(
        &mut self,
        queue: &mut Queue,
        path: Path,
        mut before_step: impl FnMut(&Queue, u64),
    ) -> Result<(), Failure> {
        if let Some(breakpoint) = path.breakpoint {
            self.run_to_breakpoint(queue, breakpoint)?;
        }
        let mut is_asleep = false;
        for _ in 0..path.steps {
            if self.has_returned {
                break;
            }
            if is_asleep {
                self.wake_up(queue);
                before_step(queue, Trace::ASLEEP);
            } else {
                before_step(queue, self.child.address());
            }
            is_asleep = self.step()? == Stop::Asleep;
        }
        Ok(())
    }

    fn run_to_breakpoint(
        &mut self,
        queue: &mut Queue,
        breakpoint: Breakpoint,
    ) -> Result<(), Failure> {
        let Breakpoint { address, visits } = breakpoint;
        self.child.set_breakpoint(Some(address));
        let mut visited = 0;
        while visited < visits && !self.has_returned {
            match self.child.run_to_breakpoint() {
                Stop::Stepped => visited += u64::from(self.child.address() == address),
                Stop::Asleep => self.wake_up(queue),
                Stop::Marked => self.has_returned = true,
                Stop::Ended(code) => return Err(ended_early(code)),
            }
        }
        self.child.set_breakpoint(None);
        Ok(())
    }

    fn step(&mut self) -> Result<Stop, Failure> {
        let stop = self.child.step();
        self.has_returned = stop == Stop::Marked;
        match stop {
            Stop::Ended(code) => Err(ended_early(code)),
            stop => Ok(stop),
        }
    }

    /// Runs to the moment at which the process of a predecessor dies.
    pub(crate) fn run_to_death(&mut self, queue: &mut Queue) -> Result<(), Failure> {
        let mut stop = Stop::Marked;
        while !(self.operation.dies_when)(queue, stop) {
            stop = self.step()?;
            assert!(!self.has_returned, "it dies in its operation");
        }
        Ok(())
    }

    fn wake_up(&self, queue: &mut Queue) {
        let wake_up = self.operation.wake_up;
        wake_up.expect("only operations that can be woken sleep")(queue);
    }

    /// Adds what is known of the operation without what the process prints.
    fn add_known_to(&self, testimony: &mut Testimony) {
        testimony.may_have_cancelled |= self.operation.cancels;
        testimony.max_tickets += u64::from(self.operation.makes_ticket);
    }

    /// Returns what would be known if the process died now, before its operation.
    pub(crate) fn testimony_of_death(&self, mut testimony: Testimony) -> Testimony {
        self.add_known_to(&mut testimony);
        testimony.uncertain.extend(self.operation.in_flight);
        testimony.add(self.child.printed());
        testimony
    }

    /// Kills the process. If its operation has returned, it first prints what that returned. Returns the process id.
    pub(crate) fn kill(mut self, testimony: &mut Testimony) -> u32 {
        if self.has_returned {
            let stop = self.child.run_to_mark();
            assert_eq!(stop, Stop::Marked, "it prints what the operation returned");
        } else {
            testimony.uncertain.extend(self.operation.in_flight);
        }
        self.add_known_to(testimony);
        let id = self.child.id();
        testimony.add(&self.child.kill());
        id
    }

    /// Runs to the end of the process.
    pub(crate) fn finish(
        mut self,
        queue: &mut Queue,
        testimony: &mut Testimony,
    ) -> Result<(), Failure> {
        let code = loop {
            match self.child.run_to_mark() {
                Stop::Marked | Stop::Stepped => {}
                Stop::Asleep => self.wake_up(queue),
                Stop::Ended(code) => break code,
            }
        };
        self.add_known_to(testimony);
        testimony.add(&self.child.all_printed());
        if code != 0 {
            let story = format!("the stopped process was continued and ended with code {code}");
            return Err(Failure::wedged(story));
        }
        Ok(())
    }
}

fn ended_early(code: i32) -> Failure {
    Failure::wedged(format!("it ended in its operation, with code {code}"))
}
