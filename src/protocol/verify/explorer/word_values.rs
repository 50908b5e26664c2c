//! New values of the protocol's words as pure functions, where the product computes them only within an exchange.

use crate::protocol::blocks::{BlockState, FAILED_DELIVERIES};
use crate::protocol::lifecycle::{ARRIVAL, LifecycleState, had};
use crate::protocol::peers::{Incarnation, PeerKind, PeerState, Role, Roles};

impl PeerState {
    pub(super) fn is_taken(self) -> bool {
        matches!(self.kind(), Some(PeerKind::Ticket | PeerKind::Live))
    }

    pub(super) fn attached(self, roles: Roles) -> Self {
        Self::from_parts(PeerKind::Live, roles, self.incarnation())
    }

    pub(super) fn ticket(self, roles: Roles) -> Self {
        Self::from_parts(PeerKind::Ticket, roles, self.incarnation())
    }

    pub(super) fn without_role(self, role: Role) -> Self {
        self.attached(self.roles().without(role))
    }

    pub(super) fn vacated(self) -> Self {
        let next = Incarnation::new(self.incarnation().get() + 1);
        Self::from_parts(PeerKind::Free, Roles::NONE, next)
    }

    /// Returns a vacated peer entry of the same incarnation, which PEER-2 forbids. For a mutant.
    pub(super) fn vacated_in_same_incarnation(self) -> Self {
        Self::from_parts(PeerKind::Free, Roles::NONE, self.incarnation())
    }
}

impl LifecycleState {
    pub(super) fn after_arrival(self, roles: Roles) -> Self {
        let bits = [Role::Sender, Role::Receiver]
            .into_iter()
            .filter(|&role| roles.has(role))
            .fold(self.bits(), |bits, role| bits | had(role));
        Self::from_bits(bits + ARRIVAL)
    }

    pub(super) fn arrivals(self) -> u64 {
        self.bits() / ARRIVAL
    }
}

/// Returns `released`, but of the generation before it, which BLOCK-3 forbids. For mutants.
pub(super) fn keep_generation(released: BlockState) -> BlockState {
    BlockState::from_bits(released.bits() - 1)
}

/// Returns `held` with one failed delivery less than it had. For a mutant.
pub(super) fn forget_delivery(held: BlockState) -> BlockState {
    BlockState::from_bits(held.bits() - FAILED_DELIVERIES.pack(1))
}
