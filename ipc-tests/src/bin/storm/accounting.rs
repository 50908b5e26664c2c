//! Checks, from the ledger, that each message of one queue is in exactly one place.
//!
//! | the ledger says of a message                          | it has to be                                          |
//! | ----------------------------------------------------- | ----------------------------------------------------- |
//! | accepted                                              | acknowledged, a dead letter, or drained (exactly one) |
//! | rejected, or never sent                               | nowhere                                               |
//! | about to be sent by a process that was killed         | in one place or nowhere: *uncertain*                  |
//! | about to be acknowledged by a process that was killed | acknowledged, or in one other place: *uncertain*      |
//!
//! STORM-1. No two processes hold the same message: its last holder has returned it, or was killed.
//! STORM-2. A process that was killed leaves at most as many messages uncertain as one call sends or receives. Any
//!          other process leaves none.
//! STORM-3. The queue's own count of accepted messages is the number of messages that are found, or acknowledged by a
//!          killed process. A message that the queue accepted from a killed sender, and then lost, would be missing
//!          here. The check allows the count to be too high by one batch less one message for each killed sender.
//! STORM-4. With a single consumer, the messages of each sender are delivered in their order for the first time. For
//!          each killed consumer one batch may come later: it was taken, and not yet recorded.
//! STORM-5. A message that is in no place is lost, unless it may have been a dead letter that the queue evicted. The
//!          queue counts evictions without naming the messages; the count excuses only messages of which the ledger
//!          says that they were returned from their last permitted delivery, or after the end, or that a process was
//!          killed that may have held them for the last time. (The storm's queues keep more dead letters than there
//!          should ever be.)

use crate::{
    child::MAX_DELIVERIES,
    config::Config,
    events::{Event, Record},
    ids::{MessageId, ProcessNumber},
    totals::Totals,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

/// What the sender of a message knows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SendState {
    #[default]
    NeverSent,
    Sending,
    Accepted,
    Rejected,
}

/// Where a message has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FinalPlace {
    Acknowledged,
    DeadLetter,
    Drained,
}

/// What the ledger says of one message.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    sent: SendState,
    /// The queue was closed before the sender began to send it.
    sent_after_close: bool,
    /// The deliveries that are recorded.
    deliveries: u64,
    /// How many consumers had been killed when it was sent. Each one killed since may have had a delivery that is not
    /// recorded.
    consumers_killed_before: u64,
    /// It was returned from its last permitted delivery, or after the end: either makes it a dead letter.
    returned_as_dead_letter: bool,
    holder: Option<ProcessNumber>,
    /// Its holder is about to acknowledge it.
    acknowledging: bool,
    place: Option<FinalPlace>,
}

/// The accounts of one queue.
#[derive(Debug, Default)]
pub(crate) struct Accounting {
    accounts: BTreeMap<MessageId, Account>,
    killed: BTreeSet<ProcessNumber>,
    killed_consumers: u64,
    closed: bool,
    /// How many messages each process has left uncertain.
    uncertain: BTreeMap<ProcessNumber, u64>,
    /// The highest number of each sender that was delivered so far.
    latest: BTreeMap<ProcessNumber, MessageId>,
    /// How many first deliveries came after one of a later message of the same sender.
    out_of_order: u64,
    duplicated: Vec<String>,
    other_violations: Vec<String>,
}

/// What the queue's statistics say at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FinalStats {
    pub(crate) accepted: u64,
    pub(crate) evicted_dead_letters: u64,
    /// Blocks in use, and peers other than the parent.
    pub(crate) leaked: u64,
}

impl Accounting {
    /// Adds the next record of the ledger.
    pub(crate) fn add(&mut self, record: Record) {
        let Record {
            event,
            process,
            message,
        } = record;
        match event {
            Event::Sending => self.begin_send(message),
            Event::Accepted => self.accept(message),
            Event::Rejected => self.account(message).sent = SendState::Rejected,
            Event::Leased => self.deliver(process, message),
            Event::Receiving => {
                self.deliver(process, message);
                self.account(message).acknowledging = true;
            }
            Event::Acknowledging => self.account(message).acknowledging = true,
            Event::Acknowledged => self.place(process, message, FinalPlace::Acknowledged),
            Event::Returning => self.give_back(message, false),
            Event::ReturningLastDelivery => self.give_back(message, true),
            Event::Drained => {
                self.deliver(process, message);
                self.place(process, message, FinalPlace::Drained);
            }
            Event::DeadLetterRead => {
                self.deliver(process, message);
                self.place(process, message, FinalPlace::DeadLetter);
            }
            Event::KillingSender => _ = self.killed.insert(process),
            Event::KillingConsumer => {
                self.killed_consumers += u64::from(self.killed.insert(process));
            }
            Event::Closed => self.closed = true,
        }
    }

    /// Adds a violation that was found elsewhere.
    pub(crate) fn add_violation(&mut self, line: String) {
        self.other_violations.push(line);
    }

    fn account(&mut self, message: MessageId) -> &mut Account {
        self.accounts.entry(message).or_default()
    }

    fn begin_send(&mut self, message: MessageId) {
        let (closed, killed) = (self.closed, self.killed_consumers);
        let account = self.account(message);
        account.sent = SendState::Sending;
        account.sent_after_close = closed;
        account.consumers_killed_before = killed;
    }

    fn accept(&mut self, message: MessageId) {
        let account = self.account(message);
        account.sent = SendState::Accepted;
        if account.sent_after_close {
            self.other_violations.push(format!(
                "{message:?} was accepted although the queue was closed before"
            ));
        }
    }

    /// Checks STORM-1.
    fn deliver(&mut self, to: ProcessNumber, message: MessageId) {
        let mut account = *self.account(message);
        if let Some(place) = account.place {
            self.duplicated.push(format!(
                "{message:?} was delivered to {to:?} although it was {place:?}"
            ));
        }
        if matches!(account.sent, SendState::NeverSent | SendState::Rejected) {
            self.duplicated.push(format!(
                "{message:?} was delivered to {to:?} although it was {:?}",
                account.sent
            ));
        }
        match account.holder {
            Some(holder) if !self.killed.contains(&holder) => self.duplicated.push(format!(
                "{message:?} was delivered to {to:?} although {holder:?} held it"
            )),
            // Uncertain until now: the killed holder has not acknowledged it.
            Some(holder) if account.acknowledging => self.add_uncertain(holder),
            _ => {}
        }
        if account.deliveries == 0 {
            self.check_order(message);
        }
        account.deliveries += 1;
        (account.holder, account.acknowledging) = (Some(to), false);
        *self.account(message) = account;
    }

    /// Counts violations of STORM-4.
    fn check_order(&mut self, message: MessageId) {
        let latest = self.latest.entry(message.sender()).or_insert(message);
        self.out_of_order += u64::from(message < *latest);
        *latest = message.max(*latest);
    }

    fn give_back(&mut self, message: MessageId, was_last_delivery: bool) {
        let is_dead_letter = was_last_delivery || self.closed;
        let account = self.account(message);
        account.holder = None;
        account.returned_as_dead_letter |= is_dead_letter;
    }

    fn place(&mut self, by: ProcessNumber, message: MessageId, place: FinalPlace) {
        let account = self.account(message);
        let is_right = account.holder == Some(by) && account.place.is_none();
        account.holder = None;
        account.place = Some(place);
        if !is_right {
            self.duplicated.push(format!(
                "{message:?} was {place:?} by {by:?}, which did not hold it"
            ));
        }
    }

    fn add_uncertain(&mut self, process: ProcessNumber) {
        *self.uncertain.entry(process).or_default() += 1;
    }

    /// Checks the whole ledger, when all processes have ended.
    pub(crate) fn balance(mut self, kills: u64, stats: FinalStats, config: &Config) -> Totals {
        let batch = config.max_batch as u64;
        let mut totals = Totals {
            kills,
            leaked: stats.leaked,
            ..Totals::default()
        };
        let lost = self.find_lost(stats, &mut totals);
        totals.lost = lost.len() as u64;
        totals.duplicated = self.duplicated.len() as u64;
        totals.uncertain = self.uncertain.values().sum();
        self.check_uncertain(batch);
        self.check_counts(&totals, stats, batch);
        if config.consumers() == 1 && self.out_of_order > self.killed_consumers * batch {
            self.other_violations.push(format!(
                "{} messages came out of order, and {} consumers were killed",
                self.out_of_order, self.killed_consumers
            ));
        }
        totals.violations = [self.other_violations, self.duplicated, lost].concat();
        totals
    }

    /// Counts where the messages are, and describes those that are lost (STORM-5).
    fn find_lost(&mut self, stats: FinalStats, totals: &mut Totals) -> Vec<String> {
        let (mut lost, mut possible_dead_letters) = (Vec::new(), Vec::new());
        for (message, account) in mem::take(&mut self.accounts) {
            let is_found = self.count_place(message, account, totals);
            if !is_found && account.sent == SendState::Accepted {
                let line = format!("{message:?} is lost: {account:?}");
                if self.may_be_dead_letter(account) {
                    possible_dead_letters.push(line);
                } else {
                    lost.push(line);
                }
            }
        }
        let evicted = usize::try_from(stats.evicted_dead_letters).unwrap_or(usize::MAX);
        totals.dead_letters += possible_dead_letters.len().min(evicted) as u64;
        lost.extend(possible_dead_letters.into_iter().skip(evicted));
        lost
    }

    /// Whether a message that is in no place may have been a dead letter (STORM-5).
    fn may_be_dead_letter(&self, account: Account) -> bool {
        // Its holder is one of these, if it was killed.
        let unrecorded = self.killed_consumers - account.consumers_killed_before;
        let died_in_last_delivery =
            unrecorded > 0 && account.deliveries + unrecorded >= u64::from(MAX_DELIVERIES);
        let holder_died = account
            .holder
            .is_some_and(|holder| self.killed.contains(&holder));
        account.returned_as_dead_letter || died_in_last_delivery || self.closed && holder_died
    }

    /// Counts where a message is at the end. Returns false if that is nowhere.
    fn count_place(&mut self, message: MessageId, account: Account, totals: &mut Totals) -> bool {
        if account.sent == SendState::Sending {
            self.add_uncertain(message.sender());
        }
        let killed_holder = account
            .holder
            .filter(|holder| account.acknowledging && self.killed.contains(holder));
        match (account.place, killed_holder) {
            (Some(FinalPlace::Acknowledged), _) => totals.acknowledged += 1,
            (Some(FinalPlace::DeadLetter), _) => totals.dead_letters += 1,
            (Some(FinalPlace::Drained), _) => totals.queued += 1,
            (None, Some(holder)) => {
                self.add_uncertain(holder);
                totals.acknowledged_by_killed += 1;
            }
            (None, None) => {
                totals.accepted += u64::from(account.sent == SendState::Accepted);
                return false;
            }
        }
        totals.accepted += 1;
        true
    }

    /// Checks STORM-2.
    fn check_uncertain(&mut self, batch: u64) {
        for (process, count) in &self.uncertain {
            let most = u64::from(self.killed.contains(process)) * batch;
            if *count > most {
                self.other_violations.push(format!(
                    "{process:?} has left {count} messages uncertain, not at most {most}"
                ));
            }
        }
    }

    /// Checks STORM-3, and that nothing is leaked.
    fn check_counts(&mut self, totals: &Totals, stats: FinalStats, batch: u64) {
        let killed_senders = self.killed.len() as u64 - self.killed_consumers;
        let tolerance = killed_senders * (batch - 1);
        if !(totals.accepted..=totals.accepted + tolerance).contains(&stats.accepted) {
            self.other_violations.push(format!(
                "the queue has accepted {} messages by its own count, but {} are known",
                stats.accepted, totals.accepted
            ));
        }
        if stats.leaked > 0 {
            self.other_violations
                .push(format!("{} blocks or peers are left", stats.leaked));
        }
    }
}

#[cfg(test)]
#[path = "accounting/tests.rs"]
mod tests;
