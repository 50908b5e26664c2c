//! Deaths of either side of a connection.

use crate::{ask, await_client, await_readable, meeting, name, soon};
use ipc_tests::{
    Signal,
    child::Peer,
    guarded, guarded_steps, program,
    rounds::{Rng, rounds, seed},
    support::LIMIT,
};
use std::{process::Command, thread, time::Duration};
use workring::{
    Options, Receiver, RecvError, Sender,
    error::{GiveError, TakeError},
    rendezvous::{Connection, Listener, connect},
};

/// A queue of which the dead are found soon.
fn queue() -> (Sender<u32>, Receiver<u32>) {
    let options = Options::new(4).liveness_interval(Duration::from_millis(20));
    options.channel().expect("a queue")
}

/// Returns a process that has connected to this one, and the connection.
fn connected(test: &str) -> (Peer, Connection) {
    let name = name(test);
    let listener = Listener::bind(&name).expect("bind");
    let mut other = meeting();
    assert_eq!(
        ask(&mut other, &format!("connect {name} 100000")),
        "connecting"
    );
    let connection = listener.accept().expect("accept");
    assert!(other.answer().starts_with("connected "));
    (other, connection)
}

fn kill(peer: &mut Peer) {
    peer.signal(Signal::SIGKILL);
    peer.wait();
}

/// Sends until the queue closes, because its last receiver is dead. A send to a full queue waits.
fn send_until_closed(tx: &Sender<u32>) {
    while tx.send(0).is_ok() {}
    assert!(tx.is_closed());
}

#[test]
fn an_end_that_was_given_to_a_process_that_died_before_it_took_it_is_gone() {
    guarded(LIMIT, || {
        // In the socket.
        let (mut other, connection) = connected("untaken");
        let (tx, rx) = queue();
        connection.give("numbers", &rx).expect("give");
        drop(rx);
        kill(&mut other);
        send_until_closed(&tx);
        // Received, because something given later was taken.
        let (mut other, connection) = connected("untaken");
        let (tx, rx) = queue();
        connection.give("numbers", &rx).expect("give");
        connection.give("more", &rx).expect("give");
        drop(rx);
        assert_eq!(ask(&mut other, "take-in more"), "taken");
        assert_eq!(ask(&mut other, "drop-ends"), "done");
        assert!(!tx.is_closed(), "`numbers` still counts");
        kill(&mut other);
        send_until_closed(&tx);
        // In a connection that is dropped by a process that lives.
        let (mut other, connection) = connected("untaken");
        let (tx, rx) = queue();
        connection.give("numbers", &rx).expect("give");
        drop(rx);
        assert_eq!(ask(&mut other, "leave"), "done");
        send_until_closed(&tx);
    });
}

#[test]
fn an_end_that_was_given_before_its_giver_died_can_be_taken() {
    guarded(LIMIT, || {
        let (mut other, mut connection) = connected("giver");
        assert_eq!(ask(&mut other, "give-in numbers"), "given");
        for number in 1..=3 {
            assert_eq!(ask(&mut other, &format!("send {number}")), "sent");
        }
        kill(&mut other);
        let numbers: Receiver<u32> = connection.take("numbers").expect("it was given");
        for number in 1..=3 {
            assert_eq!(numbers.recv(), Ok(number));
        }
        assert_eq!(
            numbers.recv(),
            Err(RecvError::Closed),
            "the last sender is dead"
        );
        let closed = connection
            .take::<Receiver<u32>>("numbers")
            .expect_err("no more");
        assert_eq!(closed, TakeError::Closed);
    });
}

#[test]
fn a_connection_to_a_dead_process_is_closed_at_once() {
    guarded(LIMIT, || {
        let (mut other, mut connection) = connected("dead");
        assert!(!connection.is_closed());
        kill(&mut other);
        match connection.peer().pidfd() {
            Some(pidfd) => await_readable(pidfd),
            None => println!("SKIPPED: this kernel has no pidfds of peers (before 6.5)"),
        }
        let (_tx, rx) = queue();
        assert!(connection.is_closed());
        assert_eq!(
            connection.give("numbers", &rx).expect_err("dead"),
            GiveError::Closed
        );
        for _ in 0..2 {
            let taken = connection
                .take::<Receiver<u32>>("numbers")
                .expect_err("dead");
            assert_eq!(taken, TakeError::Closed);
            let taken = connection
                .try_take::<Receiver<u32>>("numbers")
                .expect_err("dead");
            assert_eq!(taken, TakeError::Closed);
        }
        // It had not read what it was given.
        let (mut other, mut connection) = connected("dead");
        connection.give("numbers", &rx).expect("give");
        thread::scope(|scope| {
            let taking = scope.spawn(move || connection.take::<Receiver<u32>>("numbers"));
            kill(&mut other);
            let taken = taking.join().expect("no panic").expect_err("dead");
            assert_eq!(taken, TakeError::Closed);
        });
    });
}

/// The client is killed while it waits to be accepted.
#[test]
fn a_client_that_died_before_it_was_accepted_is_not_reported() {
    guarded(LIMIT, || {
        let name = name("corpse");
        let listener = Listener::bind(&name).expect("bind");
        let mut client = meeting();
        assert_eq!(
            ask(&mut client, &format!("connect {name} 100000")),
            "connecting"
        );
        await_client(&listener);
        kill(&mut client);
        thread::scope(|scope| {
            let accepting = scope.spawn(|| listener.accept());
            let connection = connect(&name, soon()).expect("connect");
            let accepted = accepting.join().expect("no panic").expect("accept");
            assert_eq!(accepted.peer().pid(), Some(std::process::id()));
            drop(connection);
        });
    });
}

/// The drops of a forked child neither end the listener nor close a connection of its parent (M6).
#[test]
fn a_forked_child_cannot_use_the_listener_or_a_connection_of_its_parent() {
    guarded(LIMIT, || {
        let name = name("forked");
        let spawned = Peer::spawn(
            program("peer"),
            "forking-listener",
            &[&name],
            Command::spawn,
        );
        let mut peer = spawned.expect("spawn");
        assert_eq!(peer.answer(), "the child is done");
        assert_eq!(peer.answer(), "the parent is done");
        assert!(peer.wait().success());
    });
}

/// Processes that listen and connect are killed at random, hundreds of times. The others go on, and so does the name.
#[test]
fn listeners_and_clients_may_be_killed_at_any_time() {
    guarded_steps(LIMIT, |watchdog| {
        let mut rng = Rng::with_seed(seed());
        let name = name("random");
        let start = |role: &str| {
            let mut peer =
                Peer::spawn(program("peer"), role, &[&name], Command::spawn).expect("spawn");
            peer.answer();
            peer
        };
        let mut listener = start("restless-listener");
        let mut clients = [start("restless-client"), start("restless-client")];
        let check = |client: &mut Peer| {
            kill(client);
            assert_eq!(
                client.try_answer(),
                None,
                "a client reports what must not happen"
            );
        };
        for _ in 0..rounds(100, 1000) {
            watchdog.progress();
            // A connection and a transfer take some 100 microseconds.
            (0..rng.u32(0..500)).for_each(|_| thread::yield_now());
            match rng.usize(0..3) {
                0 => {
                    kill(&mut listener);
                    listener = start("restless-listener");
                }
                client => {
                    let client = clients.get_mut(client - 1).expect("one of two");
                    check(client);
                    *client = start("restless-client");
                }
            }
        }
        clients.iter_mut().for_each(check);
        kill(&mut listener);
        drop(Listener::bind(&name).expect("the name is free"));
    });
}
