//! The operations of the protocol once more, access by access: the same steps as in [`crate::protocol::steps`],
//! in a form that can be stopped before each of them, and that can be given a fault.
//!
//! Each operation is an `async` function, which is only a way to write down where it can stop. In each step, it
//! is run from its start; the accesses that it has made before are replayed from the process's log; and it is
//! stopped before the second new one. A function that needs only a few numbers to go on may end with
//! [`Outcome::Continue`], which forgets the rest, so that states that differ only in their past are the same. A
//! [`literal`](super::machine::Machine::literal) machine, whose accesses are compared with those of the real
//! functions, never does that.

mod batching;
mod closing;
mod dead_letters;
mod futures;
mod huge;
mod membership;
mod process;
mod receiving;
mod recovering;
mod returning;
mod sending;

use super::call::{Call, Outcome, Resume};
use super::execution::Execution;
use crate::protocol::Corrupt;
use crate::protocol::lifecycle::LifecycleState;
use core::cell::RefCell;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use process::{ModelProcess, Result};

/// Runs a call for one step. The outcome is `None` while the call has not ended.
pub(super) fn perform(execution: Execution, call: Call) -> (Execution, Option<Outcome>) {
    let process = ModelProcess {
        execution: RefCell::new(execution),
    };
    let outcome = {
        let mut running = pin!(process.call(call));
        match running
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(outcome) => Some(outcome.unwrap_or_else(Outcome::Corrupt)),
            Poll::Pending => None,
        }
    };
    (process.execution.into_inner(), outcome)
}

impl ModelProcess {
    async fn call(&self, call: Call) -> Result<Outcome> {
        let holding = || self.local().holding.ok_or(Corrupt::NotOwned);
        match call {
            Call::Finished => Ok(Outcome::Unavailable),
            Call::Allocate => Ok(self.allocate().await),
            Call::AllocateUnlessClosing => {
                if self.lifecycle(LifecycleState::is_closing).await {
                    return Ok(Outcome::Closed);
                }
                Ok(self.allocate().await)
            }
            Call::AllocateHuge(class) => self.allocate_huge(class).await,
            Call::Offer => {
                self.use_payload(holding()?.block).await?;
                Ok(self.offer(holding()?).await)
            }
            Call::Publish => self.publish(holding()?, None).await,
            Call::WithdrawLeaked => Ok(self.withdraw_leaked().await),
            Call::Withdraw => self.withdraw(holding()?).await,
            Call::Trim(block) => {
                self.trim(block).await;
                Ok(Outcome::Done)
            }
            Call::TrimAll => {
                self.trim_all().await;
                Ok(Outcome::Done)
            }
            Call::Receive => self.receive().await,
            Call::Acknowledge => {
                self.use_payload(holding()?.block).await?;
                self.acknowledge(holding()?).await
            }
            Call::Return => self.return_message(holding()?).await,
            Call::Reject => self.reject(holding()?).await,
            Call::Settle(settlement) => self.settle(holding()?, settlement).await,
            Call::OpenDeadLetter => Ok(self.open_oldest_dead_letter().await),
            Call::PutBackDeadLetter => self.put_back_dead_letter(holding()?).await,
            Call::DiscardDeadLetter => self.discard_dead_letters(holding()?).await,
            Call::Close => self.close().await,
            Call::Cancel => self.cancel().await,
            Call::Announce(spot) => Ok(self.announce(spot).await),
            Call::Sleep(spot) => Ok(self.sleep(spot).await),
            Call::CheckTail if self.skips_tail_check() => Ok(Outcome::Done),
            Call::CheckTail => self.check_tail().await,
            Call::Admit => Ok(self.admit().await),
            Call::Pend => Ok(self.pend().await),
            Call::Dismiss(is_used) => Ok(self.dismiss(is_used).await),
            Call::Attend => Ok(self.attend(self.local().is_due()).await),
            Call::Rest => Ok(self.rest().await),
            Call::Join => self.join().await,
            Call::HandOff(_) => self.hand_off().await,
            Call::Redeem => self.redeem().await,
            Call::Leave => self.leave().await,
            Call::Detach => self.detach().await,
            Call::RecoverIfDead(peer) => self.recover_if_dead(peer).await,
            Call::FinishStalled => self.finish_stalled().await,
            Call::FinishStalledBlocks => self.finish_stalled_blocks().await,
            Call::Resumed(resume) => self.resume(resume).await,
        }
    }

    async fn resume(&self, resume: Resume) -> Result<Outcome> {
        match resume {
            Resume::PublishAt(position) => {
                let holding = self.local().holding.ok_or(Corrupt::NotOwned)?;
                self.publish(holding, Some(position)).await
            }
            Resume::FindHuge(class) => self.find_huge(class).await,
            Resume::FindMemory(class) => {
                let found = self.find_memory(class).await?;
                Ok(found.unwrap_or(Outcome::Continue(Resume::FindHuge(class))))
            }
            Resume::TakeAt(position, sealed) => self.take_next(Some(position), sealed).await,
            Resume::CheckEnd(slots) => self.try_end(slots).await,
            Resume::RecoverSlots(peer, tenant, slots) => {
                self.hold_taken_messages(peer, tenant, slots).await
            }
            Resume::RecoverBlocks(peer, tenant) => self.reclaim_and_withdraw(peer, tenant).await,
            Resume::RecoverPeer(peer, tenant) => self.vacate_dead(peer, tenant).await,
            Resume::CloseVacantRoles(tenant) => self.close_vacant_roles_of(tenant).await,
        }
    }
}
