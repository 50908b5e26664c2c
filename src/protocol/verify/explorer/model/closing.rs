//! `Seal`.

use super::super::mutants::Mutant;
use super::super::process::Outcome;
use super::super::words::{Access, Word};
use super::sending::Look;
use super::{Cx, Result};
use crate::protocol::lifecycle::{self, LifecycleState};
use crate::protocol::ring::SlotState;

impl Cx {
    pub(super) async fn close(&self) -> Result<Outcome> {
        let is_first = self.begin_close(lifecycle::CLOSING).await;
        if !self.is(Mutant::CloseWithoutSeal) {
            self.seal().await?;
        }
        self.wake_everybody().await;
        Ok(Outcome::First(is_first))
    }

    pub(super) async fn cancel(&self) -> Result<Outcome> {
        let both = lifecycle::CLOSING | lifecycle::CANCEL;
        let _ = self.begin_close(both).await;
        self.seal().await?;
        self.discard_all().await?;
        self.wake_everybody().await;
        Ok(Outcome::Done)
    }

    async fn begin_close(&self, bits: u64) -> bool {
        let was_open = |seen| u64::from(!LifecycleState::from_bits(seen).is_closing());
        let or = Access::Or(bits);
        if self.is(Mutant::TwoClosersAreFirst) {
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
            match self.look(position, seen, false).await? {
                Look::Closed => return Ok(()),
                Look::GoOn(further) => position = further,
                Look::Free => {
                    let closed = SlotState::closed(seen.lap());
                    if self.exchange_slot(position, seen, closed).await {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// In the place of whoever has begun to close, and may have died.
    pub(super) async fn seal_for_another(&self) -> Result<()> {
        if self.is(Mutant::SealNotHelped) {
            return Ok(());
        }
        self.seal().await
    }
}
