//! Where every message is, by the notes of all.
//!
//! | what the notes say of a message                      | it has to be                                        |
//! |------------------------------------------------------|-----------------------------------------------------|
//! | accepted                                             | in exactly one place: acknowledged, a dead letter, or drained |
//! | refused, or never sent                               | nowhere                                             |
//! | about to be sent by a process that was killed        | in one place or nowhere: *uncertain*                |
//! | about to be acknowledged by a process that was killed | acknowledged by it, or in one other place: *uncertain* |
//!
//! STORM-1. Nobody has a message that another one has: its last holder has returned it, or was killed.
//! STORM-2. A process that was killed leaves no more messages uncertain than it sends or receives in one call.
//! STORM-3. The queue has accepted, by its own count, as many messages as are found or named: an uncertain one that it
//!     has accepted and lost would be missing. The count is of batches right after a sender was killed that had one in
//!     hand, so each may make it one batch less one too high.
//! STORM-5. A message that is in no place is lost, unless the queue says that it has dropped a dead letter for want of room, and
//!     this one can have been it. (It is made so that it has room for more than there should be.)
//! STORM-4. With a single receiver, messages of one sender are first received in their order. Only one that was taken and
//!     not yet noted when a receiver was killed may come later, or one batch of them.

use crate::{
    message::{Deed, Id, Life, Note},
    parent::ATTEMPTS,
    shape::Shape,
};
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
    /// How often it was handed out, as far as is noted.
    hand_outs: u64,
    /// How many receivers and lessees had been killed when it was sent: each later one may have had it unnoted.
    killed_before: u64,
    /// It may have come back after the end, when that makes it a dead letter at once.
    came_back_late: bool,
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
                let (too_late, killed_before) = (self.closed, self.killed_consumers);
                let account = self.account(id);
                (account.sent, account.too_late) = (Sent::Sending, too_late);
                account.killed_before = killed_before;
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
            Deed::Returning => {
                let closed = self.closed;
                let account = self.account(id);
                account.holder = None;
                account.came_back_late |= closed;
            }
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
                self.killed_consumers += u64::from(self.killed.insert(life));
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

    /// STORM-1.
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
        if account.hand_outs == 0 {
            self.note_order(id);
        }
        account.hand_outs += 1;
        (account.holder, account.settling) = (Some(to), false);
        *self.account(id) = account;
    }

    /// STORM-4.
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
    pub(crate) fn balance(mut self, kills: u64, said: Said, shape: &Shape) -> Totals {
        let batch = shape.batch as u64;
        let mut totals = Totals {
            kills,
            leaked: said.leaked,
            ..Totals::default()
        };
        let mut lost = Vec::new();
        for (id, account) in std::mem::take(&mut self.accounts) {
            let found = self.settle(id, account, &mut totals);
            if !found && account.sent == Sent::Accepted {
                let may_be_letter = self.may_be_letter(account);
                lost.push((format!("{id:?} is lost: {account:?}"), may_be_letter));
            }
        }
        // The queue drops letters only when there are too many. It does not say which: any that can have been one.
        let (possible, mut lost): (Vec<_>, Vec<_>) = lost
            .into_iter()
            .partition(|(_, may_be_letter)| *may_be_letter);
        let dropped = usize::try_from(said.dropped_letters).unwrap_or(usize::MAX);
        totals.dead_letters += possible.len().min(dropped) as u64;
        lost.extend(possible.into_iter().skip(dropped));
        let lost: Vec<String> = lost.into_iter().map(|(line, _)| line).collect();
        totals.lost = lost.len() as u64;
        totals.duplicated = self.duplicated.len() as u64;
        totals.uncertain = self.doubts.values().sum();
        self.check_doubts(batch);
        self.check_count(&totals, said, batch);
        if shape.consumers() == 1 && self.overtaken > self.killed_consumers * batch {
            self.wrong.push(format!(
                "{} messages came out of order, of {} receivers that were killed",
                self.overtaken, self.killed_consumers
            ));
        }
        totals.violations = [self.wrong, self.duplicated, lost].concat();
        totals
    }

    /// Whether a message that is nowhere can have been a dead letter: it has come back often enough, or after the end.
    fn may_be_letter(&self, account: Account) -> bool {
        let holder_died = account
            .holder
            .is_some_and(|holder| self.killed.contains(&holder));
        let unnoted = self.killed_consumers - account.killed_before;
        let is_spent = account.hand_outs + unnoted >= u64::from(ATTEMPTS);
        is_spent || account.came_back_late || self.closed && holder_died
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

    /// STORM-2. Whoever was not killed has left nothing in doubt.
    fn check_doubts(&mut self, batch: u64) {
        for (life, doubts) in &self.doubts {
            let may = u64::from(self.killed.contains(life)) * batch;
            if *doubts > may {
                self.wrong.push(format!(
                    "{life:?} has left {doubts} messages in doubt, not {may}"
                ));
            }
        }
    }

    /// STORM-3.
    fn check_count(&mut self, totals: &Totals, said: Said, batch: u64) {
        let killed_senders = self.killed.len() as u64 - self.killed_consumers;
        let unsure = killed_senders * (batch - 1);
        if !(totals.accepted..=totals.accepted + unsure).contains(&said.accepted) {
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
    /// Of the last gale: the one with the violations, if there are any.
    pub(crate) seed: u64,
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

#[cfg(test)]
mod tests {
    //! Books of a message or two, each with something that a broken queue might do.

    use super::*;

    const SENDER: Life = Life(1);
    const ONE: Life = Life(2);
    const OTHER: Life = Life(3);

    fn id(number: u32) -> Id {
        Id::new(SENDER, number)
    }

    fn sent(number: u32) -> Vec<(Deed, Life, Id)> {
        vec![
            (Deed::Sending, SENDER, id(number)),
            (Deed::Accepted, SENDER, id(number)),
        ]
    }

    fn killed(life: Life) -> (Deed, Life, Id) {
        let deed = if life == SENDER {
            Deed::KillingSender
        } else {
            Deed::KillingConsumer
        };
        (deed, life, Id::NONE)
    }

    /// The totals of a queue that says that it has accepted so many.
    fn balance(accepted: u64, notes: &[(Deed, Life, Id)]) -> Totals {
        let mut books = Books::default();
        for &(deed, life, id) in notes {
            books.enter(Note { deed, life, id });
        }
        let said = Said {
            accepted,
            ..Said::default()
        };
        let shape = Shape {
            receivers: 1,
            lessees: 0,
            ..Shape::default()
        };
        books.balance(0, said, &shape)
    }

    fn assert_clean(totals: &Totals, uncertain: u64) {
        assert_eq!(totals.violations(), [""; 0]);
        assert_eq!(totals.uncertain, uncertain);
        let found = totals.acknowledged + totals.dead_letters + totals.queued + totals.swallowed;
        assert_eq!(totals.accepted, found);
    }

    /// The one violation, in words.
    fn only_violation(totals: &Totals) -> &str {
        match totals.violations() {
            [only] => only,
            all => panic!("not one violation: {all:?}"),
        }
    }

    #[test]
    fn what_is_received_leased_returned_read_or_drained_balances() {
        let mut notes = [sent(0), sent(1), sent(2), sent(3)].concat();
        notes.extend([
            (Deed::Receiving, ONE, id(0)),
            (Deed::Settled, ONE, id(0)),
            (Deed::Leased, ONE, id(1)),
            (Deed::Returning, ONE, id(1)),
            (Deed::Leased, OTHER, id(1)),
            (Deed::Settling, OTHER, id(1)),
            (Deed::Settled, OTHER, id(1)),
            (Deed::Letter, Life::PARENT, id(2)),
            (Deed::Drained, Life::PARENT, id(3)),
        ]);
        let totals = balance(4, &notes);
        assert_clean(&totals, 0);
        assert_eq!(
            totals.to_string(),
            "storm: 0 kills, 4 accepted, 2 acknowledged, 1 dead letters, 1 queued, 0 uncertain, 0 lost, 0 duplicated, \
             0 leaked"
        );
    }

    #[test]
    fn an_accepted_message_that_is_nowhere_is_lost() {
        let totals = balance(1, &sent(0));
        assert_eq!(totals.lost, 1);
        assert!(only_violation(&totals).contains("is lost"));
    }

    /// Each dropped letter excuses one message, and only one that can have been a letter.
    #[test]
    fn dropped_letters_excuse_only_what_can_have_been_a_letter() {
        let lost = |notes: &[(Deed, Life, Id)], dropped| {
            let mut books = Books::default();
            for &(deed, life, id) in notes {
                books.enter(Note { deed, life, id });
            }
            let said = Said {
                accepted: totals_accepted(notes),
                dropped_letters: dropped,
                leaked: 0,
            };
            books.balance(0, said, &Shape::default()).lost
        };
        assert_eq!(lost(&sent(0), 5), 1, "it was never handed out");
        let handed_out = |times: u32| {
            let once = [(Deed::Leased, ONE, id(0)), (Deed::Returning, ONE, id(0))];
            [sent(0), once.repeat(times as usize)].concat()
        };
        assert_eq!(lost(&handed_out(ATTEMPTS - 1), 5), 1, "not often enough");
        assert_eq!(lost(&handed_out(ATTEMPTS), 5), 0);
        assert_eq!(lost(&handed_out(ATTEMPTS), 0), 1, "nothing was dropped");
        let mut late = [sent(0), sent(1)].concat();
        late.push((Deed::Closed, Life::PARENT, Id::NONE));
        for number in [0, 1] {
            late.push((Deed::Leased, ONE, id(number)));
            late.push((Deed::Returning, ONE, id(number)));
        }
        assert_eq!(lost(&late, 1), 1, "one letter is one message");
        assert_eq!(lost(&late, 2), 0);
    }

    #[test]
    fn a_message_that_its_killed_holder_was_not_acknowledging_is_lost_if_it_does_not_come_back() {
        let notes = [sent(0), vec![(Deed::Leased, ONE, id(0)), killed(ONE)]].concat();
        assert_eq!(balance(1, &notes).lost, 1);
        let back = (Deed::Drained, Life::PARENT, id(0));
        assert_clean(&balance(1, &[notes, vec![back]].concat()), 0);
    }

    #[test]
    fn a_receiver_that_is_killed_leaves_one_message_in_doubt_which_may_come_back_or_not() {
        let gone = [sent(0), vec![(Deed::Receiving, ONE, id(0)), killed(ONE)]].concat();
        assert_clean(&balance(1, &gone), 1);
        let back = vec![
            (Deed::Receiving, OTHER, id(0)),
            (Deed::Settled, OTHER, id(0)),
        ];
        assert_clean(&balance(1, &[gone, back].concat()), 1);
    }

    #[test]
    fn a_sender_that_is_killed_leaves_one_message_in_doubt_which_may_be_found_or_not() {
        let mut notes = vec![(Deed::Sending, SENDER, id(0)), killed(SENDER)];
        assert_clean(&balance(0, &notes), 1);
        // The queue knows that it has accepted one more.
        let totals = balance(1, &notes);
        assert!(only_violation(&totals).contains("accepted 1 messages, but 0"));
        notes.push((Deed::Drained, Life::PARENT, id(0)));
        assert_clean(&balance(1, &notes), 1);
    }

    #[test]
    fn nobody_but_the_killed_leaves_doubts() {
        for notes in [
            vec![(Deed::Sending, SENDER, id(0))],
            [
                sent(0),
                vec![
                    (Deed::Sending, SENDER, id(1)),
                    (Deed::Sending, SENDER, id(2)),
                ],
                vec![killed(SENDER), (Deed::Drained, ONE, id(0))],
            ]
            .concat(),
        ] {
            let totals = balance(totals_accepted(&notes), &notes);
            assert!(only_violation(&totals).contains("in doubt"));
        }
    }

    fn totals_accepted(notes: &[(Deed, Life, Id)]) -> u64 {
        let accepted = notes.iter().filter(|note| note.0 == Deed::Accepted);
        accepted.count() as u64
    }

    #[test]
    fn a_message_in_two_hands_or_two_places_is_duplicated() {
        let leased = vec![(Deed::Leased, ONE, id(0))];
        let settled = vec![(Deed::Settling, ONE, id(0)), (Deed::Settled, ONE, id(0))];
        let drained = vec![(Deed::Drained, Life::PARENT, id(0))];
        let both_hands = [sent(0), leased.clone(), drained.clone()].concat();
        let both_places = [sent(0), leased.clone(), settled.clone(), drained].concat();
        let twice = [sent(0), leased, settled.clone(), settled].concat();
        for notes in [both_hands, both_places, twice] {
            assert!(balance(1, &notes).duplicated > 0, "{notes:?}");
        }
    }

    #[test]
    fn what_was_refused_or_never_sent_is_nowhere() {
        let refused = vec![
            (Deed::Sending, SENDER, id(0)),
            (Deed::Refused, SENDER, id(0)),
        ];
        assert_clean(&balance(0, &refused), 0);
        let found = vec![(Deed::Drained, Life::PARENT, id(0))];
        for notes in [[refused, found.clone()].concat(), found] {
            assert_eq!(balance(1, &notes).duplicated, 1);
        }
    }

    #[test]
    fn nothing_that_was_sent_after_the_close_is_accepted() {
        let closed = (Deed::Closed, Life::PARENT, Id::NONE);
        let drained = (Deed::Drained, Life::PARENT, id(0));
        let [sending, accepted] = sent(0).try_into().expect("two notes");
        assert_clean(&balance(1, &[sending, closed, accepted, drained]), 0);
        let totals = balance(1, &[closed, sending, accepted, drained]);
        assert!(only_violation(&totals).contains("closed before"));
    }

    #[test]
    fn a_single_receiver_gets_messages_in_order_unless_one_was_killed() {
        let mut notes = [sent(0), sent(1)].concat();
        for number in [1, 0] {
            notes.extend([
                (Deed::Receiving, ONE, id(number)),
                (Deed::Settled, ONE, id(number)),
            ]);
        }
        assert!(only_violation(&balance(2, &notes)).contains("out of order"));
        notes.insert(0, killed(OTHER));
        assert_clean(&balance(2, &notes), 0);
    }
}
