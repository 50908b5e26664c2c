//! Processes of different users. Only root can start them: without it, these tests are skipped.

use crate::{Folder, ask, meeting, name, soon};
use ipc_tests::{child::Peer, guarded, support::LIMIT};
use std::{fs, os::unix::fs::chown, process, thread, time::Instant};
use workring::{
    Options, Receiver, RecvError,
    error::{BindError, ConnectError, GiveError},
    queue::remove_named,
    rendezvous::{ConnectOptions, ListenOptions, Listener, connect},
};

/// The user `nobody`.
const NOBODY: u32 = 65534;

/// Returns whether this process may start processes of other users. Says so if it may not.
fn is_root() -> bool {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    if !is_root {
        println!("SKIPPED: only root can start processes of other users");
    }
    is_root
}

/// Starts a process of the user `nobody`.
fn nobody() -> Peer {
    let mut peer = meeting();
    assert_eq!(ask(&mut peer, &format!("user {NOBODY}")), "done");
    peer
}

#[test]
fn a_process_of_another_user_is_accepted_only_if_both_sides_allow_it() {
    guarded(LIMIT, || {
        if !is_root() {
            return;
        }
        let name = name("users");
        let mut other = nobody();
        // A listener of this user is not even found.
        let listener = Listener::bind(&name).expect("bind");
        for order in [
            format!("connect {name} 20"),
            format!("connect-to {name} 0 20"),
        ] {
            assert_eq!(ask(&mut other, &order), "connecting");
            let answer = other.answer();
            assert!(answer.starts_with("Timeout"), "{answer}");
        }
        drop(listener);
        // It is found, and refuses.
        let listener = ListenOptions::new(&name)
            .allow_user(1)
            .bind()
            .expect("bind");
        thread::scope(|scope| {
            let interrupter = listener.interrupter();
            let accepting = scope.spawn(|| listener.accept());
            assert_eq!(
                ask(&mut other, &format!("connect-to {name} 0 100000")),
                "connecting"
            );
            assert_eq!(other.answer(), format!("Refused {{ user: {NOBODY} }}"));
            interrupter.interrupt();
            assert!(
                accepting.join().expect("no panic").is_err(),
                "it was reported"
            );
        });
        drop(listener);
        for options in [
            ListenOptions::new(&name).allow_user(1).allow_user(NOBODY),
            ListenOptions::new(&name).allow_any_user(),
        ] {
            let listener = options.bind().expect("bind");
            assert_eq!(
                ask(&mut other, &format!("connect-to {name} 0 100000")),
                "connecting"
            );
            let connection = listener.accept().expect("accept");
            let peer = connection.peer();
            let pid = other.pid().as_raw().unsigned_abs();
            assert_eq!(
                (peer.pid(), peer.uid(), peer.gid()),
                (Some(pid), NOBODY, NOBODY)
            );
            assert_eq!(other.answer(), format!("connected {} 0 0", process::id()));
            // This user finds it, too.
            thread::scope(|scope| {
                let connecting = scope.spawn(|| connect(&name, soon()));
                assert_eq!(listener.accept().expect("accept").peer().uid(), 0);
                assert!(connecting.join().expect("no panic").is_ok());
            });
            assert_eq!(ask(&mut other, "leave"), "done");
        }
    });
}

/// It may not open the queue's memory: it gets a description that is open already.
#[test]
fn an_end_can_be_given_to_a_process_of_another_user() {
    guarded(LIMIT, || {
        if !is_root() {
            return;
        }
        let name = name("give-users");
        let mut other = nobody();
        let listener = ListenOptions::new(&name)
            .allow_user(NOBODY)
            .bind()
            .expect("bind");
        assert_eq!(
            ask(&mut other, &format!("connect-to {name} 0 100000")),
            "connecting"
        );
        let mut connection = listener.accept().expect("accept");
        assert!(other.answer().starts_with("connected "));
        let (numbers, input) = workring::channel::<u32>(4).expect("a queue");
        let (output, answers) = workring::channel::<u32>(4).expect("a queue");
        connection.give("in", &input).expect("give");
        connection.give("out", &output).expect("give");
        drop((input, output));
        assert_eq!(ask(&mut other, "take-in in"), "taken");
        assert_eq!(ask(&mut other, "take-out out"), "taken");
        numbers.send(1).expect("room");
        assert_eq!(ask(&mut other, "recv"), "1");
        assert_eq!(ask(&mut other, "send 2"), "sent");
        assert_eq!(answers.recv(), Ok(2));
        // Back, and not to a third process.
        let refused = ask(&mut other, "give-again again");
        assert!(refused.contains("PermissionDenied"), "{refused}");
        assert_eq!(ask(&mut other, "give-in own"), "given");
        let own: Receiver<u32> = connection.take("own").expect("take");
        assert_eq!(ask(&mut other, "send 3"), "sent");
        assert_eq!(own.recv(), Ok(3));
        // Its death is noticed.
        drop(other);
        assert_eq!(answers.recv(), Err(RecvError::Closed));
        assert_eq!(own.recv(), Err(RecvError::Closed));
    });
}

#[test]
fn a_queue_that_has_a_name_is_not_given_to_another_user() {
    guarded(LIMIT, || {
        if !is_root() {
            return;
        }
        let name = name("named-users");
        let mut other = nobody();
        let listener = ListenOptions::new(&name)
            .allow_user(NOBODY)
            .bind()
            .expect("bind");
        assert_eq!(
            ask(&mut other, &format!("connect-to {name} 0 100000")),
            "connecting"
        );
        let connection = listener.accept().expect("accept");
        let queue = format!("test-user-{}", process::id());
        let (tx, rx) = Options::new(4)
            .create_named::<u32>(&queue)
            .expect("a queue");
        let refused = connection.give("rx", &rx).expect_err("its file is private");
        assert!(
            matches!(refused, GiveError::OtherUser { user: NOBODY, .. }),
            "{refused:?}"
        );
        assert_eq!(rx.stats().peers.len(), 1);
        drop((tx, rx));
        remove_named(&queue).expect("nobody uses it");
    });
}

/// The owner of the directory could put any socket there.
#[test]
fn a_directory_or_a_listener_of_another_user_is_refused() {
    guarded(LIMIT, || {
        if !is_root() {
            return;
        }
        let folder = Folder::new("foreign");
        let options = ListenOptions::new("foreign").directory(&folder.0);
        let connecting = ConnectOptions::new("foreign").directory(&folder.0);
        chown(&folder.0, Some(NOBODY), None).expect("chown");
        let refused = options.clone().bind().expect_err("another owner");
        assert!(
            matches!(refused, BindError::NotPrivate { owner: NOBODY, .. }),
            "{refused:?}"
        );
        let refused = connecting
            .connect(Instant::now())
            .expect_err("another owner");
        assert!(
            matches!(refused, ConnectError::NotPrivate { owner: NOBODY, .. }),
            "{refused:?}"
        );
        // In a directory of root, where only the listener itself shows its user.
        chown(&folder.0, Some(0), None).expect("chown");
        let _listener = options.bind().expect("bind");
        let refused = connecting
            .user(NOBODY)
            .connect(soon())
            .expect_err("root listens");
        assert!(
            matches!(
                refused,
                ConnectError::WrongUser {
                    theirs: 0,
                    expected: NOBODY,
                    ..
                }
            ),
            "{refused:?}"
        );
    });
}
