//! The checks of a queue at the end of a round, when only the parent is attached to it.

use super::{FIRST_FRESH, Queue};
use crate::{
    message::Message,
    testimony::Testimony,
    violation::{Failure, Violation},
};
use std::{
    thread,
    time::{Duration, Instant},
};
use workring::{
    error::{RecvTimeoutError, TryRecvError, TrySendError},
    queue::Stats,
};

/// The default of [`Options::max_deliveries`](workring::Options::max_deliveries).
const MAX_DELIVERIES: u32 = 3;
/// Longer than any wait takes, even if all processes of this machine are stopped for a benchmark.
const PATIENCE: Duration = Duration::from_secs(30);

impl Queue {
    /// Checks everything.
    pub(crate) fn check(mut self, testimony: &Testimony) -> Result<(), Failure> {
        if testimony.max_tickets > 0 {
            self.await_grandchildren();
        }
        self.drain(testimony)?;
        if self.rx.is_closed() {
            self.check_closed()?;
        } else if testimony.closed || self.tx.is_none() {
            return Err(Failure::wedged("the queue should be closed"));
        } else {
            self.check_usable()?;
            // A slot or a block with a wrong word is used again a lap later.
            self.do_a_lap()?;
            self.receive_all();
        }
        if let Some(story) = self.wrong_message.take() {
            return Err(Failure::wedged(story));
        }
        self.check_messages(testimony)?;
        self.check_memory(testimony)
    }

    /// Waits for the exit of the children that victims gave tickets to. No process reports it.
    fn await_grandchildren(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.rx.stats().peers.len() > 1 && Instant::now() < deadline {
            self.rx.report_exit(0);
            thread::yield_now();
        }
    }

    /// Receives everything. Messages of the operation have to come in order, and so have those of the parent.
    fn drain(&mut self, testimony: &Testimony) -> Result<(), Failure> {
        let mut last = [0; 2];
        while let Some(number) = self.receive() {
            let [of_operation, fresh] = &mut last;
            let last = if number < FIRST_FRESH {
                of_operation
            } else {
                fresh
            };
            if number <= *last {
                let story = format!("{number} came after {last}");
                return Err(Failure::wedged(story));
            }
            *last = number;
        }
        for dead_letter in self.rx.dead_letters() {
            let Message { number, .. } = dead_letter.decode().expect("a number");
            *self.seen.entry(number).or_default() += 1;
            if testimony.close_waits_for_leases && dead_letter.deliveries() < MAX_DELIVERIES {
                let story = format!("{number} is a dead letter, because the queue had ended");
                self.wrong_message = Some(story);
            }
            dead_letter.discard();
        }
        Ok(())
    }

    /// Checks that a closed queue returns `Closed`, again and again.
    fn check_closed(&self) -> Result<(), Failure> {
        for _ in 0..2 {
            let tried = self.rx.try_recv();
            let waited = self.rx.recv_timeout(PATIENCE);
            let sent = self.tx.as_ref().map(|tx| tx.try_send(Message::small(0)));
            if !matches!(tried, Err(TryRecvError::Closed))
                || !matches!(waited, Err(RecvTimeoutError::Closed))
                || !matches!(sent, None | Some(Err(TrySendError::Closed(_))))
            {
                let story = format!("not closed: {tried:?}, {waited:?}, {sent:?}");
                return Err(Failure::wedged(story));
            }
        }
        Ok(())
    }

    /// Checks that an open queue accepts as many messages as its capacity, and delivers them in order.
    fn check_usable(&mut self) -> Result<(), Failure> {
        for _ in 0..2 {
            let first = self.last_fresh + 1;
            for number in 0..self.rx.capacity() {
                if !self.send_fresh() {
                    return Err(Failure::wedged(format!("full after {number} messages")));
                }
            }
            if self.send_fresh() {
                return Err(Failure::wedged("it has more room than its capacity"));
            }
            for expected in (first..).take(self.rx.capacity()) {
                let received = self.receive();
                if received != Some(expected) {
                    let story = format!("received {received:?} instead of {expected}");
                    return Err(Failure::wedged(story));
                }
            }
        }
        Ok(())
    }

    /// Checks that each message was in exactly one place.
    fn check_messages(&mut self, testimony: &Testimony) -> Result<(), Failure> {
        self.accepted.extend(&testimony.sent);
        for &number in &testimony.received {
            *self.seen.entry(number).or_default() += 1;
        }
        for (&number, &times) in &self.seen {
            let known = self.accepted.contains(&number) || testimony.uncertain.contains(&number);
            if times > 1 || !known {
                let story = format!("{number} came {times} times, accepted: {known}");
                return Err(Failure::new(Violation::Duplicated, story));
            }
        }
        if testimony.may_have_cancelled && self.rx.is_closed() {
            return Ok(());
        }
        for &number in &self.accepted {
            let is_excused = testimony.uncertain.contains(&number) && !testimony.may_have_cancelled;
            if !self.seen.contains_key(&number) && !is_excused {
                let story = format!("{number} is nowhere");
                return Err(Failure::new(Violation::Lost, story));
            }
        }
        Ok(())
    }

    /// Checks that all blocks are free, and all peer entries but the parent's own.
    fn check_memory(&self, testimony: &Testimony) -> Result<(), Failure> {
        let stats: Stats = self.rx.stats();
        let all_free = stats.blocks.iter().all(|class| class.free == class.total);
        let left = stats.queued + stats.held + stats.returned + stats.dead_letters;
        let max_deaths = self.deaths + testimony.max_tickets;
        if !all_free || left != 0 || stats.peers.len() != 1 || stats.recovered > max_deaths {
            return Err(Failure::new(Violation::Leaked, format!("{stats:?}")));
        }
        Ok(())
    }
}
