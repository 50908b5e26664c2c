//! The mutants, what each does wrong, and which one is switched on. Compiled for verification only, and not part of the
//! published package.
//!
//! Built with `--cfg workring_mutants`, a program contains all mutants, and the environment variable `WORKRING_MUTANT`
//! names the one switched on in a process and in its children; without the variable, none is. In the crate's own
//! tests, [`with`] switches a mutant on in one thread while a function runs.
//!
//! `ipc-tests/src/bin/mutants/table.rs` lists which test or tool catches which mutant.

macro_rules! mutants {
    ($($(#[$what:meta])* $name:ident,)*) => {
        /// What is done wrong.
        #[cfg_attr(
            not(feature = "rendezvous"),
            allow(dead_code, reason = "the code of some mutants belongs to this feature")
        )]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mutant {
            $($(#[$what])* $name,)*
        }

        #[cfg(workring_mutants)]
        const ALL: &[Mutant] = &[$(Mutant::$name,)*];
    };
}

mutants! {
    // The reactor of futures.
    /// The reactor's thread announces its next sleep and does not look once more (REACTOR-3).
    ReactorDoesNotLookAgain,
    /// The reactor's thread looks before it announces its next sleep (REACTOR-3).
    ReactorLooksBeforeAnnouncing,
    /// A future that was woken does not wake the next one (REACTOR-4).
    BatonDropped,
    /// A future that was woken, and has come into line again before it takes something, does not wake the next one
    /// (REACTOR-4).
    BatonForgotten,

    // The protocol: transitions.
    /// A sender gives itself a Free block by a plain store (`Allocate`).
    AllocateByStore,
    /// A sender tries only the block at the tail and the spare ones (`Allocate`).
    DistantCellsNotTried,
    /// A receiver that waits writes to the slot what it has seen there, even if the slot has changed since.
    SlotRewrittenByStore,
    /// A receiver takes the block that lies beside the slot, not the one that the slot names (`Take`).
    BlockOfPosition,
    /// A receiver frees a block by a plain store, and looks for sleepers without a fence in between (`Release`, PARK-2).
    ReleaseWithoutFence,
    /// Recovery looks only at the blocks that lie beside a slot (`Reclaim` and `Withdraw`).
    SpareBlocksNotRecovered,
    /// A sender or closer overwrites a Vacated slot without `Hold` (`Publish` and `Seal`).
    OverwriteWithoutHelp,
    /// A helper takes any Offered block for the one that was taken from the slot (`Hold`, BLOCK-5).
    HelpIgnoresPosition,
    /// `Offer` leaves the position of the block's last message (BLOCK-5).
    OfferKeepsPosition,
    /// A closer that dies before `Seal` has not closed the queue: no other process does `Seal` in its place.
    SealNotHelped,
    /// A receiver returns `Closed` and does not set the ended bit.
    ClosedIsNotSticky,
    /// A settled queue ends after a scan of the blocks alone, which misses a taker that has not done `Hold`.
    EndWithoutHelpingRing,
    /// A receiver sets the returned word first, and then returns the message (`Return`, RETURNED-1).
    SignalBeforeReturn,
    /// A scan that found no Returned block clears the word even if it has changed since (RETURNED-2).
    ClearReturnedAnyway,
    /// The reader of a dead letter makes its block Held (`Read`).
    ReadDeadLetterAsHeld,
    /// A leaver that found no other process closes the queue even if one has arrived since (LIFE-3).
    CloseAfterArrival,
    /// Recovery does not check that the table entry still belongs to the dead process (RECOVER-1).
    RecoverWithoutConfirming,
    /// Recovery checks the table entry before it reads the words, and not after (RECOVER-1).
    ConfirmBeforeReading,
    /// Recovery writes the state that it has prepared, whatever the block's word is by then (RECOVER-1).
    RecoverWritesAnyWord,
    /// Recovery does not record in the blocks what the dead process has taken from the ring (`Hold`).
    RecoverWithoutHold,
    /// A message that a dead process held is returned without a new generation (`Reclaim`, BLOCK-3).
    ReclaimKeepsGeneration,
    /// Blocks that a dead process had offered and not published are not freed (`Withdraw`).
    RecoverWithoutWithdraw,
    /// Recovery reads the ring before the block words (`Withdraw`, RECOVER-3).
    WithdrawReadsRingFirst,
    /// Recovery takes an Offered block for sent if any slot names it, even if that is about an earlier message (`Withdraw`).
    OldSlotsCountAsSent,
    /// Recovery does not set the returned word (`Vacate`).
    VacateWithoutReturned,
    /// A table entry has the same incarnation for its next process (`Vacate`, PEER-2).
    VacateKeepsIncarnation,
    /// A message that is returned while a cancel comes is not discarded (`Discard`).
    LateReturnNotDiscarded,
    /// A receiver that ends a queue does not drop dead letters that were returned in the meantime (`Evict`).
    EndWithoutTrim,
    /// Recovery keeps more dead letters of a batch than the limit (`Evict`).
    RecoverWithoutTrim,
    /// A batch that is counted already is counted again (BATCH-4).
    CountBatchTwice,
    /// A batch is counted without a check that the block still holds it (BATCH-4).
    CountBatchUnverified,

    // The protocol: wakes, counts and limits.
    /// A sender that has filled a slot wakes no receiver.
    PublishWithoutWake,
    /// A receiver that has taken a message wakes no sender that waits for room.
    TakeWithoutWake,
    /// A receiver that returns a message wakes no other receiver.
    ReturnWithoutWake,
    /// A process that frees a block wakes no sender that waits for one.
    FreeWithoutWake,
    /// The last release of a closed, settled queue does not wake the receivers that wait for its end.
    LastReleaseWithoutWake,
    /// A close or a cancel wakes no process.
    CloseWithoutWake,
    /// A recovery wakes no process.
    RecoverWithoutWake,
    /// Blocks that a dead process had allocated and not offered are not freed (`Withdraw`).
    RecoverWithoutWithdrawOwned,
    /// A return does not count as a failed delivery.
    DeliveryNotCounted,
    /// A message that was delivered too often is freed instead of kept as a dead letter.
    DeadLetterDiscarded,
    /// The newest dead letter is dropped, not the oldest (`Evict`).
    NewestDeadLetterEvicted,
    /// The queue accepts one message more than its capacity.
    CapacityPlusOne,

    // The layer `queue`.
    /// An interrupt ends every later wait too.
    InterruptNotConsumed,
    /// A wait continues after its deadline.
    DeadlineIgnored,
    /// Waits yield however late their yields have ended (YIELDS-2).
    LateYieldsGoOn,
    /// The search for the pause measures the rate of messages in streams only (PAUSE-3).
    SingleMessagesNotCounted,
    /// The search for the pause measures the rate with the time between bursts (PAUSE-4).
    GapsCounted,
    /// A select that ends with one operation keeps the wakes of the others (SELECT-3).
    SelectKeepsWakes,
    /// A select looks at the epoch of one other word only, and passes on that wake (SELECT-3).
    SelectPassesOneWake,
    /// A select always tries its operations in the order of their registration.
    SelectInOrder,
    /// Dropping a lease acknowledges its message.
    LeaseDropAcknowledges,
    /// Leases are not counted.
    LeaseNotCounted,
    /// A lease that has ended still counts.
    LeaseCountNeverFalls,
    /// A thread takes the token of a prepared block that another one has just taken (ROOM-1).
    TokenTakenTwice,
    /// A sender that is dropped keeps its prepared block.
    PreparedBlockKept,
    /// A receiver takes a prepared block for one that a message is being written to (PAUSE-1).
    PreparedSeenAsBeingSent,
    /// A lease that does not borrow its receiver is not counted.
    OwnedLeaseNotCounted,
    /// A reservation still gives access to the bytes of a message that was sent.
    PlaceOutlivesToken,
    /// A reservation whose commit unwound still knows the header of its block.
    HeaderOutlivesToken,
    /// The block that a sender probably needs takes messages that are too long for the queue.
    LikelyBlockUnlimited,
    /// A short message stays in the block that a sender probably needs, which is a long one.
    LikelyBlockTooLarge,
    /// A receiver that writes to the lines of a message changes them (REWRITE-1).
    RewriteChangesBytes,
    /// The home thread does not notice that other threads lease messages, too.
    OthersLeasesNotSeen,
    /// The last receiver does not notice a lease that was forgotten.
    ForgottenLeaseLost,
    /// A message that cannot be decoded is returned to the queue.
    UndecodableReturned,
    /// The type of the messages is not compared.
    TypeNotChecked,
    /// The codec is not compared.
    CodecNotChecked,
    /// The schema is not compared.
    SchemaNotChecked,
    /// The mailboxes of dead processes are not removed.
    MailboxKept,
    /// The options of a queue are not compared with those that a process names for it.
    OptionsNotCompared,
    /// Dropping a reservation does not free its block.
    ReservationKeepsBlock,
    /// A receiver that is dropped does not return the messages of its batch that it has not delivered.
    RestOfBatchKept,
    /// A ticket that no child has used stays valid.
    TicketNotVoided,
    /// Dropping the last handle of a role does not give up the role.
    LastHandleKeepsRole,
    /// The table entry is freed with the last handle although leases are still open.
    PeerVacatedWithLeases,
    /// The byte of a table entry is not locked.
    LockByteNotTaken,
    /// A process that only uses non-blocking operations never looks for dead peers.
    TriesNeverSweep,

    // Requests, in the layer `queue` of the table.
    /// A request that as many responders have failed with as allowed is delivered once more.
    FailedRequestDelivered,

    // The layer `segment`.
    /// A huge block for which there was no memory stays allocated.
    HugeBlockNotWithdrawn,
    /// A huge block that becomes idle beyond `max_idle_memory` keeps its memory.
    IdleMemoryKept,
    /// Idle huge blocks give back no memory when memory is short.
    IdleMemoryNotReclaimed,
    /// A huge block that gives back its memory is still marked as having it.
    MarkKept,
    /// The queue's own memory limit is not checked.
    QueueLimitIgnored,
    /// Several parts may be committed at once, although the limit leaves room for one (PARTS-3).
    PartNotReserved,
    /// A part is marked as committed before it has memory (PARTS-2).
    PartMarkedEarly,
    /// A block is accessed although its class is not committed (PARTS-2).
    PartMarkIgnored,
    /// The version of a segment is not compared.
    VersionNotChecked,
    /// The fingerprint of a segment's layout is not compared.
    FingerprintNotChecked,
    /// The length of a segment is not compared with its capacity.
    LengthNotChecked,
    /// A message goes to the next larger size class of blocks.
    NextClassTaken,
    /// A worker's line on the board is not reset for the next worker.
    BoardLineKept,
    /// No process looks for dead peers when a liveness interval ends.
    SweepNeverDue,

    // The layer `os`.
    /// Every error of `pidfd_open` counts as a dead process.
    EveryPidfdErrorIsDeath,
    /// The start time of a process is not compared.
    StartTimeIgnored,
    /// It is not checked whether a process maps the segment.
    MappingIgnored,
    /// Locks are shared, so that every request is granted.
    LocksAreShared,
    /// The size of a new segment is not sealed.
    SizeNotSealed,
    /// Memory is not committed when a segment is made.
    MemoryNotCommitted,
    /// The headroom of control groups is not checked.
    GroupLimitIgnored,
    /// Wakes reach only sleepers of the same process.
    FutexIsPrivate,
    /// A thread that is woken on its word while its owner does not wait keeps the wake (WORDS-2).
    WordThreadKeepsWake,
    /// The thread that waits for descriptors does not end with the last registration.
    ReadyThreadStays,
    /// A forked child counts as the process that was attached.
    ForkNotNoticed,
    /// A wait for file descriptors has no deadline.
    PollWithoutDeadline,
    /// An empty datagram counts as the end of a link.
    EmptyDatagramIsTheEnd,
    /// A named queue that other users may open is used.
    NameOfOthersUsed,
    /// A mapping of `shared_memory` keeps its owner flag, and so removes the name when it ends.
    OwnerFlagKept,
    /// A mapping of `shared_memory` is used although its name is that of another file.
    OtherFileAdopted,
    /// A signal goes to the leader of a worker's process group only.
    LeaderSignalledAlone,
    /// A worker does not end with the thread that has started it.
    NoDeathSignal,

    // Rendezvous, in the layers `queue` and `os`.
    /// A process counts as connected before the listener has answered (CONNECT-1).
    HelloNotAwaited,
    /// Processes of any user are accepted and connected to.
    CredentialsNotChecked,
    /// A directory that other users may change is used (DIRECTORY-1).
    DirectoryNotChecked,

    // The layer `pool`.
    /// Results are not collected before dead letters are read.
    SettleWithoutCollecting,
    /// A worker's line on the board is cleared before its answer is sent.
    LineEndedBeforeAnswer,
    /// A task is retried once less than was asked for.
    OneRetryLess,
    /// A rolling restart asks all workers to stop at once.
    RecycledAllAtOnce,
    /// A retry does not wait for its back-off.
    BackoffIgnored,
    /// A retry has the number of the attempt before.
    AttemptNumberKept,
    /// A task that was not started is sent again without limit.
    UnstartedRetriedForever,
    /// A task of a worker that was killed because of another task counts as crashed.
    BystanderCrashed,
    /// All tasks of a chunk crash with the one that was running.
    ChunkCrashesWhole,
    /// A worker that has died is not replaced.
    DeadNotReplaced,
    /// A task's running time is measured from the first task of its worker.
    TimeFromFirstTask,
    /// The hard time limit is not enforced.
    HardLimitIgnored,
    /// The soft time limit is not reported to the task.
    SoftLimitNotReported,
    /// A task's own time limit is ignored.
    OwnLimitIgnored,
    /// Tasks of lower levels get no turn of their own.
    LowLevelsStarve,
    /// A task that is tried again is sent to the queue of normal priority.
    RetryLosesPriority,
    /// A task begins before its time.
    NotBeforeIgnored,
    /// A task that is held back stays so when it is cancelled.
    HeldNotWithdrawn,
    /// A pool that is cancelled discards the results of tasks that were done.
    ResultsNotDrained,
    /// A crashed task is counted twice.
    DoubleOutcome,
    /// A map takes more items from its iterator than its window allows.
    WindowIgnored,
    /// Only the first task of a chunk is run.
    ChunkTailLost,
    /// A cancel is not reported to the task.
    CancelNotReported,
    /// More tasks are in flight than the capacity allows.
    CapacityIgnored,
    /// The number of unclaimed outcomes is not limited.
    UnclaimedUnbounded,
    /// The outcome of a task whose handle was dropped is lost.
    DroppedHandleLosesOutcome,
    /// The leader steps down without a look at the futures that wait.
    FuturesLeftBehind,
    /// A result wakes no future.
    FutureNotWoken,
    /// Workers are not recycled after their number of tasks.
    NeverRecycled,
    /// A worker that ignores a request to stop is not killed.
    StopNotEnforced,
    /// A worker with other tasks than the parent is accepted.
    MismatchAccepted,
    /// Log records of workers are dropped.
    LogsDropped,
    /// A pool's own queues report the deaths of its workers, too.
    PoolQueuesReportDeaths,
    /// The span of a task does not wait for the events that the task has logged.
    SpanClosedBeforeItsEvents,
    /// A thread that waits for long runs its notices only at the end.
    NoticesHeldBackInWait,
}

#[cfg(workring_mutants)]
pub(crate) use by_environment::active;
#[cfg(not(workring_mutants))]
pub(crate) use per_thread::active;
#[cfg(not(workring_mutants))]
pub(crate) use per_thread::with;

/// Switches a mutant on in one thread, while a function runs there.
#[cfg(not(workring_mutants))]
mod per_thread {
    use super::Mutant;
    use core::cell::Cell;

    thread_local! {
        static IN_FORCE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Returns whether `mutant` is switched on in this thread.
    #[must_use]
    pub(crate) fn active(mutant: Mutant) -> bool {
        IN_FORCE.get() == Some(mutant)
    }

    /// Runs `program` with `mutant` switched on in this thread.
    pub(crate) fn with<R>(mutant: Option<Mutant>, program: impl FnOnce() -> R) -> R {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                IN_FORCE.set(None);
            }
        }
        IN_FORCE.set(mutant);
        let _reset = Reset;
        program()
    }
}

/// The mutant that the environment names, for the whole process.
#[cfg(workring_mutants)]
mod by_environment {
    use super::{ALL, Mutant};
    use std::{env, sync::OnceLock};

    static CHOSEN: OnceLock<Option<Mutant>> = OnceLock::new();

    /// Returns whether `mutant` is the one that the environment names.
    #[must_use]
    pub(crate) fn active(mutant: Mutant) -> bool {
        *CHOSEN.get_or_init(choose) == Some(mutant)
    }

    fn choose() -> Option<Mutant> {
        let name = env::var("WORKRING_MUTANT").ok()?;
        let named = ALL.iter().find(|one| format!("{one:?}") == name);
        Some(*named.unwrap_or_else(|| panic!("no mutant {name}; there are: {ALL:?}")))
    }
}
