//! Ledgers of one or two messages, each with something that a correct or a broken queue might do.

use super::*;

const SENDER: ProcessNumber = ProcessNumber(1);
const ONE: ProcessNumber = ProcessNumber(2);
const OTHER: ProcessNumber = ProcessNumber(3);
const PARENT: ProcessNumber = ProcessNumber::PARENT;

type Fields = (Event, ProcessNumber, MessageId);

fn id(number: u32) -> MessageId {
    MessageId::new(SENDER, number)
}

fn sent(number: u32) -> Vec<Fields> {
    vec![
        (Event::Sending, SENDER, id(number)),
        (Event::Accepted, SENDER, id(number)),
    ]
}

fn received(by: ProcessNumber, number: u32) -> Vec<Fields> {
    vec![
        (Event::Receiving, by, id(number)),
        (Event::Acknowledged, by, id(number)),
    ]
}

fn killed(process: ProcessNumber) -> Fields {
    let event = if process == SENDER {
        Event::KillingSender
    } else {
        Event::KillingConsumer
    };
    (event, process, MessageId::NONE)
}

fn closed() -> Fields {
    (Event::Closed, PARENT, MessageId::NONE)
}

fn count_accepted(records: &[Fields]) -> u64 {
    let accepted = records.iter().filter(|record| record.0 == Event::Accepted);
    accepted.count() as u64
}

fn balance_with(stats: FinalStats, records: &[Fields]) -> Totals {
    let mut accounting = Accounting::default();
    for &(event, process, message) in records {
        accounting.add(Record {
            event,
            process,
            message,
        });
    }
    let config = Config {
        receivers: 1,
        lessees: 0,
        ..Config::default()
    };
    accounting.balance(0, stats, &config)
}

/// Balances a queue that has accepted this many messages by its own count.
fn balance(accepted: u64, records: &[Fields]) -> Totals {
    let stats = FinalStats {
        accepted,
        ..FinalStats::default()
    };
    balance_with(stats, records)
}

/// Returns how many messages are lost if the queue has evicted this many dead letters.
fn lost(evicted_dead_letters: u64, records: &[Fields]) -> u64 {
    let stats = FinalStats {
        accepted: count_accepted(records),
        evicted_dead_letters,
        leaked: 0,
    };
    balance_with(stats, records).lost
}

fn assert_sound(totals: &Totals, uncertain: u64) {
    assert_eq!(totals.violations(), [""; 0]);
    assert_eq!(totals.uncertain, uncertain);
    let found =
        totals.acknowledged + totals.dead_letters + totals.queued + totals.acknowledged_by_killed;
    assert_eq!(totals.accepted, found);
}

fn only_violation(totals: &Totals) -> &str {
    match totals.violations() {
        [only] => only,
        all => panic!("not exactly one violation: {all:?}"),
    }
}

#[test]
fn received_leased_returned_read_and_drained_messages_balance() {
    let mut records = [sent(0), sent(1), sent(2), sent(3), received(ONE, 0)].concat();
    records.extend([
        (Event::Leased, ONE, id(1)),
        (Event::Returning, ONE, id(1)),
        (Event::Leased, OTHER, id(1)),
        (Event::Acknowledging, OTHER, id(1)),
        (Event::Acknowledged, OTHER, id(1)),
        (Event::DeadLetterRead, PARENT, id(2)),
        (Event::Drained, PARENT, id(3)),
    ]);
    let totals = balance(4, &records);
    assert_sound(&totals, 0);
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

#[test]
fn an_evicted_dead_letter_excuses_no_message_that_was_not_one() {
    assert_eq!(lost(5, &sent(0)), 1, "it was never delivered");
    let returned = [(Event::Leased, ONE, id(0)), (Event::Returning, ONE, id(0))];
    let often = returned.repeat(MAX_DELIVERIES as usize);
    let never_last = [sent(0), often].concat();
    assert_eq!(lost(5, &never_last), 1, "no return was the last one");
    let died_early = [sent(0), vec![returned[0], killed(ONE)]].concat();
    assert_eq!(
        lost(5, &died_early),
        1,
        "its holder died in the first delivery"
    );
}

#[test]
fn an_evicted_dead_letter_excuses_a_message_returned_from_its_last_delivery() {
    let last = (Event::ReturningLastDelivery, ONE, id(0));
    let records = [sent(0), vec![(Event::Leased, ONE, id(0)), last]].concat();
    assert_eq!(lost(1, &records), 0);
    assert_eq!(lost(0, &records), 1, "nothing was evicted");
}

#[test]
fn an_evicted_dead_letter_excuses_a_message_whose_holder_was_killed_in_its_last_delivery() {
    let returned = [(Event::Leased, ONE, id(0)), (Event::Returning, ONE, id(0))];
    let with_deliveries = |count: u32| {
        let earlier = returned.repeat(count as usize - 1);
        [sent(0), earlier, vec![returned[0], killed(ONE)]].concat()
    };
    assert_eq!(lost(1, &with_deliveries(MAX_DELIVERIES)), 0);
    // One of the deliveries may not be recorded: that of a consumer that was killed.
    assert_eq!(lost(1, &with_deliveries(MAX_DELIVERIES - 2)), 1);
}

#[test]
fn each_evicted_dead_letter_excuses_one_message_returned_after_the_end() {
    let mut records = [sent(0), sent(1), vec![closed()]].concat();
    for number in [0, 1] {
        records.push((Event::Leased, ONE, id(number)));
        records.push((Event::Returning, ONE, id(number)));
    }
    assert_eq!(lost(1, &records), 1);
    assert_eq!(lost(2, &records), 0);
}

#[test]
fn a_message_whose_holder_was_killed_before_it_acknowledged_has_to_be_delivered_again() {
    let records = [sent(0), vec![(Event::Leased, ONE, id(0)), killed(ONE)]].concat();
    assert_eq!(balance(1, &records).lost, 1);
    let again = (Event::Drained, PARENT, id(0));
    assert_sound(&balance(1, &[records, vec![again]].concat()), 0);
}

#[test]
fn a_killed_receiver_leaves_one_message_uncertain_which_may_be_delivered_again_or_not() {
    let taken = [sent(0), vec![(Event::Receiving, ONE, id(0)), killed(ONE)]].concat();
    assert_sound(&balance(1, &taken), 1);
    assert_sound(&balance(1, &[taken, received(OTHER, 0)].concat()), 1);
}

#[test]
fn a_killed_sender_leaves_one_message_uncertain_which_may_be_found_or_not() {
    let mut records = vec![(Event::Sending, SENDER, id(0)), killed(SENDER)];
    assert_sound(&balance(0, &records), 1);
    // By its own count the queue has accepted one more.
    let totals = balance(1, &records);
    assert!(only_violation(&totals).contains("accepted 1 messages by its own count, but 0"));
    records.push((Event::Drained, PARENT, id(0)));
    assert_sound(&balance(1, &records), 1);
}

#[test]
fn only_a_killed_process_may_leave_messages_uncertain_and_no_more_than_one_call_has() {
    let of_live_sender = vec![(Event::Sending, SENDER, id(0))];
    let too_many = [
        sent(0),
        vec![
            (Event::Sending, SENDER, id(1)),
            (Event::Sending, SENDER, id(2)),
        ],
        vec![killed(SENDER), (Event::Drained, ONE, id(0))],
    ]
    .concat();
    for records in [of_live_sender, too_many] {
        let totals = balance(count_accepted(&records), &records);
        assert!(only_violation(&totals).contains("uncertain"));
    }
}

#[test]
fn a_message_with_two_holders_or_in_two_places_is_duplicated() {
    let leased = vec![(Event::Leased, ONE, id(0))];
    let acknowledged = vec![
        (Event::Acknowledging, ONE, id(0)),
        (Event::Acknowledged, ONE, id(0)),
    ];
    let drained = vec![(Event::Drained, PARENT, id(0))];
    let two_holders = [sent(0), leased.clone(), drained.clone()].concat();
    let two_places = [sent(0), leased.clone(), acknowledged.clone(), drained].concat();
    let twice = [sent(0), leased, acknowledged.clone(), acknowledged].concat();
    for records in [two_holders, two_places, twice] {
        assert!(balance(1, &records).duplicated > 0, "{records:?}");
    }
}

#[test]
fn a_message_that_was_rejected_or_never_sent_is_nowhere() {
    let rejected = vec![
        (Event::Sending, SENDER, id(0)),
        (Event::Rejected, SENDER, id(0)),
    ];
    assert_sound(&balance(0, &rejected), 0);
    let found = vec![(Event::Drained, PARENT, id(0))];
    for records in [[rejected, found.clone()].concat(), found] {
        assert_eq!(balance(1, &records).duplicated, 1);
    }
}

#[test]
fn no_message_is_accepted_that_was_sent_after_the_close() {
    let drained = (Event::Drained, PARENT, id(0));
    let [sending, accepted] = sent(0).try_into().expect("two records");
    assert_sound(&balance(1, &[sending, closed(), accepted, drained]), 0);
    let totals = balance(1, &[closed(), sending, accepted, drained]);
    assert!(only_violation(&totals).contains("closed before"));
}

#[test]
fn a_single_receiver_gets_messages_in_order_unless_one_was_killed() {
    let mut records = [sent(0), sent(1), received(ONE, 1), received(ONE, 0)].concat();
    assert!(only_violation(&balance(2, &records)).contains("out of order"));
    records.insert(0, killed(OTHER));
    assert_sound(&balance(2, &records), 0);
}
