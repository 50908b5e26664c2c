//! Who starts the processes, kills and stops them, replaces them, and sees to it that all ends well.
//!
//! A storm is a number of gales, one after the other, each with a queue and a ledger of its own, which end in
//! different ways ([`Ending`]). Of half of the deaths the parent says that it has seen them; the other half is left
//! for the others to find.

use crate::{
    books::{Books, Said, Totals},
    children::{
        Commands, Incoming, LEDGER, NO_MORE_RECEIVING, NO_MORE_SENDING, Outgoing, QUEUE, Role,
    },
    message::{Deed, Hand, Id, Life, Message, Note},
    shape::Shape,
};
use ipc_tests::{
    guarded_here,
    ledger::{Ledger, Scratch},
    rounds::Rng,
    watchdog::remark,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    env, fs,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};
use workring::{
    Handoff, Options,
    error::{HandoffError, RecvTimeoutError, TryRecvError},
    queue::{Raw, Stats},
};

/// A gale takes no longer: much can be checked only at its end.
const LONGEST: Duration = Duration::from_secs(1);
/// For a gale and its end. Generous: somebody who measures may stop everything for a minute.
const LIMIT: Duration = Duration::from_mins(5);
/// The same where the slice is longer than that: then it is a wake that is missing.
const LONG_SLICE_LIMIT: Duration = Duration::from_mins(1);
/// A message that came back so often is a dead letter.
pub(crate) const ATTEMPTS: u32 = 15;
/// How long a child stays stopped, at the most, in milliseconds.
const LONGEST_STOP: u64 = 40;
/// How far kills may lag behind their times and still catch up.
const ARREARS: Duration = Duration::from_millis(20);
/// How often the parent reads the dead letters, lest there be too many.
const POST: Duration = Duration::from_millis(20);

/// Runs gales until the time is up.
pub(crate) fn storm(shape: &Shape) -> Totals {
    remark(format!("storm {shape}"));
    let end = Instant::now() + shape.duration();
    let mut totals = Totals::default();
    for number in 0.. {
        let left = end.saturating_duration_since(Instant::now());
        if number > 0 && left.is_zero() || !totals.violations().is_empty() {
            break;
        }
        let seed = shape.seed.wrapping_add(number);
        let limit = shape.slice_seconds.map_or(LIMIT, |_| LONG_SLICE_LIMIT);
        guarded_here(limit, |_| {
            totals.add(Gale::new(shape, seed).blow(left.min(LONGEST)));
        });
        totals.seed = seed;
    }
    totals
}

/// How a gale ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The queue is closed while everybody is busy, and they are still killed while they finish.
    Raging,
    /// The senders leave, the queue is closed, and the others receive what is left.
    Drained,
    /// Everybody leaves, and the parent receives what is left.
    Abandoned,
    /// Everybody is killed, and nobody says so.
    Killed,
    /// Everybody is killed, and the parent says so.
    KilledAndReported,
}

struct Living {
    life: Life,
    role: Role,
    child: Child,
    /// Stopped until then.
    stopped: Option<Instant>,
}

struct Gale<'a> {
    shape: &'a Shape,
    rng: Rng,
    scratch: Scratch,
    hand: Hand,
    program: PathBuf,
    sender: Outgoing,
    receiver: Incoming,
    slice: Duration,
    /// Of the children; see [`Commands`].
    rest: u64,
    living: Vec<Living>,
    born: u32,
    kills: u64,
    /// Killed, and not reported.
    unreported: Vec<u32>,
    wrong: Vec<String>,
}

impl<'a> Gale<'a> {
    fn new(shape: &'a Shape, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let scratch = Scratch::new().expect("a directory");
        let ledger = Ledger::create(scratch.path(), LEDGER).expect("a ledger");
        let short_slice = Duration::from_millis(rng.u64(1..=10));
        let slice = shape.slice_seconds.map_or(short_slice, Duration::from_secs);
        // Waits that sleep at once are woken up; others mostly are not asleep yet.
        let spin = Duration::from_micros(*rng.choice(&[0, 0, 50]).expect("one of them"));
        let options = Options::new(shape.capacity)
            .max_deliveries(ATTEMPTS)
            .max_message_len(shape.size.max(1 << 16))
            .close_waits_for_leases(rng.bool())
            // A dead letter that the queue drops could not be told from a message that it has lost.
            .evict_dead_letters(false)
            .max_dead_letters(shape.capacity.max(128))
            .spin(spin);
        let options = workring::test_hooks::with_liveness_interval(options, slice);
        let (sender, receiver) = options.channel_with::<Message, Raw>().expect("a queue");
        let rest = *rng.choice(&[0, 500, 1_000]).expect("one of them");
        Self {
            shape,
            rest,
            rng,
            hand: Hand::new(ledger, Life::PARENT, Deed::Drained),
            scratch,
            program: env::current_exe().expect("this program"),
            sender,
            receiver,
            slice,
            living: Vec::new(),
            born: 0,
            kills: 0,
            unreported: Vec::new(),
            wrong: Vec::new(),
        }
    }

    /// The whole of it.
    fn blow(mut self, duration: Duration) -> Totals {
        let (duration, ending) = self.plan(duration);
        for (role, count) in [
            (Role::Sender, self.shape.senders),
            (Role::Receiver, self.shape.receivers),
            (Role::Lessee, self.shape.lessees),
        ] {
            (0..count).for_each(|_| self.bear(role));
        }
        let end = Instant::now() + duration;
        self.rage(|_| Instant::now() >= end);
        self.end(ending);
        self.drain();
        self.balance()
    }

    fn plan(&mut self, longest: Duration) -> (Duration, Ending) {
        if let Some(seconds) = self.shape.close_at {
            return (Duration::from_secs_f64(seconds), Ending::Raging);
        }
        if self.shape.slice_seconds.is_some() {
            // The others end by a close, or by recoveries, which wake everybody.
            return (longest, Ending::Drained);
        }
        let endings = [
            Ending::Drained,
            Ending::Abandoned,
            Ending::Killed,
            Ending::KilledAndReported,
        ];
        (longest, *self.rng.choice(&endings).expect("one of them"))
    }

    /// Starts a child. None is started once the queue is closed.
    fn bear(&mut self, role: Role) {
        let handoff = match role {
            Role::Sender => Handoff::new().give(QUEUE, &self.sender),
            Role::Receiver | Role::Lessee => Handoff::new().give(QUEUE, &self.receiver),
        };
        let handoff = match handoff {
            Ok(handoff) => handoff,
            Err(HandoffError::Closed) => return,
            Err(other) => panic!("hand over: {other}"),
        };
        self.born += 1;
        let life = Life(self.born);
        let orders = Commands {
            role,
            life,
            size: self.shape.size,
            batch: self.shape.batch,
            rest: self.rest,
            patient: self.shape.slice_seconds.is_some(),
            seed: self.rng.u64(..),
            scratch: self.scratch.path(),
        };
        let mut command = Command::new(&self.program);
        command.args(orders.to_arguments());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = handoff.spawn(&mut command).expect("start a child");
        self.living.push(Living {
            life,
            role,
            child,
            stopped: None,
        });
    }

    /// Kills and stops at random until `is_over`, or until nobody is left.
    fn rage(&mut self, is_over: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        let (mut next_kill, mut next_stop) = (start, start);
        let mut next_post = start;
        while !is_over(self) && !self.living.is_empty() && self.wrong.is_empty() {
            let now = Instant::now();
            if now >= next_kill {
                next_kill = self.next(next_kill, self.shape.kills_per_second);
                self.kill_and_replace();
            }
            if now >= next_stop {
                next_stop = self.next(next_stop, self.shape.stops_per_second);
                self.stop_one();
            }
            if now >= next_post {
                next_post = now + POST;
                self.read_letters();
                self.bury_who_left();
            }
            self.resume(|until| until <= now);
            let resumes = self.living.iter().filter_map(|one| one.stopped);
            let next = resumes.chain([next_kill, next_stop, next_post]).min();
            let wait = next.map(|next| next.saturating_duration_since(Instant::now()));
            // To keep the pace, not to wait for anything.
            thread::sleep(wait.unwrap_or_default());
        }
    }

    /// When the next of the events comes that come so often on average. What was missed is made up for, in part.
    fn next(&mut self, last: Instant, per_second: f64) -> Instant {
        if per_second > 0.0 {
            let pause = Duration::from_secs_f64((self.rng.f64() * 2.0 / per_second).min(3600.0));
            (last + pause).max(Instant::now().checked_sub(ARREARS).unwrap_or(last))
        } else {
            last + Duration::from_hours(1)
        }
    }

    fn kill_and_replace(&mut self) {
        if self.shape.kills_per_second > 0.0 && !self.living.is_empty() {
            let victim = self.rng.usize(0..self.living.len());
            let role = self.kill(victim);
            self.report_some();
            self.bear(role);
        }
    }

    /// Kills one, and buries it.
    fn kill(&mut self, index: usize) -> Role {
        let mut victim = self.living.swap_remove(index);
        let deed = match victim.role {
            Role::Sender => Deed::KillingSender,
            Role::Receiver | Role::Lessee => Deed::KillingConsumer,
        };
        self.hand.note_of(deed, victim.life, Id::NONE);
        victim.child.kill().expect("kill");
        let status = victim.child.wait().expect("wait");
        if status.signal() == Some(Signal::SIGKILL as i32) {
            self.kills += 1;
        } else {
            self.check_status(&victim, status);
        }
        self.unreported.push(victim.child.id());
        victim.role
    }

    /// Says of half of the dead, on average, that they are dead.
    fn report_some(&mut self) {
        if self.rng.bool() || self.shape.slice_seconds.is_some() {
            self.report();
        } else {
            self.unreported.clear();
        }
    }

    fn report(&mut self) {
        for dead in self.unreported.drain(..) {
            self.receiver.report_exit(dead);
        }
    }

    fn check_status(&mut self, one: &Living, status: ExitStatus) {
        if !status.success() {
            self.wrong.push(format!(
                "{} {:?} ended with {status}",
                one.role.name(),
                one.life
            ));
        }
    }

    fn stop_one(&mut self) {
        if self.shape.stops_per_second == 0.0 {
            return;
        }
        let until = Instant::now() + Duration::from_millis(self.rng.u64(0..=LONGEST_STOP));
        if let Some(one) = self.rng.choice(&mut self.living) {
            one.signal(Signal::SIGSTOP);
            one.stopped = Some(until);
        }
    }

    fn resume(&mut self, which: impl Fn(Instant) -> bool) {
        for one in &mut self.living {
            if one.stopped.is_some_and(&which) {
                one.signal(Signal::SIGCONT);
                one.stopped = None;
            }
        }
    }

    /// Buries those who have ended by themselves, as they do once the queue is closed.
    fn bury_who_left(&mut self) {
        let mut index = 0;
        while let Some(one) = self.living.get_mut(index) {
            match one.child.try_wait().expect("wait") {
                None => index += 1,
                Some(status) => {
                    let one = self.living.swap_remove(index);
                    self.check_status(&one, status);
                    // Before it is closed nobody has a reason to leave.
                    if !self.receiver.is_closed() {
                        self.wrong.push(format!("{:?} has left", one.life));
                    }
                }
            }
        }
    }

    fn end(&mut self, ending: Ending) {
        if ending != Ending::Raging {
            self.resume(|_| true);
        }
        match ending {
            Ending::Raging => {
                self.close();
                self.rage(|_| false);
            }
            Ending::Drained => {
                self.forbid(NO_MORE_SENDING);
                self.await_all(|role| role == Role::Sender);
                self.close();
            }
            Ending::Abandoned => {
                self.forbid(NO_MORE_SENDING);
                self.forbid(NO_MORE_RECEIVING);
                self.close();
            }
            Ending::Killed => {
                self.kill_all();
                self.await_recovery();
                self.close();
            }
            Ending::KilledAndReported => {
                self.kill_all();
                self.recover_at_once();
                self.close();
            }
        }
        self.await_all(|_| true);
    }

    /// Says so of nobody.
    fn kill_all(&mut self) {
        while !self.living.is_empty() {
            self.kill(0);
        }
        self.unreported.clear();
    }

    fn forbid(&self, file: &str) {
        fs::write(self.scratch.path().join(file), "").expect("write");
    }

    fn close(&self) {
        assert!(self.receiver.close(), "nobody else closes it");
        self.hand.note(Deed::Closed, Id::NONE);
    }

    /// Waits until those of these roles have ended by themselves. The parent reads dead letters meanwhile.
    fn await_all(&mut self, is_meant: impl Fn(Role) -> bool) {
        while self.living.iter().any(|one| is_meant(one.role)) {
            if !self.wrong.is_empty() {
                // They may wait for ever for one that has failed.
                return self.kill_all();
            }
            let mut index = 0;
            while let Some(one) = self.living.get_mut(index) {
                let ended = is_meant(one.role).then(|| one.child.try_wait().expect("wait"));
                if let Some(status) = ended.flatten() {
                    let one = self.living.swap_remove(index);
                    self.check_status(&one, status);
                } else {
                    index += 1;
                }
            }
            self.read_letters();
            // To leave the processor to them.
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits, with an open queue, until all the dead are found, by nobody but this process.
    fn await_recovery(&mut self) {
        while self.receiver.stats().peers.len() > 1 && self.wrong.is_empty() {
            match self.receiver.recv_timeout(self.slice) {
                Ok(message) => self.hand.note(Deed::Drained, message.id),
                Err(RecvTimeoutError::Timeout) => {}
                Err(other) => return self.wrong.push(format!("receive: {other}")),
            }
        }
    }

    /// With an open queue: what the dead held comes back as soon as their deaths are reported, and is there for the
    /// next receive, which nobody has to wait or to look around for.
    fn recover_at_once(&mut self) {
        self.receive_all();
        self.report_all();
        self.receive_all();
        let stats = self.receiver.stats();
        let left = stats.queued + stats.held + stats.returned;
        if left > 0 || stats.peers.len() > 1 {
            self.wrong.push(format!(
                "{left} messages and {} peers are left when all that died are recovered",
                stats.peers.len() - 1
            ));
        }
    }

    /// What there is now.
    fn receive_all(&mut self) {
        loop {
            match self.receiver.try_recv() {
                Ok(message) => self.hand.note(Deed::Drained, message.id),
                Err(TryRecvError::Empty) => return,
                Err(other) => return self.wrong.push(format!("receive: {other}")),
            }
        }
    }

    /// Says of everybody who is still attached that it has died.
    fn report_all(&self) {
        let peers = self.receiver.stats().peers;
        for pid in peers.iter().filter_map(|peer| peer.pid) {
            self.receiver.report_exit(pid);
        }
    }

    /// Receives what is left of a closed queue whose users have all gone.
    fn drain(&mut self) {
        self.report_all();
        loop {
            match self.receiver.try_recv() {
                Ok(message) => self.hand.note(Deed::Drained, message.id),
                // Nobody is left who could have it, unless something failed before.
                Err(TryRecvError::Empty) if self.wrong.is_empty() => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                Err(other) => return self.wrong.push(format!("drain: {other}")),
            }
        }
        self.read_letters();
    }

    fn read_letters(&mut self) {
        for letter in self.receiver.dead_letters() {
            let Some(message) = Message::read(&letter.bytes()) else {
                self.wrong.push("a dead letter is torn".to_owned());
                continue;
            };
            // After the end, whatever comes back is one.
            if letter.deliveries() < ATTEMPTS && !self.receiver.is_closed() {
                self.wrong.push(format!(
                    "{:?} is a dead letter after {} attempts",
                    message.id,
                    letter.deliveries()
                ));
            }
            self.hand.note(Deed::Letter, message.id);
            letter.discard();
        }
    }

    fn balance(self) -> Totals {
        let mut books = Books::default();
        for entry in Ledger::read(self.scratch.path(), LEDGER).expect("the ledger") {
            books.enter(Note::of(entry));
        }
        for line in self.wrong {
            books.also_wrong(line);
        }
        let said = said(&self.receiver.stats());
        books.balance(self.kills, said, self.shape)
    }
}

/// Should the parent fail, nobody is left behind.
impl Drop for Living {
    fn drop(&mut self) {
        // Both do nothing to one that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Living {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // It is not reaped before it is struck off the list, so nobody else has this id.
        kill(Pid::from_raw(pid), signal).expect("signal a child");
    }
}

/// K6: when all is over every block is free, and nobody is attached but this process.
fn said(stats: &Stats) -> Said {
    let used: u64 = stats
        .blocks
        .iter()
        .map(|class| class.total - class.free)
        .sum();
    let others = (stats.peers.len() as u64).saturating_sub(1);
    Said {
        accepted: stats.accepted,
        dropped_letters: stats.dropped_letters,
        leaked: used + others,
    }
}
