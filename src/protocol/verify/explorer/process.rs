//! A process: its script, what it remembers, and which call follows which outcome.
//!
//! The same scripts drive the model ([`super::model`]) and the real functions ([`super::real`]). An action that waits
//! does so as `queue::wait` does, without spinning: attempt, announce the sleep, attempt again, sleep, attempt; and
//! after a liveness interval without a wake, sweep.

use super::action::{Action, Settlement};
use super::call::{Call, Holding, Outcome};
use super::memory::{ParkingSpot, to_u8};
use crate::protocol::peers::Role;

/// How far a waiting action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum WaitPhase {
    /// It has not slept since its last success.
    Start,
    Announced,
    Woken,
    TimedOut,
}

/// What a process remembers from one call to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LocalState {
    /// Its peer entry, ...
    pub(super) peer: u8,
    /// ... and the word of that entry.
    pub(super) tenant: u64,
    /// Every position before this one is taken, as this sender knows.
    pub(super) room: u64,
    /// The block from which the next allocation starts.
    pub(super) cursor: u32,
    /// The number of the huge block that is next in turn, in its class.
    pub(super) turn: u8,
    /// Whether it has found memory short.
    pub(super) is_memory_short: bool,
    pub(super) holding: Option<Holding>,
    /// The parking word on which it will sleep.
    pub(super) epoch: u64,
    /// Whether the future has, or had, a place in line.
    pub(super) has_place: bool,
    /// How often it was polled although it was not woken.
    pub(super) extra_polls: u8,
    /// The number of messages that it has begun to send.
    pub(super) sent: u8,
    /// Whether it has leaked a block.
    has_leaked: bool,
    wait: WaitPhase,
    /// The peer entry that a sweep looks at next; the number of peer entries when the sweep is over.
    sweep: u8,
}

impl LocalState {
    pub(super) const fn new(peer: u8, tenant: u64) -> Self {
        Self {
            peer,
            tenant,
            room: 0,
            cursor: 0,
            turn: 0,
            is_memory_short: false,
            holding: None,
            epoch: 0,
            has_place: false,
            extra_polls: 0,
            sent: 0,
            has_leaked: false,
            wait: WaitPhase::Start,
            sweep: 0,
        }
    }

    /// Returns whether the reactor has slept for a whole liveness interval, so that it has to announce and look again.
    pub(super) fn is_due(&self) -> bool {
        self.wait == WaitPhase::TimedOut
    }
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Status {
    /// Another process will start it.
    NotStarted,
    Running,
    Asleep(ParkingSpot),
    /// A task whose future is pending, or a reactor that sleeps on no word of the queue: another thread of the same process
    /// wakes it.
    Parked,
    Dead,
}

impl Status {
    /// Returns whether the process does nothing until it is woken.
    pub(super) const fn sleeps(self) -> bool {
        matches!(self, Self::Asleep(_) | Self::Parked)
    }
}

/// Facts that were true when the current call began, and have been true ever since: what its outcome may rely on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "the facts are independent of each other"
)]
pub(super) struct CallFacts {
    /// The queue was closing.
    pub(super) closing: bool,
    /// A receiver had returned Closed.
    pub(super) closed_reported: bool,
    /// There was a message to receive, and no other process has taken one since.
    pub(super) has_message: bool,
    /// The queue was not full.
    pub(super) has_room: bool,
    /// These blocks were Free, and have been ever since.
    pub(super) free: u8,
    /// These blocks were Returned, and the `returned` word announced them.
    pub(super) announced: u8,
    /// These blocks were Returned.
    pub(super) returned: u8,
    /// The queue was cancelled.
    pub(super) cancelled: bool,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) status: Status,
    /// The locks that it holds: peer entry and incarnation.
    pub(super) locks: [Option<(u8, u64)>; 2],
    /// The index of the current action in the script.
    pub(super) action: u8,
    pub(super) call: Call,
    /// The results of the accesses of the current call so far: together with `local`, all that the process knows.
    pub(super) log: Vec<u64>,
    pub(super) local: LocalState,
    pub(super) facts: CallFacts,
}

impl Process {
    pub(super) fn new(local: LocalState, script: &[Action]) -> Self {
        let mut process = Self {
            status: Status::Running,
            locks: [Some((local.peer, 0)), None],
            action: 0,
            call: Call::Finished,
            log: Vec::new(),
            local,
            facts: CallFacts::default(),
        };
        process.begin(script);
        process
    }

    /// Stops the process for good; what it knew is lost.
    pub(super) fn die(&mut self) {
        self.status = Status::Dead;
        self.locks = [None; 2];
        self.call = Call::Finished;
        self.log.clear();
        self.local = LocalState::new(0, 0);
        self.facts = CallFacts::default();
    }

    pub(super) fn has_lock(&self, peer: u8, incarnation: u64) -> bool {
        self.locks.contains(&Some((peer, incarnation)))
    }

    /// Returns whether the script is finished, or the process dead.
    pub(super) fn is_finished(&self) -> bool {
        self.call == Call::Finished
    }

    /// Returns whether the process waits for the death of this peer.
    pub(super) fn awaits_death_of(&self, peer: u8, script: &[Action]) -> bool {
        script.get(usize::from(self.action)) == Some(&Action::RecoverAfterDeath(peer))
    }

    /// Starts the current action with its first call, if the script goes on.
    fn begin(&mut self, script: &[Action]) {
        self.local.wait = WaitPhase::Start;
        self.local.sweep = 0;
        let Some(action) = script.get(usize::from(self.action)) else {
            self.call = Call::Finished;
            return;
        };
        self.call = match *action {
            Action::Send | Action::SendBatch | Action::Leak => Call::Allocate,
            Action::SendBlocking | Action::SendBatchBlocking => Call::AllocateUnlessClosing,
            Action::SendHuge(class) | Action::SendHugeBlocking(class) | Action::Abandon(class) => {
                Call::AllocateHuge(class)
            }
            Action::TrimAll => Call::TrimAll,
            Action::Receive(_)
            | Action::ReceiveBlocking(_)
            | Action::ReceiveOneSleep(_)
            | Action::ReceiveUntilClosed(_)
            | Action::ReceiveAsync(_)
            | Action::ReceiveAsyncOrDrop(_)
            | Action::Drain(_) => Call::Receive,
            Action::React => Call::Attend,
            Action::PeekDeadLetter | Action::DiscardDeadLetter | Action::DiscardDeadLetters => {
                Call::OpenDeadLetter
            }
            Action::Close => Call::Close,
            Action::Cancel => Call::Cancel,
            Action::Join => Call::Join,
            Action::HandOff(child, _) => Call::HandOff(child),
            Action::Redeem => Call::Redeem,
            Action::Leave(Role::Sender) | Action::Detach if self.local.has_leaked => {
                Call::WithdrawLeaked
            }
            Action::Leave(_) => Call::Leave,
            Action::Detach => Call::Detach,
            Action::RecoverAfterDeath(peer) => Call::RecoverIfDead(peer),
            Action::Sweep => Call::FinishStalled,
        };
    }

    fn next_action(&mut self, script: &[Action]) {
        self.action += 1;
        self.begin(script);
    }

    /// Makes a process leave its wait at once, which PARK-4 and REACTOR-4 forbid: for mutants.
    pub(super) fn leave_wait(&mut self, script: &[Action]) {
        let action = script.get(usize::from(self.action));
        if let Some(Action::ReceiveOneSleep(_) | Action::ReceiveAsyncOrDrop(_)) = action {
            self.local.has_place = false;
            self.next_action(script);
        }
    }

    /// Chooses the next call after one that had this outcome.
    pub(super) fn advance(
        &mut self,
        script: &[Action],
        peers: u8,
        batches: bool,
        huge: bool,
        outcome: Outcome,
    ) {
        self.log.clear();
        let Some(&action) = script.get(usize::from(self.action)) else {
            return;
        };
        let was = self.call;
        if self.advance_future(script, action, batches, outcome) {
            return;
        }
        match outcome {
            Outcome::Continue(resume) => self.call = Call::Resumed(resume),
            Outcome::Announced(epoch) => {
                self.local.epoch = epoch;
                self.local.wait = WaitPhase::Announced;
                self.call = self.attempt(action);
            }
            Outcome::Woken | Outcome::TimedOut => {
                self.local.epoch = 0;
                self.local.wait = if outcome == Outcome::TimedOut {
                    WaitPhase::TimedOut
                } else {
                    WaitPhase::Woken
                };
                self.call = Call::CheckTail;
            }
            Outcome::Block(holding) => {
                self.local.holding = Some(holding);
                self.local.wait = WaitPhase::Start;
                self.use_block(script, action, was, batches);
            }
            Outcome::Attached(peer, tenant) => {
                self.local.peer = peer;
                self.local.tenant = tenant;
                self.next_action(script);
            }
            Outcome::Full
                if matches!(
                    action,
                    Action::Send | Action::SendBatch | Action::SendHuge(_)
                ) =>
            {
                self.call = Call::Withdraw;
            }
            Outcome::Full | Outcome::Empty | Outcome::Unavailable
                if action.waits() && !self.call.sweeps() =>
            {
                self.wait(script, action);
            }
            Outcome::Closed if matches!(was, Call::Join | Call::HandOff(_)) => {
                // Not attached: the rest of the script cannot run.
                self.action = to_u8(script.len() as u64);
                self.begin(script);
            }
            Outcome::Closed if self.local.holding.is_some() => self.call = Call::Withdraw,
            Outcome::Done | Outcome::Unavailable if self.call.sweeps() => {
                self.continue_sweep(script, action, peers);
            }
            Outcome::Done if was == Call::CheckTail => self.call = self.attempt(action),
            Outcome::Done if was == Call::Offer => self.call = Call::Publish,
            Outcome::Done if was == Call::WithdrawLeaked => {
                self.local.has_leaked = false;
                self.begin(script);
            }
            Outcome::Done if huge && matches!(was, Call::Acknowledge | Call::Withdraw) => {
                let freed = self.local.holding.take();
                self.call = freed.map_or(Call::TrimAll, |freed| Call::Trim(freed.block));
            }
            Outcome::Done if action.repeats() => {
                self.local.holding = None;
                self.begin(script);
            }
            _ => {
                self.local.holding = None;
                self.next_action(script);
            }
        }
    }

    /// Chooses the next call of a future, or of the reactor. Returns false where they do the same as others.
    fn advance_future(
        &mut self,
        script: &[Action],
        action: Action,
        batches: bool,
        outcome: Outcome,
    ) -> bool {
        let (was, is_reactor) = (self.call, action == Action::React);
        match outcome {
            Outcome::Woken if action.is_future() => {
                self.local.wait = WaitPhase::Start;
                self.call = Call::Receive;
            }
            Outcome::Dropped => self.call = Call::Dismiss(false),
            Outcome::Closed if self.local.has_place => self.call = Call::Dismiss(false),
            Outcome::Block(holding) if self.local.has_place => {
                self.local.holding = Some(holding);
                self.call = Call::Dismiss(true);
            }
            Outcome::Done if was == Call::Admit => {
                self.local.has_place = true;
                self.local.wait = WaitPhase::Announced;
                self.call = Call::Receive;
            }
            Outcome::Done if was == Call::CheckTail && action.is_future() => self.call = Call::Pend,
            Outcome::Done if was == Call::Attend => {
                self.local.wait = WaitPhase::Start;
                self.call = Call::Rest;
            }
            Outcome::Done => {
                let Call::Dismiss(is_used) = was else {
                    return false;
                };
                self.local.has_place = false;
                self.local.extra_polls = 0;
                if is_used {
                    self.use_block(script, action, was, batches);
                } else {
                    self.next_action(script);
                }
            }
            Outcome::Woken | Outcome::Called if is_reactor => {
                self.local.wait = WaitPhase::Start;
                self.call = Call::Attend;
            }
            Outcome::TimedOut if is_reactor => {
                self.local.wait = WaitPhase::TimedOut;
                self.local.sweep = 0;
                self.call = Call::FinishStalled;
            }
            _ => return false,
        }
        true
    }

    /// Chooses the next call, now that the process has a block.
    fn use_block(&mut self, script: &[Action], action: Action, was: Call, batches: bool) {
        self.call = match action {
            _ if action.messages() > 0 && was != Call::Offer => {
                self.local.sent += action.messages();
                Call::Offer
            }
            _ if action.messages() > 0 => Call::Publish,
            Action::Leak => {
                self.local.holding = None;
                self.local.has_leaked = true;
                return self.next_action(script);
            }
            Action::Abandon(_) => Call::Withdraw,
            Action::PeekDeadLetter => Call::PutBackDeadLetter,
            _ => match action.settlement() {
                None => Call::DiscardDeadLetter,
                Some(Settlement::Keep) => return self.next_action(script),
                Some(settlement) if batches => Call::Settle(settlement),
                Some(Settlement::Acknowledge | Settlement::AcknowledgeBatch) => Call::Acknowledge,
                Some(Settlement::Return) => Call::Return,
                Some(Settlement::Reject) => Call::Reject,
            },
        };
    }

    /// Returns the call that a waiting action attempts again and again.
    fn attempt(&self, action: Action) -> Call {
        match (action, self.local.holding) {
            (Action::SendBlocking | Action::SendBatchBlocking, None) => Call::AllocateUnlessClosing,
            (Action::SendHugeBlocking(class), None) => Call::AllocateHuge(class),
            (
                Action::SendBlocking | Action::SendBatchBlocking | Action::SendHugeBlocking(_),
                Some(_),
            ) => Call::Publish,
            _ => Call::Receive,
        }
    }

    fn parking_spot(&self, action: Action) -> ParkingSpot {
        match (action, self.local.holding) {
            (
                Action::SendBlocking | Action::SendBatchBlocking | Action::SendHugeBlocking(_),
                holding,
            ) => holding.map_or(ParkingSpot::Blocks, |_| ParkingSpot::Space),
            _ => ParkingSpot::Items,
        }
    }

    /// Chooses the next call after an attempt of a waiting action without success.
    fn wait(&mut self, script: &[Action], action: Action) {
        let spot = self.parking_spot(action);
        self.call = match self.local.wait {
            WaitPhase::Announced if action.is_future() => Call::CheckTail,
            _ if action.is_future() => Call::Admit,
            WaitPhase::Woken if matches!(action, Action::ReceiveOneSleep(_)) => {
                return self.next_action(script);
            }
            WaitPhase::Start | WaitPhase::Woken => Call::Announce(spot),
            WaitPhase::Announced => Call::Sleep(spot),
            WaitPhase::TimedOut => {
                self.local.sweep = 0;
                Call::FinishStalled
            }
        };
    }

    /// Chooses the next call of a sweep, or what follows it.
    fn continue_sweep(&mut self, script: &[Action], action: Action, peers: u8) {
        if matches!(action, Action::RecoverAfterDeath(_)) {
            return self.next_action(script);
        }
        if self.call == Call::FinishStalled {
            self.call = Call::FinishStalledBlocks;
            return;
        }
        if self.local.sweep == self.local.peer {
            self.local.sweep += 1;
        }
        if self.local.sweep < peers {
            self.call = Call::RecoverIfDead(self.local.sweep);
            self.local.sweep += 1;
        } else if action == Action::Sweep {
            self.next_action(script);
        } else if action == Action::React {
            self.local.sweep = 0;
            self.call = Call::Attend;
        } else {
            self.local.sweep = 0;
            self.local.wait = WaitPhase::Start;
            self.call = Call::Announce(self.parking_spot(action));
        }
    }
}
