//! What processes do: a script of deeds, each of which is a few calls of the protocol's functions.
//!
//! The same scripts drive the model ([`super::model`]) and the real functions ([`super::real`]). A waiting deed
//! waits as `queue::wait` does, without spinning: look, announce the sleep, look again, sleep, look, and after a
//! slice look after the others.

use super::words::{BATCH, MOST, Park, small};
use crate::protocol::Corrupt;
use crate::protocol::peers::Role;

/// One thing that a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Send the next message, if there is a free block and room.
    Send,
    /// Send the next message; wait while there is no free block, or no room.
    SendPatiently,
    /// Send the next messages in a batch, if there is a free block and room.
    SendBatch,
    /// As [`Deed::SendBatch`]; wait while there is no free block, or no room.
    SendBatchPatiently,
    /// Receive a message if there is one.
    Receive(Then),
    /// Wait for a message.
    ReceivePatiently(Then),
    /// Wait for a message, but for one sleep only.
    ReceiveBriefly(Then),
    /// Wait for messages until the queue is closed.
    ReceiveAll(Then),
    /// Receive messages for as long as there are any.
    Drain(Then),
    /// Open the oldest dead letter, and put it back.
    LookAtLetter,
    /// Open the oldest dead letter, and discard it.
    DiscardLetter,
    DiscardAllLetters,
    Close,
    Cancel,
    /// Attach in the first free row, as both sender and receiver.
    Join,
    /// Make a row a ticket for the process of this number, and start it.
    HandOn(u8, Role),
    /// Use the ticket that this process was started with.
    Redeem,
    Leave(Role),
    Detach,
    /// Once the tenant of this row has died, recover it.
    LookAfter(u8),
    /// Look after everybody, as a process does whose slice has ended.
    Sweep,
}

/// What a receiver does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    Acknowledge,
    /// Of a batch, hand out one message and give it back. All others go back with it.
    GiveBack,
    /// Of a batch, reject one message.
    Reject,
    Keep,
    /// Of a batch, acknowledge all messages at once if none has been handed out before.
    AcknowledgeAll,
}

/// One call of a function of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    /// The script is at its end.
    Nothing,
    Allocate,
    /// As [`Call::Allocate`], for one that waits: not if the queue is closing.
    AllocateUnlessClosing,
    Offer,
    Publish,
    Withdraw,
    Receive,
    Acknowledge,
    GiveBack,
    Reject,
    /// What becomes of a message, or a batch, where there may be batches.
    Settle(Then),
    OpenLetter,
    PutBackLetter,
    DiscardLetter,
    Close,
    Cancel,
    Announce(Park),
    Sleep(Park),
    Inspect,
    Join,
    HandOn(u8),
    Redeem,
    Leave,
    Detach,
    LookAfter(u8),
    Tidy,
    TidyBlocks,
    /// The rest of a call of the model, which remembers no more of its start than this.
    Rest(Rest),
}

/// From where on a call of the model goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rest {
    PublishAt(u64),
    /// Whether the queue is sealed.
    TakeAt(u64, bool),
    /// How many slots have been helped.
    Verdict(u8),
    /// The row, its tenant, and how many slots have been looked at.
    RecoverSlots(u8, u64, u8),
    RecoverBlocks(u8, u64),
    RecoverLeave(u8, u64),
    EndSides(u64),
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// There was nothing to be had.
    Nothing,
    Block(Hand),
    Accepted,
    Full,
    Empty,
    Closed,
    First(bool),
    Tenant(u8, u64),
    Epoch(u64),
    Woken,
    SliceOver,
    Corrupt(Corrupt),
    /// The call goes on here.
    Again(Rest),
}

/// A block in hand, and its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hand {
    pub(super) block: u8,
    pub(super) word: u64,
}

/// How far a wait is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wait {
    Not,
    Announced,
    Woken,
    SliceOver,
}

/// What a process remembers from one call to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Local {
    pub(super) row: u8,
    /// The word of its row.
    pub(super) tenant: u64,
    pub(super) room: u64,
    pub(super) cursor: u32,
    pub(super) hand: Option<Hand>,
    pub(super) epoch: u64,
    /// How many messages it has begun to send.
    pub(super) sent: u8,
    wait: Wait,
    /// The row that a sweep looks at next; the number of rows: it is over.
    sweep: u8,
}

impl Local {
    pub(super) const fn new(row: u8, tenant: u64, room: u64) -> Self {
        Self {
            row,
            tenant,
            room,
            cursor: 0,
            hand: None,
            epoch: 0,
            sent: 0,
            wait: Wait::Not,
            sweep: 0,
        }
    }
}

/// Whether a process does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    /// Not started yet.
    Unborn,
    Running,
    Asleep(Park),
    Dead,
}

/// What was so when the current call began, and has been ever since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts that have nothing to do with each other"
)]
pub(super) struct Since {
    pub(super) closing: bool,
    pub(super) closed_was_told: bool,
    /// There was something to receive, and nobody else has taken anything.
    pub(super) something: bool,
    /// The queue was not full.
    pub(super) room: bool,
    /// These blocks were Returned, and the word said so.
    pub(super) announced: u8,
    /// These blocks were Returned.
    pub(super) returned: u8,
    pub(super) cancelled: bool,
}

/// A process in some state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) life: Life,
    /// Rows and incarnations whose lock it has.
    pub(super) locks: [Option<(u8, u64)>; 2],
    pub(super) deed: u8,
    pub(super) call: Call,
    /// What the accesses of the current call have given so far: together with `local`, all that it knows.
    pub(super) log: Vec<u64>,
    pub(super) local: Local,
    pub(super) since: Since,
}

impl Process {
    pub(super) fn new(local: Local, script: &[Deed]) -> Self {
        let mut process = Self {
            life: Life::Running,
            locks: [Some((local.row, 0)), None],
            deed: 0,
            call: Call::Nothing,
            log: Vec::new(),
            local,
            since: Since::default(),
        };
        process.begin(script);
        process
    }

    /// It does nothing any more, and what it knew is lost.
    pub(super) fn die(&mut self) {
        self.life = Life::Dead;
        self.locks = [None; 2];
        self.call = Call::Nothing;
        self.log.clear();
        self.local = Local::new(0, 0, 0);
        self.since = Since::default();
    }

    pub(super) fn has_lock(&self, row: u8, incarnation: u64) -> bool {
        self.locks.contains(&Some((row, incarnation)))
    }

    /// Its script is at its end, or it is dead.
    pub(super) fn is_over(&self) -> bool {
        self.call == Call::Nothing
    }

    /// Whether it waits for the death of a row's tenant.
    pub(super) fn is_set_on(&self, row: u8, script: &[Deed]) -> bool {
        script.get(usize::from(self.deed)) == Some(&Deed::LookAfter(row))
    }

    /// The first call of the next deed, if there is one.
    fn begin(&mut self, script: &[Deed]) {
        self.local.wait = Wait::Not;
        self.local.sweep = 0;
        let Some(deed) = script.get(usize::from(self.deed)) else {
            self.call = Call::Nothing;
            return;
        };
        self.call = match *deed {
            Deed::Send | Deed::SendBatch => Call::Allocate,
            Deed::SendPatiently | Deed::SendBatchPatiently => Call::AllocateUnlessClosing,
            Deed::Receive(_)
            | Deed::ReceivePatiently(_)
            | Deed::ReceiveBriefly(_)
            | Deed::ReceiveAll(_)
            | Deed::Drain(_) => Call::Receive,
            Deed::LookAtLetter | Deed::DiscardLetter | Deed::DiscardAllLetters => Call::OpenLetter,
            Deed::Close => Call::Close,
            Deed::Cancel => Call::Cancel,
            Deed::Join => Call::Join,
            Deed::HandOn(child, _) => Call::HandOn(child),
            Deed::Redeem => Call::Redeem,
            Deed::Leave(_) => Call::Leave,
            Deed::Detach => Call::Detach,
            Deed::LookAfter(row) => Call::LookAfter(row),
            Deed::Sweep => Call::Tidy,
        };
    }

    fn next_deed(&mut self, script: &[Deed]) {
        self.deed += 1;
        self.begin(script);
    }

    /// Woken, it leaves at once: what must not be (PARK-4 of `parking`).
    pub(super) fn leave_wait(&mut self, script: &[Deed]) {
        if let Some(Deed::ReceiveBriefly(_)) = script.get(usize::from(self.deed)) {
            self.next_deed(script);
        }
    }

    /// Go on after a call.
    pub(super) fn go_on(&mut self, script: &[Deed], rows: u8, batches: bool, outcome: Outcome) {
        self.log.clear();
        let Some(&deed) = script.get(usize::from(self.deed)) else {
            return;
        };
        let was = self.call;
        match outcome {
            Outcome::Again(rest) => self.call = Call::Rest(rest),
            Outcome::Epoch(epoch) => {
                self.local.epoch = epoch;
                self.local.wait = Wait::Announced;
                self.call = self.attempt(deed);
            }
            Outcome::Woken | Outcome::SliceOver => {
                self.local.epoch = 0;
                let over = outcome == Outcome::SliceOver;
                self.local.wait = if over { Wait::SliceOver } else { Wait::Woken };
                self.call = Call::Inspect;
            }
            Outcome::Block(hand) => {
                self.local.hand = Some(hand);
                self.local.wait = Wait::Not;
                self.with_block(script, deed, was, batches);
            }
            Outcome::Tenant(row, tenant) => {
                self.local.row = row;
                self.local.tenant = tenant;
                self.next_deed(script);
            }
            Outcome::Full if matches!(deed, Deed::Send | Deed::SendBatch) => {
                self.call = Call::Withdraw;
            }
            Outcome::Full | Outcome::Empty | Outcome::Nothing if waits(deed) && !self.sweeps() => {
                self.wait(script, deed);
            }
            Outcome::Closed if matches!(was, Call::Join | Call::HandOn(_)) => {
                self.deed = small(script.len() as u64);
                self.begin(script);
            }
            Outcome::Closed if self.local.hand.is_some() => self.call = Call::Withdraw,
            Outcome::Done | Outcome::Nothing if self.sweeps() => self.sweep_on(script, deed, rows),
            Outcome::Done if was == Call::Inspect => self.call = self.attempt(deed),
            Outcome::Done if was == Call::Offer => self.call = Call::Publish,
            Outcome::Done if again(deed) => {
                self.local.hand = None;
                self.begin(script);
            }
            _ => {
                self.local.hand = None;
                self.next_deed(script);
            }
        }
    }

    /// There is a block in hand now.
    fn with_block(&mut self, script: &[Deed], deed: Deed, was: Call, batches: bool) {
        self.call = match deed {
            _ if messages_of(deed) > 0 && was != Call::Offer => {
                self.local.sent += messages_of(deed);
                Call::Offer
            }
            _ if messages_of(deed) > 0 => Call::Publish,
            Deed::Receive(then)
            | Deed::ReceivePatiently(then)
            | Deed::ReceiveBriefly(then)
            | Deed::ReceiveAll(then)
            | Deed::Drain(then) => match then {
                Then::Keep => return self.next_deed(script),
                _ if batches => Call::Settle(then),
                Then::Acknowledge | Then::AcknowledgeAll => Call::Acknowledge,
                Then::GiveBack => Call::GiveBack,
                Then::Reject => Call::Reject,
            },
            Deed::LookAtLetter => Call::PutBackLetter,
            _ => Call::DiscardLetter,
        };
    }

    /// What a waiting deed tries again and again.
    fn attempt(&self, deed: Deed) -> Call {
        match (deed, self.local.hand) {
            (Deed::SendPatiently | Deed::SendBatchPatiently, None) => Call::AllocateUnlessClosing,
            (Deed::SendPatiently | Deed::SendBatchPatiently, Some(_)) => Call::Publish,
            _ => Call::Receive,
        }
    }

    fn park(&self, deed: Deed) -> Park {
        match (deed, self.local.hand) {
            (Deed::SendPatiently | Deed::SendBatchPatiently, None) => Park::Blocks,
            (Deed::SendPatiently | Deed::SendBatchPatiently, Some(_)) => Park::Space,
            _ => Park::Items,
        }
    }

    /// An attempt of a waiting deed was in vain.
    fn wait(&mut self, script: &[Deed], deed: Deed) {
        let park = self.park(deed);
        self.call = match self.local.wait {
            Wait::Woken if matches!(deed, Deed::ReceiveBriefly(_)) => {
                return self.next_deed(script);
            }
            Wait::Not | Wait::Woken => Call::Announce(park),
            Wait::Announced => Call::Sleep(park),
            Wait::SliceOver => {
                self.local.sweep = 0;
                Call::Tidy
            }
        };
    }

    fn sweeps(&self) -> bool {
        matches!(
            self.call,
            Call::Tidy | Call::TidyBlocks | Call::LookAfter(_)
        ) || matches!(
            self.call,
            Call::Rest(
                Rest::RecoverSlots(..)
                    | Rest::RecoverBlocks(..)
                    | Rest::RecoverLeave(..)
                    | Rest::EndSides(..)
            )
        )
    }

    /// One part of a sweep is done.
    fn sweep_on(&mut self, script: &[Deed], deed: Deed, rows: u8) {
        if matches!(deed, Deed::LookAfter(_)) {
            return self.next_deed(script);
        }
        if self.call == Call::Tidy {
            self.call = Call::TidyBlocks;
            return;
        }
        if self.local.sweep == self.local.row {
            self.local.sweep += 1;
        }
        if self.local.sweep < rows {
            self.call = Call::LookAfter(self.local.sweep);
            self.local.sweep += 1;
        } else if deed == Deed::Sweep {
            self.next_deed(script);
        } else {
            self.local.sweep = 0;
            self.local.wait = Wait::Not;
            self.call = Call::Announce(self.park(deed));
        }
    }
}

pub(super) const fn waits(deed: Deed) -> bool {
    matches!(
        deed,
        Deed::SendPatiently
            | Deed::SendBatchPatiently
            | Deed::ReceivePatiently(_)
            | Deed::ReceiveBriefly(_)
            | Deed::ReceiveAll(_)
    )
}

/// Whether a deed goes on after a call that was a success.
const fn again(deed: Deed) -> bool {
    matches!(
        deed,
        Deed::ReceiveAll(_) | Deed::Drain(_) | Deed::DiscardAllLetters
    )
}

const _: () = assert!(MOST < 8, "masks of blocks have eight bits");

/// Which message a process sends next, or has just begun to.
pub(super) fn message_of(scripts: &[&[Deed]], process: usize, sent: u8) -> u8 {
    let before = scripts.iter().take(process).map(|script| sends(script));
    small(before.sum::<usize>() as u64) + sent.saturating_sub(1)
}

/// How many messages a script sends at the most.
pub(super) fn sends(script: &[Deed]) -> usize {
    let sends = script.iter().map(|&deed| usize::from(messages_of(deed)));
    sends.sum()
}

/// How many messages a deed sends.
const fn messages_of(deed: Deed) -> u8 {
    match deed {
        Deed::Send | Deed::SendPatiently => 1,
        Deed::SendBatch | Deed::SendBatchPatiently => BATCH,
        _ => 0,
    }
}
