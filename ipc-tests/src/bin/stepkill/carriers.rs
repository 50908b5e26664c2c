//! Two processes that put messages through a queue, past whoever stands still in it.
//!
//! They live as long as a campaign, for to start them takes longer than all that they do at a boundary. They are told
//! where a queue lies, attach to it, do their work, and leave it again. Each sends and receives by turns, so that neither
//! has to wait until the system lets the other one run. What it receives may be its own messages or the other's.

use crate::queue::{Message, Rx, Tx};
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

pub(crate) const CARRIER: (&str, Role) = ("carrier", carrier);

/// Both processes, once they are needed.
#[derive(Default)]
pub(crate) struct Carriers(Option<[Peer; 2]>);

/// What one of them has done.
#[derive(Default)]
pub(crate) struct Carried {
    /// How many of its messages were accepted, from the first on.
    pub(crate) sent: u32,
    /// What it has received.
    pub(crate) received: Vec<u32>,
}

impl Carried {
    /// False: the queue is closed, or stays empty.
    fn receive(&mut self, rx: &Rx) -> bool {
        let received = persist(|| match rx.try_recv() {
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

impl Carriers {
    /// Lets both put messages through the queue that this process has open under `memory`, each with numbers of its own.
    pub(crate) fn carry(&mut self, memory: RawFd, numbers: &[Range<u32>; 2]) -> [Carried; 2] {
        let pair = self.0.get_or_insert_with(|| [start(), start()]);
        for (carrier, numbers) in pair.iter_mut().zip(numbers) {
            carrier.say(format!("{memory} {} {}", numbers.start, numbers.end));
        }
        pair.each_mut().map(|carrier| {
            let said = parse(&carrier.answer());
            let (&sent, received) = said.split_first().expect("how many it has sent");
            let received = received.to_vec();
            Carried { sent, received }
        })
    }
}

fn start() -> Peer {
    let program = env::current_exe().expect("this program");
    let (role, _) = CARRIER;
    Peer::spawn(program, role, &[&process::id()], Command::spawn).expect("a carrier")
}

fn parse(line: &str) -> Vec<u32> {
    let numbers = line.split(' ').map(str::parse);
    numbers.collect::<Result<_, _>>().expect("numbers")
}

/// Carries, in one queue after the other, and says each time how many messages it has sent, and which it has received.
fn carrier(io: &mut Io) {
    let parent = io.argument();
    while let Some(line) = io.try_answer() {
        let [memory, first, end] = parse(&line).try_into().expect("three numbers");
        let memory = memory.try_into().expect("a descriptor");
        let Carried { sent, received } =
            match test_hooks::enter(memfd::of_process(parent, memory).into()) {
                Ok((tx, rx)) => carry(&tx, &rx, first..end),
                Err(OpenError::Closed) => Carried::default(),
                Err(error) => panic!("{error}"),
            };
        let received = received.iter().map(|number| format!(" {number}"));
        io.say(format!("{sent}{}", received.collect::<String>()));
    }
}

/// Sends the numbers, and receives as many. Ends early if the queue is closed, or nothing goes on for long.
fn carry(tx: &Tx, rx: &Rx, numbers: Range<u32>) -> Carried {
    // With as many of the other one, and the next of both, all that there is room for.
    let ahead = rx.capacity() / 2 - 1;
    let mut carried = Carried::default();
    for number in numbers {
        if !send(tx, number) {
            break;
        }
        carried.sent += 1;
        if carried.sent as usize > ahead && !carried.receive(rx) {
            return carried;
        }
    }
    while carried.received.len() < carried.sent as usize && carried.receive(rx) {}
    carried
}

/// False: it is closed, or stays full.
fn send(tx: &Tx, number: u32) -> bool {
    let sent = persist(|| match tx.try_send(Message::small(number)) {
        Ok(()) => Some(true),
        Err(TrySendError::Full(_)) => None,
        Err(TrySendError::Closed(_)) => Some(false),
        Err(error) => panic!("{error}"),
    });
    sent == Some(true)
}

/// Tries until there is a result. `None`: there has been none for long, pauses of this process not counted.
fn persist<R>(mut attempt: impl FnMut() -> Option<R>) -> Option<R> {
    /// Of a fraction of a microsecond, if nobody else wants the processor.
    const TRIES: u32 = 50_000_000;
    (0..TRIES).find_map(|_| {
        let result = attempt();
        if result.is_none() {
            thread::yield_now();
        }
        result
    })
}
