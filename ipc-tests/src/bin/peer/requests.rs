//! Roles that send requests and answer them.

use ipc_tests::role::{Io, Role};
use std::time::Duration;
use workring::{
    Options,
    error::SendTimeoutError,
    request::{Request, Requester, Responder},
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("responder", responder),
    ("requester", requester),
    ("request-storm-server", storm_server),
    ("request-storm-client", storm_client),
];

/// Runs commands, one a line: `recv` prints a request and keeps it; `respond` answers it with a text, `drop` drops it.
///
/// Argument: the name of the queue.
fn responder(io: &mut Io) {
    let name: String = io.argument();
    let responder = Responder::<u64, String>::open(&name).expect("the queue");
    io.say("ready");
    let mut kept: Option<Request<'_, u64, String>> = None;
    while let Some(line) = io.try_next_line() {
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match verb {
            "recv" => {
                let request = responder.recv().expect("a request");
                io.say(format!("{} {}", *request, request.deliveries()));
                kept = Some(request);
            }
            "try-recv" => io.say(match responder.try_recv() {
                Ok(request) => request.to_string(),
                Err(error) => format!("{error:?}"),
            }),
            "respond" => {
                let request = kept.take().expect("a request");
                let sent = request.respond(rest.to_owned());
                io.say(format!("{:?}", sent.map_err(|error| error.map(drop))));
            }
            "drop" => {
                kept = None;
                io.say("done");
            }
            other => panic!("no such command: {other}"),
        }
    }
}

/// Sends requests, without waiting for the answers, and prints `sent`. Then waits to be killed, or for the end of its input.
///
/// Arguments: the name of the queue, and how many requests.
fn requester(io: &mut Io) {
    let name: String = io.argument();
    let count: u64 = io.argument();
    let requester = Requester::<u64, String>::open(&name).expect("the queue");
    let pending: Vec<_> = (0..count)
        .map(|number| {
            requester
                .send(number, Duration::from_mins(5))
                .expect("room")
        })
        .collect();
    io.say("sent");
    let _ = io.try_next_line();
    drop(pending);
}

/// What the servers of the storm answer.
fn answer_to(question: u64) -> String {
    format!(
        "{question}: {}",
        question.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    )
}

/// Answers requests until the queue is closed, or it is killed.
///
/// Argument: the name of the queue.
fn storm_server(io: &mut Io) {
    let name: String = io.argument();
    let responder = Responder::<u64, String>::open(&name).expect("the queue");
    io.say("ready");
    loop {
        let request = match responder.recv() {
            Ok(request) => request,
            Err(error) if error.is_closed() => return,
            Err(other) => panic!("{other}"),
        };
        let answer = answer_to(*request);
        match request.respond(answer) {
            Ok(()) | Err(SendTimeoutError::Closed(_) | SendTimeoutError::Timeout(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// For each line, a number: sends as many requests, from two threads, and prints how many were answered and how many failed.
///
/// Arguments: the name of the queue, and the first number to ask.
fn storm_client(io: &mut Io) {
    let name: String = io.argument();
    let first: u64 = io.argument();
    // The default mailbox is larger than it needs to be.
    let requester = Requester::<u64, String>::open(&name).expect("the queue");
    let requester = requester
        .with_mailbox(&Options::new(64))
        .expect("a mailbox");
    let ask = |from: u64, count: u64| {
        let (mut answered, mut failed) = (0, 0);
        for number in from..from + count {
            match requester.request(number, Duration::from_mins(2)) {
                Ok(answer) => {
                    assert_eq!(answer, answer_to(number), "the answer to another request");
                    answered += 1;
                }
                Err(workring::request::RequestError::NoAnswer(error)) => {
                    assert!(
                        matches!(error, workring::request::ReplyError::Abandoned { .. }),
                        "{error:?}"
                    );
                    failed += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        (answered, failed)
    };
    io.say("ready");
    let mut next = first;
    while let Some(line) = io.try_next_line() {
        let count: u64 = line.parse().expect("a number");
        let ((a, b), (c, d)) = std::thread::scope(|scope| {
            let other = scope.spawn(|| ask(next, count / 2));
            let own = ask(next + count / 2, count - count / 2);
            (own, other.join().expect("no panic"))
        });
        next += count;
        io.say(format!("{} {}", a + c, b + d));
    }
}
