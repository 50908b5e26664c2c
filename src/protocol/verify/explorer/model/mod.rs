//! The operations of the protocol once more, access by access, as they are understood: the very steps of
//! [`crate::protocol::steps`], in a form that can be stopped before each of them, and got wrong on purpose.
//!
//! Each is an `async` function, which is only a way to write down where it can stop. To do a step, it is run from its
//! start, told again what its accesses have given before (the process's log), and stopped at the second one that
//! is new. Where a function has forgotten all but a few numbers of what it did, it ends with [`Outcome::Again`], and
//! goes on from these, so that states which differ in nothing but their past are the same. The conformance test
//! ([`super::conformance`]) goes without that: every access is compared with that of the real function.

mod batching;
mod closing;
mod dead_letters;
mod membership;
mod receiving;
mod recovering;
mod sending;

use super::mutants::Mutant;
use super::process::{Call, Hand, Local, Outcome, Rest};
use super::state::Run;
use super::words::{Access, Park, Word, slot_of};
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::parking;
use crate::protocol::peers::{PeerIndex, PeerState};
use crate::protocol::returned::ReturnedState;
use crate::protocol::ring::{Position, RingSize, SlotState};
use crate::protocol::{Corrupt, Limits};
use core::cell::RefCell;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

type Result<T> = core::result::Result<T, Corrupt>;

/// Run a call for one step; `None`: it is not at its end.
pub(super) fn perform(run: Run, call: Call) -> (Run, Option<Outcome>) {
    let cx = Cx {
        run: RefCell::new(run),
    };
    let outcome = {
        let mut running = pin!(cx.call(call));
        match running
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(outcome) => Some(outcome.unwrap_or_else(Outcome::Corrupt)),
            Poll::Pending => None,
        }
    };
    (cx.run.into_inner(), outcome)
}

/// What a process is in while it does a call.
struct Cx {
    run: RefCell<Run>,
}

/// What stands for a value that does not matter.
const OTHER: u64 = u64::MAX;

impl Cx {
    async fn call(&self, call: Call) -> Result<Outcome> {
        let hand = || self.local().hand.ok_or(Corrupt::NotOwned);
        match call {
            Call::Nothing => Ok(Outcome::Nothing),
            Call::Allocate => Ok(self.allocate().await),
            Call::AllocateUnlessClosing => {
                if self.life(LifecycleState::is_closing).await {
                    return Ok(Outcome::Closed);
                }
                Ok(self.allocate().await)
            }
            Call::Offer => Ok(self.offer(hand()?).await),
            Call::Publish => self.publish(hand()?, None).await,
            Call::Withdraw => self.withdraw(hand()?).await,
            Call::Receive => self.receive().await,
            Call::Acknowledge => self.acknowledge(hand()?).await,
            Call::GiveBack => self.give_back(hand()?).await,
            Call::Reject => self.reject(hand()?).await,
            Call::Settle(then) => self.settle(hand()?, then).await,
            Call::OpenLetter => Ok(self.open_oldest_letter().await),
            Call::PutBackLetter => self.put_back_letter(hand()?).await,
            Call::DiscardLetter => self.discard_letters(hand()?).await,
            Call::Close => self.close().await,
            Call::Cancel => self.cancel().await,
            Call::Announce(park) => Ok(self.announce(park).await),
            Call::Sleep(park) => Ok(self.sleep(park).await),
            Call::Inspect => self.inspect().await,
            Call::Join => self.join().await,
            Call::HandOn(_) => self.hand_on().await,
            Call::Redeem => self.redeem().await,
            Call::Leave => self.leave().await,
            Call::Detach => self.detach().await,
            Call::LookAfter(row) => self.look_after(row).await,
            Call::Tidy => self.tidy().await,
            Call::TidyBlocks => self.tidy_blocks().await,
            Call::Rest(rest) => self.rest(rest).await,
        }
    }

    async fn rest(&self, rest: Rest) -> Result<Outcome> {
        match rest {
            Rest::PublishAt(position) => {
                let hand = self.local().hand.ok_or(Corrupt::NotOwned)?;
                self.publish(hand, Some(position)).await
            }
            Rest::TakeAt(position, sealed) => self.take_next(Some(position), sealed).await,
            Rest::Verdict(slots) => self.verdict(slots).await,
            Rest::RecoverSlots(row, tenant, slots) => {
                self.note_what_was_taken(row, tenant, slots).await
            }
            Rest::RecoverBlocks(row, tenant) => self.repair_blocks(row, tenant).await,
            Rest::RecoverLeave(row, tenant) => self.free_row(row, tenant).await,
            Rest::EndSides(tenant) => self.end_sides_of(tenant).await,
        }
    }

    // What is known without a look at shared memory.

    fn is(&self, mutant: Mutant) -> bool {
        self.run.borrow().machine.mutant == Some(mutant)
    }

    /// Whether a call may be cut in two, to forget what has led so far.
    fn forgets(&self) -> bool {
        !self.run.borrow().machine.literal
    }

    fn local(&self) -> Local {
        self.run.borrow().local
    }

    fn update(&self, change: impl FnOnce(&mut Local)) {
        change(&mut self.run.borrow_mut().local);
    }

    fn me(&self) -> PeerIndex {
        PeerIndex::from_low_bits(self.local().row.into())
    }

    fn limits(&self) -> Limits {
        self.run.borrow().configuration().limits
    }

    fn size(&self) -> RingSize {
        self.run.borrow().configuration().size()
    }

    fn slots(&self) -> u8 {
        self.run.borrow().configuration().slots()
    }

    fn block_count(&self) -> u8 {
        self.run.borrow().configuration().blocks
    }

    fn rows(&self) -> u8 {
        self.run.borrow().configuration().rows()
    }

    // Accesses, each of which is one step.

    async fn access(&self, word: Word, access: Access, view: impl Fn(u64) -> u64) -> u64 {
        let given = self.run.borrow_mut().access(word, access, view);
        match given {
            Some(given) => given,
            None => core::future::pending().await,
        }
    }

    async fn load(&self, word: Word) -> u64 {
        self.access(word, Access::Load, |seen| seen).await
    }

    async fn test(&self, word: Word, is: impl Fn(u64) -> bool) -> bool {
        let view = |seen| u64::from(is(seen));
        self.access(word, Access::Load, view).await != 0
    }

    /// An access that tells nothing.
    async fn ignore(&self, word: Word, access: Access) {
        self.access(word, access, |_| 0).await;
    }

    async fn store(&self, word: Word, value: u64) {
        self.ignore(word, Access::Store(value)).await;
    }

    async fn exchange(&self, word: Word, expected: u64, to: u64) -> bool {
        let view = |seen| u64::from(seen == expected);
        let access = Access::Exchange(expected, to);
        self.access(word, access, view).await != 0
    }

    fn slot_word(&self, position: Position) -> Word {
        slot_of(self.run.borrow().configuration(), position)
    }

    async fn slot(&self, position: Position) -> SlotState {
        SlotState::from_bits(self.load(self.slot_word(position)).await)
    }

    async fn exchange_slot(&self, position: Position, seen: SlotState, to: SlotState) -> bool {
        let word = self.slot_word(position);
        self.exchange(word, seen.bits(), to.bits()).await
    }

    async fn block_if(&self, block: u8, wanted: impl Fn(BlockState) -> bool) -> Option<BlockState> {
        let view = |seen| {
            if wanted(BlockState::from_bits(seen)) {
                seen
            } else {
                OTHER
            }
        };
        let seen = self.access(Word::Block(block), Access::Load, view).await;
        (seen != OTHER).then_some(BlockState::from_bits(seen))
    }

    async fn exchange_block(&self, block: u8, seen: BlockState, to: BlockState) -> bool {
        self.exchange(Word::Block(block), seen.bits(), to.bits())
            .await
    }

    async fn hint(&self, word: Word) -> Position {
        Position(self.load(word).await)
    }

    async fn life(&self, is: impl Fn(LifecycleState) -> bool) -> bool {
        let is = |seen| is(LifecycleState::from_bits(seen));
        self.test(Word::Lifecycle, is).await
    }

    async fn returned(&self) -> ReturnedState {
        ReturnedState::from_bits(self.load(Word::Returned).await)
    }

    async fn is_still(&self, row: u8, tenant: PeerState) -> bool {
        self.test(Word::PeerIndex(row), |seen| seen == tenant.bits())
            .await
    }

    // Steps that several operations have in common.

    /// `Hold` in the place of the taker.
    async fn help(&self, position: Position, seen: SlotState) {
        if seen.kind() != crate::protocol::ring::SlotKind::Vacated {
            return;
        }
        let number = super::words::small(seen.block().get().into());
        let block = self
            .block_if(number, |block| block.is(BlockKind::Offered))
            .await;
        let is_same = self.is(Mutant::HelpWithoutReread)
            || self
                .test(self.slot_word(position), |now| now == seen.bits())
                .await;
        if let (true, Some(block)) = (is_same, block) {
            let held = block.held_by(seen.taker());
            let _ = self.exchange_block(number, block, held).await;
        }
    }

    /// All blocks that are `wanted`, in order of acceptance.
    async fn blocks_in(&self, wanted: impl Fn(BlockState) -> bool) -> Vec<(u64, u8, BlockState)> {
        let mut found = Vec::new();
        for number in 0..self.block_count() {
            if let Some(block) = self.block_if(number, &wanted).await {
                found.push((self.load(Word::Position(number)).await, number, block));
            }
        }
        found.sort_by_key(|&(position, ..)| position);
        found
    }

    // Parking.

    async fn has_waiters(&self, park: Park) -> bool {
        let word = Word::Parking(park);
        self.test(word, |seen| seen & u64::from(parking::WAITERS) != 0)
            .await
    }

    async fn notify(&self, park: Park, count: u32) {
        let word = Word::Parking(park);
        let raise = u64::from(parking::EPOCH);
        let raised = raise + self.access(word, Access::Add(raise), |seen| seen).await;
        let view = |woken: u64| woken.min(1);
        if self.access(word, Access::Wake(count), view).await == 0 {
            let cleared = raised & !u64::from(parking::WAITERS);
            if self.is(Mutant::ClearWaitersAnyway) {
                let seen = self.load(word).await;
                self.store(word, seen & !u64::from(parking::WAITERS)).await;
            } else {
                let _ = self.exchange(word, raised, cleared).await;
            }
        }
    }

    async fn notify_if_someone_sleeps(&self, park: Park, count: u32) {
        if self.has_waiters(park).await {
            self.notify(park, count).await;
        }
    }

    async fn wake_everybody(&self) {
        for park in [Park::Items, Park::Space, Park::Blocks] {
            let count = if self.is(Mutant::WakeOneInsteadOfAll) {
                1
            } else {
                u32::MAX
            };
            self.notify(park, count).await;
        }
    }

    async fn announce(&self, park: Park) -> Outcome {
        let word = Word::Parking(park);
        let raise = if self.is(Mutant::AnnounceWithoutRaise) {
            0
        } else {
            u64::from(parking::EPOCH)
        };
        let mut seen = self.load(word).await;
        loop {
            let announced = (seen | u64::from(parking::WAITERS)) + raise;
            let now = self
                .access(word, Access::Exchange(seen, announced), |now| now)
                .await;
            if now == seen {
                return Outcome::Epoch(announced);
            }
            seen = now;
        }
    }

    async fn sleep(&self, park: Park) -> Outcome {
        let expected = self.local().epoch;
        let word = Word::Parking(park);
        let woken = self.access(word, Access::Sleep(expected), |why| why).await;
        if woken == super::state::SLICE_OVER {
            Outcome::SliceOver
        } else {
            Outcome::Woken
        }
    }
}

/// A block in hand.
fn hand(block: u8, word: BlockState) -> Hand {
    Hand {
        block,
        word: word.bits(),
    }
}
