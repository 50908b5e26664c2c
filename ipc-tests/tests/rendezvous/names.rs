//! Names of listeners: who has one, and what is left of those that were killed.

use crate::{Folder, ask, meeting, name, soon};
use ipc_tests::{Signal, guarded, rounds::rounds, support::LIMIT};
use std::{fs, os::unix::fs::PermissionsExt, thread, time::Instant};
use workring::{
    error::{BindError, ConnectError},
    rendezvous::{ConnectOptions, ListenOptions, Listener, connect},
};

/// Returns the name that was refused because another listener has it.
fn taken(bound: Result<Listener, BindError>) -> String {
    match bound.expect_err("the name is taken") {
        BindError::NameTaken { name, .. } => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_that_is_taken_is_refused_until_its_listener_is_dropped() {
    guarded(LIMIT, || {
        let name = name("taken");
        let listener = Listener::bind(&name).expect("bind");
        assert_eq!(listener.name(), name);
        assert_eq!(taken(Listener::bind(&name)), name);
        let mut other = meeting();
        let refused = ask(&mut other, &format!("listen {name}"));
        assert_eq!(refused, format!("NameTaken {{ name: {name:?} }}"));
        drop(listener);
        assert_eq!(ask(&mut other, &format!("listen {name}")), "listening");
        assert_eq!(taken(Listener::bind(&name)), name);
        // The refused bind has not harmed the listener.
        thread::scope(|scope| {
            let connecting = scope.spawn(|| connect(&name, soon()));
            assert!(ask(&mut other, "accept").starts_with("accepted "));
            assert!(connecting.join().expect("no panic").is_ok());
        });
        assert_eq!(ask(&mut other, "stop-listening"), "done");
        drop(Listener::bind(&name).expect("the name is free"));
    });
}

#[test]
fn the_name_of_a_listener_that_was_killed_is_free_and_its_files_are_collected() {
    guarded(LIMIT, || {
        let folder = Folder::new("stale");
        let listen = |name: &str| {
            let mut listener = meeting();
            let order = format!("listen-in {} {name}", folder.0.display());
            assert_eq!(ask(&mut listener, &order), "listening");
            listener
        };
        let mut listeners = ["one", "two", "three"].map(listen);
        let all = [
            "one.lock",
            "one.sock",
            "three.lock",
            "three.sock",
            "two.lock",
            "two.sock",
        ];
        assert_eq!(folder.files(), all);
        for listener in &mut listeners[..2] {
            listener.signal(Signal::SIGKILL);
            listener.wait();
        }
        assert_eq!(folder.files(), all, "a killed process leaves its files");
        let options = ListenOptions::new("one").directory(&folder.0);
        let listener = options.bind().expect("the name is free");
        let rest = ["one.lock", "one.sock", "three.lock", "three.sock"];
        assert_eq!(folder.files(), rest, "`two` is dead, `three` lives");
        let connecting = ConnectOptions::new("one").directory(&folder.0);
        thread::scope(|scope| {
            let connecting = scope.spawn(|| connecting.connect(soon()));
            assert!(listener.accept().is_ok());
            assert!(connecting.join().expect("no panic").is_ok());
        });
        drop(listener);
        assert_eq!(folder.files(), rest[2..]);
    });
}

#[test]
fn names_that_could_be_paths_are_refused() {
    guarded(LIMIT, || {
        let long = "x".repeat(81);
        for name in ["", "a/b", "a b", "\u{e4}", long.as_str()] {
            let refused = Listener::bind(name).expect_err("no name");
            assert!(
                matches!(refused, BindError::InvalidName { .. }),
                "{refused:?}"
            );
            let refused = connect(name, soon()).expect_err("no name");
            assert!(
                matches!(refused, ConnectError::InvalidName { .. }),
                "{refused:?}"
            );
        }
        let folder = Folder::new("names");
        let longest = "x".repeat(80);
        for name in [".", "..", "a.lock", longest.as_str()] {
            let options = ListenOptions::new(name).directory(&folder.0);
            drop(options.bind().expect("a name as any other"));
        }
        assert_eq!(folder.files(), [""; 0]);
    });
}

/// Another user who may write there could put a socket of his own in the place of a listener's.
#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    guarded(LIMIT, || {
        let folder = Folder::new("open");
        let options = ListenOptions::new("open").directory(&folder.0);
        let connecting = ConnectOptions::new("open").directory(&folder.0);
        let set_mode = |mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(&folder.0, mode).expect("chmod");
        };
        for mode in [0o777, 0o770, 0o1777] {
            set_mode(mode);
            let refused = options.clone().bind().expect_err("others may write");
            assert!(
                matches!(refused, BindError::NotPrivate { mode: found, .. } if found == mode),
                "{refused:?}"
            );
            let refused = connecting
                .connect(Instant::now())
                .expect_err("others may write");
            assert!(
                matches!(refused, ConnectError::NotPrivate { mode: found, .. } if found == mode),
                "{refused:?}"
            );
        }
        set_mode(0o755);
        drop(options.bind().expect("others may only look"));
    });
}

#[test]
fn of_many_that_want_a_name_at_once_one_gets_it() {
    guarded(LIMIT, || {
        let folder = Folder::new("race");
        let options = ListenOptions::new("race").directory(&folder.0);
        for _ in 0..rounds(100, 1000) {
            let bound: Vec<_> = thread::scope(|scope| {
                let binding: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| options.clone().bind()))
                    .collect();
                let joined = binding.into_iter().map(thread::ScopedJoinHandle::join);
                joined.map(|bound| bound.expect("no panic")).collect()
            });
            assert_eq!(bound.iter().filter(|bound| bound.is_ok()).count(), 1);
            for error in bound.iter().filter_map(|bound| bound.as_ref().err()) {
                assert!(matches!(error, BindError::NameTaken { .. }), "{error:?}");
            }
            drop(bound);
            assert_eq!(folder.files(), [""; 0]);
        }
    });
}
