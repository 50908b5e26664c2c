//! Which mutant is caught in which configuration.
//!
//! One fault that is often named with these is not among them: `Withdraw` reads the ring before the blocks
//! (`WithdrawReadsRingFirst`, RECOVER-3). By itself it does no harm: a block that is Offered in the name of a
//! dead process was so when the ring was read, as long as the peer entry is still its own (RECOVER-1). Together
//! with [`Mutant::WithdrawByStore`] it does harm.

use super::mutants::Mutant;
use crate::mutants::Mutant as CompiledMutant;

/// The mutants of the model.
pub(super) const MODEL_MUTANTS: &[(Mutant, &str)] = &[
    (
        Mutant::AllocateByStore,
        "two senders take blocks at the same time",
    ),
    (
        Mutant::DistantCellsNotTried,
        "a sender sleeps until one of two blocks is free",
    ),
    (
        Mutant::BlockOfPosition,
        "messages lie in the blocks of other slots",
    ),
    (
        Mutant::SpareBlocksNotRecovered,
        "the holder of a spare block dies",
    ),
    (
        Mutant::PublishWithoutHelp,
        "the slot of a dead receiver is reused before recovery",
    ),
    (
        Mutant::PublishIgnoresClosing,
        "close races with send and receive",
    ),
    (
        Mutant::PublishBeyondCapacity,
        "a sender sleeps until there is room",
    ),
    (
        Mutant::CheckWaitersBeforePublish,
        "a receiver sleeps until a message is returned",
    ),
    (
        Mutant::TailAhead,
        "senders and receivers race, room for one message",
    ),
    (
        Mutant::SkipOneLapTooMany,
        "a sender dies while its message is taken",
    ),
    (Mutant::CompareLapsWithoutWrap, "laps wrap"),
    (
        Mutant::HelpIgnoresPosition,
        "a block is reused while a settled queue ends",
    ),
    (
        Mutant::HelpReadsPositionFirst,
        "a block is reused while a settled queue ends",
    ),
    (
        Mutant::OfferKeepsPosition,
        "a block is reused while a settled queue ends",
    ),
    (
        Mutant::LeakedBlocksKept,
        "a sender sleeps until a leaked block is withdrawn",
    ),
    (
        Mutant::WithdrawOthersBlocks,
        "a sender sleeps until a leaked block is withdrawn",
    ),
    (
        Mutant::WithdrawLeakedWithoutWake,
        "a sender sleeps until a leaked block is withdrawn",
    ),
    (
        Mutant::ReturnKeepsGeneration,
        "one message is returned twice",
    ),
    (
        Mutant::ReturnWithoutSignal,
        "a receiver sleeps until a message is returned",
    ),
    (Mutant::SignalWithoutEpoch, "one message is returned twice"),
    (
        Mutant::SignalBeforeReturn,
        "a receiver sleeps until a message is returned",
    ),
    (Mutant::ClearReturnedAnyway, "one message is returned twice"),
    (
        Mutant::RetakeByStore,
        "messages are returned over several laps",
    ),
    (
        Mutant::DeliveriesSaturate,
        "the message of a dead receiver is delivered again",
    ),
    (
        Mutant::SealWithoutHelp,
        "the slot of a dead receiver is sealed before recovery",
    ),
    (Mutant::CloseWithoutSeal, "cancel races with a return"),
    (Mutant::SealNotHelped, "cancel races with a return"),
    (Mutant::TwoFirstClosers, "two processes close"),
    (Mutant::ReturnDespiteCancel, "cancel races with a return"),
    (Mutant::LateReturnNotDiscarded, "cancel races with a return"),
    (
        Mutant::LateReclaimNotDiscarded,
        "a receiver dies during a cancel",
    ),
    (
        Mutant::DiscardByStore,
        "cancel races with a return of a batch",
    ),
    (
        Mutant::EndWithoutHelpingRing,
        "a settled queue waits for a dead receiver",
    ),
    (
        Mutant::EndHelpsRingTooLate,
        "a settled queue waits for a dead receiver",
    ),
    (Mutant::EndIgnoresReturned, "one message is returned twice"),
    (Mutant::EndWithoutSignal, "one message is returned twice"),
    (
        Mutant::EndWithoutTrim,
        "a message is returned while the queue ends",
    ),
    (Mutant::ClosedIsNotSticky, "a receiver dies after the close"),
    (
        Mutant::ReadDeadLetterAsHeld,
        "two readers open one dead letter",
    ),
    (
        Mutant::PutBackKeepsGeneration,
        "two readers open one dead letter",
    ),
    (
        Mutant::EvictByStore,
        "dead letters are evicted while they are read",
    ),
    (
        Mutant::BatchNotTrimmed,
        "a batch makes too many dead letters",
    ),
    (
        Mutant::RecoverWithoutConfirming,
        "the peer entry of a dead sender is reused",
    ),
    (
        Mutant::ConfirmBeforeReading,
        "the peer entry of a dead sender is reused",
    ),
    (
        Mutant::RecoverWithoutHold,
        "the message of a dead receiver is delivered again",
    ),
    (
        Mutant::OldSlotsCountAsSent,
        "a sender dies with a block that a slot still names",
    ),
    (
        Mutant::RecoverWithoutReclaim,
        "the message of a dead receiver is delivered again",
    ),
    (
        Mutant::ReclaimKeepsGeneration,
        "the message of a dead receiver is delivered again",
    ),
    (
        Mutant::ReclaimByStore,
        "two processes recover a dead receiver",
    ),
    (
        Mutant::RecoverWithoutWithdrawOwned,
        "a sender dies while its message is taken",
    ),
    (
        Mutant::RecoverWithoutWithdraw,
        "a sender dies while its message is taken",
    ),
    (
        Mutant::WithdrawByStore,
        "a sender dies, and the slot of its message is filled again",
    ),
    (
        Mutant::VacateWithoutReturned,
        "the message of a dead receiver is delivered again",
    ),
    (
        Mutant::VacateFirst,
        "a sender dies while its message is taken",
    ),
    (
        Mutant::VacateKeepsIncarnation,
        "the peer entry of a dead sender is reused",
    ),
    (
        Mutant::RecoverWithoutTrim,
        "the holder of a batch dies, and one dead letter is kept",
    ),
    (Mutant::SweepWithoutSignal, "one message is returned twice"),
    (
        Mutant::CountArrivalTooEarly,
        "a sender joins while the last one leaves",
    ),
    (
        Mutant::ArrivalNotCounted,
        "the last sender hands its role to a child",
    ),
    (
        Mutant::CheckSideBeforeLeaving,
        "the last senders leave at the same time",
    ),
    (
        Mutant::CloseAfterTwoScans,
        "a sender joins while the last one leaves",
    ),
    (
        Mutant::AnnounceWithoutEpoch,
        "a receiver sleeps until a message is returned",
    ),
    (
        Mutant::WokenLeavesAtOnce,
        "one of two sleeping receivers gives up",
    ),
    (
        Mutant::ParkingWordPerClass,
        "a sender sleeps until one of two blocks is free",
    ),
    (
        Mutant::ClearWaitersAnyway,
        "a receiver sleeps until a message is returned",
    ),
    (
        Mutant::WakeOneInsteadOfAll,
        "two receivers sleep until the close",
    ),
    (
        Mutant::FreeWithoutWake,
        "two senders sleep until a block is free",
    ),
    (
        Mutant::LastReleaseWithoutWake,
        "a receiver sleeps until the queue is settled",
    ),
    (
        Mutant::TakeWithoutWake,
        "a sender sleeps until there is room",
    ),
    (
        Mutant::ReturnWithoutWake,
        "a receiver sleeps until a message is returned",
    ),
    (
        Mutant::WithdrawWithoutWake,
        "a sender sleeps until a block is withdrawn",
    ),
    (
        Mutant::RecoverWithoutWake,
        "a receiver sleeps until a dead receiver is recovered",
    ),
    (
        Mutant::DeliverUnmarked,
        "a batch is returned and received again",
    ),
    (Mutant::CountBatchTwice, "the holder of a batch dies"),
    (
        Mutant::CountBatchUnverified,
        "two processes recover the holder of a batch",
    ),
    (Mutant::CountBatchAfterRelease, "the holder of a batch dies"),
    (
        Mutant::BeginBatchCounted,
        "a batch is sent in the block of another",
    ),
    (
        Mutant::RecoverWithoutCount,
        "the holder of a batch dies during a cancel",
    ),
    (
        Mutant::HugeBlockNotWithdrawn,
        "two senders have memory for one block",
    ),
    (
        Mutant::MarkBeforeMemory,
        "two senders have memory for one block",
    ),
    (
        Mutant::DecommitBeforeMark,
        "an idle block gives its memory back while it is allocated",
    ),
    (
        Mutant::MarkKept,
        "an idle block gives its memory back while it is allocated",
    ),
    (
        Mutant::DecommitWithoutAllocate,
        "an idle block gives its memory back while it is allocated",
    ),
    (
        Mutant::MarkNotReread,
        "an idle block gives its memory back while it is allocated",
    ),
    (
        Mutant::CommitDespiteMark,
        "a block is allocated while the limit is exceeded",
    ),
    (
        Mutant::LimitNotRechecked,
        "two senders have memory for one block",
    ),
    (
        Mutant::RefusedMemoryKept,
        "two senders have memory for one block",
    ),
    (
        Mutant::IdleMemoryKept,
        "an idle block gives its memory back while it is allocated",
    ),
    (
        Mutant::IdleMemoryNotReclaimed,
        "memory of one size is used for another",
    ),
    (Mutant::LeftoversNotReclaimed, "a sender dies with memory"),
    (
        Mutant::MemoryInUseIsLost,
        "two senders have memory for one block",
    ),
    (
        Mutant::ChangesIgnored,
        "two senders have memory for one block",
    ),
    (Mutant::RefusalIsFinal, "the kernel refuses memory"),
    (Mutant::RefusalIgnoresChanges, "the kernel refuses memory"),
];

/// The mutants of futures and of the reactor, and whether the search takes so long that only the full form makes it.
pub(super) const FUTURE_MUTANTS: &[(Mutant, &str, bool)] = &[
    (
        Mutant::PendsWithoutRetry,
        "a future waits for a message",
        false,
    ),
    (Mutant::KickForgotten, "a future waits for a message", false),
    (
        Mutant::LookBeforeAnnouncing,
        "a future waits for a message",
        false,
    ),
    (
        Mutant::AnnounceWithoutLook,
        "a future waits for a message",
        false,
    ),
    (
        Mutant::SleepsOnNewValue,
        "a future waits for a message",
        false,
    ),
    (
        Mutant::BatonDropped,
        "a future is dropped beside another one",
        false,
    ),
    (
        Mutant::DroppedStaysInLine,
        "a future is dropped beside another one",
        true,
    ),
    (
        Mutant::BatonDropped,
        "a future is dropped beside a sleeper",
        true,
    ),
    (
        Mutant::BatonKeptInProcess,
        "a future is dropped beside a sleeper",
        true,
    ),
    (
        Mutant::WakeForNoneKept,
        "a future is dropped beside a sleeper",
        true,
    ),
];

/// The mutants that are compiled into the real functions, and the number of pre-emptions that it takes to catch each.
pub(super) const COMPILED_MUTANTS: &[(CompiledMutant, &str, u8)] = &[
    (
        CompiledMutant::AllocateByStore,
        "two senders take blocks at the same time",
        2,
    ),
    (
        CompiledMutant::DistantCellsNotTried,
        "a sender sleeps until one of two blocks is free",
        1,
    ),
    (
        CompiledMutant::BlockOfPosition,
        "messages lie in the blocks of other slots",
        1,
    ),
    (
        CompiledMutant::SpareBlocksNotRecovered,
        "the holder of a spare block dies",
        1,
    ),
    (
        CompiledMutant::OverwriteWithoutHelp,
        "the slot of a dead receiver is reused before recovery",
        2,
    ),
    (
        CompiledMutant::HelpIgnoresPosition,
        "a block is reused while a settled queue ends",
        2,
    ),
    (
        CompiledMutant::OfferKeepsPosition,
        "a block is reused while a settled queue ends",
        2,
    ),
    (
        CompiledMutant::SealNotHelped,
        "cancel races with a return",
        2,
    ),
    (
        CompiledMutant::ClosedIsNotSticky,
        "a receiver dies after the close",
        2,
    ),
    (
        CompiledMutant::EndWithoutHelpingRing,
        "a settled queue waits for a dead receiver",
        2,
    ),
    (
        CompiledMutant::SignalBeforeReturn,
        "a receiver sleeps until a message is returned",
        2,
    ),
    (
        CompiledMutant::ClearReturnedAnyway,
        "one message is returned twice",
        3,
    ),
    (
        CompiledMutant::ReadDeadLetterAsHeld,
        "two readers open one dead letter",
        2,
    ),
    (
        CompiledMutant::CloseAfterArrival,
        "a sender joins while the last one leaves",
        2,
    ),
    (
        CompiledMutant::RecoverWithoutConfirming,
        "the peer entry of a dead sender is reused",
        2,
    ),
    (
        CompiledMutant::ConfirmBeforeReading,
        "the peer entry of a dead sender is reused",
        2,
    ),
    (
        CompiledMutant::RecoverWritesAnyWord,
        "two processes recover a dead receiver",
        2,
    ),
    (
        CompiledMutant::RecoverWithoutHold,
        "the message of a dead receiver is delivered again",
        2,
    ),
    (
        CompiledMutant::OldSlotsCountAsSent,
        "a sender dies with a block that a slot still names",
        2,
    ),
    (
        CompiledMutant::ReclaimKeepsGeneration,
        "the message of a dead receiver is delivered again",
        2,
    ),
    (
        CompiledMutant::RecoverWithoutWithdraw,
        "a sender dies while its message is taken",
        2,
    ),
    (
        CompiledMutant::VacateWithoutReturned,
        "the message of a dead receiver is delivered again",
        2,
    ),
    (
        CompiledMutant::VacateKeepsIncarnation,
        "the peer entry of a dead sender is reused",
        2,
    ),
    (
        CompiledMutant::LateReturnNotDiscarded,
        "cancel races with a return of a batch",
        2,
    ),
    (
        CompiledMutant::EndWithoutTrim,
        "a message is returned while the queue ends",
        2,
    ),
    (
        CompiledMutant::RecoverWithoutTrim,
        "the holder of a batch dies, and one dead letter is kept",
        2,
    ),
    (
        CompiledMutant::CountBatchTwice,
        "the holder of a batch dies",
        2,
    ),
    (
        CompiledMutant::CountBatchUnverified,
        "two processes recover the holder of a batch",
        3,
    ),
    (
        CompiledMutant::HugeBlockNotWithdrawn,
        "two senders have memory for one block",
        2,
    ),
    (
        CompiledMutant::IdleMemoryKept,
        "an idle block gives its memory back while it is allocated",
        2,
    ),
    (
        CompiledMutant::MarkKept,
        "an idle block gives its memory back while it is allocated",
        2,
    ),
    (
        CompiledMutant::IdleMemoryNotReclaimed,
        "memory of one size is used for another",
        2,
    ),
];
