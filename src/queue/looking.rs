//! Looking for a message at the head of the queue; and, while there is none, a few times more.
//!
//! A receiver that waits polls the cache line that the next sender will write: with the slot of the message, and usually with its
//! block. The sender takes the line to allocate the block, unless it has [prepared](super::prepared) it before, and once more to
//! fill the slot, if the receiver has looked in between. How long that takes decides how long a message travels.
//!
//! With AMD's processors it takes much longer if the receiver has only read the line ([`crate::segment`] has the same for
//! messages that were read). So the receiver writes to the slot what is there: when its wait begins, and again when it sees
//! that a sender has the block, and so has had the line. It does not write at each look, because several receivers that wait would
//! take the line away from each other all the time. A longer wait, which spins or sleeps, only reads.

use super::attachment::Entered;
use super::policy::WaitPolicy;
use super::prepared;
use super::receiver::Receiver;
use super::wait::Awaited;
use crate::codec::Codec;
use crate::protocol::steps::OwnedBlock;
use crate::protocol::steps::expect::expect;
use crate::protocol::steps::receive::{self, Found, Miss};

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Takes a message after a look that has missed. If there was none, and the caller waits, first looks a few times more: the
    /// answer to what this process has just sent may be near.
    #[inline(never)]
    pub(super) fn take_after_miss<P: WaitPolicy>(
        &self,
        queue: Entered<'_>,
        miss: Miss,
        policy: &P,
    ) -> Result<OwnedBlock, Miss> {
        let (segment, peer) = (queue.segment(), queue.peer());
        let miss = match miss {
            Miss::Unfilled if P::WAITS => match self.look_more(queue, policy) {
                Ok(found) => match receive::take_found(segment, queue.view(), peer, found) {
                    Ok(block) => return Ok(block),
                    Err(reason) => found.missed(reason),
                },
                Err(miss) => miss,
            },
            miss => miss,
        };
        receive::take_after(segment, peer, miss)
    }

    /// Looks a few times more, after a look that has found nothing.
    #[inline(always)]
    fn look_more<P: WaitPolicy>(&self, queue: Entered<'_>, policy: &P) -> Result<Found, Miss> {
        let words = queue.view();
        prepared::note_wait();
        let mut expected = expect(words);
        let awaited = Awaited::message(queue, expected.is_being_sent);
        let waiter = &self.handle.waiter;
        let mut tries = 0;
        // At first, and when a sender has taken the block.
        let mut rewrites = true;
        while waiter.tries_again(queue, &awaited, policy, &mut tries) {
            if rewrites {
                words.rewrite_slot(expected.position, expected.slot);
            }
            match receive::look(words) {
                Err(Miss::Unfilled) => {
                    let had_sender = expected.has_sender;
                    expected = expect(words);
                    rewrites = expected.has_sender && !had_sender;
                }
                Ok(found) => {
                    // By where the message was expected, not by what was found: so a processor that predicts this branch
                    // begins while the look still waits for the first line.
                    words.prefetch_second_line(expected.position);
                    return Ok(found);
                }
                miss => return miss,
            }
        }
        Err(Miss::Unfilled)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::protocol::SharedState;
    use crate::queue::{Options, Raw};

    #[test]
    fn a_message_is_being_sent_while_its_sender_writes_it_and_not_while_another_is_read() {
        let options = Options::new(4).inline_len(8);
        let (tx, rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
        let is_being_sent = || expect(rx.handle.begin().expect("not forked").view()).is_being_sent;
        assert!(!is_being_sent(), "nothing");
        let mut reservation = tx.reserve(8).expect("room");
        reservation.copy_from_slice(&[1; 8]);
        assert!(is_being_sent(), "a reservation");
        reservation.commit().expect("open");
        let lease = rx.lease_bytes().expect("a message");
        // Once round the ring: the next slot is the one beside the block that is leased.
        let slots = rx
            .handle
            .begin()
            .expect("not forked")
            .segment()
            .ring_size()
            .slots();
        for _ in 1..slots {
            tx.send(vec![1; 8]).expect("open");
            rx.recv().expect("a message");
        }
        assert!(!is_being_sent(), "another message is read");
        lease.ack();
        assert!(!is_being_sent(), "nothing again");
    }
}
