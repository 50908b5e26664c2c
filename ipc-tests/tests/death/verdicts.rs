//! Goal: a live peer is never treated as dead, whatever its judge cannot find out, and a dead one is found as soon as
//! any evidence shows it (K5).
//!
//! Method: the usual evidence is missing or misleading. The victim executes its own program again, or the kernel
//! refuses the judge a pidfd, any descriptor, or `/proc`.

use ipc_tests::support::{LIMIT, dismiss, hand_over, prompt, sleepy};
use ipc_tests::{Pid, Signal, child::Peer, guarded, program};
use nix::{errno::Errno, sys::signal::kill};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    process::{self, Command},
    thread,
    time::Duration,
};
use workring::{Receiver, Sender, error::TryRecvError};

fn ask(peer: &mut Peer, order: &str) -> String {
    peer.say(order);
    peer.answer()
}

/// A queue with a name and one message.
struct Named {
    name: String,
    rx: Receiver<u32>,
    tx: Sender<u32>,
}

impl Named {
    fn new(test: &str) -> Self {
        let name = format!("test-{test}-{}", process::id());
        let (tx, rx) = sleepy(8).create_named::<u32>(&name).expect("a queue");
        tx.send(7).expect("room");
        Self { name, rx, tx }
    }

    fn first_life(&self, how: &str) -> Peer {
        let mut peer = match how {
            "given" => hand_over("before-exec", &[&self.name, &how], |handoff| {
                handoff.give("tasks", &self.rx)
            }),
            _ => Peer::spawn(
                program("peer"),
                "before-exec",
                &[&self.name, &how],
                Command::spawn,
            )
            .expect("spawn"),
        };
        assert_eq!(peer.answer(), "leased");
        peer
    }

    /// Asserts that the message of the first life was returned, while the second life continues.
    fn assert_came_back(&self) {
        let lease = self.rx.try_lease().expect("the message of the first life");
        assert_eq!((*lease, lease.deliveries()), (7, 1));
        lease.ack();
        let stats = self.rx.stats();
        assert_eq!((stats.recovered, stats.held), (1, 0), "{stats:?}");
    }

    fn remove(self) {
        let Self { name, rx, tx } = self;
        drop((rx, tx));
        workring::queue::remove_named(&name).expect("no process is attached");
    }
}

/// The second life has the process id and the start time of the first, and maps the segment. It finds out when it
/// attaches: the liveness interval is ten seconds.
#[test]
fn a_process_that_executes_itself_and_attaches_again_is_dead_in_its_first_life() {
    prompt(|| {
        for how in ["name", "given"] {
            let queue = Named::new("again");
            let mut peer = queue.first_life(how);
            assert_eq!(ask(&mut peer, "exec"), "again");
            assert_eq!(ask(&mut peer, "open"), "done");
            queue.assert_came_back();
            dismiss(peer);
            queue.remove();
        }
    });
}

/// As above, while a forked child of the first life keeps its lock.
#[test]
fn a_forked_child_does_not_keep_the_first_life_alive() {
    prompt(|| {
        let queue = Named::new("again-forked");
        let mut peer = queue.first_life("name");
        let child: i32 = ask(&mut peer, "fork").parse().expect("a process id");
        assert_eq!(ask(&mut peer, "exec"), "again");
        assert_eq!(ask(&mut peer, "open"), "done");
        queue.assert_came_back();
        kill(Pid::from_raw(child), Signal::SIGKILL).expect("the child is alive");
        dismiss(peer);
        queue.remove();
    });
}

/// As above, where the second life inherits an end and so does not look for a free entry in the peer table.
#[test]
fn a_process_that_executes_itself_and_inherits_an_end_is_dead_in_its_first_life() {
    prompt(|| {
        let queue = Named::new("again-given");
        let mut peer = hand_over("before-exec", &[&queue.name, &"name"], |handoff| {
            handoff.give("tasks", &queue.rx)
        });
        assert_eq!(peer.answer(), "leased");
        assert_eq!(ask(&mut peer, "exec"), "again");
        assert_eq!(ask(&mut peer, "inherit"), "done");
        queue.assert_came_back();
        dismiss(peer);
        queue.remove();
    });
}

/// A process that attaches again must not take its first attachment for one of an earlier life.
#[test]
fn a_process_that_attaches_twice_is_alive_twice() {
    prompt(|| {
        let queue = Named::new("twice");
        let mut peer = queue.first_life("name");
        assert_eq!(ask(&mut peer, "exec"), "again");
        for _ in 0..3 {
            assert_eq!(ask(&mut peer, "open"), "done");
            assert_eq!(ask(&mut peer, "open"), "done");
        }
        assert_eq!(ask(&mut peer, "lease"), "done");
        assert_eq!(ask(&mut peer, "open"), "done");
        queue.rx.report_exit(id(&peer));
        let stats = queue.rx.stats();
        assert_eq!((stats.recovered, stats.held), (1, 1), "{stats:?}");
        dismiss(peer);
        queue.remove();
    });
}

fn id(peer: &Peer) -> u32 {
    peer.pid().as_raw().try_into().expect("a process id")
}

/// Returns a queue with a liveness interval of ten seconds, a victim that holds a message, and a judge.
fn victim_and_judge() -> (Sender<u32>, Receiver<u32>, Peer, Peer) {
    let (tx, rx) = sleepy(8).channel::<u32>().expect("a queue");
    let start = |role| {
        let mut peer = hand_over(role, &[], |handoff| handoff.give("tasks", &rx));
        assert_eq!(peer.answer(), "ready");
        peer
    };
    let (mut victim, judge) = (start("victim"), start("prober"));
    tx.send(1).expect("room");
    assert_eq!(ask(&mut victim, "lease"), "leased");
    (tx, rx, victim, judge)
}

const ALIVE: &str = "recovered 0, held 1";
const DEAD: &str = "recovered 1, held 0";

fn verdict(judge: &mut Peer, victim: &Peer) -> String {
    ask(judge, &format!("judge {}", victim.pid()))
}

/// Errors of `pidfd_open`: from a seccomp filter, an old kernel, or a kernel short of some resource.
const REFUSALS: [Errno; 8] = [
    Errno::EPERM,
    Errno::EACCES,
    Errno::ENOSYS,
    Errno::EINVAL,
    Errno::ENOENT,
    Errno::EMFILE,
    Errno::ENFILE,
    Errno::ENOMEM,
];

/// K3: otherwise its message would be delivered twice.
#[test]
fn a_live_process_is_left_alone_whatever_pidfd_open_returns() {
    prompt(|| {
        for refusal in REFUSALS {
            let (_tx, rx, mut victim, mut judge) = victim_and_judge();
            ask(&mut judge, &format!("refuse {}", refusal as i32));
            assert_eq!(verdict(&mut judge, &victim), ALIVE, "{refusal}");
            victim.stop();
            assert_eq!(verdict(&mut judge, &victim), ALIVE, "{refusal}, stopped");
            victim.resume();
            // It looks like a zombie, and has closed all descriptors.
            assert_eq!(ask(&mut victim, "leader-ends"), "going on");
            assert_eq!(ask(&mut victim, "close-all"), "closed");
            assert_eq!(
                verdict(&mut judge, &victim),
                ALIVE,
                "{refusal}, without a main thread"
            );
            assert_eq!(ask(&mut victim, "ack"), "acknowledged");
            assert_eq!(rx.stats().acknowledged, 1);
            dismiss(judge);
            dismiss(victim);
        }
    });
}

#[test]
fn a_death_is_found_whatever_pidfd_open_returns() {
    prompt(|| {
        for refusal in REFUSALS {
            for reaped in [false, true] {
                let (_tx, _rx, mut victim, mut judge) = victim_and_judge();
                ask(&mut judge, &format!("refuse {}", refusal as i32));
                victim.signal(Signal::SIGKILL);
                victim.wait_unreaped();
                if reaped {
                    victim.wait();
                }
                assert_eq!(
                    verdict(&mut judge, &victim),
                    DEAD,
                    "{refusal}, reaped: {reaped}"
                );
                victim.wait();
                dismiss(judge);
            }
        }
    });
}

/// Its lock is held, and its process id exists.
#[test]
fn another_program_is_found_without_a_pidfd() {
    prompt(|| {
        let (_tx, _rx, mut victim, mut judge) = victim_and_judge();
        ask(&mut judge, &format!("refuse {}", Errno::EPERM as i32));
        let child: i32 = ask(&mut victim, "fork").parse().expect("a process id");
        assert_eq!(verdict(&mut judge, &victim), ALIVE);
        assert_eq!(ask(&mut victim, "exec"), "another");
        assert_eq!(verdict(&mut judge, &victim), DEAD);
        kill(Pid::from_raw(child), Signal::SIGKILL).expect("the child is alive");
        dismiss(victim);
        dismiss(judge);
    });
}

/// No process reports the exit.
#[test]
fn a_waiting_receiver_without_pidfds_notices_a_death() {
    guarded(LIMIT, || {
        let options = sleepy(8).liveness_interval(Duration::from_millis(20));
        let (tx, rx) = options.channel::<u32>().expect("a queue");
        let start = |role| {
            let mut peer = hand_over(role, &[], |handoff| handoff.give("tasks", &rx));
            assert_eq!(peer.answer(), "ready");
            peer
        };
        let (mut victim, mut judge) = (start("victim"), start("prober"));
        ask(&mut judge, &format!("refuse {}", Errno::EPERM as i32));
        tx.send(1).expect("room");
        assert_eq!(ask(&mut victim, "lease"), "leased");
        judge.say("take");
        victim.signal(Signal::SIGKILL);
        victim.wait();
        assert_eq!(judge.answer(), "1 after 1");
        dismiss(judge);
    });
}

/// Every call fails with `EMFILE`. A process that is gone is found dead all the same; a zombie is not, for now.
#[test]
fn a_judge_without_descriptors_takes_no_live_process_for_dead() {
    prompt(|| {
        let (_tx, rx, mut victim, mut judge) = victim_and_judge();
        assert_eq!(ask(&mut judge, "starve"), "starved");
        assert_eq!(verdict(&mut judge, &victim), ALIVE);
        victim.stop();
        assert_eq!(verdict(&mut judge, &victim), ALIVE);
        victim.resume();
        assert_eq!(ask(&mut victim, "close-all"), "closed");
        assert_eq!(verdict(&mut judge, &victim), ALIVE);
        victim.signal(Signal::SIGKILL);
        victim.wait_unreaped();
        assert_eq!(verdict(&mut judge, &victim), ALIVE);
        victim.wait();
        assert_eq!(verdict(&mut judge, &victim), DEAD);
        assert_eq!(ask(&mut judge, "feed"), "fed");
        dismiss(judge);
        assert!(matches!(rx.try_recv(), Ok(1)));
    });
}

/// It finds out later what it could not find out without descriptors.
#[test]
fn a_judge_that_has_descriptors_again_finds_the_dead_peer() {
    prompt(|| {
        let (_tx, _rx, mut victim, mut judge) = victim_and_judge();
        assert_eq!(ask(&mut judge, "starve"), "starved");
        victim.signal(Signal::SIGKILL);
        victim.wait_unreaped();
        assert_eq!(verdict(&mut judge, &victim), ALIVE);
        assert_eq!(ask(&mut judge, "feed"), "fed");
        assert_eq!(verdict(&mut judge, &victim), DEAD);
        victim.wait();
        dismiss(judge);
    });
}

/// Its failed sweep does not count as one, so the sweep stays due for others.
#[test]
fn a_process_that_cannot_judge_does_not_prevent_others() {
    guarded(LIMIT, || {
        let options = sleepy(8).liveness_interval(Duration::from_millis(50));
        let (tx, rx) = options.channel::<u32>().expect("a queue");
        let start = |role| {
            let mut peer = hand_over(role, &[], |handoff| handoff.give("tasks", &rx));
            assert_eq!(peer.answer(), "ready");
            peer
        };
        let (mut victim, mut judge) = (start("victim"), start("prober"));
        tx.send(1).expect("room");
        assert_eq!(ask(&mut victim, "lease"), "leased");
        assert_eq!(ask(&mut judge, "starve"), "starved");
        // The judge waits, and so tries to sweep whenever a sweep is due, before this process does.
        judge.say("take");
        victim.signal(Signal::SIGKILL);
        victim.wait_unreaped();
        let is_noticed = |_| {
            thread::sleep(Duration::from_millis(60));
            rx.stats().recovered == 1
        };
        assert!((0..10).any(is_noticed), "this process never sweeps");
        assert_eq!(judge.answer(), "1 after 1");
        victim.wait();
        assert_eq!(ask(&mut judge, "feed"), "fed");
        dismiss(judge);
    });
}

/// The lock is the only evidence that is left.
#[test]
fn a_judge_without_proc_decides_by_the_lock() {
    if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
        eprintln!("SKIPPED: only root can hide /proc from a process");
        return;
    }
    prompt(|| {
        let (_tx, rx, mut victim, mut judge) = victim_and_judge();
        assert_eq!(ask(&mut judge, "hide-proc"), "hidden");
        assert_eq!(verdict(&mut judge, &victim), ALIVE);
        victim.stop();
        assert_eq!(verdict(&mut judge, &victim), ALIVE);
        victim.resume();
        victim.signal(Signal::SIGKILL);
        victim.wait();
        assert_eq!(verdict(&mut judge, &victim), DEAD);
        dismiss(judge);
        assert!(matches!(rx.try_recv(), Ok(1)));
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    });
}
