//! `Seal`, close and cancel.

use super::super::call::Outcome;
use super::super::memory::{Access, Word};
use super::super::mutants::Mutant;
use super::process::{ModelProcess, Result};
use super::sending::TailSlot;
use crate::protocol::lifecycle::{self, LifecycleState};
use crate::protocol::ring::SlotState;

impl ModelProcess {
    pub(super) async fn close(&self) -> Result<Outcome> {
        let is_first = self.begin_close(lifecycle::CLOSING).await;
        if !self.has(Mutant::CloseWithoutSeal) {
            self.seal().await?;
        }
        self.wake_all().await;
        Ok(Outcome::WasFirst(is_first))
    }

    pub(super) async fn cancel(&self) -> Result<Outcome> {
        let both = lifecycle::CLOSING | lifecycle::CANCEL;
        let _ = self.begin_close(both).await;
        self.seal().await?;
        self.discard_remaining().await?;
        self.wake_all().await;
        Ok(Outcome::Done)
    }

    async fn begin_close(&self, bits: u64) -> bool {
        let was_open = |seen| u64::from(!LifecycleState::from_bits(seen).is_closing());
        let or = Access::Or(bits);
        if self.has(Mutant::TwoFirstClosers) {
            let first = self.access(Word::Lifecycle, Access::Load, was_open).await;
            self.access(Word::Lifecycle, or, |_| 0).await;
            return first != 0;
        }
        self.access(Word::Lifecycle, or, was_open).await != 0
    }

    pub(super) async fn seal(&self) -> Result<()> {
        let mut position = self.hint(Word::Tail).await;
        loop {
            let seen = self.slot(position).await;
            match self.inspect_tail_slot(position, seen, false).await? {
                TailSlot::Closed => return Ok(()),
                TailSlot::Skip(next) => position = next,
                TailSlot::Free => {
                    let closed = SlotState::closed(seen.lap());
                    if self.exchange_slot(position, seen, closed).await {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Does `Seal` for a closer that may have died.
    pub(super) async fn help_seal(&self) -> Result<()> {
        if self.has(Mutant::SealNotHelped) {
            return Ok(());
        }
        self.seal().await
    }
}
