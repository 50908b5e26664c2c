//! Requests and their answers, between processes that die: each request has one outcome, and nothing is left behind.

use ipc_tests::support::{LIMIT, dismiss};
use ipc_tests::{
    Signal,
    child::Peer,
    guarded, program,
    rounds::{Rng, rounds, seed},
};
use std::{
    fmt::Display,
    fs, process,
    process::Command,
    thread,
    time::{Duration, Instant},
};
use workring::{
    Options,
    error::{OpenError, OpenOrCreateError, SendTimeoutError},
    queue::{named_queues, remove_named},
    request::{ReplyError, RequestError, Requester, Responder},
};

const LONG: Duration = Duration::from_mins(5);

/// The queue of a test. Dropping it removes the queue, so that a failed test leaves none.
struct Jobs(String);

impl Jobs {
    fn create(test: &str, options: &Options) -> Self {
        let name = format!("test-{test}-{}", process::id());
        drop(Responder::<u64, String>::create(&name, options).expect("a queue"));
        Self(name)
    }

    fn requester(&self) -> Requester<u64, String> {
        Requester::open(&self.0).expect("the queue")
    }

    fn responder(&self) -> Responder<u64, String> {
        Responder::open(&self.0).expect("the queue")
    }

    /// Starts a process that has a responder.
    fn start_responder(&self) -> Peer {
        let mut peer = start("responder", &[&self.0]);
        assert_eq!(peer.answer(), "ready");
        peer
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let removed = remove_named(&self.0);
        assert!(thread::panicking() || removed.is_ok(), "{removed:?}");
    }
}

fn start(role: &str, arguments: &[&dyn Display]) -> Peer {
    Peer::spawn(program("peer"), role, arguments, Command::spawn).expect("spawn")
}

fn ask(peer: &mut Peer, order: &str) -> String {
    peer.say(order);
    peer.answer()
}

fn kill(peer: &mut Peer) {
    peer.signal(Signal::SIGKILL);
    peer.wait();
}

#[test]
fn each_thread_gets_the_answer_to_its_own_request() {
    const THREADS: u64 = 8;
    guarded(LIMIT, || {
        let jobs = Jobs::create("threads", &Options::new(64));
        let (requester, responder) = (jobs.requester(), jobs.responder());
        thread::scope(|scope| {
            let asking: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let requester = &requester;
                    scope.spawn(move || {
                        for number in 0..100 {
                            let question = thread * 1000 + number;
                            let answer = requester.request(question, LONG).expect("an answer");
                            assert_eq!(answer, question.to_string());
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                // Answers come in another order than the requests.
                let mut kept = Vec::new();
                loop {
                    let received = if kept.is_empty() {
                        responder.recv().map_err(Into::into)
                    } else {
                        responder.try_recv()
                    };
                    match received {
                        Ok(request) => kept.push(request),
                        Err(error) if error.is_empty() => {
                            while let Some(request) = kept.pop() {
                                let answer = request.to_string();
                                request.respond(answer).expect("it waits");
                            }
                        }
                        Err(_) => break,
                    }
                }
            });
            for thread in asking {
                thread.join().expect("no panic");
            }
            requester.close();
        });
    });
}

/// More requests at a time than the mailbox has room for answers.
#[test]
fn requests_beyond_the_mailbox_wait_for_room() {
    guarded(LIMIT, || {
        let jobs = Jobs::create("beyond", &Options::new(64));
        let requester = jobs
            .requester()
            .with_mailbox(&Options::new(4))
            .expect("a mailbox");
        let responder = jobs.responder();
        let server = thread::spawn(move || {
            while let Ok(request) = responder.recv() {
                let answer = request.to_string();
                request.respond(answer).expect("it waits");
            }
        });
        // Two are unanswered at most; the answers of the others wait in memory.
        let sent: Vec<_> = (0..50)
            .map(|number| requester.send(number, LONG).expect("room"))
            .collect();
        for (number, pending) in sent.into_iter().enumerate() {
            assert_eq!(pending.wait().expect("an answer"), number.to_string());
        }
        // These answers are of no use to this process, and take no room for long.
        for number in 0..50 {
            drop(requester.send(number, LONG).expect("room"));
        }
        assert_eq!(requester.request(7, LONG).expect("an answer"), "7");
        requester.close();
        server.join().expect("no panic");
    });
}

#[test]
fn the_request_of_a_responder_that_dies_goes_to_another_one() {
    guarded(LIMIT, || {
        let jobs = Jobs::create("redelivered", &Options::new(64));
        let requester = jobs.requester();
        let (mut first, mut second) = (jobs.start_responder(), jobs.start_responder());
        let pending = requester.send(7, LONG).expect("room");
        assert_eq!(ask(&mut first, "recv"), "7 0");
        kill(&mut first);
        assert_eq!(ask(&mut second, "recv"), "7 1");
        assert_eq!(ask(&mut second, "respond seven"), "Ok(())");
        assert_eq!(pending.wait().as_deref(), Ok("seven"));
        dismiss(second);
    });
}

#[test]
fn a_request_that_fails_with_too_many_responders_is_reported() {
    guarded(LIMIT, || {
        let jobs = Jobs::create("abandoned", &Options::new(64).max_deliveries(2));
        let requester = jobs.requester();
        let pending = requester.send(7, LONG).expect("room");
        let (mut dying, mut other) = (jobs.start_responder(), jobs.start_responder());
        assert_eq!(ask(&mut dying, "recv"), "7 0");
        kill(&mut dying);
        assert_eq!(ask(&mut other, "recv"), "7 1");
        assert_eq!(ask(&mut other, "drop"), "done");
        // It gets nothing, and reports the failure.
        assert_eq!(ask(&mut other, "try-recv"), "Empty");
        let error = pending.wait().expect_err("no answer");
        assert!(
            matches!(error, ReplyError::Abandoned { deliveries: 2, .. }),
            "{error:?}"
        );
        dismiss(other);
    });
}

#[test]
fn the_requests_of_a_dead_requester_are_dropped_and_its_mailbox_is_removed() {
    guarded(LIMIT, || {
        let jobs = Jobs::create("orphaned", &Options::new(64));
        let mut dying = start("requester", &[&jobs.0, &10]);
        assert_eq!(dying.answer(), "sent");
        let mut responder = jobs.start_responder();
        assert_eq!(ask(&mut responder, "recv"), "0 0");
        let mailbox = format!("~{}.", dying.pid());
        let has_mailbox = || {
            let queues = named_queues().expect("a list");
            queues.iter().any(|queue| queue.name.starts_with(&mailbox))
        };
        assert!(has_mailbox());
        kill(&mut dying);
        // A responder that opens the mailbox finds its process dead. One that has it open already notices that within a
        // liveness interval.
        let mut other = jobs.start_responder();
        let requester = jobs.requester();
        let pending = requester.send(99, LONG).expect("room");
        assert_eq!(
            ask(&mut other, "recv"),
            "99 0",
            "a request that is over is delivered"
        );
        assert_eq!(ask(&mut other, "respond last"), "Ok(())");
        assert_eq!(pending.wait().as_deref(), Ok("last"));
        dismiss(other);
        assert!(!has_mailbox());
        dismiss(responder);
    });
}

/// The requester is found dead by the responder that answers it.
#[test]
fn an_answer_to_a_dead_requester_fails() {
    guarded(LIMIT, || {
        let jobs = Jobs::create("unread", &Options::new(64));
        let mut dying = start("requester", &[&jobs.0, &1]);
        assert_eq!(dying.answer(), "sent");
        let responder = jobs.responder();
        let request = responder.recv().expect("a request");
        assert!(request.is_awaited());
        kill(&mut dying);
        while request.is_awaited() {
            thread::yield_now();
        }
        let sent = request.respond("unread".to_owned());
        assert_eq!(sent, Err(SendTimeoutError::Closed("unread".to_owned())));
        assert!(responder.try_recv().is_err_and(|error| error.is_empty()));
    });
}

#[test]
fn a_request_ends_with_its_deadline_on_both_sides() {
    guarded(LIMIT, || {
        let jobs = Jobs::create("deadline", &Options::new(64));
        let (requester, responder) = (jobs.requester(), jobs.responder());
        // There is no responder that receives.
        let error = requester
            .request(1, Duration::from_millis(1))
            .expect_err("no answer");
        assert_eq!(error, RequestError::NoAnswer(ReplyError::Timeout));
        let pending = requester.send(2, Duration::from_millis(200)).expect("room");
        let Ok(request) = responder.recv_timeout(Duration::from_millis(200)) else {
            println!("this process was stopped for longer than the deadline");
            return;
        };
        assert_eq!(*request, 2, "the first one has expired");
        assert_eq!(pending.wait(), Err(ReplyError::Timeout));
        assert!(request.time_left().is_zero() && !request.is_awaited());
        let sent = request.respond("late".to_owned());
        assert_eq!(sent, Err(SendTimeoutError::Timeout("late".to_owned())));
        assert!(responder.try_recv().is_err_and(|error| error.is_empty()));
    });
}

#[test]
fn an_answer_that_cannot_be_sent_is_a_typed_failure_on_both_sides() {
    guarded(LIMIT, || {
        let jobs = Jobs::create("too-large", &Options::new(64));
        let small = Options::new(64).max_message_len(256);
        let requester = jobs.requester().with_mailbox(&small).expect("a mailbox");
        let responder = jobs.responder();
        let pending = requester.send(1, LONG).expect("room");
        let request = responder.recv().expect("a request");
        let sent = request.respond("x".repeat(1000));
        assert!(
            matches!(&sent, Err(SendTimeoutError::TooLarge { value, max: 256, .. }) if value.len() == 1000),
            "{sent:?}"
        );
        match pending.wait() {
            Err(ReplyError::AnswerNotSent { what, .. }) => {
                assert!(what.contains("larger than the 256 bytes"), "{what}");
            }
            other => panic!("{other:?}"),
        }
    });
}

/// M2. The name of the types, or the schema, covers requests and answers.
#[test]
fn a_queue_for_other_requests_or_answers_is_refused() {
    guarded(LIMIT, || {
        let jobs = Jobs::create("types", &Options::new(64));
        let refused = Requester::<u64, u64>::open(&jobs.0).map(drop);
        assert!(
            matches!(
                refused,
                Err(OpenOrCreateError::Open(OpenError::Type { .. }))
            ),
            "{refused:?}"
        );
        let refused = Responder::<u32, String>::open(&jobs.0).map(drop);
        assert!(
            matches!(refused, Err(OpenError::Type { .. })),
            "{refused:?}"
        );
        drop(jobs);

        let jobs = Jobs::create("schemas", &Options::new(64).schema("job.v1"));
        let refused = Requester::<u64, String>::open_as(&jobs.0, "job.v2").map(drop);
        assert!(
            matches!(
                refused,
                Err(OpenOrCreateError::Open(OpenError::Schema { .. }))
            ),
            "{refused:?}"
        );
        // A type of another name, with the same encoding.
        let requester =
            Requester::<(u64,), Vec<u8>>::open_as(&jobs.0, "job.v1").expect("the queue");
        let responder = Responder::<u64, String>::open_as(&jobs.0, "job.v1").expect("the queue");
        let pending = requester.send((7,), LONG).expect("room");
        let request = responder.recv().expect("a request");
        assert_eq!(*request, 7);
        request.respond("seven".to_owned()).expect("it waits");
        assert_eq!(pending.wait().expect("an answer"), b"seven");
    });
}

/// K1, M5. Two servers and two clients, of which one each is killed again and again, at any moment.
#[test]
fn every_request_is_answered_once_or_fails_while_servers_and_clients_are_killed() {
    const REQUESTS: u64 = 400;
    guarded(LIMIT, || {
        let mut random = Rng::with_seed(seed());
        let time = Duration::from_secs(rounds(5, 60).into());
        let jobs = Jobs::create("storm", &Options::new(16).max_deliveries(14));
        let mut first = 0;
        let mut ids = Vec::new();
        let mut start_one = |is_client: bool| {
            first += 1_000_000_u64;
            let mut peer = if is_client {
                start("request-storm-client", &[&jobs.0, &first])
            } else {
                start("request-storm-server", &[&jobs.0])
            };
            assert_eq!(peer.answer(), "ready");
            ids.push(peer.pid());
            peer
        };
        let mut servers = [start_one(false), start_one(false)];
        let mut clients = [start_one(true), start_one(true)];
        let (mut answered, mut failed, mut kills) = (0, 0, 0);
        let end = Instant::now() + time;
        while Instant::now() < end {
            for client in &mut clients {
                client.say(REQUESTS);
            }
            // The moment of the kill is random: nothing waits for this time.
            thread::sleep(Duration::from_micros(random.u64(0..30_000)));
            let (server, client) = (random.usize(0..2), random.usize(0..2));
            for peer in [servers.get_mut(server), clients.get_mut(client)]
                .into_iter()
                .flatten()
            {
                peer.signal(Signal::SIGKILL);
                kills += 1;
            }
            for (number, peer) in clients.iter_mut().enumerate() {
                // One that was killed may have finished before.
                let line = if number == client {
                    peer.try_answer()
                } else {
                    Some(peer.answer())
                };
                let Some(line) = line else { continue };
                let (of_round, failed_of_round) = line.split_once(' ').expect("two numbers");
                let of_round: u64 = of_round.parse().expect("a number");
                let failed_of_round: u64 = failed_of_round.parse().expect("a number");
                assert_eq!(of_round + failed_of_round, REQUESTS);
                answered += of_round;
                failed += failed_of_round;
            }
            for (peers, killed, is_client) in
                [(&mut servers, server, false), (&mut clients, client, true)]
            {
                let peer = peers.get_mut(killed).expect("one of two");
                assert!(!peer.wait().success(), "it was killed");
                *peer = start_one(is_client);
            }
        }
        println!("{kills} kills; {answered} requests answered, {failed} failed");
        assert!(answered > 0, "no request was answered");
        for client in clients {
            dismiss(client);
        }
        jobs.requester().close();
        for server in servers {
            dismiss(server);
        }
        drop(named_queues().expect("a list"));
        let files = fs::read_dir("/dev/shm").expect("the folder").flatten();
        let names: Vec<_> = files
            .map(|file| file.file_name().into_string().expect("a name"))
            .collect();
        let is_left =
            |id: &ipc_tests::Pid| names.iter().any(|name| name.contains(&format!("-~{id}.")));
        let left: Vec<_> = ids.iter().filter(|id| is_left(id)).collect();
        assert!(left.is_empty(), "the mailboxes of {left:?} are left");
    });
}
