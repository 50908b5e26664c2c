//! Coming and going, and the end of a side.

use super::super::mutants::Mutant;
use super::super::process::{Deed, Outcome};
use super::super::words::{Access, Word};
use super::{Corrupt, Cx, Result};
use crate::protocol::lifecycle::{self, LifecycleState};
use crate::protocol::peers::{PeerState, Role, Roles};

impl Cx {
    /// A free row, with its lock.
    async fn lock_free_row(&self) -> Option<(u8, PeerState)> {
        for row in 0..self.rows() {
            let seen = PeerState::from_bits(self.load(Word::PeerIndex(row)).await);
            if seen.is_taken() {
                continue;
            }
            let lock = Access::Lock(seen.incarnation().get());
            if self.access(Word::PeerIndex(row), lock, |got| got).await == 0 {
                continue;
            }
            if self.is_still(row, seen).await {
                return Some((row, seen));
            }
        }
        None
    }

    pub(super) async fn join(&self) -> Result<Outcome> {
        let Some((row, seen)) = self.lock_free_row().await else {
            return Ok(Outcome::Nothing);
        };
        let live = seen.settled(Roles::BOTH);
        if self.is(Mutant::CountArrivalFirst) && !self.arrive(Roles::BOTH).await {
            return Ok(Outcome::Closed);
        }
        if !self
            .exchange(Word::PeerIndex(row), seen.bits(), live.bits())
            .await
        {
            return Err(Corrupt::PeerChanged);
        }
        if !self.is(Mutant::CountArrivalFirst) && !self.arrive(Roles::BOTH).await {
            self.vacate(row, live).await?;
            return Ok(Outcome::Closed);
        }
        Ok(Outcome::Tenant(row, live.bits()))
    }

    pub(super) async fn hand_on(&self) -> Result<Outcome> {
        let Some((row, seen)) = self.lock_free_row().await else {
            return Ok(Outcome::Nothing);
        };
        let roles = Roles::only(self.role());
        let ticket = seen.promised(roles);
        if !self
            .exchange(Word::PeerIndex(row), seen.bits(), ticket.bits())
            .await
        {
            return Err(Corrupt::PeerChanged);
        }
        if !self.is(Mutant::ArrivalIsNotCounted) && !self.arrive(roles).await {
            self.vacate(row, ticket).await?;
            return Ok(Outcome::Closed);
        }
        Ok(Outcome::Done)
    }

    pub(super) async fn redeem(&self) -> Result<Outcome> {
        let local = self.local();
        let ticket = PeerState::from_bits(local.tenant);
        let live = ticket.settled(ticket.roles());
        let word = Word::PeerIndex(local.row);
        if !self.exchange(word, ticket.bits(), live.bits()).await {
            return Err(Corrupt::PeerChanged);
        }
        Ok(Outcome::Tenant(local.row, live.bits()))
    }

    /// The arrival is counted; false: too late.
    async fn arrive(&self, roles: Roles) -> bool {
        let mut seen = self.load(Word::Lifecycle).await;
        loop {
            let life = LifecycleState::from_bits(seen);
            if life.is_closing() {
                return false;
            }
            let counted = life.after_arrival(roles).bits();
            let exchange = Access::Exchange(seen, counted);
            let now = self.access(Word::Lifecycle, exchange, |now| now).await;
            if now == seen {
                return true;
            }
            seen = now;
        }
    }

    /// The role that the deed is about.
    fn role(&self) -> Role {
        match self.run.borrow().deed() {
            Some(Deed::Leave(role) | Deed::HandOn(_, role)) => role,
            _ => Role::Sender,
        }
    }

    pub(super) async fn leave(&self) -> Result<Outcome> {
        let local = self.local();
        let tenant = PeerState::from_bits(local.tenant);
        let role = self.role();
        let left = tenant.left(role);
        if self.is(Mutant::LookBeforeLeaving) {
            self.end_if_deserted(role).await?;
        }
        let word = Word::PeerIndex(local.row);
        if !self.exchange(word, tenant.bits(), left.bits()).await {
            return Err(Corrupt::PeerChanged);
        }
        if !self.is(Mutant::LookBeforeLeaving) {
            self.end_if_deserted(role).await?;
        }
        Ok(Outcome::Tenant(local.row, left.bits()))
    }

    pub(super) async fn detach(&self) -> Result<Outcome> {
        let local = self.local();
        self.vacate(local.row, PeerState::from_bits(local.tenant))
            .await?;
        Ok(Outcome::Done)
    }

    async fn vacate(&self, row: u8, tenant: PeerState) -> Result<()> {
        let free = tenant.vacated();
        if !self
            .exchange(Word::PeerIndex(row), tenant.bits(), free.bits())
            .await
        {
            return Err(Corrupt::PeerChanged);
        }
        for role in [Role::Sender, Role::Receiver] {
            if tenant.has_role(role) {
                self.end_if_deserted(role).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn end_if_deserted(&self, role: Role) -> Result<()> {
        let limits = self.limits();
        let ends = match role {
            Role::Sender => limits.close_on_last_sender,
            Role::Receiver => limits.close_on_last_receiver,
        };
        if !ends {
            return Ok(());
        }
        loop {
            let seen = self.load(Word::Lifecycle).await;
            let life = LifecycleState::from_bits(seen);
            if life.is_closing() || !life.had(role) || self.has_somebody(role).await {
                return Ok(());
            }
            if self.is(Mutant::TwoScansInsteadOfTheWord) {
                if self.has_somebody(role).await {
                    return Ok(());
                }
                let or = Access::Or(lifecycle::CLOSING);
                self.ignore(Word::Lifecycle, or).await;
                break;
            }
            let to = seen | lifecycle::CLOSING;
            if self.exchange(Word::Lifecycle, seen, to).await {
                break;
            }
        }
        self.seal().await?;
        self.wake_everybody().await;
        Ok(())
    }

    async fn has_somebody(&self, role: Role) -> bool {
        for row in 0..self.rows() {
            let has = |seen| PeerState::from_bits(seen).has_role(role);
            if self.test(Word::PeerIndex(row), has).await {
                return true;
            }
        }
        false
    }
}
