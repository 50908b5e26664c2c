use super::*;

/// How far the queue is.
const AT: Position = Position(7);

/// Runs waits in a world where a cycle of a run of messages and a pause of `pause` nanoseconds moves
/// `messages(pause)` in `time(pause)`. Returns the pause that the search has settled on.
fn search(messages: fn(u64) -> u64, time: fn(u64) -> u64) -> u64 {
    let search = PauseSearch::new();
    let (mut now, mut run) = (0, 2);
    for _ in 0..100_000 {
        let pause = u64::try_from(search.next(run, is_run(run), || now).as_nanos()).expect("short");
        now += time(pause);
        run = messages(pause);
    }
    search.best.load(Ordering::Relaxed).into()
}

#[test]
fn a_single_message_is_no_reason_to_pause() {
    let search = PauseSearch::new();
    for now in 0..1000 {
        assert_eq!(search.next(1, false, || now), Duration::ZERO);
        assert_eq!(search.next(0, false, || now), Duration::ZERO);
    }
}

#[test]
fn a_single_message_of_a_stream_is_one() {
    let search = PauseSearch::new();
    let pause = search.next(1, true, || 0);
    assert_eq!(pause, Duration::from_nanos(FIRST.into()));
}

/// The processors were close together, and then the host has moved them apart: only pauses of more than a microsecond help.
#[test]
fn a_long_pause_is_found_after_the_best_one_was_nothing() {
    let search = PauseSearch::new();
    search.best.store(SHORTEST / 2, Ordering::Relaxed);
    let (mut now, mut messages) = (0, 1);
    for _ in 0..30_000 {
        let pause = search.next(messages, true, || now).as_nanos();
        let pause = u64::try_from(pause).expect("short");
        (messages, now) = if pause < 1500 {
            (1, now + 250 + pause)
        } else {
            (pause / 20, now + 2 * pause)
        };
    }
    let best = search.best.load(Ordering::Relaxed);
    assert!(best >= 1024, "{best}");
}

#[test]
fn a_long_pause_is_not_tried_where_gaps_may_be() {
    let search = PauseSearch::new();
    let (mut now, mut longest) = (0, Duration::ZERO);
    for wait in 0..30_000 {
        search.expect_gaps();
        let pause = search.next(2, true, || now);
        now += 200 + u64::try_from(pause.as_nanos()).expect("short");
        if wait > 1000 {
            longest = longest.max(pause);
        }
    }
    assert!(longest < Duration::from_nanos(FIRST.into()), "{longest:?}");
}

#[test]
fn the_pause_shrinks_to_nothing_if_it_makes_no_difference() {
    // Messages come every 100 ns, however long the pause is.
    let best = search(|pause| 2 + pause / 100, |pause| 200 + pause / 100 * 100);
    assert!(best < u64::from(SHORTEST), "{best}");
}

#[test]
fn the_pause_shrinks_to_nothing_if_messages_come_one_by_one_with_a_run_now_and_then() {
    const INTERVAL: u64 = 1000;
    let search = PauseSearch::new();
    let (mut now, mut received) = (0, 0);
    for wait in 0..100_000 {
        // Sometimes the receiver is held up.
        now += if wait % 20 == 0 { 3 * INTERVAL } else { 50 };
        let run = now / INTERVAL - received;
        received += run;
        let pause = search.next(run, is_run(run), || now);
        now += u64::try_from(pause.as_nanos()).expect("short");
        now = now.max((received + 1) * INTERVAL);
    }
    let best = search.best.load(Ordering::Relaxed);
    assert!(best < SHORTEST, "{best}");
}

/// Messages come in bursts of 64, which are far from filling the time.
#[test]
fn the_pause_stays_short_if_messages_come_in_bursts() {
    const BURST: u64 = 64;
    const BETWEEN_BURSTS: u64 = 50_000;
    const BETWEEN_MESSAGES: u64 = 100;
    // When a message is sent, counted from 0. Bursts do not come regularly.
    let sent = |message: u64| {
        let burst = message / BURST;
        burst * BETWEEN_BURSTS + burst * 7919 % 40_000 + message % BURST * BETWEEN_MESSAGES
    };
    let search = PauseSearch::new();
    let (mut now, mut received, mut longest) = (0, 0, 0);
    for wait in 0..100_000 {
        let before = received;
        while sent(received) <= now {
            received += 1;
            now += BETWEEN_MESSAGES / 2;
        }
        let pause = u64::try_from(
            search
                .next(received - before, is_run(received - before), || now)
                .as_nanos(),
        );
        let pause = pause.expect("short");
        if wait > 1000 {
            longest = longest.max(pause);
        }
        now += pause;
        if let Some(gap) = sent(received).checked_sub(now) {
            // It notices a message a little late.
            now += gap + 3 * BETWEEN_MESSAGES;
            let began = Instant::now();
            let ended = began + Duration::from_nanos(gap);
            search.leave_out(Gap::begin(began, AT).grow(ended, AT));
        }
    }
    assert!(longest < 1000, "{longest}");
}

#[test]
fn the_best_of_the_three_trials_wins() {
    // Both a longer and a shorter pause move more than the first one, and the shorter one most.
    let search = PauseSearch::new();
    let mut now = 0;
    while search.trials.load(Ordering::Relaxed) < 3 {
        let pause = search.next(1000, true, || now).as_nanos();
        now += match pause.cmp(&FIRST.into()) {
            core::cmp::Ordering::Less => 1000,
            core::cmp::Ordering::Equal => 3000,
            core::cmp::Ordering::Greater => 2000,
        };
    }
    assert_eq!(search.best.load(Ordering::Relaxed), FIRST / 2);
}

#[test]
fn a_gap_is_left_out_once_and_only_if_it_is_long() {
    let began = Instant::now();
    let mut gap = Gap::begin(began, AT);
    let at = |part: u32| began + LONGEST_GAP * part / 2;
    let more: Vec<_> = (0..5).map(|part| gap.grow(at(part), AT)).collect();
    let half = LONGEST_GAP / 2;
    assert_eq!(
        more,
        [Duration::ZERO, Duration::ZERO, LONGEST_GAP, half, half]
    );
}

#[test]
fn a_message_that_another_handle_passes_ends_a_gap() {
    let began = Instant::now();
    let mut gap = Gap::begin(began, AT);
    for part in 1..100 {
        let position = AT.plus(part / 2);
        let now = began + LONGEST_GAP / 2 * u32::try_from(part).expect("small");
        assert_eq!(gap.grow(now, position), Duration::ZERO);
    }
    assert_eq!(
        gap.grow(began + LONGEST_GAP * 51, AT.plus(49)),
        LONGEST_GAP * 2
    );
}

#[test]
fn a_trial_during_which_threads_wait_at_the_same_time_is_repeated() {
    let search = PauseSearch::new();
    let mut now = 0;
    for wait in 0..KEEP_WAITS * 10 {
        now += 1000;
        // Two threads have waited for all of that time.
        if wait < KEEP_WAITS * 9 {
            search.leave_out(Duration::from_micros(2));
        }
        search.next(10, true, || now);
    }
    assert_eq!(search.trials.load(Ordering::Relaxed), 1);
}

#[test]
fn the_pause_grows_as_long_as_that_moves_more_messages() {
    // Each change of sides costs 2 us, and a message 20 ns: the longer the runs, the fewer changes.
    let best = search(|pause| 2 + pause / 20, |pause| 2000 + 2 * pause);
    assert!(best >= 2048, "{best}");
}

#[test]
fn a_pause_that_must_be_much_longer_to_help_is_found() {
    // Less than 1 us changes nothing, as between processors that are far apart.
    let best = search(
        |pause| if pause < 1000 { 4 } else { pause / 10 },
        |pause| if pause < 1000 { 2000 } else { 2000 + pause },
    );
    assert!(best >= 1000, "{best}");
}

#[test]
fn no_pause_is_longer_than_the_limit() {
    let best = search(|pause| 2 + pause * pause, |pause| 100 + pause);
    assert_eq!(best, u64::from(LONGEST));
}
