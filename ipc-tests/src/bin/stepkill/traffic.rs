//! Two processes that send messages through a queue and receive them, while a victim in it is stopped.
//!
//! They live as long as the campaign, because it takes longer to start them than all that they do at a boundary. For
//! each boundary they get the queue's memory file, attach to it, send and receive, and detach. Each sends and receives
//! by turns, so that neither has to wait until the scheduler runs the other. A process may receive its own messages and
//! those of the other.

use crate::message::{Message, MessageReceiver, MessageSender};
use ipc_tests::{
    child::Peer,
    memfd,
    role::{Io, Role},
};
use std::{env, ops::Range, os::fd::RawFd, process, process::Command, thread};
use workring::{
    error::{OpenError, TryRecvError, TrySendError},
    test_hooks,
};

pub(crate) const TRAFFIC_ROLE: (&str, Role) = ("traffic", run_traffic_process);

/// Both processes. They are started when they are needed first.
#[derive(Default)]
pub(crate) struct TrafficProcesses(Option<[Peer; 2]>);

/// What one of them has done in one queue.
#[derive(Default)]
pub(crate) struct TrafficResult {
    /// How many of its messages were accepted, from the first one on.
    pub(crate) sent: u32,
    pub(crate) received: Vec<u32>,
}

impl TrafficResult {
    /// Receives a message. Returns false if the queue is closed, or stays empty.
    fn receive(&mut self, rx: &MessageReceiver) -> bool {
        let received = retry(|| match rx.try_recv() {
            Ok(message) => Some(Some(message.number)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(None),
            Err(error) => panic!("{error}"),
        });
        let received = received.flatten();
        self.received.extend(received);
        received.is_some()
    }
}

impl TrafficProcesses {
    /// Lets both processes send their numbers through the queue whose memory file is open in this process as `memory`.
    pub(crate) fn run(&mut self, memory: RawFd, numbers: &[Range<u32>; 2]) -> [TrafficResult; 2] {
        let pair = self.0.get_or_insert_with(|| [start(), start()]);
        for (process, numbers) in pair.iter_mut().zip(numbers) {
            process.say(format!("{memory} {} {}", numbers.start, numbers.end));
        }
        pair.each_mut().map(|process| {
            let answer = parse(&process.answer());
            let (&sent, received) = answer.split_first().expect("how many it has sent");
            let received = received.to_vec();
            TrafficResult { sent, received }
        })
    }
}

fn start() -> Peer {
    let program = env::current_exe().expect("this program");
    let (role, _) = TRAFFIC_ROLE;
    Peer::spawn(program, role, &[&process::id()], Command::spawn).expect("start a process")
}

fn parse(line: &str) -> Vec<u32> {
    let numbers = line.split(' ').map(str::parse);
    numbers.collect::<Result<_, _>>().expect("numbers")
}

/// Reads lines of a descriptor of the parent and the first and last number to send, and answers each with the number of
/// messages sent, and the messages received.
fn run_traffic_process(io: &mut Io) {
    let parent = io.argument();
    while let Some(line) = io.try_next_line() {
        let [memory, first, end] = parse(&line).try_into().expect("three numbers");
        let memory = memory.try_into().expect("a descriptor");
        let TrafficResult { sent, received } =
            match test_hooks::enter(memfd::of_process(parent, memory).into()) {
                Ok((tx, rx)) => send_and_receive(&tx, &rx, first..end),
                Err(OpenError::Closed) => TrafficResult::default(),
                Err(error) => panic!("{error}"),
            };
        let received = received.iter().map(|number| format!(" {number}"));
        io.say(format!("{sent}{}", received.collect::<String>()));
    }
}

/// Sends these numbers and receives as many. Ends early if the queue is closed, or makes no progress for long.
fn send_and_receive(
    tx: &MessageSender,
    rx: &MessageReceiver,
    numbers: Range<u32>,
) -> TrafficResult {
    // The same number of messages of the other process, and the next one of both, fill the queue.
    let ahead = rx.capacity() / 2 - 1;
    let mut result = TrafficResult::default();
    for number in numbers {
        if !send(tx, number) {
            break;
        }
        result.sent += 1;
        if result.sent as usize > ahead && !result.receive(rx) {
            return result;
        }
    }
    while result.received.len() < result.sent as usize && result.receive(rx) {}
    result
}

/// Sends a message. Returns false if the queue is closed, or stays full.
fn send(tx: &MessageSender, number: u32) -> bool {
    let sent = retry(|| match tx.try_send(Message::small(number)) {
        Ok(()) => Some(true),
        Err(TrySendError::Full(_)) => None,
        Err(TrySendError::Closed(_)) => Some(false),
        Err(error) => panic!("{error}"),
    });
    sent == Some(true)
}

/// Tries until there is a result. Returns `None` if there is none for long. Time in which this process is stopped does
/// not count.
fn retry<R>(mut attempt: impl FnMut() -> Option<R>) -> Option<R> {
    /// Each takes a fraction of a microsecond if no other process uses the processor.
    const ATTEMPTS: u32 = 50_000_000;
    (0..ATTEMPTS).find_map(|_| {
        let result = attempt();
        if result.is_none() {
            thread::yield_now();
        }
        result
    })
}
