//! Ways to get the protocol wrong, each of which the model must be able to tell from the right one.
//!
//! With each goes the configuration in which it is caught. One that is often named with them is not here: that `Withdraw` looks
//! at the ring before it has read the blocks. By itself it does no harm, for what is Offered in the name of a dead
//! process was so when the ring was looked at, as long as the row is its own (RECOVER-1); it does with [`WithdrawWritesAnyWord`].
//!
//! [`WithdrawWritesAnyWord`]: Mutant::WithdrawWritesAnyWord

use crate::mutants::Mutant as Flaw;

/// What the model does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// A sender overwrites a Vacated slot, and nobody has noted who took its message.
    SendWithoutHelp,
    /// So does a closer.
    SealWithoutHelp,
    /// A helper does not look whether the slot is still the same after it has read the block.
    HelpWithoutReread,
    /// A receiver acknowledges or returns a message while the slot still has its name (`Clear`).
    SkipClear,
    /// A sender does not look whether the queue is closing before each `Publish`.
    SendWithoutLookAtLifecycle,
    /// A sender does not look whether the queue is full.
    SendBeyondCapacity,
    /// A sender moves the tail further than it has come.
    TailAhead,
    /// From a free slot of a later lap a sender jumps as if it were Full.
    JumpALapTooFar,
    /// Laps are compared as numbers that never wrap.
    CompareLapsWithoutWrap,
    /// A returned message is of the generation that it was of (BLOCK-3 of `blocks`).
    ReturnKeepsGeneration,
    /// A returner does not say that something has come back.
    ReturnSilently,
    /// It says so, and does not raise the epoch (RETURNED-1 of `returned`).
    ReturnWithoutRaise,
    /// It says so, and then gives the message back.
    SignalBeforeReturn,
    /// Whoever met no Returned block clears the word, whatever has come back since (RETURNED-2).
    ClearReturnedAnyway,
    /// A receiver takes a returned message by a plain store (`Retake`).
    TakeReturnedByStore,
    /// The number of attempts stays below the limit for ever.
    AttemptsSaturate,
    /// After a cancel, what comes back is Returned.
    ReturnUnderCancel,
    /// A settled queue ends by a look at the blocks, without a pass over the ring before it.
    EndWithoutHelpingRing,
    /// It ends by a look at the blocks, and then comes the pass over the ring.
    VerdictHelpsAfterwards,
    /// A drained queue ends although a message waits to be handed out again.
    VerdictWithoutReturned,
    /// A verdict that meets a Returned block does not set the word.
    VerdictDoesNotTell,
    /// A receiver returns `Closed` without the bit that makes it so for all.
    ClosedIsNotSticky,
    /// A closer sets the bit and leaves the Closed slot to others.
    CloseWithoutSeal,
    /// Nobody writes Closed in the place of a closer that has died.
    SealNotHelped,
    /// A closer looks whether it is the first, and then sets the bit.
    TwoClosersAreFirst,
    /// A reader of a dead letter notes it as Held (`Read`).
    ReadDeadLetterAsHeld,
    /// A letter that is put back is of the generation that it was of (BLOCK-3).
    PutBackKeepsGeneration,
    /// A letter is dropped by a plain store (`Evict`).
    DropLetterByStore,
    /// Recovery does not look whether the row is still that of the dead (RECOVER-1 of `recover`).
    RecoverWithoutConfirming,
    /// It looks before it has read the word, not after.
    ConfirmBeforeReading,
    /// What a dead process has taken is not noted.
    RecoverWithoutHold,
    /// Its name is left in the slots.
    RecoverWithoutClear,
    /// Its name is left in the slots until its messages have been handed out again (RECOVER-2).
    ClearAfterReclaim,
    /// What it held is not returned.
    RecoverWithoutReclaim,
    /// What it held is returned, of the generation that it was of (BLOCK-3).
    ReclaimKeepsGeneration,
    /// What it held is returned by a plain store.
    ReclaimWritesAnyWord,
    /// What it was filling is not freed.
    RecoverWithoutWithdrawOwned,
    /// What it had filled and not sent is not freed.
    RecoverWithoutWithdraw,
    /// What it had not sent is freed by a plain store.
    WithdrawWritesAnyWord,
    /// Nobody is told that messages have come back from the dead.
    VacateWithoutReturned,
    /// The row is freed before what its tenant had (RECOVER-4).
    RowFreedFirst,
    /// A row has the same incarnation for its next tenant (PEER-2 of `peers`).
    VacateKeepsIncarnation,
    /// A sweep that meets a Returned block does not set the word.
    TidyDoesNotTell,
    /// An arrival is counted before its row says so (LIFE-3 of `lifecycle`).
    CountArrivalFirst,
    /// The maker of a ticket does not count it.
    ArrivalIsNotCounted,
    /// A leaver looks for others before it has given up its role.
    LookBeforeLeaving,
    /// A side ends when two looks at the rows have found nobody.
    TwoScansInsteadOfTheWord,
    /// A sleeper sets the bit and does not raise the epoch (PARK-1 of `parking`).
    AnnounceWithoutRaise,
    /// A sleeper that was woken leaves without another look (PARK-4).
    LeaverEatsAWake,
    /// Whoever frees a block wakes only those that have asked for its class.
    WordPerClass,
    /// A notifier that woke nobody clears the bit, whoever has come since (PARK-3).
    ClearWaitersAnyway,
    /// A sender looks for sleepers, and then publishes (PARK-2).
    LookForSleepersFirst,
    /// A closer wakes one sleeper.
    WakeOneInsteadOfAll,
    /// Whoever frees a block wakes nobody.
    FreeWithoutWake,
    /// The last release on a closed queue wakes nobody.
    SettleWithoutWake,
    /// A receiver takes a message and wakes nobody who waits for room.
    TakeWithoutWake,
    /// A message comes back and nobody is woken who waits for one.
    ReturnWithoutWake,
    /// A block is withdrawn and nobody is woken who waits for one (`Withdraw`).
    WithdrawWithoutWake,
    /// The dead are recovered, and nobody is woken (`Vacate`).
    RecoverWithoutWake,
    /// Recovery leaves more dead letters than the limit says (`Evict`).
    RecoverWithoutTrim,
    /// Whoever returned a message while a cancel came leaves it where nobody will receive it (`Discard`).
    LateReturnNotDiscarded,
    /// So does whoever recovered the process that held it.
    RecoverLateIsLeft,
    /// What is to be discarded is freed by a plain store (`Discard`).
    DiscardReturnedByStore,
    /// Whoever ends a queue does not look for what came back meanwhile (`Evict`).
    EndWithoutTrim,
    /// The letters of a batch are dropped together or not at all (`Evict`).
    BatchIsNotTrimmed,
    /// A message of a batch is handed out and its mark does not say so (BATCH-2 of `batch`).
    HandOutUnmarked,
    /// A batch that has been counted is counted again (BATCH-4).
    CountBatchTwice,
    /// A batch is counted although the block may hold another one by now (BATCH-4).
    CountBatchUnverified,
    /// A batch is counted after it has left its holder's hands (BATCH-4).
    CountBatchAfterwards,
    /// Whoever sends a batch leaves the bit of the one before it (BATCH-4).
    BeginWithoutCount,
    /// Whoever recovers the holder of a batch does not count it (BATCH-4).
    RecoverWithoutCount,
}

pub(super) const MUTANTS: &[(Mutant, &str)] = &[
    (Mutant::SendWithoutHelp, "a dead taker's slot is used again"),
    (Mutant::SealWithoutHelp, "a dead taker's slot is sealed"),
    (
        Mutant::HelpWithoutReread,
        "settled, and a block is used again",
    ),
    (Mutant::SkipClear, "one sleeps for room"),
    (
        Mutant::SendWithoutLookAtLifecycle,
        "close against send and receive",
    ),
    (Mutant::SendBeyondCapacity, "one sleeps for room"),
    (Mutant::TailAhead, "two senders, two receivers"),
    (
        Mutant::JumpALapTooFar,
        "a sender dies while its message is taken",
    ),
    (Mutant::CompareLapsWithoutWrap, "laps that wrap"),
    (Mutant::ReturnKeepsGeneration, "returns, one after another"),
    (Mutant::ReturnSilently, "one sleeps for what comes back"),
    (Mutant::ReturnWithoutRaise, "returns, one after another"),
    (Mutant::SignalBeforeReturn, "one sleeps for what comes back"),
    (Mutant::ClearReturnedAnyway, "returns, one after another"),
    (Mutant::TakeReturnedByStore, "returns, and laps"),
    (
        Mutant::AttemptsSaturate,
        "a receiver dies, its message is handed out again",
    ),
    (Mutant::ReturnUnderCancel, "cancel against a return"),
    (Mutant::EndWithoutHelpingRing, "settled, and a taker dies"),
    (Mutant::VerdictHelpsAfterwards, "settled, and a taker dies"),
    (Mutant::VerdictWithoutReturned, "returns, one after another"),
    (Mutant::VerdictDoesNotTell, "returns, one after another"),
    (Mutant::ClosedIsNotSticky, "a taker dies after the close"),
    (Mutant::CloseWithoutSeal, "cancel against a return"),
    (Mutant::SealNotHelped, "cancel against a return"),
    (Mutant::TwoClosersAreFirst, "two closers"),
    (Mutant::ReadDeadLetterAsHeld, "dead letters, two readers"),
    (Mutant::PutBackKeepsGeneration, "dead letters, two readers"),
    (Mutant::DropLetterByStore, "dead letters"),
    (
        Mutant::RecoverWithoutConfirming,
        "a sender's row is used again",
    ),
    (Mutant::ConfirmBeforeReading, "a sender's row is used again"),
    (
        Mutant::RecoverWithoutHold,
        "a receiver dies, its message is handed out again",
    ),
    (
        Mutant::RecoverWithoutClear,
        "a receiver dies, its message is handed out again",
    ),
    (
        Mutant::ClearAfterReclaim,
        "what a dead taker had is sent round",
    ),
    (
        Mutant::RecoverWithoutReclaim,
        "a receiver dies, its message is handed out again",
    ),
    (
        Mutant::ReclaimKeepsGeneration,
        "a receiver dies, its message is handed out again",
    ),
    (Mutant::ReclaimWritesAnyWord, "two recoverers, one taker"),
    (
        Mutant::RecoverWithoutWithdrawOwned,
        "a sender dies while its message is taken",
    ),
    (
        Mutant::RecoverWithoutWithdraw,
        "a sender dies while its message is taken",
    ),
    (
        Mutant::WithdrawWritesAnyWord,
        "a sender dies while its message is taken",
    ),
    (
        Mutant::VacateWithoutReturned,
        "a receiver dies, its message is handed out again",
    ),
    (
        Mutant::RowFreedFirst,
        "a sender dies while its message is taken",
    ),
    (
        Mutant::VacateKeepsIncarnation,
        "a sender's row is used again",
    ),
    (Mutant::TidyDoesNotTell, "returns, one after another"),
    (
        Mutant::CountArrivalFirst,
        "one joins while the last one leaves",
    ),
    (Mutant::ArrivalIsNotCounted, "a role is handed on"),
    (Mutant::LookBeforeLeaving, "two last senders leave"),
    (
        Mutant::TwoScansInsteadOfTheWord,
        "one joins while the last one leaves",
    ),
    (
        Mutant::AnnounceWithoutRaise,
        "one sleeps for what comes back",
    ),
    (
        Mutant::LeaverEatsAWake,
        "two sleep for messages, one not for long",
    ),
    (Mutant::WordPerClass, "one sleeps for any of two blocks"),
    (Mutant::ClearWaitersAnyway, "one sleeps for what comes back"),
    (
        Mutant::LookForSleepersFirst,
        "one sleeps for what comes back",
    ),
    (Mutant::WakeOneInsteadOfAll, "two sleep until the close"),
    (Mutant::FreeWithoutWake, "two sleep for a block"),
    (Mutant::SettleWithoutWake, "one sleeps until all is settled"),
    (Mutant::TakeWithoutWake, "one sleeps for room"),
    (Mutant::ReturnWithoutWake, "one sleeps for what comes back"),
    (
        Mutant::WithdrawWithoutWake,
        "one sleeps for a block that is withdrawn",
    ),
    (
        Mutant::RecoverWithoutWake,
        "one sleeps for what a dead receiver had",
    ),
    (
        Mutant::RecoverWithoutTrim,
        "the holder of a batch dies, and few letters are kept",
    ),
    (Mutant::LateReturnNotDiscarded, "cancel against a return"),
    (Mutant::RecoverLateIsLeft, "a taker dies under cancel"),
    (
        Mutant::DiscardReturnedByStore,
        "cancel against a return of a batch",
    ),
    (Mutant::EndWithoutTrim, "a return at the very end"),
    (
        Mutant::BatchIsNotTrimmed,
        "the dead letters of a batch are too many",
    ),
    (Mutant::HandOutUnmarked, "a batch is returned and received"),
    (Mutant::CountBatchTwice, "the holder of a batch dies"),
    (
        Mutant::CountBatchUnverified,
        "two recoverers of the holder of a batch",
    ),
    (Mutant::CountBatchAfterwards, "the holder of a batch dies"),
    (Mutant::BeginWithoutCount, "a batch after a batch"),
    (
        Mutant::RecoverWithoutCount,
        "the holder of a batch dies under cancel",
    ),
];

/// The mutants of the real functions, and how many pre-emptions it takes to catch each. `WithdrawReadsRingFirst` is not
/// among them, as above.
pub(super) const FLAWS: &[(Flaw, &str, u8)] = &[
    (
        Flaw::OverwriteWithoutHelp,
        "a dead taker's slot is used again",
        2,
    ),
    (
        Flaw::HelpWithoutReread,
        "settled, and a block is used again",
        2,
    ),
    (Flaw::SkipClear, "one sleeps for room", 2),
    (Flaw::SealNotHelped, "cancel against a return", 2),
    (Flaw::ClosedIsNotSticky, "a taker dies after the close", 2),
    (Flaw::EndWithoutHelpingRing, "settled, and a taker dies", 2),
    (
        Flaw::SignalBeforeReturn,
        "one sleeps for what comes back",
        2,
    ),
    (Flaw::ClearReturnedAnyway, "returns, one after another", 3),
    (Flaw::ReadDeadLetterAsHeld, "dead letters, two readers", 2),
    (
        Flaw::CloseAfterArrival,
        "one joins while the last one leaves",
        2,
    ),
    (
        Flaw::RecoverWithoutConfirming,
        "a sender's row is used again",
        2,
    ),
    (
        Flaw::ConfirmBeforeReading,
        "a sender's row is used again",
        2,
    ),
    (Flaw::RecoverWritesAnyWord, "two recoverers, one taker", 2),
    (
        Flaw::RecoverWithoutClear,
        "a receiver dies, its message is handed out again",
        2,
    ),
    (
        Flaw::ReclaimKeepsGeneration,
        "a receiver dies, its message is handed out again",
        2,
    ),
    (
        Flaw::RecoverWithoutWithdraw,
        "a sender dies while its message is taken",
        2,
    ),
    (
        Flaw::VacateWithoutReturned,
        "a receiver dies, its message is handed out again",
        2,
    ),
    (
        Flaw::VacateKeepsIncarnation,
        "a sender's row is used again",
        2,
    ),
    (
        Flaw::LateReturnNotDiscarded,
        "cancel against a return of a batch",
        2,
    ),
    (Flaw::EndWithoutTrim, "a return at the very end", 2),
    (
        Flaw::RecoverWithoutTrim,
        "the holder of a batch dies, and few letters are kept",
        2,
    ),
    (Flaw::CountBatchTwice, "the holder of a batch dies", 2),
    (
        Flaw::CountBatchUnverified,
        "two recoverers of the holder of a batch",
        3,
    ),
];
