//! One round of a storm: a queue and a ledger of its own, from the first child to the balance.
//!
//! The parent kills and stops children at random moments, replaces those that it has killed, and reads dead letters.
//! Then the round ends in one of several ways ([`Ending`]). Of half of the deaths the parent notifies the queue
//! (`report_exit`); the other half it leaves to the liveness checks of the children.

use crate::{
    accounting::{Accounting, FinalStats},
    child::{LEDGER, MAX_DELIVERIES, QUEUE, Role, STOP_RECEIVING, STOP_SENDING},
    children::Children,
    config::Config,
    events::{Event, Record, Recorder},
    ids::{MessageId, ProcessNumber},
    message::{Message, MessageReceiver, MessageSender},
    totals::Totals,
};
use ipc_tests::{
    ledger::{Ledger, Scratch},
    rounds::Rng,
};
use std::{
    fs, thread,
    time::{Duration, Instant},
};
use workring::{
    Handoff, Options,
    error::{HandoffError, RecvTimeoutError, TryRecvError},
    queue::{Raw, Stats},
};

/// The longest time for which a child is stopped, in milliseconds.
const MAX_STOP: u64 = 40;
/// Kills that are late by more than this are not made up for.
const MAX_BACKLOG: Duration = Duration::from_millis(20);
/// How often the parent reads the dead letters, so that the queue has no reason to evict any.
const DEAD_LETTER_INTERVAL: Duration = Duration::from_millis(20);

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The queue is closed while all children run, and they are still killed until the last has ended.
    CloseUnderLoad,
    /// The senders exit, the queue is closed, and the consumers receive what is left.
    DrainedByConsumers,
    /// All children exit, and the parent receives what is left.
    DrainedByParent,
    /// All children are killed, and the parent finds their deaths by its own liveness checks.
    AllKilled,
    /// All children are killed, and the parent reports their deaths.
    AllKilledAndReported,
}

struct Round<'a> {
    config: &'a Config,
    rng: Rng,
    recorder: Recorder,
    // Before the scratch directory, which they use.
    children: Children,
    scratch: Scratch,
    sender: MessageSender,
    receiver: MessageReceiver,
    liveness_interval: Duration,
    kills: u64,
    /// Process ids of children that were killed and not reported.
    unreported: Vec<u32>,
    violations: Vec<String>,
}

/// Runs a round whose kills last this long.
pub(crate) fn run(config: &Config, seed: u64, duration: Duration) -> Totals {
    let mut round = Round::new(config, seed);
    let (duration, ending) = round.choose_ending(duration);
    for (role, count) in [
        (Role::Sender, config.senders),
        (Role::Receiver, config.receivers),
        (Role::Lessee, config.lessees),
    ] {
        (0..count).for_each(|_| round.start_child(role));
    }
    let end = Instant::now() + duration;
    round.kill_and_stop_until(|| Instant::now() >= end);
    round.end(ending);
    round.drain();
    round.balance()
}

impl<'a> Round<'a> {
    fn new(config: &'a Config, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let scratch = Scratch::new().expect("a directory");
        let ledger = Ledger::create(scratch.path(), LEDGER).expect("a ledger");
        let short_interval = Duration::from_millis(rng.u64(1..=10));
        let liveness_interval = config
            .liveness_seconds
            .map_or(short_interval, Duration::from_secs);
        // Without a spin a wait sleeps at once, and needs a wake-up; with one it mostly does not sleep.
        let spin = Duration::from_micros(*rng.choice(&[0, 0, 50]).expect("one of them"));
        let options = Options::new(config.capacity)
            .max_deliveries(MAX_DELIVERIES)
            .max_message_len(config.max_length.max(1 << 16))
            .close_waits_for_leases(rng.bool())
            // An evicted dead letter is hard to tell from a lost message (STORM-5).
            .evict_dead_letters(false)
            .max_dead_letters(config.capacity.max(128))
            .spin(spin);
        let options = workring::test_hooks::with_liveness_interval(options, liveness_interval);
        let (sender, receiver) = options.channel_with::<Message, Raw>().expect("a queue");
        let max_pause = *rng.choice(&[0, 500, 1_000]).expect("one of them");
        Self {
            config,
            rng,
            recorder: Recorder::new(ledger, ProcessNumber::PARENT),
            children: Children::new(max_pause),
            scratch,
            sender,
            receiver,
            liveness_interval,
            kills: 0,
            unreported: Vec::new(),
            violations: Vec::new(),
        }
    }

    fn choose_ending(&mut self, longest: Duration) -> (Duration, Ending) {
        if let Some(seconds) = self.config.close_at {
            return (Duration::from_secs_f64(seconds), Ending::CloseUnderLoad);
        }
        if self.config.liveness_seconds.is_some() {
            // The other endings begin with a close or with recoveries, which wake all sleepers.
            return (longest, Ending::DrainedByConsumers);
        }
        let endings = [
            Ending::DrainedByConsumers,
            Ending::DrainedByParent,
            Ending::AllKilled,
            Ending::AllKilledAndReported,
        ];
        (longest, *self.rng.choice(&endings).expect("one of them"))
    }

    /// Starts a child, unless the queue is closed.
    fn start_child(&mut self, role: Role) {
        let handoff = match role {
            Role::Sender => Handoff::new().give(QUEUE, &self.sender),
            Role::Receiver | Role::Lessee => Handoff::new().give(QUEUE, &self.receiver),
        };
        let handoff = match handoff {
            Ok(handoff) => handoff,
            Err(HandoffError::Closed) => return,
            Err(other) => panic!("hand over the queue: {other}"),
        };
        let (seed, scratch) = (self.rng.u64(..), self.scratch.path());
        self.children
            .start(role, handoff, self.config, seed, scratch);
    }

    /// Kills and stops children at random, and replaces those that it has killed, until `is_over` returns true, no
    /// child is left, or there is a violation.
    fn kill_and_stop_until(&mut self, is_over: impl Fn() -> bool) {
        let start = Instant::now();
        let (mut next_kill, mut next_stop) = (start, start);
        let mut next_look = start;
        while !is_over() && !self.children.is_empty() && self.violations.is_empty() {
            let now = Instant::now();
            if now >= next_kill {
                next_kill = self.next_event(next_kill, self.config.kills_per_second);
                self.kill_and_replace_one();
            }
            if now >= next_stop {
                next_stop = self.next_event(next_stop, self.config.stops_per_second);
                self.stop_one();
            }
            if now >= next_look {
                next_look = now + DEAD_LETTER_INTERVAL;
                self.read_dead_letters();
                self.reap_exited();
            }
            self.children.resume(|until| until <= now);
            let others = [next_kill, next_stop, next_look];
            let next = self.children.next_resume().into_iter().chain(others).min();
            let pause = next.map(|next| next.saturating_duration_since(Instant::now()));
            // Keeps the pace. It does not wait for any other process.
            thread::sleep(pause.unwrap_or_default());
        }
    }

    /// Chooses the time of the next of several events that have this frequency on average. A delay is made up for, up
    /// to [`MAX_BACKLOG`].
    fn next_event(&mut self, last: Instant, per_second: f64) -> Instant {
        if per_second > 0.0 {
            let pause = Duration::from_secs_f64((self.rng.f64() * 2.0 / per_second).min(3600.0));
            (last + pause).max(Instant::now().checked_sub(MAX_BACKLOG).unwrap_or(last))
        } else {
            last + Duration::from_hours(1)
        }
    }

    fn kill_and_replace_one(&mut self) {
        if self.config.kills_per_second > 0.0 && !self.children.is_empty() {
            let victim = self.rng.usize(0..self.children.len());
            let role = self.kill(victim);
            if self.rng.bool() || self.config.liveness_seconds.is_some() {
                self.report_killed();
            } else {
                self.unreported.clear();
            }
            self.start_child(role);
        }
    }

    fn kill(&mut self, index: usize) -> Role {
        let killed = self.children.kill(index, &self.recorder);
        match killed.exited {
            None => self.kills += 1,
            Some(exited) => self.violations.extend(exited.violation()),
        }
        self.unreported.push(killed.pid);
        killed.role
    }

    fn report_killed(&mut self) {
        for pid in self.unreported.drain(..) {
            self.receiver.report_exit(pid);
        }
    }

    fn stop_one(&mut self) {
        if self.config.stops_per_second > 0.0 && !self.children.is_empty() {
            let until = Instant::now() + Duration::from_millis(self.rng.u64(0..=MAX_STOP));
            let index = self.rng.usize(0..self.children.len());
            self.children.stop(index, until);
        }
    }

    /// Reaps the children that have ended by themselves, as they do once the queue is closed.
    fn reap_exited(&mut self) {
        for exited in self.children.reap(|_| true) {
            self.violations.extend(exited.violation());
            if !self.receiver.is_closed() {
                self.violations.push(exited.early_exit_violation());
            }
        }
    }

    fn end(&mut self, ending: Ending) {
        if ending != Ending::CloseUnderLoad {
            self.children.resume(|_| true);
        }
        match ending {
            Ending::CloseUnderLoad => {
                self.close();
                self.kill_and_stop_until(|| false);
            }
            Ending::DrainedByConsumers => {
                self.create_file(STOP_SENDING);
                self.await_exits(|role| role == Role::Sender);
                self.close();
            }
            Ending::DrainedByParent => {
                self.create_file(STOP_SENDING);
                self.create_file(STOP_RECEIVING);
                self.close();
            }
            Ending::AllKilled => {
                self.kill_all();
                self.await_recovery();
                self.close();
            }
            Ending::AllKilledAndReported => {
                self.kill_all();
                self.report_and_recover_all();
                self.close();
            }
        }
        self.await_exits(|_| true);
    }

    /// Kills all children, and reports none of them.
    fn kill_all(&mut self) {
        while !self.children.is_empty() {
            self.kill(0);
        }
        self.unreported.clear();
    }

    fn create_file(&self, name: &str) {
        fs::write(self.scratch.path().join(name), "").expect("write");
    }

    fn close(&self) {
        assert!(self.receiver.close(), "only the parent closes it");
        self.recorder.record(Event::Closed, MessageId::NONE);
    }

    /// Waits until the children of these roles have ended by themselves. Reads dead letters while it waits.
    fn await_exits(&mut self, is_meant: impl Fn(Role) -> bool) {
        while self.children.any(&is_meant) {
            if !self.violations.is_empty() {
                // The others may wait for one that has failed.
                return self.kill_all();
            }
            for exited in self.children.reap(&is_meant) {
                self.violations.extend(exited.violation());
            }
            self.read_dead_letters();
            // Leaves the processor to the children.
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Receives from the open queue until the parent's own liveness checks have found all deaths.
    fn await_recovery(&mut self) {
        while self.receiver.stats().peers.len() > 1 && self.violations.is_empty() {
            match self.receiver.recv_timeout(self.liveness_interval) {
                Ok(message) => self.recorder.record(Event::Drained, message.id),
                Err(RecvTimeoutError::Timeout) => {}
                Err(other) => return self.violations.push(format!("receive: {other}")),
            }
        }
    }

    /// Reports all deaths on the open queue, and checks that this alone makes what the dead held available to the next
    /// receive.
    fn report_and_recover_all(&mut self) {
        self.receive_all();
        self.report_all_peers();
        self.receive_all();
        let stats = self.receiver.stats();
        let left = stats.queued + stats.held + stats.returned;
        if left > 0 || stats.peers.len() > 1 {
            self.violations.push(format!(
                "{left} messages and {} peers are left after all dead processes were recovered",
                stats.peers.len() - 1
            ));
        }
    }

    /// Receives until the open queue is empty.
    fn receive_all(&mut self) {
        loop {
            match self.receiver.try_recv() {
                Ok(message) => self.recorder.record(Event::Drained, message.id),
                Err(TryRecvError::Empty) => return,
                Err(other) => return self.violations.push(format!("receive: {other}")),
            }
        }
    }

    /// Reports every peer that is still attached as dead. (The queue checks it.)
    fn report_all_peers(&self) {
        let peers = self.receiver.stats().peers;
        for pid in peers.iter().filter_map(|peer| peer.pid) {
            self.receiver.report_exit(pid);
        }
    }

    /// Receives what is left in the closed queue when all children have ended.
    fn drain(&mut self) {
        self.report_all_peers();
        loop {
            match self.receiver.try_recv() {
                Ok(message) => self.recorder.record(Event::Drained, message.id),
                // No other process can hold the rest, unless something has failed before.
                Err(TryRecvError::Empty) if self.violations.is_empty() => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                Err(other) => return self.violations.push(format!("drain: {other}")),
            }
        }
        self.read_dead_letters();
    }

    fn read_dead_letters(&mut self) {
        for dead_letter in self.receiver.dead_letters() {
            let Some(message) = Message::read(&dead_letter.bytes()) else {
                self.violations.push("a dead letter is torn".to_owned());
                continue;
            };
            // After the end a message that is returned is one, however often it was delivered.
            if dead_letter.deliveries() < MAX_DELIVERIES && !self.receiver.is_closed() {
                self.violations.push(format!(
                    "{:?} is a dead letter after {} deliveries",
                    message.id,
                    dead_letter.deliveries()
                ));
            }
            self.recorder.record(Event::DeadLetterRead, message.id);
            dead_letter.discard();
        }
    }

    fn balance(self) -> Totals {
        let mut accounting = Accounting::default();
        for entry in Ledger::read(self.scratch.path(), LEDGER).expect("the ledger") {
            accounting.add(Record::decode(entry));
        }
        for line in self.violations {
            accounting.add_violation(line);
        }
        let stats = final_stats(&self.receiver.stats());
        accounting.balance(self.kills, stats, self.config)
    }
}

/// At the end every block is free, and only the parent is attached (K6).
fn final_stats(stats: &Stats) -> FinalStats {
    let used: u64 = stats
        .blocks
        .iter()
        .map(|class| class.total - class.free)
        .sum();
    let other_peers = (stats.peers.len() as u64).saturating_sub(1);
    FinalStats {
        accepted: stats.accepted,
        evicted_dead_letters: stats.dropped_letters,
        leaked: used + other_peers,
    }
}
