//! What the words of the protocol become, as pure functions, where the real ones come only with their exchange.

use crate::protocol::blocks::{ATTEMPTS_SHIFT, BlockState};
use crate::protocol::lifecycle::{ARRIVAL, LifecycleState, had};
use crate::protocol::peers::{Incarnation, PeerKind, PeerState, Role, Roles};

impl PeerState {
    pub(super) fn is_taken(self) -> bool {
        matches!(self.kind(), Some(PeerKind::Ticket | PeerKind::Live))
    }

    pub(super) fn settled(self, roles: Roles) -> Self {
        Self::from_parts(PeerKind::Live, roles, self.incarnation())
    }

    pub(super) fn promised(self, roles: Roles) -> Self {
        Self::from_parts(PeerKind::Ticket, roles, self.incarnation())
    }

    pub(super) fn left(self, role: Role) -> Self {
        self.settled(self.roles().without(role))
    }

    pub(super) fn vacated(self) -> Self {
        let next = Incarnation::new(self.incarnation().get() + 1);
        Self::from_parts(PeerKind::Free, Roles::NONE, next)
    }

    /// What [`PeerState::vacated`] must not be.
    pub(super) fn vacated_in_vain(self) -> Self {
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

/// What a block word must not become when it leaves somebody's hands (BLOCK-3): `released`, but of the generation before.
pub(super) fn keep_generation(released: BlockState) -> BlockState {
    BlockState::from_bits(released.bits() - 1)
}

/// What it must not become either: as if its last attempt had not been.
pub(super) fn forget_attempt(held: BlockState) -> BlockState {
    BlockState::from_bits(held.bits() - (1 << ATTEMPTS_SHIFT))
}
