//! Where every message is, by the notes of all.
//!
//! | what the notes say of a message                      | it has to be                                        |
//! |------------------------------------------------------|-----------------------------------------------------|
//! | accepted                                             | in exactly one place: acknowledged, a dead letter, or drained |
//! | refused, or never sent                               | nowhere                                             |
//! | about to be sent by a process that was killed        | in one place or nowhere: *uncertain*                |
//! | about to be acknowledged by a process that was killed | acknowledged by it, or in one other place: *uncertain* |
//!
//! B1. Nobody has a message that another one has: its last holder has returned it, or was killed.
//! B2. A process that was killed leaves one uncertain message at the most.
//! B3. The queue has accepted, by its own count, as many messages as are found or named: an uncertain one that it
//!     has accepted and lost would be missing.
//! B4. With a single receiver, messages of one sender are first received in their order. Only one that was taken and
//!     not yet noted when a receiver was killed may come later.

use crate::message::{Deed, Id, Life, Note};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
};

/// What the sender knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sent {
    #[default]
    Unheard,
    Sending,
    Accepted,
    Refused,
}

/// Where a message has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Acknowledged,
    Letter,
    Drained,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    sent: Sent,
    /// Its sender noted the attempt after the queue was closed.
    too_late: bool,
    was_handed_out: bool,
    holder: Option<Life>,
    /// Its holder is about to acknowledge it.
    settling: bool,
    place: Option<Place>,
}

/// The accounts of one queue.
#[derive(Debug, Default)]
pub(crate) struct Books {
    accounts: BTreeMap<Id, Account>,
    killed: BTreeSet<Life>,
    killed_consumers: u64,
    closed: bool,
    /// For each process that was killed, how many messages it has left in doubt.
    doubts: BTreeMap<Life, u64>,
    /// The highest number received so far of each sender.
    latest: BTreeMap<Life, Id>,
    overtaken: u64,
    duplicated: Vec<String>,
    wrong: Vec<String>,
}

/// What a queue says of itself at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    pub(crate) accepted: u64,
    pub(crate) dropped_letters: u64,
    /// Blocks in use, messages in hand, and rows of others.
    pub(crate) leaked: u64,
}

impl Books {
    pub(crate) fn enter(&mut self, note: Note) {
        let Note { deed, life, id } = note;
        match deed {
            Deed::Sending => {
                let too_late = self.closed;
                let account = self.account(id);
                (account.sent, account.too_late) = (Sent::Sending, too_late);
            }
            Deed::Accepted => self.accepted(id),
            Deed::Refused => self.account(id).sent = Sent::Refused,
            Deed::Leased => self.hand_out(life, id),
            Deed::Receiving => {
                self.hand_out(life, id);
                self.account(id).settling = true;
            }
            Deed::Settling => self.account(id).settling = true,
            Deed::Settled => self.place(life, id, Place::Acknowledged),
            Deed::Returning => self.account(id).holder = None,
            Deed::Drained => {
                self.hand_out(life, id);
                self.place(life, id, Place::Drained);
            }
            Deed::Letter => {
                self.hand_out(life, id);
                self.place(life, id, Place::Letter);
            }
            Deed::KillingSender => _ = self.killed.insert(life),
            Deed::KillingConsumer => {
                self.killed.insert(life);
                self.killed_consumers += 1;
            }
            Deed::Closed => self.closed = true,
        }
    }

    /// What was seen to be wrong elsewhere.
    pub(crate) fn also_wrong(&mut self, line: String) {
        self.wrong.push(line);
    }

    fn account(&mut self, id: Id) -> &mut Account {
        self.accounts.entry(id).or_default()
    }

    fn accepted(&mut self, id: Id) {
        let account = self.account(id);
        account.sent = Sent::Accepted;
        if account.too_late {
            self.wrong.push(format!(
                "{id:?} was accepted although the queue was closed before"
            ));
        }
    }

    /// B1.
    fn hand_out(&mut self, to: Life, id: Id) {
        let mut account = *self.account(id);
        if let Some(place) = account.place {
            self.duplicated
                .push(format!("{id:?} went to {to:?} although it was {place:?}"));
        }
        if matches!(account.sent, Sent::Unheard | Sent::Refused) {
            self.duplicated.push(format!(
                "{id:?} went to {to:?} although it was {:?}",
                account.sent
            ));
        }
        match account.holder {
            Some(holder) if !self.killed.contains(&holder) => self
                .duplicated
                .push(format!("{id:?} went to {to:?} although {holder:?} had it")),
            // In doubt until now: it was not acknowledged after all.
            Some(holder) if account.settling => self.doubt(holder),
            _ => {}
        }
        if !account.was_handed_out {
            self.note_order(id);
        }
        account.was_handed_out = true;
        (account.holder, account.settling) = (Some(to), false);
        *self.account(id) = account;
    }

    /// B4.
    fn note_order(&mut self, id: Id) {
        let latest = self.latest.entry(id.sender()).or_insert(id);
        self.overtaken += u64::from(id < *latest);
        *latest = id.max(*latest);
    }

    fn place(&mut self, by: Life, id: Id, place: Place) {
        let account = self.account(id);
        let rightly = account.holder == Some(by) && account.place.is_none();
        account.holder = None;
        account.place = Some(place);
        if !rightly {
            self.duplicated.push(format!(
                "{id:?} was {place:?} by {by:?}, who did not have it"
            ));
        }
    }

    fn doubt(&mut self, life: Life) {
        *self.doubts.entry(life).or_default() += 1;
    }

    /// When everything is over: what all this comes to.
    pub(crate) fn balance(mut self, kills: u64, said: Said, single_consumer: bool) -> Totals {
        let mut totals = Totals {
            kills,
            leaked: said.leaked,
            ..Totals::default()
        };
        let mut lost = Vec::new();
        for (id, account) in std::mem::take(&mut self.accounts) {
            let found = self.settle(id, account, &mut totals);
            if !found && account.sent == Sent::Accepted {
                lost.push(format!("{id:?} is lost: {account:?}"));
            }
        }
        // Whatever the queue itself says that it has dropped can't be told by name.
        let dropped = usize::try_from(said.dropped_letters).unwrap_or(usize::MAX);
        let unnamed = lost.len().min(dropped);
        lost.drain(..unnamed);
        totals.dead_letters += unnamed as u64;
        totals.lost = lost.len() as u64;
        totals.duplicated = self.duplicated.len() as u64;
        totals.uncertain = self.doubts.values().sum();
        self.check_doubts();
        self.check_count(&totals, said);
        if single_consumer && self.overtaken > self.killed_consumers {
            self.wrong.push(format!(
                "{} messages came out of order, of {} receivers that were killed",
                self.overtaken, self.killed_consumers
            ));
        }
        totals.violations = [lost, self.duplicated, self.wrong].concat();
        totals
    }

    /// Where a message is at the end. False: nowhere.
    fn settle(&mut self, id: Id, account: Account, totals: &mut Totals) -> bool {
        let sender = id.sender();
        if account.sent == Sent::Sending {
            self.doubt(sender);
        }
        let in_doubt = account
            .holder
            .filter(|holder| account.settling && self.killed.contains(holder));
        match (account.place, in_doubt) {
            (Some(Place::Acknowledged), _) => totals.acknowledged += 1,
            (Some(Place::Letter), _) => totals.dead_letters += 1,
            (Some(Place::Drained), _) => totals.queued += 1,
            (None, Some(holder)) => {
                self.doubt(holder);
                totals.swallowed += 1;
            }
            (None, None) => {
                totals.accepted += u64::from(account.sent == Sent::Accepted);
                return false;
            }
        }
        totals.accepted += 1;
        true
    }

    /// B2. Whoever was not killed has left nothing in doubt.
    fn check_doubts(&mut self) {
        for (life, doubts) in &self.doubts {
            let may = u64::from(self.killed.contains(life));
            if *doubts > may {
                self.wrong.push(format!(
                    "{life:?} has left {doubts} messages in doubt, not {may}"
                ));
            }
        }
    }

    /// B3.
    fn check_count(&mut self, totals: &Totals, said: Said) {
        if said.accepted != totals.accepted {
            self.wrong.push(format!(
                "the queue says that it has accepted {} messages, but {} are known",
                said.accepted, totals.accepted
            ));
        }
        if said.leaked > 0 {
            self.wrong
                .push(format!("{} blocks or rows are not free", said.leaked));
        }
    }
}

/// What one storm comes to, or several.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) kills: u64,
    accepted: u64,
    acknowledged: u64,
    dead_letters: u64,
    queued: u64,
    uncertain: u64,
    /// Of the uncertain ones, those that are in no other place: their last holder has acknowledged them.
    swallowed: u64,
    lost: u64,
    duplicated: u64,
    leaked: u64,
    violations: Vec<String>,
}

impl Totals {
    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.accepted += other.accepted;
        self.acknowledged += other.acknowledged;
        self.dead_letters += other.dead_letters;
        self.queued += other.queued;
        self.uncertain += other.uncertain;
        self.swallowed += other.swallowed;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.leaked += other.leaked;
        self.violations.extend(other.violations);
    }
}

impl Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "storm: {} kills, {} accepted, {} acknowledged, {} dead letters, {} queued, {} uncertain, {} lost, \
             {} duplicated, {} leaked",
            self.kills,
            self.accepted,
            self.acknowledged,
            self.dead_letters,
            self.queued,
            self.uncertain,
            self.lost,
            self.duplicated,
            self.leaked
        )
    }
}
