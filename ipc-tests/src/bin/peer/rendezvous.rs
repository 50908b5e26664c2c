//! A role that listens or connects, gives and takes ends of queues, and prints the outcome of each.

use ipc_tests::role::{Io, Role};
use nix::{
    libc::{setgid, setuid},
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};
use std::{
    fmt::Debug,
    fs,
    io::Write,
    os::unix::net::UnixListener,
    process, thread,
    time::{Duration, Instant},
};
use workring::{
    Options, Receiver, Sender,
    error::{AcceptError, GiveError, HandoffError, TakeError},
    rendezvous::{ConnectOptions, Connection, ListenOptions, Listener, Peer},
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("meeting", meeting),
    ("mute-listener", mute_listener),
    ("restless-listener", restless_listener),
    ("restless-client", restless_client),
    ("forking-listener", forking_listener),
];

/// Accepts one connection and does nothing with it: a listener that has not come to its hello yet.
fn mute_listener(io: &mut Io) {
    let socket: String = io.argument();
    // What the listener before has left.
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(socket).expect("bind");
    io.say("listening");
    let accepted = listener.accept().expect("accept");
    io.say("accepted");
    io.next_line();
    drop(accepted);
}

/// What the role has.
#[derive(Default)]
struct Meeting {
    listener: Option<Listener>,
    connections: Vec<Connection>,
    senders: Vec<Sender<u32>>,
    receivers: Vec<Receiver<u32>>,
}

fn meeting(io: &mut Io) {
    let mut meeting = Meeting::default();
    while let Some(line) = io.try_next_line() {
        let words: Vec<&str> = line.split(' ').collect();
        let answer = meeting.run_command(io, &words);
        io.say(answer);
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("a number")
}

fn describe(peer: &Peer) -> String {
    let (pid, uid, gid) = (peer.pid().unwrap_or(0), peer.uid(), peer.gid());
    format!("{pid} {uid} {gid}")
}

fn outcome<T, E: Debug>(result: Result<T, E>, done: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => done(value),
        Err(error) => format!("{error:?}"),
    }
}

fn queue() -> (Sender<u32>, Receiver<u32>) {
    let options = Options::new(4).liveness_interval(Duration::from_millis(20));
    options.channel().expect("a queue")
}

#[allow(unsafe_code, reason = "the C library changes the user of all threads")]
fn become_user(user: u32) {
    // SAFETY: it has no preconditions.
    assert_eq!(unsafe { setgid(user) }, 0, "root may");
    // SAFETY: it has no preconditions.
    assert_eq!(unsafe { setuid(user) }, 0, "root may");
}

impl Meeting {
    fn connection(&mut self) -> &mut Connection {
        self.connections.last_mut().expect("a connection")
    }

    fn keep_connection<E: Debug>(
        &mut self,
        connection: Result<Connection, E>,
        word: &str,
    ) -> String {
        outcome(connection, |connection| {
            let peer = describe(connection.peer());
            self.connections.push(connection);
            format!("{word} {peer}")
        })
    }

    fn run_command(&mut self, io: &mut Io, words: &[&str]) -> String {
        match words {
            ["user", user] => {
                become_user(number(user));
                "done".to_owned()
            }
            ["listen", name] => self.listen(&ListenOptions::new(name)),
            ["listen-in", folder, name] => self.listen(&ListenOptions::new(name).directory(folder)),
            ["listen-for", name, user] => {
                self.listen(&ListenOptions::new(name).allow_user(number(user)))
            }
            ["accept"] => {
                let listener = self.listener.as_ref().expect("a listener");
                let accepted = listener.accept();
                self.keep_connection(accepted, "accepted")
            }
            ["connect", name, time] => self.connect(io, &ConnectOptions::new(name), time),
            ["connect-to", name, user, time] => {
                self.connect(io, &ConnectOptions::new(name).user(number(user)), time)
            }
            ["give-in", name] => {
                let (tx, rx) = queue();
                self.senders.push(tx);
                outcome(self.connection().give(name, &rx), |()| "given".to_owned())
            }
            ["give-again", name] => {
                let rx = self.receivers.pop().expect("a receiver");
                outcome(self.connection().give(name, &rx), |()| "given".to_owned())
            }
            ["take-in", name] => {
                let taken = self.connection().take::<Receiver<u32>>(name);
                outcome(taken, |end| {
                    self.receivers.push(end);
                    "taken".to_owned()
                })
            }
            ["take-out", name] => {
                let taken = self.connection().take::<Sender<u32>>(name);
                outcome(taken, |end| {
                    self.senders.push(end);
                    "taken".to_owned()
                })
            }
            ["send", value] => {
                let sent = self.senders.last().expect("a sender").send(number(value));
                outcome(sent, |()| "sent".to_owned())
            }
            ["recv"] => {
                let received = self.receivers.last().expect("a receiver").recv();
                outcome(received, |value| value.to_string())
            }
            ["leave"] => {
                self.connections.clear();
                "done".to_owned()
            }
            ["stop-listening"] => {
                self.listener = None;
                "done".to_owned()
            }
            ["drop-ends"] => {
                self.senders.clear();
                self.receivers.clear();
                "done".to_owned()
            }
            other => panic!("no such command: {other:?}"),
        }
    }

    fn listen(&mut self, options: &ListenOptions) -> String {
        let listener = options.clone().bind();
        outcome(listener, |listener| {
            self.listener = Some(listener);
            "listening".to_owned()
        })
    }

    fn connect(&mut self, io: &mut Io, options: &ConnectOptions, milliseconds: &str) -> String {
        io.say("connecting");
        let deadline = Instant::now() + Duration::from_millis(number(milliseconds));
        let connection = options.connect(deadline);
        self.keep_connection(connection, "connected")
    }
}

/// Accepts everybody, and gives each both ends of a queue of its own, until it is killed.
fn restless_listener(io: &mut Io) {
    let listener = Listener::bind(&io.argument::<String>()).expect("the name is free");
    io.say("listening");
    let mut kept = Vec::new();
    while let Ok(connection) = listener.accept() {
        let (tx, rx) = queue();
        // An error means that the client was killed.
        let _ = connection.give("in", &rx);
        let _ = connection.give("out", &tx);
        kept.push((connection, tx, rx));
        if kept.len() > 8 {
            kept.remove(0);
        }
    }
}

/// Connects again and again, takes both ends and uses them, until it is killed. Prints what must not happen.
fn restless_client(io: &mut Io) {
    let name: String = io.argument();
    io.say("connecting");
    loop {
        let deadline = Instant::now() + Duration::from_mins(1);
        let Ok(mut connection) = ConnectOptions::new(&name).connect(deadline) else {
            continue;
        };
        let taken = connection
            .take::<Receiver<u32>>("in")
            .and_then(|rx| Ok((rx, connection.take::<Sender<u32>>("out")?)));
        match taken {
            Ok((rx, tx)) => {
                // The listener may be killed, which closes nothing: this process has both ends.
                let came = tx.send(7).map(|()| rx.recv());
                if !matches!(came, Ok(Ok(7))) {
                    io.say(format!("wrong: {came:?}"));
                }
            }
            Err(error) if error.is_closed() => {}
            Err(error) => io.say(format!("wrong: {error:?}")),
        }
        // Checks that the test still listens.
        let _ = std::io::stdout().flush();
    }
}

/// Forks while it listens and has both sides of a connection. In the child every operation fails, and everything is
/// dropped; the parent goes on.
#[allow(unsafe_code, reason = "fork without exec is what is tested")]
fn forking_listener(io: &mut Io) {
    let name: String = io.argument();
    let listener = Listener::bind(&name).expect("the name is free");
    let connect = || {
        let deadline = Instant::now() + Duration::from_mins(1);
        thread::scope(|scope| {
            let accepting = scope.spawn(|| listener.accept().expect("accept"));
            let connected = ConnectOptions::new(&name).connect(deadline);
            (
                accepting.join().expect("no panic"),
                connected.expect("connect"),
            )
        })
    };
    let (accepted, mut connected) = connect();
    let (tx, rx) = queue();
    accepted.give("in", &rx).expect("give");
    // SAFETY: this process has one thread.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            let refused = listener.accept().expect_err("it is a forked child");
            assert_eq!(refused, AcceptError::Forked);
            let refused = accepted.give("in", &rx).expect_err("it is a forked child");
            assert_eq!(refused, GiveError::Handoff(HandoffError::Forked));
            let taken = connected.take::<Receiver<u32>>("in");
            assert_eq!(taken.expect_err("it is a forked child"), TakeError::Forked);
            drop((listener, accepted, connected, tx, rx));
            io.say("the child is done");
            process::exit(0);
        }
        ForkResult::Parent { child } => {
            let status = waitpid(child, None).expect("wait");
            assert_eq!(status, WaitStatus::Exited(child, 0));
            let taken: Receiver<u32> = connected.take("in").expect("take");
            tx.send(1).expect("room");
            assert_eq!(taken.recv(), Ok(1));
            drop(connect());
            io.say("the parent is done");
        }
    }
}
