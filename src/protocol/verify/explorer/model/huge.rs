//! Huge blocks: `Allocate` with memory, and giving memory back.

use super::super::call::{Holding, Outcome, Resume};
use super::super::configuration::HugeBlocks;
use super::super::memory::{Access, Word, memory_in_use, to_u8};
use super::super::mutants::Mutant;
use super::process::{ModelProcess, Result};
use crate::protocol::Corrupt;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::huge_memory::HugeClass;
use crate::protocol::lifecycle::LifecycleState;
use core::ops::Range;

/// More is wanted than a limit leaves.
#[derive(Clone, Copy)]
struct Shortage {
    wanted: u64,
    available: u64,
}

/// What a look for memory came to.
enum Search {
    /// There may be some now.
    Again,
    InUse,
    Exhausted,
}

impl Search {
    /// Returns how the call ends, if it does.
    fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Again => None,
            Self::InUse => Some(Outcome::Unavailable),
            Self::Exhausted => Some(Outcome::NoMemory),
        }
    }
}

/// Returns a shortage if less is available than wanted.
fn shortage(wanted: u64, limit: u64, in_use: u64) -> Option<Shortage> {
    let available = limit.saturating_sub(in_use);
    (wanted > available).then_some(Shortage { wanted, available })
}

fn numbers(blocks: &Range<u32>) -> Range<u8> {
    to_u8(blocks.start.into())..to_u8(blocks.end.into())
}

// Allocating.
impl ModelProcess {
    pub(super) async fn allocate_huge(&self, class: u8) -> Result<Outcome> {
        if self.lifecycle(LifecycleState::is_closing).await {
            return Ok(Outcome::Closed);
        }
        self.find_huge(class).await
    }

    /// Looks for a block with memory, and for a free one.
    pub(super) async fn find_huge(&self, number: u8) -> Result<Outcome> {
        let class = self.huge().class(number);
        loop {
            if let Some(block) = self.allocate_in_turn(class).await {
                return Ok(Outcome::Block(block));
            }
            if let Some(idle) = self.allocate_committed(class).await {
                return Ok(Outcome::Block(idle));
            }
            if !self.is_any_free(class).await {
                return Ok(Outcome::Unavailable);
            }
            if self.resumes() {
                return Ok(Outcome::Continue(Resume::FindMemory(number)));
            }
            if let Some(outcome) = self.find_memory(number).await? {
                return Ok(outcome);
            }
        }
    }

    /// Looks for memory, and takes it. Returns `None` if everything must be looked at again.
    pub(super) async fn find_memory(&self, number: u8) -> Result<Option<Outcome>> {
        let class = self.huge().class(number);
        let before = self.huge_states().await;
        if let Some(shortage) = self.check_limits(class.payload).await {
            return Ok(self.search(shortage, &before).await?.outcome());
        }
        self.take_memory(number, before).await
    }

    /// Takes a free block and memory for it. `before` are the states of all huge blocks before the limits were checked.
    async fn take_memory(
        &self,
        number: u8,
        mut before: Vec<(u64, BlockState)>,
    ) -> Result<Option<Outcome>> {
        let class = self.huge().class(number);
        let Some(owned) = self.allocate_first(class).await else {
            return Ok(None);
        };
        let Some(refusal) = self.commit(owned, class).await else {
            return Ok(Some(Outcome::Block(owned)));
        };
        let mine = BlockState::from_bits(owned.word);
        if let Some((_, state)) = before.get_mut(usize::from(owned.block))
            && state.generation() == mine.generation()
        {
            *state = mine;
        }
        let found = self
            .search_after_refusal(refusal, &before, owned.block)
            .await?;
        if !self.has(Mutant::HugeBlockNotWithdrawn) {
            self.withdraw(owned).await?;
        }
        Ok(found.outcome())
    }

    async fn allocate_first(&self, class: &HugeClass) -> Option<Holding> {
        for block in class.blocks.clone() {
            if let Some(owned) = self.allocate_one(block.into()).await {
                return Some(owned);
            }
        }
        None
    }

    async fn allocate_in_turn(&self, class: &HugeClass) -> Option<Holding> {
        let blocks = numbers(&class.used_in_turn);
        let count = blocks.len();
        if count < 2 {
            return None;
        }
        let turn = usize::from(self.local().turn);
        self.update(|local| local.turn = local.turn.wrapping_add(1) % to_u8(count as u64));
        for block in blocks.cycle().skip(turn).take(count) {
            if let Some(owned) = self.allocate_with_spare_memory(block, class).await {
                return Some(owned);
            }
        }
        None
    }

    async fn allocate_with_spare_memory(&self, block: u8, class: &HugeClass) -> Option<Holding> {
        let is_usable = self.is_free(block).await
            && (self.is_committed(block).await || self.has_spare_memory(class.payload).await);
        if !is_usable {
            return None;
        }
        let owned = self.allocate_one(block.into()).await?;
        if self.commit(owned, class).await.is_none() {
            return Some(owned);
        }
        self.update(|local| local.is_memory_short = true);
        if !self.has(Mutant::HugeBlockNotWithdrawn) {
            let _ = self.withdraw(owned).await;
        }
        None
    }

    async fn has_spare_memory(&self, wanted: u64) -> bool {
        if self.local().is_memory_short {
            return false;
        }
        let is_short = self.check_limits(wanted).await.is_some();
        self.update(|local| local.is_memory_short = is_short);
        !is_short
    }

    async fn allocate_committed(&self, class: &HugeClass) -> Option<Holding> {
        for block in numbers(&class.blocks) {
            if !self.is_committed(block).await {
                continue;
            }
            if let Some(owned) = self.allocate_one(block.into()).await {
                if self.has(Mutant::MarkNotReread) || self.is_committed(block).await {
                    return Some(owned);
                }
                let _ = self.withdraw(owned).await;
            }
        }
        None
    }

    /// Looks at the mark of a block that this process owns, and then uses the payload (HUGE-3).
    pub(super) async fn use_payload(&self, block: u8) -> Result<()> {
        if self.execution.borrow().configuration().huge.is_none() {
            return Ok(());
        }
        if !self.is_committed(block).await {
            return Err(Corrupt::NotCommitted);
        }
        self.do_access(Word::MemoryOf(block), Access::UsePayload)
            .await;
        Ok(())
    }
}

// Memory.
impl ModelProcess {
    /// Takes memory for a block and marks it (HUGE-2), unless it is marked already. Returns a shortage if memory is
    /// refused.
    async fn commit(&self, owned: Holding, class: &HugeClass) -> Option<Shortage> {
        let block = owned.block;
        if !self.has(Mutant::CommitDespiteMark) && self.is_committed(block).await {
            return None;
        }
        if self.has(Mutant::MarkBeforeMemory) {
            self.store(Word::Committed(block), 1).await;
        }
        let mut is_granted = true;
        for unit in 0..class.payload {
            let take = Access::TakeMemory(unit);
            is_granted = is_granted
                && self
                    .access(Word::MemoryOf(block), take, |given| given)
                    .await
                    != 0;
        }
        let limit = self.huge().memory_limit;
        let view = |seen| memory_in_use(seen).saturating_sub(limit);
        let mut excess = 0;
        if !self.has(Mutant::LimitNotRechecked) {
            excess = self.access(Word::Memory, Access::Load, view).await;
        }
        if is_granted && excess == 0 {
            self.store(Word::Committed(block), 1).await;
            return None;
        }
        if !self.has(Mutant::RefusedMemoryKept) {
            self.give_memory_back(block, class).await;
        }
        let wanted = if is_granted { excess } else { class.payload };
        Some(Shortage {
            wanted,
            available: 0,
        })
    }

    async fn give_memory_back(&self, block: u8, class: &HugeClass) {
        for unit in (0..class.payload).rev() {
            let give = Access::GiveMemoryBack(unit);
            self.do_access(Word::MemoryOf(block), give).await;
        }
    }

    pub(super) async fn trim(&self, block: u8) {
        if !self.has(Mutant::IdleMemoryKept) && self.excess_idle_memory().await > 0 {
            let class = self.huge().class_of(block);
            let _ = self.decommit_idle(block, class).await;
        }
    }

    pub(super) async fn trim_all(&self) {
        let excess = self.excess_idle_memory().await;
        if excess > 0 {
            let _ = self.decommit_largest_idle(excess).await;
        }
    }

    /// Returns by how much the memory of idle blocks exceeds what they may keep.
    async fn excess_idle_memory(&self) -> u64 {
        let huge = self.huge();
        let all = |class: &HugeClass| class.payload * class.blocks.len() as u64;
        if huge.classes.iter().map(all).sum::<u64>() <= huge.max_idle_memory {
            return 0;
        }
        let mut idle = 0;
        for class in huge.classes {
            for block in numbers(&class.blocks) {
                if self.is_committed(block).await && self.is_free(block).await {
                    idle += class.payload;
                }
            }
        }
        idle.saturating_sub(huge.max_idle_memory)
    }

    async fn decommit_idle(&self, block: u8, class: &HugeClass) -> Result<bool> {
        if !self.is_committed(block).await {
            return Ok(false);
        }
        if self.has(Mutant::DecommitWithoutAllocate) {
            if !self.is_free(block).await {
                return Ok(false);
            }
            self.store(Word::Committed(block), 0).await;
            self.give_memory_back(block, class).await;
            return Ok(true);
        }
        let Some(owned) = self.allocate_one(block.into()).await else {
            return Ok(false);
        };
        self.decommit_and_withdraw(owned, class).await?;
        Ok(true)
    }

    async fn decommit_and_withdraw(&self, owned: Holding, class: &HugeClass) -> Result<()> {
        let mark = Word::Committed(owned.block);
        if self.has(Mutant::DecommitBeforeMark) {
            self.give_memory_back(owned.block, class).await;
            self.store(mark, 0).await;
        } else {
            let kept = u64::from(self.has(Mutant::MarkKept));
            self.store(mark, kept).await;
            self.give_memory_back(owned.block, class).await;
        }
        self.withdraw(owned).await?;
        Ok(())
    }

    /// Checks the queue's own limit, and then that of the machine, if there is one.
    async fn check_limits(&self, wanted: u64) -> Option<Shortage> {
        let huge = self.huge();
        for limit in [Some(huge.memory_limit), huge.machine_limit] {
            let Some(limit) = limit else { continue };
            let view = |seen| {
                let in_use = memory_in_use(seen);
                let is_short = shortage(wanted, limit, in_use).is_some();
                if is_short { in_use } else { 0 }
            };
            let in_use = self.access(Word::Memory, Access::Load, view).await;
            let shortage = shortage(wanted, limit, in_use);
            if shortage.is_some() {
                return shortage;
            }
        }
        None
    }

    /// Reclaims what is missing from idle blocks. If there are none, decides whether to wait (HUGE-5).
    async fn search(&self, shortage: Shortage, before: &[(u64, BlockState)]) -> Result<Search> {
        if self.reclaim(shortage).await? > 0 {
            return Ok(Search::Again);
        }
        let in_use = before
            .iter()
            .filter(|(_, state)| !state.is(BlockKind::Free));
        let in_use: u64 = in_use.map(|&(payload, _)| payload).sum();
        let is_enough = shortage.available + in_use >= shortage.wanted;
        if is_enough && !self.has(Mutant::MemoryInUseIsLost) {
            return Ok(Search::InUse);
        }
        if self.has(Mutant::ChangesIgnored) || self.huge_states().await == before {
            return Ok(Search::Exhausted);
        }
        Ok(Search::Again)
    }

    /// Does the same after memory was refused for a block, which this process owns.
    async fn search_after_refusal(
        &self,
        shortage: Shortage,
        before: &[(u64, BlockState)],
        refused: u8,
    ) -> Result<Search> {
        if self.reclaim(shortage).await? > 0 {
            return Ok(Search::Again);
        }
        if self.has(Mutant::RefusalIsFinal) {
            return Ok(Search::Exhausted);
        }
        let now = self.huge_states().await;
        let mut others = (0..)
            .zip(&now)
            .filter(|(block, _)| *block != refused)
            .map(|(_, (_, state))| state);
        let is_in_use = others.any(|state| !state.is(BlockKind::Free));
        let has_changed = now != before && !self.has(Mutant::RefusalIgnoresChanges);
        Ok(if is_in_use || has_changed {
            Search::InUse
        } else {
            Search::Exhausted
        })
    }

    async fn reclaim(&self, shortage: Shortage) -> Result<u64> {
        let missing = shortage.wanted.saturating_sub(shortage.available);
        if self.has(Mutant::IdleMemoryNotReclaimed) {
            return Ok(0);
        }
        let reclaimed = self.decommit_largest_idle(missing).await?;
        if reclaimed > 0 || self.has(Mutant::LeftoversNotReclaimed) {
            return Ok(reclaimed);
        }
        self.reclaim_leftovers().await
    }

    async fn decommit_largest_idle(&self, wanted: u64) -> Result<u64> {
        let mut given_back = 0;
        for class in self.huge().classes.iter().rev() {
            for block in numbers(&class.blocks).rev() {
                if given_back >= wanted {
                    return Ok(given_back);
                }
                if self.decommit_idle(block, class).await? {
                    given_back += class.payload;
                }
            }
        }
        Ok(given_back)
    }

    async fn reclaim_leftovers(&self) -> Result<u64> {
        let before = self.access(Word::Memory, Access::Load, memory_in_use).await;
        let mut accounted = 0;
        for class in self.huge().classes {
            for block in numbers(&class.blocks) {
                if self.is_committed(block).await || !self.is_free(block).await {
                    accounted += class.payload;
                }
            }
        }
        if before <= accounted {
            return Ok(0);
        }
        for class in self.huge().classes {
            for block in numbers(&class.blocks) {
                if !self.is_committed(block).await
                    && let Some(owned) = self.allocate_one(block.into()).await
                {
                    self.decommit_and_withdraw(owned, class).await?;
                }
            }
        }
        let now = self.access(Word::Memory, Access::Load, memory_in_use).await;
        Ok(before.saturating_sub(now))
    }
}

// Looks at blocks.
impl ModelProcess {
    fn huge(&self) -> HugeBlocks {
        let huge = self.execution.borrow().configuration().huge;
        huge.expect("a configuration with huge blocks")
    }

    async fn is_committed(&self, block: u8) -> bool {
        self.test(Word::Committed(block), |mark| mark != 0).await
    }

    async fn is_free(&self, block: u8) -> bool {
        let is_free = |seen| BlockState::from_bits(seen).is(BlockKind::Free);
        self.test(Word::Block(block), is_free).await
    }

    async fn is_any_free(&self, class: &HugeClass) -> bool {
        for block in numbers(&class.blocks) {
            if self.is_free(block).await {
                return true;
            }
        }
        false
    }

    /// Returns the state of each huge block, with the size of its payload.
    async fn huge_states(&self) -> Vec<(u64, BlockState)> {
        let mut states = Vec::new();
        for class in self.huge().classes {
            for block in class.blocks.clone() {
                let word = Word::Block(to_u8(block.into()));
                let state = BlockState::from_bits(self.load(word).await);
                states.push((class.payload, state));
            }
        }
        states
    }
}
