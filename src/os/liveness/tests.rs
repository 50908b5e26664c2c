//! The rows of the table that need no second program with a queue; `ipc-tests` has the others.

use super::*;
use crate::os::descriptor::comes_true;
use crate::os::identity;
use crate::os::memory::{self, Mapping};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use std::process::{Child, Command, Stdio};

const BYTE: u64 = 1 << 40;

/// A segment that this process has mapped, and this process's identity.
struct Fixture {
    file: OwnedFd,
    _mapping: Mapping,
    me: Identity,
}

impl Fixture {
    fn new() -> Self {
        let file = memory::create(4096, 4096).expect("a memfd");
        let mapping = Mapping::new(&file, 4096).expect("a mapping");
        let me = identity::current().expect("/proc");
        Self {
            file,
            _mapping: mapping,
            me,
        }
    }

    fn probe(&self) -> LivenessProbe<'_> {
        let id = FileId::of(&self.file).expect("fstat");
        LivenessProbe::new(&self.file, id, &self.me).expect("its own descriptor")
    }

    fn check(&self, identity: Option<Identity>) -> Liveness {
        let check = |thorough| self.probe().check(BYTE, identity, thorough);
        let (quick, thorough) = (check(false), check(true));
        let liveness = quick.expect("a result");
        assert_eq!(liveness, thorough.expect("a result"));
        self.assert_same_without_pidfd(identity, liveness);
        liveness
    }

    /// Asserts that the result is the same where no pidfd can be opened.
    fn assert_same_without_pidfd(&self, identity: Option<Identity>, liveness: Liveness) {
        let probe = self.probe();
        let is_thread = |identity: &Identity| procfs::is_secondary_thread(identity.process_id());
        let visible = identity.filter(|identity| {
            identity.pid_namespace == self.me.pid_namespace
                && identity.time_namespace == self.me.time_namespace
                && !identity.is_earlier_image_of(&self.me)
                && !is_thread(identity).unwrap_or(false)
        });
        if let Some(identity) = visible {
            let locked = probe.is_locked(BYTE).expect("ask");
            for thorough in [false, true] {
                let other = probe.check_without_pidfd(identity, locked, thorough);
                assert_eq!(other.expect("a result"), liveness, "without a pidfd");
            }
        }
    }

    /// Returns another description that has the byte locked.
    fn locked(&self) -> OwnedFd {
        let other = memory::reopen(&self.file).expect("a description");
        assert!(locks::try_lock(&other, BYTE).expect("lock"));
        other
    }
}

/// Returns the identity that a child would publish.
fn identity_of(child: &Child, me: &Identity) -> Identity {
    let started = Stat::of(child.id()).expect("/proc").start_time;
    Identity {
        process: u64::from(started) << 32 | u64::from(child.id()),
        ..*me
    }
}

fn child(program: &str) -> Child {
    let mut command = Command::new(program);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().expect("spawn")
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    child.wait().expect("wait");
}

#[test]
fn without_an_identity_the_lock_decides() {
    let fixture = Fixture::new();
    assert_eq!(fixture.check(None), Liveness::Dead);
    let lock = fixture.locked();
    assert_eq!(fixture.check(None), Liveness::Alive);
    drop(lock);
    assert!(comes_true(|| fixture.check(None) == Liveness::Dead));
}

#[test]
fn in_another_namespace_the_lock_decides() {
    let fixture = Fixture::new();
    for elsewhere in [
        Identity {
            pid_namespace: 1,
            ..fixture.me
        },
        Identity {
            time_namespace: 1,
            ..fixture.me
        },
    ] {
        assert_eq!(fixture.check(Some(elsewhere)), Liveness::Dead);
        let _lock = fixture.locked();
        assert_eq!(fixture.check(Some(elsewhere)), Liveness::Alive);
    }
}

#[test]
fn a_living_process_that_maps_the_segment_without_its_lock_is_unlocked() {
    let fixture = Fixture::new();
    assert_eq!(fixture.check(Some(fixture.me)), Liveness::Unlocked);
    let _lock = fixture.locked();
    assert_eq!(fixture.check(Some(fixture.me)), Liveness::Alive);
}

#[test]
fn a_reused_id_is_recognised_by_the_start_time() {
    let fixture = Fixture::new();
    let before = Identity {
        process: fixture.me.process.wrapping_sub(1 << 32),
        ..fixture.me
    };
    assert_eq!(fixture.check(Some(before)), Liveness::Dead);
    // A forked child may keep the lock of the one before.
    let _lock = fixture.locked();
    let liveness = fixture.probe().check(BYTE, Some(before), true);
    assert_eq!(liveness.expect("a result"), Liveness::Dead);
}

#[test]
fn a_process_whose_id_is_a_secondary_threads_now_is_dead() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let id = u64::try_from(nix::unistd::gettid().as_raw()).expect("positive");
            let identity = Identity {
                process: fixture.me.process & !u64::from(u32::MAX) | id,
                ..fixture.me
            };
            fixture.check(Some(identity))
        });
        assert_eq!(thread.join().expect("no panic"), Liveness::Dead);
    });
}

#[test]
fn a_process_that_does_not_map_the_segment_is_dead() {
    let fixture = Fixture::new();
    let other = child("cat");
    let identity = identity_of(&other, &fixture.me);
    assert_eq!(fixture.check(Some(identity)), Liveness::Dead);
    // A forked child may have kept its lock.
    let _lock = fixture.locked();
    let liveness = fixture.probe().check(BYTE, Some(identity), true);
    assert_eq!(liveness.expect("a result"), Liveness::Dead);
    end(other);
}

#[test]
fn a_zombie_and_a_reaped_process_are_dead() {
    let fixture = Fixture::new();
    let _lock = fixture.locked();
    let mut other = child("cat");
    let identity = identity_of(&other, &fixture.me);
    drop(other.stdin.take());
    let id = nix::unistd::Pid::from_raw(i32::try_from(other.id()).expect("an id"));
    waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("wait");
    assert_eq!(fixture.check(Some(identity)), Liveness::Dead);
    end(other);
    assert_eq!(fixture.check(Some(identity)), Liveness::Dead);
}

#[test]
fn a_probe_whose_descriptor_is_another_file_returns_no_result() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let id = FileId::of(&other.file).expect("fstat");
    assert!(LivenessProbe::new(&fixture.file, id, &fixture.me).is_none());
    let mut probe = fixture.probe();
    probe.id = id;
    assert!(probe.check(BYTE, None, true).is_err());
}

#[test]
fn an_earlier_image_of_the_probing_process_is_dead_whatever_holds_its_lock() {
    let fixture = Fixture::new();
    let before = Identity {
        image: fixture.me.image ^ 2,
        ..fixture.me
    };
    assert_eq!(fixture.check(Some(before)), Liveness::Dead);
    let _lock = fixture.locked();
    assert_eq!(fixture.check(Some(before)), Liveness::Dead);
    // In another namespace, the same numbers are those of another process.
    let elsewhere = Identity {
        pid_namespace: 1,
        ..before
    };
    assert_eq!(fixture.check(Some(elsewhere)), Liveness::Alive);
}

/// PROBE-3: no result is better than a wrong one.
#[test]
fn a_probe_that_can_not_read_proc_returns_no_result() {
    let fixture = Fixture::new();
    let mut probe = fixture.probe();
    probe.proc_is_own = Err(io::ErrorKind::OutOfMemory.into());
    assert!(probe.check(BYTE, Some(fixture.me), true).is_err());
    assert!(probe.check(BYTE, Some(fixture.me), false).is_err());
}

/// PROBE-3: runs itself in a child process, because the limit is that of the whole process.
#[test]
fn a_probe_that_can_open_no_descriptor_finds_no_process_dead() {
    const CHILD: &str = "WORKRING_TEST_NO_DESCRIPTOR";
    if std::env::var_os(CHILD).is_none() {
        let name = "os::liveness::tests::a_probe_that_can_open_no_descriptor_finds_no_process_dead";
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", name, "--nocapture"]);
        let output = command.env(CHILD, "1").output().expect("this program");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let fixture = Fixture::new();
    let alive = child("cat");
    let identity = identity_of(&alive, &fixture.me);
    let _lock = fixture.locked();
    assert_eq!(
        fixture.probe().check(BYTE, Some(identity), false).ok(),
        Some(Liveness::Alive)
    );
    let all = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let none = rustix::process::Rlimit {
        current: Some(0),
        ..all
    };
    let limit = |limit| rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
    limit(none).expect("a lower limit");
    let liveness = fixture.probe().check(BYTE, Some(identity), false);
    limit(all).expect("the limit as it was");
    assert!(!matches!(liveness, Ok(Liveness::Dead)), "{liveness:?}");
    end(alive);
}
