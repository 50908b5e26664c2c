//! The rows of the table that need no second program; the others are in the tests between real processes.

use super::*;
use crate::os::memory::{self, Mapping};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use std::process::{Child, Command, Stdio};

const BYTE: u64 = 1 << 40;

/// A segment that this process has mapped, as a judge sees it, and who this process is.
struct Scene {
    file: OwnedFd,
    _mapping: Mapping,
    me: Identity,
}

impl Scene {
    fn new() -> Self {
        let file = memory::create(4096, 4096).expect("a memfd");
        let mapping = Mapping::new(&file, 4096).expect("a mapping");
        let me = process::identity().expect("/proc");
        Self {
            file,
            _mapping: mapping,
            me,
        }
    }

    fn judge(&self) -> Judge<'_> {
        let id = FileId::of(&self.file).expect("fstat");
        Judge::new(&self.file, id, &self.me).expect("its own descriptor")
    }

    fn verdict(&self, identity: Option<Identity>) -> Verdict {
        let verdict = |thorough| self.judge().verdict(BYTE, identity, thorough);
        let (quick, thorough) = (verdict(false), verdict(true));
        let verdict = quick.expect("a verdict");
        assert_eq!(verdict, thorough.expect("a verdict"));
        self.assert_same_without_pidfd(identity, verdict);
        verdict
    }

    /// Where no pidfd can be had, the verdict is the same.
    fn assert_same_without_pidfd(&self, identity: Option<Identity>, verdict: Verdict) {
        let judge = self.judge();
        let is_thread = |identity: &Identity| process::is_a_thread(identity.process_id());
        let visible = identity.filter(|identity| {
            identity.pid_namespace == self.me.pid_namespace
                && identity.time_namespace == self.me.time_namespace
                && !identity.is_earlier_life_of(&self.me)
                && !is_thread(identity).unwrap_or(false)
        });
        if let Some(identity) = visible {
            let locked = judge.is_locked(BYTE).expect("ask");
            for thorough in [false, true] {
                let other = judge.without_pidfd(identity, locked, thorough);
                assert_eq!(other.expect("a verdict"), verdict, "without a pidfd");
            }
        }
    }

    /// Another description that has the byte locked.
    fn locked(&self) -> OwnedFd {
        let other = memory::reopen(&self.file).expect("a description");
        assert!(locks::try_lock(&other, BYTE).expect("lock"));
        other
    }
}

/// Who a child is, as it would say itself.
fn identity_of(child: &Child, me: &Identity) -> Identity {
    let started = Stat::of(child.id()).expect("/proc").started;
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
fn who_has_not_said_who_it_is_is_judged_by_its_lock() {
    let scene = Scene::new();
    assert_eq!(scene.verdict(None), Verdict::Dead);
    let lock = scene.locked();
    assert_eq!(scene.verdict(None), Verdict::Alive);
    drop(lock);
    assert_eq!(scene.verdict(None), Verdict::Dead);
}

#[test]
fn who_can_not_be_seen_is_judged_by_its_lock() {
    let scene = Scene::new();
    for elsewhere in [
        Identity {
            pid_namespace: 1,
            ..scene.me
        },
        Identity {
            time_namespace: 1,
            ..scene.me
        },
    ] {
        assert_eq!(scene.verdict(Some(elsewhere)), Verdict::Dead);
        let _lock = scene.locked();
        assert_eq!(scene.verdict(Some(elsewhere)), Verdict::Alive);
    }
}

#[test]
fn a_process_that_lives_and_uses_the_segment_without_its_lock_is_an_alarm() {
    let scene = Scene::new();
    assert_eq!(scene.verdict(Some(scene.me)), Verdict::Unlocked);
    let _lock = scene.locked();
    assert_eq!(scene.verdict(Some(scene.me)), Verdict::Alive);
}

#[test]
fn an_id_that_is_used_again_is_told_by_the_start_time() {
    let scene = Scene::new();
    let before = Identity {
        process: scene.me.process.wrapping_sub(1 << 32),
        ..scene.me
    };
    assert_eq!(scene.verdict(Some(before)), Verdict::Dead);
    // A forked child may keep the lock of the one before.
    let _lock = scene.locked();
    let verdict = scene.judge().verdict(BYTE, Some(before), true);
    assert_eq!(verdict.expect("a verdict"), Verdict::Dead);
}

#[test]
fn an_id_that_is_a_threads_now_belongs_to_no_process() {
    let scene = Scene::new();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let id = u64::try_from(nix::unistd::gettid().as_raw()).expect("positive");
            let identity = Identity {
                process: scene.me.process & !u64::from(u32::MAX) | id,
                ..scene.me
            };
            scene.verdict(Some(identity))
        });
        assert_eq!(thread.join().expect("no panic"), Verdict::Dead);
    });
}

#[test]
fn a_process_that_does_not_map_the_segment_runs_another_program() {
    let scene = Scene::new();
    let other = child("cat");
    let identity = identity_of(&other, &scene.me);
    assert_eq!(scene.verdict(Some(identity)), Verdict::Dead);
    // Somebody else may have kept its lock.
    let _lock = scene.locked();
    let verdict = scene.judge().verdict(BYTE, Some(identity), true);
    assert_eq!(verdict.expect("a verdict"), Verdict::Dead);
    end(other);
}

#[test]
fn a_zombie_is_dead_and_so_is_whoever_was_reaped() {
    let scene = Scene::new();
    let _lock = scene.locked();
    let mut other = child("cat");
    let identity = identity_of(&other, &scene.me);
    drop(other.stdin.take());
    let id = nix::unistd::Pid::from_raw(i32::try_from(other.id()).expect("an id"));
    waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("wait");
    assert_eq!(scene.verdict(Some(identity)), Verdict::Dead);
    end(other);
    assert_eq!(scene.verdict(Some(identity)), Verdict::Dead);
}

#[test]
fn a_judge_whose_descriptor_is_another_file_says_nothing() {
    let (scene, other) = (Scene::new(), Scene::new());
    let id = FileId::of(&other.file).expect("fstat");
    assert!(Judge::new(&scene.file, id, &scene.me).is_none());
    let mut judge = scene.judge();
    judge.id = id;
    assert!(judge.verdict(BYTE, None, true).is_err());
}

#[test]
fn an_earlier_life_of_the_judge_itself_is_dead_whatever_has_its_lock() {
    let scene = Scene::new();
    let before = Identity {
        image: scene.me.image ^ 2,
        ..scene.me
    };
    assert_eq!(scene.verdict(Some(before)), Verdict::Dead);
    let _lock = scene.locked();
    assert_eq!(scene.verdict(Some(before)), Verdict::Dead);
    // In another namespace, the same numbers are those of another process.
    let elsewhere = Identity {
        pid_namespace: 1,
        ..before
    };
    assert_eq!(scene.verdict(Some(elsewhere)), Verdict::Alive);
}

/// EMFILE, in a word: there is a process, but no descriptor for it.
#[test]
fn a_judge_that_can_not_look_gives_no_verdict() {
    let scene = Scene::new();
    let mut judge = scene.judge();
    judge.proc_is_ours = Err(io::ErrorKind::OutOfMemory.into());
    assert!(judge.verdict(BYTE, Some(scene.me), true).is_err());
    assert!(judge.verdict(BYTE, Some(scene.me), false).is_err());
}

/// LIVENESS-3. In a process of its own, for the limit is that of the whole process.
#[test]
fn a_judge_that_may_open_no_descriptor_takes_nobody_for_dead() {
    const CHILD: &str = "WORKRING_TEST_NO_DESCRIPTOR";
    if std::env::var_os(CHILD).is_none() {
        let name = "os::liveness::tests::a_judge_that_may_open_no_descriptor_takes_nobody_for_dead";
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", name, "--nocapture"]);
        let output = command.env(CHILD, "1").output().expect("this program");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let scene = Scene::new();
    let alive = child("cat");
    let identity = identity_of(&alive, &scene.me);
    let _lock = scene.locked();
    assert_eq!(
        scene.judge().verdict(BYTE, Some(identity), false).ok(),
        Some(Verdict::Alive)
    );
    let all = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let none = rustix::process::Rlimit {
        current: Some(0),
        ..all
    };
    let limit = |limit| rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
    limit(none).expect("a lower limit");
    let verdict = scene.judge().verdict(BYTE, Some(identity), false);
    limit(all).expect("the limit as it was");
    assert!(!matches!(verdict, Ok(Verdict::Dead)), "{verdict:?}");
    end(alive);
}
