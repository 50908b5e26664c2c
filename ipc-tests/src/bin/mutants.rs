//! Shows that the tests and tools of this crate find what they are for: breaks the crate in one way after the other, and
//! says who has seen it.
//!
//! ```text
//! cargo run --release -p ipc-tests --bin mutants [-- [--layer LAYER] [MUTANT...]]
//! ```
//!
//! The mutants are described in `src/mutants/catalogue.rs`; [`MUTANTS`] lists each with its layer (`protocol`, `queue`, `segment`,
//! `os`, `pool`) and the cheapest that is known to catch it:
//!
//! | catcher    | what is run                                                  | built in                    |
//! |------------|--------------------------------------------------------------|-----------------------------|
//! | `Unit`     | one test of the crate itself, by its path                    | `target/mutants/debug`      |
//! | `Ipc`      | one test between processes, by folder and path               | `target/mutants/debug`      |
//! | `Stepkill` | `stepkill` with these arguments                              | `target/mutants/release`    |
//! | `Storm`    | `storm` with these arguments, also over pools                | `target/mutants/release`    |
//!
//! Each is run once with the mutant in force, and must fail, or hang; and once with none, and must pass. Only what the
//! wanted mutants need is built, with `--cfg workring_mutants`, in a target folder of its own. Besides, the explorer's
//! own tests run those of the protocol's transitions by themselves (`src/protocol/verify/explorer/mutants.rs`). Ends with exit code 1
//! if a mutant is not caught that should be.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The part of the crate that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Protocol,
    Queue,
    Segment,
    Os,
    Pool,
}

impl Layer {
    const ALL: [Self; 5] = [
        Self::Protocol,
        Self::Queue,
        Self::Segment,
        Self::Os,
        Self::Pool,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Queue => "queue",
            Self::Segment => "segment",
            Self::Os => "os",
            Self::Pool => "pool",
        }
    }
}

/// Who is expected to catch a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Catcher {
    /// The test of this path in the crate itself.
    Unit(&'static str),
    /// The test of this path in this folder of `ipc-tests/tests`.
    Ipc(&'static str, &'static str),
    /// The tool with these arguments.
    Stepkill(&'static str),
    Storm(&'static str),
    /// The explorer, in a build without this flag: `cargo test --release --lib explorer`.
    Explorer,
    /// Nothing; and why.
    Neither(&'static str),
}

use Catcher::{Explorer, Ipc, Neither, Stepkill, Storm, Unit};

/// All mutants. One that is caught in several ways is there several times.
#[rustfmt::skip]
const MUTANTS: &[(&str, Layer, Catcher)] = &[
    ("OverwriteWithoutHelp", Layer::Protocol, Stepkill("--op try-recv --mode kill")),
    ("OverwriteWithoutHelp", Layer::Protocol, Stepkill("--op try-recv --mode copy")),
    ("HelpWithoutReread", Layer::Protocol, Stepkill("--op send-after-dead-taker --mode stop --sample 300")),
    ("SkipClear", Layer::Protocol, Stepkill("--op try-recv --mode kill --sample 20")),
    ("SkipClear", Layer::Protocol, Stepkill("--op try-recv --mode copy")),
    ("SkipClear", Layer::Protocol, Storm(BUSY)),
    ("SealNotHelped", Layer::Protocol, Stepkill("--op close --mode kill")),
    ("SealNotHelped", Layer::Protocol, Stepkill("--op close --mode copy")),
    ("ClosedIsNotSticky", Layer::Protocol, Stepkill("--op nack-after-end --mode kill")),
    ("ClosedIsNotSticky", Layer::Protocol, Stepkill("--op nack-after-end --mode copy")),
    ("EndWithoutHelpingRing", Layer::Protocol, Stepkill("--op lease-after-close --mode kill --sample 300")),
    ("EndWithoutHelpingRing", Layer::Protocol, Stepkill("--op lease-after-close --mode copy")),
    ("SignalBeforeReturn", Layer::Protocol, Stepkill("--op nack --mode stop")),
    ("ClearReturnedAnyway", Layer::Protocol, Stepkill("--op recv-after-returned --mode stop --sample 300")),
    ("ReadDeadLetterAsHeld", Layer::Protocol, Stepkill("--op dead-letter-keep-then-close --mode kill --sample 300")),
    ("ReadDeadLetterAsHeld", Layer::Protocol, Stepkill("--op dead-letter-keep-then-close --mode copy")),
    ("CloseAfterArrival", Layer::Protocol, Neither( "takes three at once: a role that goes from one row to another while a leaver looks", )),
    ("RecoverWithoutConfirming", Layer::Protocol, Stepkill("--op recover --mode stop --sample 300")),
    ("ConfirmBeforeReading", Layer::Protocol, Stepkill("--op recover --mode stop --sample 300")),
    ("RecoverWritesAnyWord", Layer::Protocol, Stepkill("--op recover --mode stop")),
    ("RecoverWithoutClear", Layer::Protocol, Stepkill("--op recover-taker --mode kill --sample 20")),
    ("RecoverWithoutClear", Layer::Protocol, Stepkill("--op recover-taker --mode copy")),
    ("RecoverWithoutClear", Layer::Protocol, Storm(FULL)),
    ("ReclaimKeepsGeneration", Layer::Protocol, Stepkill("--op recover-batch --mode stop")),
    ("RecoverWithoutWithdraw", Layer::Protocol, Stepkill("--op send --mode kill")),
    ("RecoverWithoutWithdraw", Layer::Protocol, Stepkill("--op send --mode copy")),
    ("RecoverWithoutWithdraw", Layer::Protocol, Storm(BUSY)),
    ("WithdrawReadsRingFirst", Layer::Protocol, Neither("does no harm by itself: who is dead sends no more, and each exchange is exact")),
    ("VacateWithoutReturned", Layer::Protocol, Stepkill("--op lease --mode kill")),
    ("VacateWithoutReturned", Layer::Protocol, Stepkill("--op lease --mode copy")),
    ("VacateWithoutReturned", Layer::Protocol, Storm(BUSY)),
    ("VacateKeepsIncarnation", Layer::Protocol, Stepkill("--op recover --mode stop --sample 100")),
    ("LateReturnNotDiscarded", Layer::Protocol, Explorer),
    ("EndWithoutTrim", Layer::Protocol, Explorer),
    ("RecoverWithoutTrim", Layer::Protocol, Explorer),
    ("CountBatchTwice", Layer::Protocol, Explorer),
    ("CountBatchUnverified", Layer::Protocol, Explorer),
    ("PublishWithoutWake", Layer::Queue, Ipc("waiting", "wakeups::no_wake_up_is_lost_in_a_queue_for_one_message")),
    ("PublishWithoutWake", Layer::Queue, Storm(LONG)),
    ("TakeWithoutWake", Layer::Queue, Ipc("waiting", "wakeups::senders_blocked_by_a_full_queue_are_woken_one_for_each_message_taken")),
    ("TakeWithoutWake", Layer::Queue, Storm(LONG)),
    ("ReturnWithoutWake", Layer::Queue, Ipc("queue", "leases::a_message_that_another_process_returns_comes_first_and_wakes_a_sleeper")),
    ("FreeWithoutWake", Layer::Queue, Ipc("queue", "sizes::a_sender_that_waits_for_a_block_is_woken_by_an_acknowledgement")),
    ("FreeWithoutWake", Layer::Queue, Ipc("queue", "bytes::a_sender_that_waits_for_a_block_is_woken_by_a_dropped_reservation")),
    ("LastReleaseWithoutWake", Layer::Queue, Ipc("queue", "close::a_settled_queue_waits_for_lease_holders_and_delivers_what_they_return")),
    ("CloseWithoutWake", Layer::Queue, Ipc("queue", "close::one_close_stops_64_blocked_readers_in_8_processes")),
    ("CloseWithoutWake", Layer::Queue, Ipc("queue", "cancel::cancel_ends_blocked_receivers_and_returns_the_values_of_blocked_senders")),
    ("RecoverWithoutWake", Layer::Queue, Ipc("death", "recovery::who_sleeps_is_woken_by_the_recovery_of_a_message")),
    ("RecoverWithoutWithdrawOwned", Layer::Queue, Ipc("death", "recovery::a_sender_that_is_killed_with_a_reservation_leaves_no_trace")),
    ("DeliveryNotCounted", Layer::Queue, Ipc("queue", "leases::a_message_returned_too_often_becomes_a_dead_letter")),
    ("DeadLetterDiscarded", Layer::Queue, Ipc("queue", "leases::a_message_returned_too_often_becomes_a_dead_letter")),
    ("NewestDeadLetterEvicted", Layer::Queue, Ipc("queue", "leases::the_newest_dead_letters_are_kept")),
    ("CapacityPlusOne", Layer::Queue, Ipc("queue", "model::a_drained_queue_does_what_the_model_does")),
    ("InterruptNotConsumed", Layer::Queue, Ipc("waiting", "wakeups::an_interrupt_ends_one_wait_of_its_own_handle_now_or_later")),
    ("DeadlineIgnored", Layer::Queue, Ipc("waiting", "wakeups::receives_that_give_up_lose_no_message")),
    ("LeaseDropAcknowledges", Layer::Queue, Ipc("queue", "leases::returned_messages_come_first_and_in_the_order_of_acceptance")),
    ("LeaseNotCounted", Layer::Queue, Ipc("queue", "leases::more_leases_than_a_process_may_have_are_refused")),
    ("LeaseCountNeverFalls", Layer::Queue, Ipc("queue", "leases::more_leases_than_a_process_may_have_are_refused")),
    ("UndecodableReturned", Layer::Queue, Ipc("queue", "leases::a_message_that_cannot_be_decoded_is_an_error_once_and_a_dead_letter")),
    ("TypeNotChecked", Layer::Queue, Ipc("segment", "named::an_opener_with_another_type_codec_or_schema_is_refused")),
    ("CodecNotChecked", Layer::Queue, Ipc("segment", "named::an_opener_with_another_type_codec_or_schema_is_refused")),
    ("SchemaNotChecked", Layer::Queue, Ipc("segment", "named::an_opener_with_another_type_codec_or_schema_is_refused")),
    ("ReservationKeepsBlock", Layer::Queue, Ipc("queue", "bytes::a_reservation_that_is_dropped_was_never_there")),
    ("RestOfBatchKept", Layer::Queue, Ipc("queue", "batches::a_receiver_that_is_dropped_returns_what_it_has_not_delivered")),
    ("TicketNotVoided", Layer::Queue, Ipc("queue", "membership::a_hand_off_that_is_dropped_takes_back_what_it_gave")),
    ("LastHandleKeepsRole", Layer::Queue, Ipc("queue", "membership::a_hand_off_that_fails_halfway_takes_back_what_it_gave")),
    ("PeerVacatedWithLeases", Layer::Queue, Ipc("queue", "leases::a_process_that_has_nothing_but_a_lease_is_still_a_peer")),
    ("LockByteNotTaken", Layer::Queue, Ipc("queue", "membership::an_end_that_was_given_is_not_taken_for_one_of_the_dead")),
    ("TriesNeverSweep", Layer::Queue, Ipc("death", "recovery::who_only_tries_notices_a_death_too")),
    ("HugeBlockNotWithdrawn", Layer::Segment, Ipc("segment", "named::a_full_file_system_is_an_error_and_no_signal")),
    ("IdleMemoryKept", Layer::Segment, Ipc("segment", "large::memory_is_taken_when_it_is_used_and_given_back_when_it_is_idle")),
    ("IdleMemoryNotReclaimed", Layer::Segment, Ipc("segment", "large::idle_memory_of_one_size_is_released_for_another")),
    ("MarkKept", Layer::Segment, Unit("segment::huge::tests::memory_of_idle_blocks_is_reclaimed_for_another_size")),
    ("QueueLimitIgnored", Layer::Segment, Unit("segment::huge::tests::a_lack_of_memory_is_waited_for_only_if_the_queue_can_end_it")),
    ("VersionNotChecked", Layer::Segment, Unit("segment::tests::a_header_with_another_version_layout_or_length_is_refused")),
    ("FingerprintNotChecked", Layer::Segment, Unit("segment::tests::a_header_with_another_version_layout_or_length_is_refused")),
    ("LengthNotChecked", Layer::Segment, Unit("segment::tests::a_header_with_another_version_layout_or_length_is_refused")),
    ("NextClassTaken", Layer::Segment, Unit("segment::geometry::tests::a_message_goes_into_the_smallest_class_that_fits")),
    ("BoardLineKept", Layer::Segment, Unit("segment::board::tests::an_entry_is_reset_for_the_next_worker")),
    ("SweepNeverDue", Layer::Segment, Ipc("death", "recovery::who_waits_notices_a_death_by_itself")),
    ("EveryPidfdErrorIsDeath", Layer::Os, Unit("os::liveness::tests::a_probe_that_can_open_no_descriptor_finds_no_process_dead")),
    ("StartTimeIgnored", Layer::Os, Unit("os::liveness::tests::a_reused_id_is_recognised_by_the_start_time")),
    ("MappingIgnored", Layer::Os, Unit("os::liveness::tests::a_process_that_does_not_map_the_segment_is_dead")),
    ("LocksAreShared", Layer::Os, Unit("os::locks::tests::a_byte_beyond_the_end_is_locked_by_one_description_until_it_is_closed")),
    ("SizeNotSealed", Layer::Os, Unit("os::memory::tests::a_created_file_keeps_its_size_and_mode")),
    ("MemoryNotCommitted", Layer::Os, Unit("os::memory::tests::a_file_has_memory_for_what_was_committed_and_not_decommitted")),
    ("GroupLimitIgnored", Layer::Os, Unit("os::budget::tests::the_tightest_group_of_the_hierarchy_counts")),
    ("FutexIsPrivate", Layer::Os, Ipc("waiting", "wakeups::no_wake_up_is_lost_in_a_queue_for_one_message")),
    ("ForkNotNoticed", Layer::Os, Ipc("death", "recovery::a_forked_child_has_no_part_in_its_parents_queues")),
    ("PollWithoutDeadline", Layer::Os, Unit("os::poll::tests::a_wait_lasts_until_its_deadline")),
    ("EmptyDatagramIsTheEnd", Layer::Os, Unit("os::link::tests::an_empty_datagram_is_not_the_end")),
    ("LeaderSignalledAlone", Layer::Os, Unit("os::child::tests::reaping_a_child_kills_what_it_has_left_behind")),
    ("NoDeathSignal", Layer::Os, Unit("os::child::tests::a_child_ends_with_the_thread_that_has_started_it")),
    ("NameOfOthersUsed", Layer::Os, Ipc("segment", "named::a_queue_that_others_may_open_is_refused")),
    ("SettleWithoutCollecting", Layer::Pool, Ipc("pool", "exactly_once::a_result_that_is_not_received_yet_counts_when_its_worker_dies")),
    ("LineEndedBeforeAnswer", Layer::Pool, Ipc("pool", "exactly_once::a_worker_that_is_killed_before_its_answer_is_accepted_has_crashed_in_its_task")),
    ("LineEndedBeforeAnswer", Layer::Pool, Storm(POOL)),
    ("TicketAttemptKept", Layer::Pool, Storm(POOL)),
    ("OneRetryLess", Layer::Pool, Storm(POOL)),
    ("OneRetryLess", Layer::Pool, Ipc("pool", "deaths::p5_a_crashed_task_is_tried_again_as_often_as_the_policy_says")),
    ("BackoffIgnored", Layer::Pool, Ipc("pool", "deaths::p5_a_crashed_task_is_not_tried_again_before_its_time")),
    ("TicketAttemptKept", Layer::Pool, Ipc("pool", "deaths::p5_a_crashed_task_is_tried_again_as_often_as_the_policy_says")),
    ("UnstartedRetriedForever", Layer::Pool, Ipc("pool", "deaths::p5_a_task_that_nobody_can_decode_and_live_is_reported")),
    ("BystanderCrashed", Layer::Pool, Neither("takes a worker that begins a task between the last look at its line and the kill")),
    ("ChunkCrashesWhole", Layer::Pool, Ipc("pool", "map::p5_a_crash_inside_a_chunk_costs_only_its_own_task")),
    ("DeadNotReplaced", Layer::Pool, Ipc("pool", "deaths::p5_each_way_to_die_is_reported_and_costs_only_its_own_task")),
    ("TimeFromFirstTask", Layer::Pool, Ipc("pool", "limits::p7_the_time_in_the_queue_does_not_count")),
    ("HardLimitIgnored", Layer::Pool, Ipc("pool", "limits::p7_a_task_that_sleeps_beyond_its_time_costs_only_itself")),
    ("SoftLimitNotReported", Layer::Pool, Ipc("pool", "limits::p7_at_its_soft_limit_a_task_is_told_why_and_its_worker_lives")),
    ("OwnLimitIgnored", Layer::Pool, Ipc("pool", "limits::p7_a_task_may_have_a_time_limit_of_its_own")),
    ("ResultsNotDrained", Layer::Pool, Ipc("pool", "shutdown::p1_what_was_done_before_a_cancel_reaches_the_parent")),
    ("DoubleOutcome", Layer::Pool, Ipc("pool", "deaths::p5_each_way_to_die_is_reported_and_costs_only_its_own_task")),
    ("WindowIgnored", Layer::Pool, Ipc("pool", "map::nothing_is_taken_from_the_iterator_beyond_the_window")),
    ("ChunkTailLost", Layer::Pool, Ipc("pool", "map::a_map_gives_the_outcomes_in_the_order_of_the_tasks")),
    ("CancelNotReported", Layer::Pool, Ipc("pool", "tasks::p7_a_running_task_that_is_cancelled_is_told")),
    ("CapacityIgnored", Layer::Pool, Ipc("pool", "tasks::a_task_that_has_no_room_is_returned")),
    ("UnclaimedUnbounded", Layer::Pool, Ipc("pool", "tasks::unclaimed_outcomes_are_bounded")),
    ("DroppedHandleLosesOutcome", Layer::Pool, Ipc("pool", "tasks::a_dropped_handle_leaves_its_outcome_to_the_drain")),
    ("NeverRecycled", Layer::Pool, Ipc("pool", "limits::p8_workers_are_replaced_after_so_many_tasks")),
    ("StopNotEnforced", Layer::Pool, Ipc("pool", "deaths::p3_a_worker_that_ignores_sigterm_is_killed")),
    ("MismatchAccepted", Layer::Pool, Ipc("pool", "tasks::p11_a_worker_with_other_tasks_is_told_apart")),
    ("LogsDropped", Layer::Pool, Ipc("pool", "logs::p15_what_a_worker_logs_reaches_the_parent")),
];

/// Many processes, each with several messages.
const BUSY: &str = "--seconds 30 --senders 2 --receivers 1 --lessees 2 --kills-per-second 150";
/// Half of all blocks are in use at any time.
const FULL: &str = "--seconds 30 --senders 4 --receivers 1 --lessees 0 --kills-per-second 150 --size 64 --capacity 512";
/// Slices of ten minutes: who is not woken sleeps on.
const LONG: &str = "--seconds 3 --senders 3 --receivers 1 --lessees 1 --kills-per-second 3 --capacity 4 --liveness-seconds 600";
/// Workers of pools are killed, and their parents.
const POOL: &str = "--pool --seconds 20 --workers 3 --kills-per-second 60";
const SEED: &str = "20261121";
/// A run with a mutant may take this long, and ten times as long as without one; then it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let wanted = match wanted() {
        Ok(wanted) => wanted,
        Err(complaint) => {
            eprintln!("mutants: {complaint}");
            return ExitCode::from(2);
        }
    };
    let programs = Programs::build(&wanted);
    let mut sound = BTreeMap::new();
    let (mut caught, mut failed) = (BTreeSet::new(), 0);
    for (mutant, layer, catcher) in wanted {
        let verdict = programs.try_one(mutant, catcher, &mut sound);
        let layer = layer.name();
        match verdict {
            Ok(line) => {
                caught.insert(mutant);
                println!("{layer} {mutant}: {line}");
            }
            Err(line) => {
                failed += 1;
                println!("{layer} {mutant}: NOT AS EXPECTED: {line}");
            }
        }
    }
    println!("mutants: {} as expected, {failed} runs not", caught.len());
    ExitCode::from(u8::from(failed > 0))
}

/// The rows that the arguments ask for.
fn wanted() -> Result<Vec<(&'static str, Layer, Catcher)>, String> {
    let (mut names, mut layer) = (BTreeSet::new(), None);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--layer" {
            let name = arguments.next().unwrap_or_default();
            let found = Layer::ALL.into_iter().find(|layer| layer.name() == name);
            layer = Some(found.ok_or(format!(
                "no layer {name:?}; there are protocol, queue, segment, os and pool"
            ))?);
        } else {
            names.insert(argument);
        }
    }
    let known = |name: &&String| !MUTANTS.iter().any(|(mutant, ..)| mutant == name);
    if let Some(unknown) = names.iter().find(known) {
        return Err(format!(
            "no mutant {unknown}; they are in src/mutants/catalogue.rs"
        ));
    }
    let rows = MUTANTS.iter().copied().filter(|&(mutant, of, _)| {
        layer.is_none_or(|layer| layer == of) && (names.is_empty() || names.contains(mutant))
    });
    Ok(rows.collect())
}

/// Where everything is that has the mutants.
#[derive(Default)]
struct Programs {
    /// The test programs: that of the crate itself is `workring`.
    tests: BTreeMap<String, PathBuf>,
    /// The folder of the tools.
    tools: PathBuf,
}

impl Programs {
    /// Builds what these rows need.
    fn build(wanted: &[(&str, Layer, Catcher)]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = root.join("target/mutants");
        let mut programs = Self {
            tools: target.join("release"),
            ..Self::default()
        };
        let (mut units, mut files, mut tools) = (false, BTreeSet::new(), false);
        for (_, _, catcher) in wanted {
            match catcher {
                Unit(_) => units = true,
                Ipc(file, _) => _ = files.insert(*file),
                Stepkill(_) | Storm(_) => tools = true,
                Explorer | Neither(_) => {}
            }
        }
        // At once: the crate is built once for both, with the same features.
        if units || !files.is_empty() {
            let mut arguments = vec!["test", "-p", "workring", "-p", "ipc-tests", "--no-run"];
            if units {
                arguments.push("--lib");
            }
            arguments.extend(files.iter().flat_map(|file| ["--test", file]));
            let said = cargo(&root, &target, &arguments);
            programs.note_tests(&said);
        }
        if tools {
            let arguments = ["build", "--release", "-p", "ipc-tests"];
            let tools = ["--bin", "stepkill", "--bin", "storm"];
            cargo(&root, &target, &[&arguments[..], &tools].concat());
        }
        programs
    }

    /// Reads lines such as `Executable tests/death/main.rs (target/mutants/debug/deps/death-0123)`.
    fn note_tests(&mut self, said: &str) {
        for line in said.lines() {
            let Some(rest) = line.trim().strip_prefix("Executable ") else {
                continue;
            };
            let Some((_, program)) = rest.split_once(" (") else {
                continue;
            };
            let program = program.trim_end_matches(')');
            let file = program.rsplit('/').next().unwrap_or_default();
            let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            self.tests.insert(name.to_owned(), root.join(program));
        }
    }

    fn command(&self, catcher: Catcher) -> Command {
        let test = |file: &str, name: &str| {
            let program = self.tests.get(file);
            let mut command = Command::new(program.unwrap_or_else(|| panic!("no test {file}")));
            command.args(["--exact", name, "--nocapture"]);
            command
        };
        let tool = |name: &str, arguments: &str| {
            let mut command = Command::new(self.tools.join(name));
            command.args(arguments.split_whitespace());
            command.args(["--seed", SEED]);
            command
        };
        match catcher {
            Unit(name) => test("workring", name),
            Ipc(file, name) => test(file, name),
            Stepkill(arguments) => tool("stepkill", arguments),
            Storm(arguments) => tool("storm", arguments),
            Explorer | Neither(_) => unreachable!("nothing is run for it"),
        }
    }

    /// What came of it; an error if that is not as it should be. `sound` has the runs that found nothing without a
    /// mutant, and how long they took.
    fn try_one(
        &self,
        mutant: &str,
        catcher: Catcher,
        sound: &mut BTreeMap<Catcher, Duration>,
    ) -> Result<String, String> {
        match catcher {
            Neither(why) => return Ok(format!("by none: it {why}")),
            Explorer => return Ok("by the explorer's own tests, not run here".to_owned()),
            _ => {}
        }
        let name = format!("{catcher:?}");
        let usual = if let Some(&usual) = sound.get(&catcher) {
            usual
        } else {
            let alone = run(self.command(catcher), None, 20 * PATIENCE);
            if alone.end != End::Passed {
                return Err(format!("{name} fails without it, too: {}", alone.said));
            }
            if matches!(catcher, Unit(_) | Ipc(..)) && !alone.said.contains(" 1 passed;") {
                return Err(format!("{name} is no test: {}", alone.said));
            }
            sound.insert(catcher, alone.took);
            alone.took
        };
        let with = run(self.command(catcher), Some(mutant), PATIENCE + 10 * usual);
        match with.end {
            End::Passed => Err(format!("not caught by {name}")),
            End::Hung => Ok(format!("hangs in {name}")),
            End::Failed => Ok(format!("caught by {name}: {}", reason(&with.said))),
        }
    }
}

/// Runs cargo, and gives what it says of the programs that it has built.
fn cargo(root: &Path, target: &Path, arguments: &[&str]) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(arguments)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_TERM_COLOR", "never")
        .env("RUSTFLAGS", "--cfg workring_mutants")
        .stdout(Stdio::null())
        .output()
        .expect("run cargo");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Passed,
    Failed,
    Hung,
}

struct Run {
    end: End,
    said: String,
    took: Duration,
}

/// Runs a command to its end, or until `limit`, when it is killed with its process group.
fn run(mut command: Command, mutant: Option<&str>, limit: Duration) -> Run {
    let path = env::temp_dir().join(format!("workring-mutants-{}", std::process::id()));
    let file = fs::File::create(&path).expect("a file");
    command
        .env_remove("WORKRING_MUTANT")
        .envs(mutant.map(|mutant| ("WORKRING_MUTANT", mutant)))
        .stdin(Stdio::null())
        .stderr(file.try_clone().expect("another descriptor"))
        .stdout(file)
        .process_group(0);
    let start = Instant::now();
    let mut child = command.spawn().expect("start it");
    let end = wait(&mut child, start + limit);
    let took = start.elapsed();
    let said = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
    let _ = fs::remove_file(&path);
    Run { end, said, took }
}

fn wait(child: &mut Child, deadline: Instant) -> End {
    loop {
        match child.try_wait().expect("wait") {
            Some(status) if status.success() => return End::Passed,
            Some(_) => return End::Failed,
            None if Instant::now() < deadline => {
                // To leave the processor to it.
                thread::sleep(Duration::from_millis(10));
            }
            None => {
                let group = i32::try_from(child.id()).expect("a process id");
                let group = ipc_tests::Pid::from_raw(group);
                let _ = nix::sys::signal::killpg(group, ipc_tests::Signal::SIGKILL);
                child.wait().expect("wait");
                return End::Hung;
            }
        }
    }
}

/// The first line that says what was wrong, and the place of a step.
fn reason(said: &str) -> String {
    let marks = [
        "Wedged: ",
        "WEDGED",
        "Lost: ",
        "Duplicated: ",
        "Leaked: ",
        "violation: ",
    ];
    let mut lines = said.lines();
    let violation = said
        .lines()
        .find(|line| marks.iter().any(|mark| line.starts_with(mark)));
    let after_panic = || {
        let place = said.lines().find(|line| line.contains("panicked at "))?;
        let next = said.lines().skip_while(|line| *line != place).nth(1);
        Some(next.unwrap_or(place))
    };
    let line = violation.or_else(after_panic).unwrap_or("it crashed");
    let place = lines.find_map(|line| line.trim().strip_prefix("to repeat it: "));
    let line: String = line.chars().take(100).collect();
    place.map_or(line.clone(), |place| format!("{place}: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mutant of the crate is in the table, and no other; each layer has some.
    #[test]
    fn the_table_has_every_mutant() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/mutants/catalogue.rs");
        let source = fs::read_to_string(source).expect("the mutants");
        let (_, list) = source.split_once("\nmutants! {\n").expect("the list");
        let (list, _) = list.split_once("\n}\n").expect("its end");
        let declared: BTreeSet<&str> = list
            .lines()
            .map(str::trim)
            .filter_map(|line| line.strip_suffix(','))
            .filter(|name| name.chars().all(char::is_alphanumeric))
            .collect();
        let listed: BTreeSet<&str> = MUTANTS.iter().map(|&(mutant, ..)| mutant).collect();
        assert_eq!(declared, listed);
        for layer in Layer::ALL {
            assert!(MUTANTS.iter().any(|&(_, of, _)| of == layer), "{layer:?}");
        }
    }
}
