//! Attaching and leaving, and the end of a side.

use super::super::action::Action;
use super::super::call::Outcome;
use super::super::memory::{Access, Word};
use super::super::mutants::Mutant;
use super::process::{ModelProcess, Result};
use crate::protocol::Corrupt;
use crate::protocol::lifecycle::{self, LifecycleState};
use crate::protocol::peers::{PeerState, Role, Roles};

impl ModelProcess {
    /// Locks a free peer entry. Returns its number and its word.
    async fn lock_free_peer(&self) -> Option<(u8, PeerState)> {
        for peer in 0..self.peer_count() {
            let seen = PeerState::from_bits(self.load(Word::Peer(peer)).await);
            if seen.is_taken() {
                continue;
            }
            let lock = Access::Lock(seen.incarnation().get());
            if self.access(Word::Peer(peer), lock, |got| got).await == 0 {
                continue;
            }
            if self.is_still(peer, seen).await {
                return Some((peer, seen));
            }
        }
        None
    }

    pub(super) async fn join(&self) -> Result<Outcome> {
        let Some((peer, seen)) = self.lock_free_peer().await else {
            return Ok(Outcome::Unavailable);
        };
        let live = seen.attached(Roles::BOTH);
        if self.has(Mutant::CountArrivalTooEarly) && !self.arrive(Roles::BOTH).await {
            return Ok(Outcome::Closed);
        }
        if !self
            .exchange(Word::Peer(peer), seen.bits(), live.bits())
            .await
        {
            return Err(Corrupt::PeerChanged);
        }
        if !self.has(Mutant::CountArrivalTooEarly) && !self.arrive(Roles::BOTH).await {
            self.vacate(peer, live).await?;
            return Ok(Outcome::Closed);
        }
        Ok(Outcome::Attached(peer, live.bits()))
    }

    pub(super) async fn hand_off(&self) -> Result<Outcome> {
        let Some((peer, seen)) = self.lock_free_peer().await else {
            return Ok(Outcome::Unavailable);
        };
        let roles = Roles::only(self.role());
        let ticket = seen.ticket(roles);
        if !self
            .exchange(Word::Peer(peer), seen.bits(), ticket.bits())
            .await
        {
            return Err(Corrupt::PeerChanged);
        }
        if !self.has(Mutant::ArrivalNotCounted) && !self.arrive(roles).await {
            self.vacate(peer, ticket).await?;
            return Ok(Outcome::Closed);
        }
        Ok(Outcome::Done)
    }

    pub(super) async fn redeem(&self) -> Result<Outcome> {
        let local = self.local();
        let ticket = PeerState::from_bits(local.tenant);
        let live = ticket.attached(ticket.roles());
        let word = Word::Peer(local.peer);
        if !self.exchange(word, ticket.bits(), live.bits()).await {
            return Err(Corrupt::PeerChanged);
        }
        Ok(Outcome::Attached(local.peer, live.bits()))
    }

    /// Counts an arrival. Returns false if the queue is closing.
    async fn arrive(&self, roles: Roles) -> bool {
        let mut seen = self.load(Word::Lifecycle).await;
        loop {
            let lifecycle = LifecycleState::from_bits(seen);
            if lifecycle.is_closing() {
                return false;
            }
            let counted = lifecycle.after_arrival(roles).bits();
            let exchange = Access::Exchange(seen, counted);
            let now = self.access(Word::Lifecycle, exchange, |now| now).await;
            if now == seen {
                return true;
            }
            seen = now;
        }
    }

    /// Returns the role that the action is about.
    fn role(&self) -> Role {
        match self.execution.borrow().action() {
            Some(Action::Leave(role) | Action::HandOff(_, role)) => role,
            _ => Role::Sender,
        }
    }

    pub(super) async fn leave(&self) -> Result<Outcome> {
        let local = self.local();
        let tenant = PeerState::from_bits(local.tenant);
        let role = self.role();
        let left = tenant.without_role(role);
        if self.has(Mutant::CheckSideBeforeLeaving) {
            self.close_if_role_vacant(role).await?;
        }
        let word = Word::Peer(local.peer);
        if !self.exchange(word, tenant.bits(), left.bits()).await {
            return Err(Corrupt::PeerChanged);
        }
        if !self.has(Mutant::CheckSideBeforeLeaving) {
            self.close_if_role_vacant(role).await?;
        }
        Ok(Outcome::Attached(local.peer, left.bits()))
    }

    pub(super) async fn detach(&self) -> Result<Outcome> {
        let local = self.local();
        self.vacate(local.peer, PeerState::from_bits(local.tenant))
            .await?;
        Ok(Outcome::Done)
    }

    async fn vacate(&self, peer: u8, tenant: PeerState) -> Result<()> {
        let free = tenant.vacated();
        if !self
            .exchange(Word::Peer(peer), tenant.bits(), free.bits())
            .await
        {
            return Err(Corrupt::PeerChanged);
        }
        for role in [Role::Sender, Role::Receiver] {
            if tenant.has_role(role) {
                self.close_if_role_vacant(role).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn close_if_role_vacant(&self, role: Role) -> Result<()> {
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
            let lifecycle = LifecycleState::from_bits(seen);
            if lifecycle.is_closing() || !lifecycle.had(role) || self.any_peer_has(role).await {
                return Ok(());
            }
            if self.has(Mutant::CloseAfterTwoScans) {
                if self.any_peer_has(role).await {
                    return Ok(());
                }
                let or = Access::Or(lifecycle::CLOSING);
                self.do_access(Word::Lifecycle, or).await;
                break;
            }
            let to = seen | lifecycle::CLOSING;
            if self.exchange(Word::Lifecycle, seen, to).await {
                break;
            }
        }
        self.seal().await?;
        self.wake_all().await;
        Ok(())
    }

    async fn any_peer_has(&self, role: Role) -> bool {
        for peer in 0..self.peer_count() {
            let has = |seen| PeerState::from_bits(seen).has_role(role);
            if self.test(Word::Peer(peer), has).await {
                return true;
            }
        }
        false
    }
}
