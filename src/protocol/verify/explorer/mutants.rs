//! The mutants of the model: faults that the rules must catch.
//!
//! A mutant that is compiled into the real functions (`crate::mutants`) has the same name here where it is the
//! same fault.

/// What the model does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    // Sending.
    /// `Allocate` is a plain store.
    AllocateByStore,
    /// A sender tries only the block at the tail and the spare ones.
    DistantCellsNotTried,
    /// `Publish` overwrites a Vacated slot, although the block does not say yet who took its message.
    PublishWithoutHelp,
    /// A sender does not check before each attempt of `Publish` whether the queue is closing.
    PublishIgnoresClosing,
    /// A sender does not check whether the queue is full.
    PublishBeyondCapacity,
    /// A sender looks for waiters before `Publish`, not after it (PARK-2).
    CheckWaitersBeforePublish,
    /// `AdvanceTail` moves the tail one position too far.
    TailAhead,
    /// A sender that meets a free slot of a later lap skips as many positions as if it were Full.
    SkipOneLapTooMany,
    /// Laps are compared as numbers that never wrap.
    CompareLapsWithoutWrap,
    /// A helper takes any Offered block for the one that was taken from the slot (BLOCK-5).
    HelpIgnoresPosition,
    /// A helper reads the position of the block before its word.
    HelpReadsPositionFirst,
    /// `Offer` leaves the position of the block's last message (BLOCK-5).
    OfferKeepsPosition,
    /// A process that gives up its sender side keeps the blocks that it has leaked (PEER-4).
    LeakedBlocksKept,
    /// A process that gives up its sender side withdraws the Owned blocks of other processes too.
    WithdrawOthersBlocks,
    /// A process that withdraws its leaked blocks wakes no sender that waits for a block.
    WithdrawLeakedWithoutWake,

    // Receiving and returning.
    /// A receiver takes the block that lies beside the slot, not the one that the slot names.
    BlockOfPosition,
    /// A returned message keeps its generation (BLOCK-3).
    ReturnKeepsGeneration,
    /// `Return` does not set the `returned` word.
    ReturnWithoutSignal,
    /// The `returned` word is set without a new epoch (RETURNED-1).
    SignalWithoutEpoch,
    /// `Return` sets the `returned` word before the block is Returned.
    SignalBeforeReturn,
    /// A receiver that has found no Returned block clears the `returned` word, even if it has changed (RETURNED-2).
    ClearReturnedAnyway,
    /// `Retake` is a plain store.
    RetakeByStore,
    /// The number of failed deliveries stays below the limit.
    DeliveriesSaturate,

    // Closing.
    /// `Seal` overwrites a Vacated slot, although the block does not say yet who took its message.
    SealWithoutHelp,
    /// A closer sets the closing bit and leaves the Closed slot to others.
    CloseWithoutSeal,
    /// No process seals the queue for a closer that has died.
    SealNotHelped,
    /// A closer checks whether it is the first, and sets the closing bit in another access.
    TwoFirstClosers,
    /// After a cancel, a returned message becomes Returned.
    ReturnDespiteCancel,
    /// A message that was returned during a cancel stays Returned (`Discard`).
    LateReturnNotDiscarded,
    /// A message that was reclaimed during a cancel stays Returned (`Discard`).
    LateReclaimNotDiscarded,
    /// `Discard` is a plain store.
    DiscardByStore,
    /// A settled queue ends after a look at the blocks, without a pass over the ring before it.
    EndWithoutHelpingRing,
    /// A settled queue ends after a look at the blocks, with the pass over the ring after it.
    EndHelpsRingTooLate,
    /// A drained queue ends although a message is Returned.
    EndIgnoresReturned,
    /// A receiver that finds a Returned block when the queue might end does not set the `returned` word.
    EndWithoutSignal,
    /// The process that ends a queue does not look for messages that were returned in the meantime (`Evict`).
    EndWithoutTrim,
    /// A receiver returns Closed without setting the bit that makes all others return it.
    ClosedIsNotSticky,

    // Dead letters.
    /// `Read` makes a dead letter Held.
    ReadDeadLetterAsHeld,
    /// A dead letter that is put back keeps its generation (BLOCK-3).
    PutBackKeepsGeneration,
    /// `Evict` is a plain store.
    EvictByStore,
    /// Of the dead letters in a batch either all are evicted or none.
    BatchNotTrimmed,

    // Recovery.
    /// Recovery does not check that the peer entry is still the dead process's (RECOVER-1).
    RecoverWithoutConfirming,
    /// Recovery checks the peer entry before it reads a word, not after (RECOVER-1).
    ConfirmBeforeReading,
    /// Recovery looks only at the blocks that lie beside a slot.
    SpareBlocksNotRecovered,
    /// Recovery skips `Hold`.
    RecoverWithoutHold,
    /// Recovery takes an Offered block for sent if any slot names it, even if that is about an earlier message.
    OldSlotsCountAsSent,
    /// Recovery skips `Reclaim`.
    RecoverWithoutReclaim,
    /// A reclaimed message keeps its generation (BLOCK-3).
    ReclaimKeepsGeneration,
    /// `Reclaim` is a plain store.
    ReclaimByStore,
    /// Recovery does not withdraw Owned blocks.
    RecoverWithoutWithdrawOwned,
    /// Recovery does not withdraw Offered blocks.
    RecoverWithoutWithdraw,
    /// `Withdraw` is a plain store in recovery.
    WithdrawByStore,
    /// Recovery does not set the `returned` word (`Vacate`).
    VacateWithoutReturned,
    /// Recovery frees the peer entry before the blocks (RECOVER-4).
    VacateFirst,
    /// A vacated peer entry keeps its incarnation (PEER-2).
    VacateKeepsIncarnation,
    /// Recovery keeps more dead letters than the limit says (`Evict`).
    RecoverWithoutTrim,
    /// A sweep that finds a Returned block does not set the `returned` word.
    SweepWithoutSignal,

    // Membership.
    /// An arrival is counted before the peer entry is Live (LIFE-3).
    CountArrivalTooEarly,
    /// The maker of a ticket does not count its arrival.
    ArrivalNotCounted,
    /// A process checks whether its side has ended before it gives up the role.
    CheckSideBeforeLeaving,
    /// A side ends after two scans of the peer entries, without a compare-exchange of the lifecycle word (LIFE-3).
    CloseAfterTwoScans,

    // Sleeping and waking.
    /// A sleeper sets the waiters bit without a new epoch (PARK-1).
    AnnounceWithoutEpoch,
    /// A process that was woken leaves its wait without another attempt (PARK-4).
    WokenLeavesAtOnce,
    /// Each class of blocks has a parking word of its own.
    ParkingWordPerClass,
    /// A notifier that has woken no process clears the waiters bit, even if the word has changed (PARK-3).
    ClearWaitersAnyway,
    /// A close wakes one sleeper.
    WakeOneInsteadOfAll,
    /// `Release` wakes no sender that waits for a block.
    FreeWithoutWake,
    /// The last `Release` on a closed queue wakes no receiver.
    LastReleaseWithoutWake,
    /// `Take` wakes no sender that waits for room.
    TakeWithoutWake,
    /// `Return` wakes no receiver.
    ReturnWithoutWake,
    /// `Withdraw` wakes no sender that waits for a block.
    WithdrawWithoutWake,
    /// Recovery wakes no process (`Vacate`).
    RecoverWithoutWake,

    // Futures.
    /// A future that was woken and is dropped, or has received, does not look for others (REACTOR-4).
    BatonDropped,
    /// A dropped future does not wake a sleeper of another process (REACTOR-4).
    BatonKeptInProcess,
    /// A dropped future stays in line, and is woken in the place of another.
    DroppedStaysInLine,
    /// A future does not try again after it has come into line (REACTOR-1).
    PendsWithoutRetry,
    /// The reactor looks at the queue before it announces its sleep (REACTOR-3).
    LookBeforeAnnouncing,
    /// The reactor does not look at the queue after it has announced its sleep (REACTOR-3).
    AnnounceWithoutLook,
    /// A reactor that was woken sleeps on the value that the word has now, without a new announcement (REACTOR-2).
    SleepsOnNewValue,
    /// A reactor that was woken when no future is in line any more keeps the wake.
    WakeForNoneKept,
    /// A future that comes into line does not kick the reactor.
    KickForgotten,

    // Huge blocks.
    /// A block for which there is no memory stays allocated.
    HugeBlockNotWithdrawn,
    /// A block is marked before it has memory (HUGE-2).
    MarkBeforeMemory,
    /// A block gives its memory back before its mark is cleared (HUGE-2).
    DecommitBeforeMark,
    /// A block that gives its memory back is still marked.
    MarkKept,
    /// An idle block gives its memory back in Free (HUGE-2).
    DecommitWithoutAllocate,
    /// A sender does not look at the mark again once it owns the block (HUGE-3).
    MarkNotReread,
    /// Memory is taken for a block that has some, and given back if the limit is exceeded.
    CommitDespiteMark,
    /// The queue's limit is not checked again after memory was taken.
    LimitNotRechecked,
    /// A block for which there is not enough memory keeps what it has got.
    RefusedMemoryKept,
    /// Idle blocks that should keep no memory keep it.
    IdleMemoryKept,
    /// Idle blocks give no memory back when it is short.
    IdleMemoryNotReclaimed,
    /// What dead processes have left is not reclaimed.
    LeftoversNotReclaimed,
    /// An allocation fails although blocks in use hold enough memory (HUGE-5).
    MemoryInUseIsLost,
    /// An allocation fails although blocks have changed while the limits were checked (HUGE-5).
    ChangesIgnored,
    /// An allocation fails when the kernel refuses memory that other blocks will give back (HUGE-5).
    RefusalIsFinal,
    /// A sender for which memory was refused looks only at the blocks that are in use then (HUGE-5).
    RefusalIgnoresChanges,

    // Batches.
    /// A message of a batch is delivered, and its mark does not say so (BATCH-2).
    DeliverUnmarked,
    /// A batch that is counted already is counted again (BATCH-4).
    CountBatchTwice,
    /// A batch is counted without a check that the block still holds it (BATCH-4).
    CountBatchUnverified,
    /// A batch is counted after it has left its holder's hands (BATCH-4).
    CountBatchAfterRelease,
    /// A new batch counts as counted because the bit of the batch before it is not cleared (BATCH-4).
    BeginBatchCounted,
    /// Recovery does not count a batch that the dead process held (BATCH-4).
    RecoverWithoutCount,
}
