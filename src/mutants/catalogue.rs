//! The mutants, what each does wrong, and which one is in force. Compiled for verification only, and not part of the
//! published package.
//!
//! Built with `--cfg workring_mutants`, a program contains all mutants, and the environment variable `WORKRING_MUTANT`
//! names the one that is in force in a process and in its children; without the variable, none is. In the crate's own
//! tests, [`with`] puts a mutant in force in one thread while a function runs.
//!
//! `ipc-tests/src/bin/mutants.rs` lists which test or tool catches which mutant.

macro_rules! mutants {
    ($($(#[$what:meta])* $name:ident,)*) => {
        /// What is done wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mutant {
            $($(#[$what])* $name,)*
        }

        #[cfg(workring_mutants)]
        const ALL: &[Mutant] = &[$(Mutant::$name,)*];
    };
}

mutants! {
    // The protocol: transitions.
    /// A Vacated slot is overwritten, and nobody has noted who took its message (`Publish` and `Seal`).
    OverwriteWithoutHelp,
    /// A helper does not look whether the slot is still the same after it has read the block.
    HelpWithoutReread,
    /// A receiver leaves its name in the slot (`Clear`), and acknowledges or returns the message all the same.
    SkipClear,
    /// A closer that has died before it wrote Closed (`Seal`) has not closed the queue: nobody does it for it.
    SealNotHelped,
    /// A receiver returns `Closed` and does not make that sticky.
    ClosedIsNotSticky,
    /// A settled queue ends by a look at the blocks alone: a taker that has not noted its message is overlooked.
    EndWithoutHelpingRing,
    /// A returner says that something has come back, and only then gives it back (`Return`).
    SignalBeforeReturn,
    /// Whoever has met no Returned block clears the word also if something has come back since (RETURNED-2 of `returned`).
    ClearReturnedAnyway,
    /// A reader of a dead letter notes it as Held (`Read`).
    ReadDeadLetterAsHeld,
    /// A leaver that found nobody else closes the queue also if somebody has arrived since (LIFE-3 of `lifecycle`).
    CloseAfterArrival,
    /// Recovery does not look whether the row is still that of the dead (RECOVER-1).
    RecoverWithoutConfirming,
    /// Recovery looks whether the row is still that of the dead before it reads the words, and not after (RECOVER-1).
    ConfirmBeforeReading,
    /// Recovery writes what it has prepared, whatever the block's word is by now (RECOVER-1).
    RecoverWritesAnyWord,
    /// Recovery leaves the names of the dead in the slots (`Clear`).
    RecoverWithoutClear,
    /// A message that a dead process held comes back without a rise of its generation (`Reclaim`).
    ReclaimKeepsGeneration,
    /// What a dead process had not sent is left alone (`Withdraw`).
    RecoverWithoutWithdraw,
    /// What is not in the ring by an earlier look is freed (RECOVER-3).
    WithdrawReadsRingFirst,
    /// Nobody is told that messages have come back from the dead (`Vacate`).
    VacateWithoutReturned,
    /// A row has the same incarnation for its next tenant (PEER-2 of `peers`).
    VacateKeepsIncarnation,
    /// Whoever returned a message while a cancel came leaves it where nobody will receive it (`Discard`).
    LateReturnNotDiscarded,
    /// Whoever ends a queue does not look for what came back meanwhile, and is a dead letter too many (`Evict`).
    EndWithoutTrim,
    /// Recovery keeps more dead letters of a batch than the limit says (`Evict`).
    RecoverWithoutTrim,
    /// A batch that has been counted is counted again (BATCH-4 of `batch`).
    CountBatchTwice,
    /// A batch is counted although the block may hold another one by now (BATCH-4).
    CountBatchUnverified,

    // The protocol: wakes, counts and limits.
    /// A sender that has filled a slot wakes no receiver.
    PublishWithoutWake,
    /// A receiver that has taken a message wakes no sender that waits for room.
    TakeWithoutWake,
    /// A message that comes back wakes no receiver.
    ReturnWithoutWake,
    /// A block that is released or withdrawn wakes no sender that waits for one.
    FreeWithoutWake,
    /// The last release of a closed, settled queue wakes none of those that wait for its end.
    LastReleaseWithoutWake,
    /// A close or a cancel wakes nobody.
    CloseWithoutWake,
    /// A recovery wakes nobody.
    RecoverWithoutWake,
    /// A block that a dead sender had allocated and not offered is not freed.
    RecoverWithoutWithdrawOwned,
    /// A return does not count as an attempt.
    DeliveryNotCounted,
    /// A message that has come back too often is freed, and no dead letter.
    DeadLetterDiscarded,
    /// Of too many dead letters the newest goes, not the oldest.
    NewestDeadLetterEvicted,
    /// The queue holds one message more than its capacity.
    CapacityPlusOne,

    // The layer `queue`.
    /// An interrupt ends every wait from then on.
    InterruptNotConsumed,
    /// A wait goes on after its deadline.
    DeadlineIgnored,
    /// A lease that is dropped acknowledges its message.
    LeaseDropAcknowledges,
    /// Leases are not counted.
    LeaseNotCounted,
    /// A lease that has ended still counts.
    LeaseCountNeverFalls,
    /// A message that can't be decoded is returned to the queue.
    UndecodableReturned,
    /// The type of the messages is not compared.
    TypeNotChecked,
    /// The codec is not compared.
    CodecNotChecked,
    /// The schema is not compared.
    SchemaNotChecked,
    /// A reservation that is dropped keeps its block.
    ReservationKeepsBlock,
    /// What a receiver has not handed out of a batch is not returned when it goes.
    RestOfBatchKept,
    /// A ticket that no child has used is not voided.
    TicketNotVoided,
    /// The last handle of a role does not give the role up.
    LastHandleKeepsRole,
    /// A row is vacated with the last handle, although leases of it live.
    PeerVacatedWithLeases,
    /// A row's byte is not locked.
    LockByteNotTaken,
    /// A process that only tries never looks after the others.
    TriesNeverSweep,

    // The layer `segment`.
    /// A huge block for which there was no memory stays in hand.
    HugeBlockNotWithdrawn,
    /// An idle huge block beyond those that are kept keeps its memory.
    IdleMemoryKept,
    /// Idle huge blocks give nothing back when memory is short.
    IdleMemoryNotReclaimed,
    /// The mark of a huge block stays when its memory is given back.
    MarkKept,
    /// The queue's own memory limit is not looked at.
    QueueLimitIgnored,
    /// The version of a segment is not compared.
    VersionNotChecked,
    /// The fingerprint of a segment's layout is not compared.
    FingerprintNotChecked,
    /// The length of a segment is not compared with its capacity.
    LengthNotChecked,
    /// A message goes to the next class of blocks.
    NextClassTaken,
    /// A worker's line on the board is not reset for the next worker.
    BoardLineKept,
    /// Nobody looks after the others when a slice ends.
    SweepNeverDue,

    // The layer `os`.
    /// Every error of `pidfd_open` counts as "there is no such process".
    EveryPidfdErrorIsDeath,
    /// The start time of a process is not compared.
    StartTimeIgnored,
    /// Whether a process maps the segment is not looked at.
    MappingIgnored,
    /// Locks are shared, so that each is granted.
    LocksAreShared,
    /// The size of a new segment is not sealed.
    SizeNotSealed,
    /// Memory is not committed beforehand.
    MemoryNotCommitted,
    /// The head-room of control groups is not looked at.
    GroupLimitIgnored,
    /// Wakes reach only sleepers of the same process.
    FutexIsPrivate,
    /// A forked child is taken for the process that was attached.
    ForkNotNoticed,
    /// A wait for descriptors has no deadline.
    PollWithoutDeadline,
    /// An empty datagram counts as the end of a link.
    EmptyDatagramIsTheEnd,
    /// A named queue that others may open is used.
    NameOfOthersUsed,
    /// A signal goes to the leader of a worker's group alone.
    LeaderSignalledAlone,
    /// A worker does not end with the thread that has started it.
    NoDeathSignal,

    // The layer `workers`.
    /// Results are not collected before dead letters are read.
    SettleWithoutCollecting,
    /// A worker's line on the board is ended before its answer is sent.
    LineEndedBeforeAnswer,
    /// One retry less than was asked for.
    OneRetryLess,
    /// A retry does not wait for its back-off.
    BackoffIgnored,
    /// The attempt on a ticket is not raised for a retry.
    TicketAttemptKept,
    /// A task that was not begun is always sent again.
    UnstartedRetriedForever,
    /// A task of a worker that was killed for another one counts as crashed.
    BystanderCrashed,
    /// All tasks of a chunk crash with the one that was running.
    ChunkCrashesWhole,
    /// A worker that has died is not replaced.
    DeadNotReplaced,
    /// A task's time is measured from the first one of its worker.
    TimeFromFirstTask,
    /// The hard time limit is not enforced.
    HardLimitIgnored,
    /// The soft time limit is not told.
    SoftLimitNotReported,
    /// A task's own time limit is not looked at.
    OwnLimitIgnored,
    /// A pool that is cancelled discards the results of tasks that were done.
    ResultsNotDrained,
    /// A crashed task is counted twice.
    DoubleOutcome,
    /// A map takes more from its iterator than its window allows.
    WindowIgnored,
    /// Of a chunk only the first task is run.
    ChunkTailLost,
    /// A cancelled task is not told.
    CancelNotReported,
    /// More tasks are in flight than the capacity allows.
    CapacityIgnored,
    /// Outcomes that nobody claims are not bounded.
    UnclaimedUnbounded,
    /// The outcome of a task whose handle was dropped is lost.
    DroppedHandleLosesOutcome,
    /// Workers are not recycled after their number of tasks.
    NeverRecycled,
    /// A worker that ignores being asked to end is not killed.
    StopNotEnforced,
    /// A worker with other tasks is welcomed.
    MismatchAccepted,
    /// What workers log is dropped.
    LogsDropped,
}

#[cfg(workring_mutants)]
pub(crate) use chosen::active;
#[cfg(not(workring_mutants))]
pub(crate) use trial::active;
#[cfg(not(any(workring_mutants, loom)))]
pub(crate) use trial::with;

/// A mutant for one thread, for as long as a function runs there.
#[cfg(not(workring_mutants))]
mod trial {
    use super::Mutant;
    use core::cell::Cell;

    thread_local! {
        static ON_TRIAL: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether this is the one on trial.
    #[must_use]
    pub(crate) fn active(mutant: Mutant) -> bool {
        ON_TRIAL.get() == Some(mutant)
    }

    /// Run `program` with `mutant` in force.
    #[cfg(not(loom))]
    pub(crate) fn with<R>(mutant: Option<Mutant>, program: impl FnOnce() -> R) -> R {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                ON_TRIAL.set(None);
            }
        }
        ON_TRIAL.set(mutant);
        let _reset = Reset;
        program()
    }
}

#[cfg(workring_mutants)]
mod chosen {
    use super::{ALL, Mutant};
    use std::{env, sync::OnceLock};

    static CHOSEN: OnceLock<Option<Mutant>> = OnceLock::new();

    /// Whether this is the one that the environment names.
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
