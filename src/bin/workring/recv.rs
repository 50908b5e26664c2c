//! `recv` and `drain`: messages to standard output, or nowhere.
//!
//! RECV-1. A message is acknowledged after it was written to standard output, and flushed. If that fails, or a signal
//!         ends the command first, it is returned to the queue. So no message is lost, and one may come twice: a reader
//!         that ends may have read it.

use super::args::{Drain, Framing, Recv};
use super::exit::{End, with_causes};
use super::output;
use super::signals::{self, Caught};
use super::stream;
use super::text;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Instant;
use workring::Receiver;
use workring::error::{OpenError, RecvError, RecvTimeoutError, TryRecvError};
use workring::inspect::{self, Address, Bytes, QueueView};
use workring::queue::{BytesLease, Raw};

/// How many messages, and about how many bytes, are written at a time.
const MESSAGES: usize = 512;
const BYTES: usize = 1 << 16;

/// Why no more messages come.
enum Stop {
    Closed,
    Timeout,
    Empty,
    Interrupted,
    TooManyLeases,
    Failed(String),
}

macro_rules! stop_from {
    ($error:ident: $($waits:ident),*) => {
        impl From<$error> for Stop {
            fn from(error: $error) -> Self {
                match error {
                    $error::Closed => Self::Closed,
                    $error::TooManyLeases { .. } => Self::TooManyLeases,
                    $($error::$waits => Self::$waits,)*
                    error => Self::Failed(with_causes(&error)),
                }
            }
        }
    };
}

stop_from!(RecvError: Interrupted);
stop_from!(TryRecvError: Empty);
stop_from!(RecvTimeoutError: Timeout, Interrupted);

/// What one command receives.
struct Receiving<'a> {
    args: &'a Recv,
    receiver: &'a Receiver<Bytes, Raw>,
    caught: Caught,
    as_hex: bool,
    received: u64,
}

pub(crate) fn run(args: &Recv) -> Result<(), End> {
    stream::create(&args.name, args.create)?;
    let receiver = inspect::open_closed_bytes(&args.name)
        .map_err(|error| End::not_opened(&args.name, &error))?;
    let interrupter = receiver.interrupter();
    let caught = signals::catch(move |_| interrupter.interrupt())?;
    let mut receiving = Receiving {
        args,
        receiver: &receiver,
        caught,
        as_hex: args.hex || args.framing == Framing::Lines && !is_raw(&args.name)?,
        received: 0,
    };
    receiving.run()
}

fn is_raw(name: &Address) -> Result<bool, End> {
    let view = QueueView::open(name).map_err(|error| End::not_opened(name, &error))?;
    Ok(view.settings().is_raw)
}

impl<'a> Receiving<'a> {
    fn run(&mut self) -> Result<(), End> {
        while self.left() > 0 {
            if let Some(signal) = self.caught.signal() {
                return Err(End::Signal(signal));
            }
            let done = match &self.args.ack_after {
                Some(command) => self
                    .first()
                    .map(|message| self.run_command(command, message)),
                None => self.batch().map(|batch| self.write(batch)),
            };
            match done {
                Ok(written) => written?,
                Err(stop) => return self.stopped(stop),
            }
        }
        Ok(())
    }

    /// Returns how many messages are still wanted.
    fn left(&self) -> u64 {
        self.args
            .count
            .unwrap_or(u64::MAX)
            .saturating_sub(self.received)
    }

    /// Waits for a message, as long as the command line says.
    fn first(&self) -> Result<BytesLease<'a>, Stop> {
        let (receiver, patience) = (self.receiver, &self.args.patience);
        Ok(match patience.timeout {
            Some(timeout) => receiver.lease_bytes_timeout(timeout)?,
            None if patience.no_wait => receiver.try_lease_bytes()?,
            None => receiver.lease_bytes()?,
        })
    }

    /// Waits for a message, and takes those that are there with it.
    fn batch(&self) -> Result<Vec<BytesLease<'a>>, Stop> {
        let wanted = usize::try_from(self.left())
            .unwrap_or(usize::MAX)
            .min(MESSAGES);
        let first = self.first()?;
        let mut length = first.len();
        let mut batch = Vec::with_capacity(wanted);
        batch.push(first);
        while batch.len() < wanted && length < BYTES {
            // Whatever the reason is, the next wait meets it again.
            let Ok(message) = self.receiver.try_lease_bytes() else {
                break;
            };
            length += message.len();
            batch.push(message);
        }
        Ok(batch)
    }

    /// Writes messages to standard output, and acknowledges them (RECV-1).
    fn write(&mut self, batch: Vec<BytesLease<'_>>) -> Result<(), End> {
        let mut text = Vec::with_capacity(2 * BYTES);
        for message in &batch {
            if self.as_hex {
                stream::frame(self.args.framing, text::hex(message).as_bytes(), &mut text);
            } else {
                stream::frame(self.args.framing, message, &mut text);
            }
        }
        let mut out = io::stdout().lock();
        out.write_all(&text)?;
        out.flush()?;
        self.received += batch.len() as u64;
        for message in batch {
            message.ack();
        }
        Ok(())
    }

    /// Runs a command for a message, and acknowledges the message if the command succeeds. Otherwise it is returned.
    fn run_command(&mut self, command: &str, message: BytesLease<'_>) -> Result<(), End> {
        let child = Command::new("sh")
            .arg("-c")
            .arg(command)
            .stdin(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| End::failed("sh", error))?;
        if let Some(mut input) = child.stdin.take() {
            // A command need not read its input.
            let _ = input.write_all(&message);
        }
        let status = child.wait().map_err(|error| End::failed("sh", error))?;
        self.received += 1;
        if status.success() {
            message.ack();
        } else {
            eprintln!(
                "workring: {}: the command failed ({status}): the message is returned",
                self.args.name
            );
            message.nack();
        }
        Ok(())
    }

    fn stopped(&self, stop: Stop) -> Result<(), End> {
        let (name, received) = (&self.args.name, self.received);
        let after = |what: &str| format!("{name}: {what} after {received} messages");
        match stop {
            Stop::Closed if self.args.count.is_none() => Ok(()),
            Stop::Empty if self.args.count.is_none() && received > 0 => Ok(()),
            Stop::Closed => Err(End::Closed(after("closed"))),
            Stop::Timeout => Err(End::Timeout(after("no message within the time limit"))),
            Stop::Empty => Err(End::Empty(after("empty"))),
            Stop::Interrupted => Err(End::Signal(self.caught.signal().unwrap_or(2))),
            Stop::TooManyLeases => Err(End::Failed(format!("{name}: the queue permits no lease"))),
            Stop::Failed(error) => Err(End::Failed(after(&error))),
        }
    }
}

pub(crate) fn drain(args: &Drain) -> Result<(), End> {
    let not_opened = |error: OpenError| End::not_opened(&args.name, &error);
    let started = Instant::now();
    let view = QueueView::open(&args.name).map_err(not_opened)?;
    let figures = view.snapshot().figures;
    let waiting = figures.queued.saturating_add(figures.returned);
    if args.dry_run {
        let text = format!("{}: {waiting} messages would be discarded\n", args.name);
        return Ok(output::print(&text)?);
    }
    let receiver = inspect::open_closed_bytes(&args.name).map_err(not_opened)?;
    let mut discarded = 0;
    let mut messages = Vec::new();
    // What is sent meanwhile stays, so that a busy sender does not keep the command forever.
    while discarded < waiting {
        let wanted = usize::try_from(waiting - discarded)
            .unwrap_or(MESSAGES)
            .min(MESSAGES);
        messages.clear();
        match receiver.try_recv_many(&mut messages, wanted) {
            Ok(count) => discarded += count as u64,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            Err(error) => return Err(End::failed(&args.name, with_causes(&error))),
        }
    }
    let time = text::time(started.elapsed());
    let text = format!("{}: {discarded} messages discarded in {time}\n", args.name);
    Ok(output::print(&text)?)
}
