//! `dead-letters`: list, requeue, drop.

use super::args::{LetterChoice, Letters};
use super::exit::{End, with_causes};
use super::output;
use super::peek::{self, Shown};
use workring::Sender;
use workring::error::TrySendError;
use workring::inspect::{self, Bytes, Place, QueueView};
use workring::queue::Raw;

pub(crate) fn run(command: &Letters) -> Result<(), End> {
    match command {
        Letters::List(args) => {
            let shown = Shown {
                count: usize::MAX,
                max_bytes: args.max_bytes,
                hex: args.hex,
                json: args.json,
            };
            peek::show(&args.name, &[Place::Dead], &shown)
        }
        Letters::Requeue(args) => requeue(args),
        Letters::Drop(args) => drop_letters(args),
    }
}

/// Returns how many dead letters there are, at most as many as are chosen.
fn chosen(args: &LetterChoice) -> Result<u64, End> {
    let view = QueueView::open(&args.name).map_err(|error| End::not_opened(&args.name, &error))?;
    let there = view.snapshot().figures.dead_letters;
    let wanted = args.count.map_or(u64::MAX, |count| count as u64);
    match there.min(wanted) {
        0 => Err(End::Empty(format!(
            "{}: there are no dead letters",
            args.name
        ))),
        count => Ok(count),
    }
}

/// Sends dead letters again, oldest first. Each is discarded once its copy is accepted: if this process is killed in
/// between, both stay.
fn requeue(args: &LetterChoice) -> Result<(), End> {
    let name = &args.name;
    let count = chosen(args)?;
    if args.dry_run {
        return Ok(output::print(&format!(
            "{name}: {count} dead letters would be sent again\n"
        ))?);
    }
    let sender: Sender<Bytes, Raw> =
        inspect::open_bytes(name, true).map_err(|error| End::not_opened(name, &error))?;
    let receiver =
        inspect::open_closed_bytes(name).map_err(|error| End::not_opened(name, &error))?;
    let mut sent: u64 = 0;
    for letter in receiver.dead_letters() {
        if sent >= count {
            break;
        }
        match sender.try_send(letter.bytes()) {
            Ok(()) => letter.discard(),
            Err(TrySendError::Full(_)) => {
                return Err(End::Empty(format!(
                    "{name}: the queue is full; {sent} dead letters were sent again: repeat the command later"
                )));
            }
            Err(TrySendError::Closed(_)) => {
                return Err(End::Closed(format!(
                    "{name}: the queue is closed; {sent} dead letters were sent again"
                )));
            }
            Err(error) => return Err(End::failed(name, with_causes(&error))),
        }
        sent += 1;
    }
    Ok(output::print(&format!(
        "{name}: {sent} dead letters were sent again\n"
    ))?)
}

fn drop_letters(args: &LetterChoice) -> Result<(), End> {
    let name = &args.name;
    let count = chosen(args)?;
    if args.dry_run {
        return Ok(output::print(&format!(
            "{name}: {count} dead letters would be dropped\n"
        ))?);
    }
    let receiver =
        inspect::open_closed_bytes(name).map_err(|error| End::not_opened(name, &error))?;
    let mut dropped: u64 = 0;
    for letter in receiver.dead_letters() {
        if dropped >= count {
            break;
        }
        letter.discard();
        dropped += 1;
    }
    Ok(output::print(&format!(
        "{name}: {dropped} dead letters were dropped\n"
    ))?)
}
