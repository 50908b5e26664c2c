//! `send`: messages from the command line, or from standard input.
//!
//! Standard input is read by a thread of its own, so that a signal can end the command while it waits for input. What
//! was read is sent at once: nothing waits for more input, except for the end of a message.

use super::args::{Patience, Send};
use super::exit::{End, with_causes};
use super::signals::{self, Caught};
use super::stream::{self, Splitter};
use std::io::{self, Read};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use workring::Sender;
use workring::error::{SendError, SendTimeoutError, TrySendError};
use workring::inspect::{self, Address, Bytes};
use workring::queue::Raw;

/// How many bytes of standard input are read at a time.
const PIECE: usize = 1 << 18;

/// What the sending thread waits for.
enum Event {
    Piece(Vec<u8>),
    EndOfInput,
    Failed(io::Error),
    Signal,
}

/// The messages that are sent by one command.
struct Sending<'a> {
    name: &'a Address,
    sender: Sender<Bytes, Raw>,
    patience: &'a Patience,
    caught: Caught,
    sent: usize,
}

pub(crate) fn run(args: &Send) -> Result<(), End> {
    stream::create(&args.name, args.create)?;
    let sender: Sender<Bytes, Raw> = inspect::open_bytes(&args.name, args.force)
        .map_err(|error| not_opened(&args.name, &error))?;
    let (events, received) = mpsc::sync_channel(2);
    let (interrupter, signalled) = (sender.interrupter(), events.clone());
    let caught = signals::catch(move |_| {
        interrupter.interrupt();
        // If there is no room, there is input, and the signal is found before the next piece.
        let _ = signalled.try_send(Event::Signal);
    })?;
    let mut sending = Sending {
        name: &args.name,
        sender,
        patience: &args.patience,
        caught,
        sent: 0,
    };
    if args.messages.is_empty() {
        thread::spawn(move || read_input(&events));
        let mut splitter = Splitter::new(args.framing);
        loop {
            let event = received.recv();
            if let Some(signal) = sending.caught.signal() {
                return Err(End::Signal(signal));
            }
            match event {
                Ok(Event::Piece(piece)) => sending.send(splitter.split(&piece))?,
                Ok(Event::EndOfInput) | Err(mpsc::RecvError) => break,
                Ok(Event::Failed(error)) => return Err(End::failed("standard input", error)),
                // Found above.
                Ok(Event::Signal) => {}
            }
        }
        let last = splitter
            .finish()
            .map_err(|error| End::failed("standard input", error))?;
        sending.send(last.into_iter().collect())?;
    } else {
        let messages = args.messages.iter().map(|text| text.clone().into_bytes());
        sending.send(messages.collect())?;
    }
    if args.close {
        sending.sender.close();
    }
    Ok(())
}

fn not_opened(name: &Address, error: &workring::error::OpenError) -> End {
    if let workring::error::OpenError::Codec { theirs, .. } = error {
        let codec = super::text::printable(theirs);
        return End::Refused(format!(
            "{name}: its messages are not plain bytes but `{codec}`: what that does not understand becomes a dead \
             letter; --force sends all the same"
        ));
    }
    End::not_opened(name, error)
}

/// Reads standard input to its end.
fn read_input(events: &SyncSender<Event>) {
    let mut input = io::stdin().lock();
    loop {
        let mut piece = vec![0; PIECE];
        let event = match input.read(&mut piece) {
            Ok(0) => Event::EndOfInput,
            Ok(length) => {
                piece.truncate(length);
                Event::Piece(piece)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Event::Failed(error),
        };
        let is_last = !matches!(event, Event::Piece(_));
        if events.send(event).is_err() || is_last {
            return;
        }
    }
}

impl Sending<'_> {
    /// Sends all of these messages, or as many as is possible, each by itself: a batch would go to one receiver as a
    /// whole, and a message of it would wait there while a command runs for the one before (`recv --ack-after`).
    fn send(&mut self, messages: Vec<Bytes>) -> Result<(), End> {
        for message in messages {
            match self.send_one(message) {
                Ok(()) => self.sent += 1,
                Err(End::Signal(_)) => {
                    let signal = self.caught.signal().unwrap_or(2);
                    eprintln!(
                        "workring: {}: interrupted; {} messages were sent",
                        self.name, self.sent
                    );
                    return Err(End::Signal(signal));
                }
                Err(end) => return Err(self.counted(end)),
            }
        }
        Ok(())
    }

    fn send_one(&self, message: Bytes) -> Result<(), End> {
        if self.patience.no_wait {
            let sent = self.sender.try_send(message);
            sent.map_err(|error| not_tried(&error))
        } else if let Some(timeout) = self.patience.timeout {
            let sent = self.sender.send_timeout(message, timeout);
            sent.map_err(|error| not_in_time(&error))
        } else {
            self.sender.send(message).map_err(|error| not_sent(&error))
        }
    }

    /// Adds how many messages were sent.
    fn counted(&self, end: End) -> End {
        let add = |text| format!("{}: {text}; {} messages were sent", self.name, self.sent);
        match end {
            End::Failed(text) => End::Failed(add(text)),
            End::Closed(text) => End::Closed(add(text)),
            End::Timeout(text) => End::Timeout(add(text)),
            End::Empty(text) => End::Empty(add(text)),
            other => other,
        }
    }
}

fn not_sent(error: &SendError<Bytes>) -> End {
    match error {
        SendError::Closed(_) => End::Closed(error.to_string()),
        SendError::Interrupted(_) => End::Signal(0),
        error => End::Failed(with_causes(error)),
    }
}

fn not_in_time(error: &SendTimeoutError<Bytes>) -> End {
    match error {
        SendTimeoutError::Closed(_) => End::Closed(error.to_string()),
        SendTimeoutError::Interrupted(_) => End::Signal(0),
        SendTimeoutError::Timeout(_) => End::Timeout("no room within the time limit".to_owned()),
        error => End::Failed(with_causes(error)),
    }
}

fn not_tried(error: &TrySendError<Bytes>) -> End {
    match error {
        TrySendError::Closed(_) => End::Closed(error.to_string()),
        TrySendError::Full(_) => End::Empty("the queue is full".to_owned()),
        error => End::Failed(with_causes(error)),
    }
}
