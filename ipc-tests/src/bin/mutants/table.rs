//! The table of mutants: the layer of each, and what is known to catch it.

/// The part of the crate that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Protocol,
    Queue,
    Segment,
    Os,
    Pool,
}

impl Layer {
    pub(crate) const ALL: [Self; 5] = [
        Self::Protocol,
        Self::Queue,
        Self::Segment,
        Self::Os,
        Self::Pool,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Queue => "queue",
            Self::Segment => "segment",
            Self::Os => "os",
            Self::Pool => "pool",
        }
    }
}

/// What is expected to catch a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Catcher {
    /// A test of the crate itself: its path.
    Unit(&'static str),
    /// A test between processes: its folder in `ipc-tests/tests`, and its path.
    Ipc(&'static str, &'static str),
    /// `stepkill` with these arguments.
    Stepkill(&'static str),
    /// `storm` with these arguments.
    Storm(&'static str),
    /// The explorer, in a build without the flag: `cargo test --release --lib explorer`.
    Explorer,
    /// A model of loom, in a build without the flag: its path. `RUSTFLAGS='--cfg loom' cargo test --release --lib models`.
    Loom(&'static str),
    /// Nothing, for this reason.
    Neither(&'static str),
}

/// The name of a mutant, its layer, and what catches it.
pub(crate) type Row = (&'static str, Layer, Catcher);

use Catcher::{Explorer, Ipc, Loom, Neither, Stepkill, Storm, Unit};

/// Many processes, some with several leases.
const BUSY: &str = "--seconds 30 --senders 2 --receivers 1 --lessees 2 --kills-per-second 150";
/// A liveness interval of ten minutes: a process that is not woken sleeps on.
const LONG: &str = "--seconds 3 --senders 3 --receivers 1 --lessees 1 --kills-per-second 3 --capacity 4 --liveness-seconds 600";
/// Workers and parents of pools are killed.
const POOL: &str = "--pool --seconds 20 --workers 3 --kills-per-second 60";

/// All mutants. A mutant that is caught in several ways has several rows.
#[rustfmt::skip]
pub(crate) const MUTANTS: &[Row] = &[
    ("AllocateByStore", Layer::Protocol, Explorer),
    ("AllocateByStore", Layer::Protocol, Storm(BUSY)),
    ("DistantCellsNotTried", Layer::Protocol, Explorer),
    ("BlockOfPosition", Layer::Protocol, Explorer),
    ("BlockOfPosition", Layer::Protocol, Storm(BUSY)),
    ("SlotRewrittenByStore", Layer::Protocol, Unit("protocol::ring::tests::rewriting_a_slot_changes_nothing_even_if_the_slot_has_changed")),
    ("SlotRewrittenByStore", Layer::Protocol, Storm(BUSY)),
    ("ReleaseWithoutFence", Layer::Protocol, Loom("protocol::verify::loom_models::sending::without_the_fence_after_a_release_a_sender_without_a_block_sleeps_forever")),
    ("SpareBlocksNotRecovered", Layer::Protocol, Explorer),
    ("OverwriteWithoutHelp", Layer::Protocol, Stepkill("--op try-recv --mode kill")),
    ("OverwriteWithoutHelp", Layer::Protocol, Stepkill("--op try-recv --mode copy")),
    ("HelpIgnoresPosition", Layer::Protocol, Explorer),
    ("HelpIgnoresPosition", Layer::Protocol, Storm(BUSY)),
    ("OfferKeepsPosition", Layer::Protocol, Explorer),
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
    ("CloseAfterArrival", Layer::Protocol, Neither("takes three processes at once: a role moves from one peer entry to another while a leaver looks")),
    ("RecoverWithoutConfirming", Layer::Protocol, Stepkill("--op recover --mode stop --sample 300")),
    ("ConfirmBeforeReading", Layer::Protocol, Stepkill("--op recover --mode stop --sample 300")),
    ("RecoverWritesAnyWord", Layer::Protocol, Stepkill("--op recover --mode stop")),
    ("RecoverWithoutHold", Layer::Protocol, Stepkill("--op try-recv --mode kill --sample 20")),
    ("RecoverWithoutHold", Layer::Protocol, Stepkill("--op try-recv --mode copy")),
    ("ReclaimKeepsGeneration", Layer::Protocol, Stepkill("--op recover-batch --mode stop")),
    ("RecoverWithoutWithdraw", Layer::Protocol, Stepkill("--op send --mode kill")),
    ("RecoverWithoutWithdraw", Layer::Protocol, Stepkill("--op send --mode copy")),
    ("RecoverWithoutWithdraw", Layer::Protocol, Storm(BUSY)),
    ("WithdrawReadsRingFirst", Layer::Protocol, Neither("does no harm by itself: a dead process sends no more, and each exchange is exact")),
    ("OldSlotsCountAsSent", Layer::Protocol, Explorer),
    ("OldSlotsCountAsSent", Layer::Protocol, Unit("segment::recovery_tests::an_unsent_block_is_freed_although_a_slot_names_it_for_an_earlier_message")),
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
    ("RecoverWithoutWake", Layer::Queue, Ipc("death", "recovery::the_recovery_of_a_message_wakes_a_sleeper")),
    ("RecoverWithoutWithdrawOwned", Layer::Queue, Ipc("death", "recovery::a_sender_that_is_killed_with_a_reservation_leaves_no_trace")),
    ("DeliveryNotCounted", Layer::Queue, Ipc("queue", "leases::a_message_returned_too_often_becomes_a_dead_letter")),
    ("DeadLetterDiscarded", Layer::Queue, Ipc("queue", "leases::a_message_returned_too_often_becomes_a_dead_letter")),
    ("NewestDeadLetterEvicted", Layer::Queue, Ipc("queue", "leases::the_newest_dead_letters_are_kept")),
    ("CapacityPlusOne", Layer::Queue, Ipc("queue", "model::a_queue_whose_close_does_not_wait_for_leases_does_what_the_model_does")),
    ("InterruptNotConsumed", Layer::Queue, Ipc("waiting", "wakeups::an_interrupt_ends_one_wait_of_its_handle_now_or_later")),
    ("DeadlineIgnored", Layer::Queue, Ipc("waiting", "wakeups::receives_that_give_up_lose_no_message")),
    ("LateYieldsGoOn", Layer::Queue, Unit("queue::yields::tests::two_late_yields_in_short_order_stop_yields_for_a_bounded_time")),
    ("SingleMessagesNotCounted", Layer::Queue, Unit("queue::pause::tests::the_pause_shrinks_to_nothing_if_messages_come_one_by_one_with_a_run_now_and_then")),
    ("GapsCounted", Layer::Queue, Unit("queue::pause::tests::the_pause_stays_short_if_messages_come_in_bursts")),
    ("BatonDropped", Layer::Queue, Ipc("async_io", "dropped::a_future_that_is_dropped_after_it_was_woken_wakes_the_next_one")),
    ("BatonDropped", Layer::Queue, Loom("queue::reactor::loom_models::without_the_baton_a_wake_is_lost")),
    ("BatonForgotten", Layer::Queue, Loom("queue::reactor::loom_models::a_wake_that_is_forgotten_in_line_is_lost")),
    ("ReactorDoesNotLookAgain", Layer::Queue, Loom("queue::reactor::loom_models::without_the_second_look_a_wake_is_lost")),
    ("ReactorLooksBeforeAnnouncing", Layer::Queue, Loom("queue::reactor::loom_models::with_a_look_before_the_announcement_a_wake_is_lost")),
    ("SelectKeepsWakes", Layer::Queue, Ipc("waiting", "selects::wakes_that_a_select_does_not_use_reach_other_processes")),
    ("SelectPassesOneWake", Layer::Queue, Ipc("waiting", "selects::wakes_that_a_select_does_not_use_reach_other_processes")),
    ("SelectInOrder", Layer::Queue, Ipc("waiting", "selects::each_ready_operation_is_selected_about_as_often")),
    ("TokenTakenTwice", Layer::Protocol, Loom("protocol::verify::loom_models::preparing::without_the_exchange_two_threads_take_one_token")),
    ("PreparedBlockKept", Layer::Queue, Unit("queue::prepared::tests::a_sender_that_is_dropped_frees_its_prepared_block")),
    ("PreparedBlockKept", Layer::Queue, Stepkill("--op drop-prepared --mode kill")),
    ("PreparedSeenAsBeingSent", Layer::Queue, Unit("queue::prepared::tests::a_prepared_block_is_no_message_that_is_being_sent_until_it_is_given_up")),
    ("LeaseDropAcknowledges", Layer::Queue, Ipc("queue", "leases::returned_messages_come_first_and_in_the_order_of_acceptance")),
    ("LeaseNotCounted", Layer::Queue, Ipc("queue", "leases::more_leases_than_a_process_may_have_are_refused")),
    ("LeaseCountNeverFalls", Layer::Queue, Ipc("queue", "leases::more_leases_than_a_process_may_have_are_refused")),
    ("OwnedLeaseNotCounted", Layer::Queue, Ipc("queue", "leases::leases_that_are_owned_or_end_in_other_threads_count_like_all_others")),
    ("PlaceOutlivesToken", Layer::Segment, Ipc("queue", "values::a_value_is_zeros_when_it_is_cleared_or_was_sent")),
    ("HeaderOutlivesToken", Layer::Segment, Ipc("death", "events::a_subscriber_that_panics_in_a_commit_keeps_no_block")),
    ("LikelyBlockUnlimited", Layer::Queue, Ipc("queue", "sizes::a_message_that_is_too_large_is_returned_whole")),
    ("LikelyBlockTooLarge", Layer::Queue, Ipc("queue", "sizes::a_short_message_after_a_long_one_takes_no_long_block")),
    ("RewriteChangesBytes", Layer::Segment, Stepkill("--op recv-two-lines --mode kill")),
    ("RewriteChangesBytes", Layer::Segment, Stepkill("--op recv-larger-block --mode kill")),
    ("OthersLeasesNotSeen", Layer::Queue, Ipc("queue", "leases::leases_that_are_owned_or_end_in_other_threads_count_like_all_others")),
    ("ForgottenLeaseLost", Layer::Queue, Ipc("queue", "bytes::a_forgotten_lease_that_borrowed_its_receiver_holds_its_message_until_its_process_ends")),
    ("UndecodableReturned", Layer::Queue, Ipc("queue", "leases::a_message_that_cannot_be_decoded_is_an_error_once_and_a_dead_letter")),
    ("TypeNotChecked", Layer::Queue, Ipc("segment", "named::an_opener_with_another_type_codec_or_schema_is_refused")),
    ("CodecNotChecked", Layer::Queue, Ipc("segment", "named::an_opener_with_another_type_codec_or_schema_is_refused")),
    ("SchemaNotChecked", Layer::Queue, Ipc("segment", "named::an_opener_with_another_type_codec_or_schema_is_refused")),
    ("MailboxKept", Layer::Queue, Ipc("segment", "addresses::the_mailbox_of_a_dead_process_is_removed_by_the_next_create_open_or_list")),
    ("OptionsNotCompared", Layer::Queue, Ipc("segment", "addresses::a_queue_with_other_options_is_refused_with_both_values")),
    ("FailedRequestDelivered", Layer::Queue, Ipc("queue", "requests::a_request_that_fails_with_too_many_responders_is_reported")),
    ("ReservationKeepsBlock", Layer::Queue, Ipc("queue", "bytes::a_reservation_that_is_dropped_was_never_there")),
    ("RestOfBatchKept", Layer::Queue, Ipc("queue", "batches::a_receiver_that_is_dropped_returns_what_it_has_not_delivered")),
    ("TicketNotVoided", Layer::Queue, Ipc("queue", "membership::a_hand_off_that_is_dropped_takes_back_what_it_gave")),
    ("LastHandleKeepsRole", Layer::Queue, Ipc("queue", "membership::a_hand_off_that_fails_halfway_takes_back_what_it_gave")),
    ("PeerVacatedWithLeases", Layer::Queue, Ipc("queue", "leases::a_process_that_has_nothing_but_a_lease_is_still_a_peer")),
    ("LockByteNotTaken", Layer::Queue, Ipc("queue", "membership::an_end_that_was_given_is_not_taken_for_one_of_the_dead")),
    ("TriesNeverSweep", Layer::Queue, Ipc("death", "recovery::a_receiver_that_never_waits_notices_a_death")),
    ("HugeBlockNotWithdrawn", Layer::Segment, Unit("segment::huge::tests::a_block_for_which_the_kernel_refuses_memory_is_free_again")),
    ("IdleMemoryKept", Layer::Segment, Ipc("segment", "large::memory_is_allocated_when_it_is_used_and_freed_when_it_is_idle")),
    ("IdleMemoryNotReclaimed", Layer::Segment, Ipc("segment", "large::idle_memory_of_one_size_is_released_for_another")),
    ("MarkKept", Layer::Segment, Unit("segment::huge::tests::memory_of_idle_blocks_is_reclaimed_for_another_size")),
    ("PartNotReserved", Layer::Protocol, Explorer),
    ("PartMarkedEarly", Layer::Protocol, Explorer),
    ("PartMarkIgnored", Layer::Segment, Unit("segment::parts::tests::a_block_of_a_class_without_memory_is_not_found")),
    ("QueueLimitIgnored", Layer::Segment, Unit("segment::huge::tests::a_lack_of_memory_is_waited_for_only_if_the_queue_can_end_it")),
    ("VersionNotChecked", Layer::Segment, Unit("segment::tests::a_header_with_another_version_layout_or_length_is_refused")),
    ("FingerprintNotChecked", Layer::Segment, Unit("segment::tests::a_header_with_another_version_layout_or_length_is_refused")),
    ("LengthNotChecked", Layer::Segment, Unit("segment::tests::a_header_with_another_version_layout_or_length_is_refused")),
    ("NextClassTaken", Layer::Segment, Unit("segment::geometry::tests::a_message_goes_into_the_smallest_class_that_fits")),
    ("BoardLineKept", Layer::Segment, Unit("segment::board::tests::an_entry_is_reset_for_the_next_worker")),
    ("SweepNeverDue", Layer::Segment, Ipc("death", "recovery::a_waiting_receiver_notices_a_death")),
    ("EveryPidfdErrorIsDeath", Layer::Os, Unit("os::liveness::tests::a_probe_that_can_open_no_descriptor_finds_no_process_dead")),
    ("StartTimeIgnored", Layer::Os, Unit("os::liveness::tests::a_reused_id_is_recognised_by_the_start_time")),
    ("MappingIgnored", Layer::Os, Unit("os::liveness::tests::a_process_that_does_not_map_the_segment_is_dead")),
    ("LocksAreShared", Layer::Os, Unit("os::locks::tests::a_byte_beyond_the_end_is_locked_by_one_description_until_it_is_closed")),
    ("SizeNotSealed", Layer::Os, Unit("os::memory::tests::a_created_file_keeps_its_size_and_mode")),
    ("MemoryNotCommitted", Layer::Os, Unit("os::memory::tests::a_file_has_memory_for_what_was_committed_and_not_decommitted")),
    ("GroupLimitIgnored", Layer::Os, Unit("os::budget::tests::the_tightest_group_of_the_hierarchy_counts")),
    ("FutexIsPrivate", Layer::Os, Ipc("waiting", "wakeups::no_wake_up_is_lost_in_a_queue_for_one_message")),
    ("WordThreadKeepsWake", Layer::Os, Unit("os::wait_many::tests::a_wake_between_two_waits_is_passed_on")),
    ("ReadyThreadStays", Layer::Os, Ipc("waiting", "watches::all_watches_of_a_process_have_one_thread_which_ends_with_the_last")),
    ("ForkNotNoticed", Layer::Os, Ipc("death", "recovery::a_forked_child_cannot_use_its_parents_queues")),
    ("PollWithoutDeadline", Layer::Os, Unit("os::poll::tests::a_wait_lasts_until_its_deadline")),
    ("EmptyDatagramIsTheEnd", Layer::Os, Unit("os::link::tests::an_empty_datagram_is_not_the_end")),
    ("LeaderSignalledAlone", Layer::Os, Unit("os::child::tests::reaping_a_child_kills_what_it_has_left_behind")),
    ("NoDeathSignal", Layer::Os, Unit("os::child::tests::a_child_ends_with_the_thread_that_has_started_it")),
    ("HelloNotAwaited", Layer::Queue, Ipc("rendezvous", "connecting::a_listener_that_does_not_accept_is_a_timeout_and_never_a_connection")),
    ("CredentialsNotChecked", Layer::Queue, Ipc("rendezvous", "users::a_process_of_another_user_is_accepted_only_if_both_sides_allow_it")),
    ("DirectoryNotChecked", Layer::Os, Ipc("rendezvous", "names::a_directory_that_others_may_write_to_is_refused")),
    ("NameOfOthersUsed", Layer::Os, Ipc("segment", "named::a_queue_that_others_may_open_is_refused")),
    ("OwnerFlagKept", Layer::Os, Ipc("segment", "shared_memory::an_owner_that_leaves_does_not_remove_a_queue_in_use")),
    ("OtherFileAdopted", Layer::Os, Ipc("segment", "shared_memory::a_mapping_of_another_queue_is_refused")),
    ("SettleWithoutCollecting", Layer::Pool, Ipc("pool", "exactly_once::a_result_that_is_not_received_yet_counts_when_its_worker_dies")),
    ("LineEndedBeforeAnswer", Layer::Pool, Ipc("pool", "exactly_once::a_worker_that_is_killed_before_its_result_is_sent_has_crashed_in_its_task")),
    ("LineEndedBeforeAnswer", Layer::Pool, Storm(POOL)),
    ("AttemptNumberKept", Layer::Pool, Storm(POOL)),
    ("OneRetryLess", Layer::Pool, Storm(POOL)),
    ("OneRetryLess", Layer::Pool, Ipc("pool", "deaths::p5_a_crashed_task_is_retried_as_often_as_the_policy_allows")),
    ("RecycledAllAtOnce", Layer::Pool, Ipc("pool", "rollouts::a_rolling_restart_misses_one_worker_at_a_time")),
    ("BackoffIgnored", Layer::Pool, Ipc("pool", "deaths::p5_a_crashed_task_is_not_retried_before_its_backoff")),
    ("AttemptNumberKept", Layer::Pool, Ipc("pool", "deaths::p5_a_crashed_task_is_retried_as_often_as_the_policy_allows")),
    ("UnstartedRetriedForever", Layer::Pool, Ipc("pool", "deaths::p5_a_task_whose_decoding_kills_every_worker_is_reported")),
    ("BystanderCrashed", Layer::Pool, Neither("takes a worker that begins a task between the last read of its state and the kill")),
    ("ChunkCrashesWhole", Layer::Pool, Ipc("pool", "map::p5_a_crash_inside_a_chunk_costs_only_its_own_task")),
    ("DeadNotReplaced", Layer::Pool, Ipc("pool", "deaths::p5_each_way_to_die_is_reported_and_costs_only_its_own_task")),
    ("TimeFromFirstTask", Layer::Pool, Ipc("pool", "limits::p7_the_time_in_the_queue_does_not_count")),
    ("HardLimitIgnored", Layer::Pool, Ipc("pool", "limits::p7_a_task_that_sleeps_beyond_its_time_limit_costs_only_itself")),
    ("SoftLimitNotReported", Layer::Pool, Ipc("pool", "limits::p7_at_its_soft_limit_a_task_is_notified_and_its_worker_lives")),
    ("LowLevelsStarve", Layer::Pool, Ipc("pool", "priorities::a_free_worker_takes_tasks_in_the_order_of_their_priorities")),
    ("RetryLosesPriority", Layer::Pool, Ipc("pool", "priorities::p5_a_task_that_is_tried_again_keeps_its_priority")),
    ("NotBeforeIgnored", Layer::Pool, Ipc("pool", "not_before::a_task_does_not_begin_before_its_time")),
    ("HeldNotWithdrawn", Layer::Pool, Ipc("pool", "not_before::p7_a_task_that_is_not_due_is_cancelled_at_once")),
    ("OwnLimitIgnored", Layer::Pool, Ipc("pool", "limits::p7_a_task_may_have_a_time_limit_of_its_own")),
    ("ResultsNotDrained", Layer::Pool, Ipc("pool", "shutdown::p1_results_from_before_a_cancel_reach_the_parent")),
    ("DoubleOutcome", Layer::Pool, Ipc("pool", "deaths::p5_each_way_to_die_is_reported_and_costs_only_its_own_task")),
    ("WindowIgnored", Layer::Pool, Ipc("pool", "map::nothing_is_taken_from_the_iterator_beyond_the_window")),
    ("ChunkTailLost", Layer::Pool, Ipc("pool", "map::a_map_gives_the_outcomes_in_the_order_of_the_tasks")),
    ("CancelNotReported", Layer::Pool, Ipc("pool", "tasks::p7_a_running_task_that_is_cancelled_is_notified")),
    ("CapacityIgnored", Layer::Pool, Ipc("pool", "tasks::a_task_that_has_no_room_is_returned")),
    ("UnclaimedUnbounded", Layer::Pool, Ipc("pool", "tasks::unclaimed_outcomes_are_bounded")),
    ("DroppedHandleLosesOutcome", Layer::Pool, Ipc("pool", "tasks::a_dropped_handle_leaves_its_outcome_to_the_drain")),
    ("FuturesLeftBehind", Layer::Pool, Ipc("pool", "futures::a_thread_that_leaves_lets_futures_go_on")),
    ("FutureNotWoken", Layer::Pool, Ipc("pool", "futures::a_thousand_futures_wait_at_once")),
    ("NeverRecycled", Layer::Pool, Ipc("pool", "recycling::p8_workers_are_replaced_after_a_number_of_tasks")),
    ("StopNotEnforced", Layer::Pool, Ipc("pool", "deaths::p3_a_worker_that_ignores_sigterm_is_killed")),
    ("MismatchAccepted", Layer::Pool, Ipc("pool", "tasks::p11_a_worker_with_other_tasks_is_refused")),
    ("LogsDropped", Layer::Pool, Ipc("pool", "logs::p15_the_logs_of_a_worker_reach_the_parent")),
    ("PoolQueuesReportDeaths", Layer::Pool, Ipc("pool", "death_events::each_unexpected_death_is_one_event_with_everything_in_it")),
    ("SpanClosedBeforeItsEvents", Layer::Pool, Ipc("pool", "spans::what_a_task_logs_is_an_event_in_its_span_with_its_own_fields_and_spans")),
    ("NoticesHeldBackInWait", Layer::Pool, Ipc("pool", "spans::a_span_is_closed_although_the_thread_that_receives_the_outcome_goes_on_waiting")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    /// Each mutant is declared in `src/mutants/catalogue.rs`.
    #[test]
    fn the_table_has_exactly_the_mutants_of_the_crate() {
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
    }

    #[test]
    fn each_layer_has_mutants() {
        for layer in Layer::ALL {
            assert!(MUTANTS.iter().any(|&(_, of, _)| of == layer), "{layer:?}");
        }
    }

    /// Returns the sources in which a module may be: a file of its own, or the file of a module around it.
    fn sources(folder: &Path, modules: &[&str]) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for depth in (1..=modules.len()).rev() {
            let path: PathBuf = modules.iter().take(depth).collect();
            let path = folder.join(path);
            found.extend([path.with_extension("rs"), path.join("mod.rs")]);
        }
        found
    }

    /// Whether the crate or test program in this folder declares a test of this path.
    fn declares(folder: &Path, path: &str) -> bool {
        let mut modules: Vec<&str> = path.split("::").collect();
        let test = modules.pop().expect("the name of a test");
        let declaration = format!("#[test]\nfn {test}(");
        let declares = |path: &PathBuf| {
            let source = fs::read_to_string(path).unwrap_or_default();
            let lines = source.lines().map(str::trim);
            let lines = lines.filter(|line| !line.starts_with("#[should_panic"));
            let lines: Vec<&str> = lines.collect();
            lines.join("\n").contains(&declaration)
        };
        sources(folder, &modules).iter().any(declares)
    }

    /// A test that has been renamed catches nothing.
    #[test]
    fn every_test_in_the_table_exists() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (mutant, _, catcher) in MUTANTS {
            let (folder, path) = match catcher {
                Unit(path) | Loom(path) => (package.join("../src"), path),
                Ipc(folder, path) => (package.join("tests").join(folder), path),
                _ => continue,
            };
            let folder_name = folder.display();
            assert!(
                declares(&folder, path),
                "{mutant}: no test {path} in {folder_name}"
            );
        }
        assert!(!declares(
            &package.join("tests/queue"),
            "close::no_such_test"
        ));
    }
}
