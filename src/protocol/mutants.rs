//! Mutants: ways to get the protocol wrong, so that the tools that look for such faults can be seen to find them.
//!
//! Each is a step of the protocol left out, or done in the wrong order, and is in force where [`active`] says so. A
//! normal build has none: there the answer is a constant, and not an instruction is left of the question. Built with
//! `--cfg workring_mutants`, a program has all of them, and the environment variable `WORKRING_MUTANT` names the one
//! that is in force in a process; without it, none is.
//!
//! `ipc-tests/src/bin/mutants.rs` says which tool catches which.

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A Vacated slot is overwritten, and nobody has noted who took its message (rows 3 and 9).
    OverwriteWithoutHelp,
    /// A helper does not look whether the slot is still the same after it has read the block.
    HelpWithoutReread,
    /// A receiver leaves its name in the slot (row 7), and acknowledges or returns the message all the same.
    KeepName,
    /// A closer that has died before it wrote Closed (row 9) has not closed the queue: nobody does it for it.
    NobodySeals,
    /// A receiver returns `Closed` and does not make that sticky.
    ClosedIsNotSticky,
    /// A settled queue ends by a look at the blocks alone: a taker that has not noted its message is overlooked.
    VerdictInOnePass,
    /// A returner says that something has come back, and only then gives it back (row 10).
    SayBeforeReturning,
    /// Whoever has met no Returned block clears the word also if something has come back since (T2 of `returned`).
    ClearWhatHasChanged,
    /// A reader of a dead letter notes it as Held (row 13).
    ReadLetterAsHeld,
    /// A leaver that found nobody else closes the queue also if somebody has arrived since (L3 of `lifecycle`).
    CloseAfterArrival,
    /// Recovery does not look whether the row is still that of the dead (D1).
    RecoverWithoutConfirming,
    /// Recovery looks whether the row is still that of the dead before it reads the words, and not after (D1).
    ConfirmBeforeReading,
    /// Recovery writes what it has prepared, whatever the block's word is by now (D1).
    WriteAnyWord,
    /// Recovery leaves the names of the dead in the slots (R3).
    RecoverWithoutR3,
    /// A message that a dead process held comes back without a rise of its generation (R4).
    R4KeepsGeneration,
    /// What a dead process had not sent is left alone (R6).
    RecoverWithoutR6,
    /// What is not in the ring by an earlier look is freed (D3).
    R6ReadsRingFirst,
    /// Nobody is told that messages have come back from the dead (R7).
    R7WithoutReturned,
    /// A row has the same incarnation for its next tenant (E2 of `peers`).
    VacateKeepsIncarnation,
    /// Whoever returned a message while a cancel came leaves it where nobody will receive it (row 15).
    ReturnLateIsLeft,
    /// Whoever ends a queue does not look for what came back meanwhile, and is a dead letter too many (row 14).
    EndWithoutTrim,
    /// Recovery keeps more dead letters of a pack than the limit says (row 14).
    RecoverWithoutTrim,
    /// A pack that has been counted is counted again (M4 of `batch`).
    CountPackAgain,
    /// A pack is counted although the block may hold another one by now (M4).
    CountPackUnseen,
}

/// Whether this is in force. A constant in a normal build.
#[cfg(not(any(workring_mutants, test)))]
#[inline(always)]
#[must_use]
pub(crate) const fn active(_: Mutant) -> bool {
    false
}

#[cfg(workring_mutants)]
pub(crate) use chosen::active;
#[cfg(all(test, not(workring_mutants)))]
pub(crate) use trial::active;
#[cfg(all(test, not(any(workring_mutants, loom))))]
pub(crate) use trial::with;

/// In the crate's own tests, a mutant is in force in one thread for as long as a function runs there.
#[cfg(all(test, not(workring_mutants)))]
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
    use super::Mutant;
    use std::{env, sync::OnceLock};

    const ALL: [Mutant; 24] = [
        Mutant::OverwriteWithoutHelp,
        Mutant::HelpWithoutReread,
        Mutant::KeepName,
        Mutant::NobodySeals,
        Mutant::ClosedIsNotSticky,
        Mutant::VerdictInOnePass,
        Mutant::SayBeforeReturning,
        Mutant::ClearWhatHasChanged,
        Mutant::ReadLetterAsHeld,
        Mutant::CloseAfterArrival,
        Mutant::RecoverWithoutConfirming,
        Mutant::ConfirmBeforeReading,
        Mutant::WriteAnyWord,
        Mutant::RecoverWithoutR3,
        Mutant::R4KeepsGeneration,
        Mutant::RecoverWithoutR6,
        Mutant::R6ReadsRingFirst,
        Mutant::R7WithoutReturned,
        Mutant::VacateKeepsIncarnation,
        Mutant::ReturnLateIsLeft,
        Mutant::EndWithoutTrim,
        Mutant::RecoverWithoutTrim,
        Mutant::CountPackAgain,
        Mutant::CountPackUnseen,
    ];

    static CHOSEN: OnceLock<Option<Mutant>> = OnceLock::new();

    /// Whether this is the one that the environment names.
    #[must_use]
    pub(crate) fn active(mutant: Mutant) -> bool {
        *CHOSEN.get_or_init(choose) == Some(mutant)
    }

    fn choose() -> Option<Mutant> {
        let name = env::var("WORKRING_MUTANT").ok()?;
        let named = ALL.into_iter().find(|one| format!("{one:?}") == name);
        Some(named.unwrap_or_else(|| panic!("no mutant {name}; there are: {ALL:?}")))
    }
}
