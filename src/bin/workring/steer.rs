//! `close`, `cancel` and `rm`.

use super::args::{Names, Rm};
use super::exit::{End, with_causes};
use super::output;
use workring::error::{OpenError, RemoveError};
use workring::inspect::{self, Address, Bytes};
use workring::queue::{Raw, remove_named};
use workring::{Receiver, Sender};

/// Opens an end of a queue of any codec. The caller sends and receives nothing.
fn open<E: workring::queue::End>(name: &Address) -> Result<E, End> {
    inspect::open_bytes(name, true).map_err(|error| End::not_opened(name, &error))
}

pub(crate) fn close(args: &Names) -> Result<(), End> {
    each(&args.names, |name| {
        let sender: Sender<Bytes, Raw> = open(name)?;
        sender.close();
        Ok(output::print(&format!("{name}: closed\n"))?)
    })
}

pub(crate) fn cancel(args: &Names) -> Result<(), End> {
    each(&args.names, |name| {
        let receiver: Receiver<Bytes, Raw> =
            inspect::open_closed_bytes(name).map_err(|error| End::not_opened(name, &error))?;
        let discarded = receiver.cancel();
        Ok(output::print(&format!(
            "{name}: cancelled, {discarded} messages discarded\n"
        ))?)
    })
}

pub(crate) fn remove(args: &Rm) -> Result<(), End> {
    each(&args.names, |name| {
        remove_one(name, args.force)?;
        Ok(output::print(&format!("{name}: removed\n"))?)
    })
}

/// Removes a named queue that no process uses.
pub(crate) fn remove_one(name: &str, even_foreign: bool) -> Result<(), End> {
    let error = match remove_named(name) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let is_foreign = matches!(
        error,
        RemoveError::Open(OpenError::Version { .. } | OpenError::Layout { .. })
    );
    if is_foreign && even_foreign {
        let removed = inspect::remove_unopened(name).map_err(|error| End::failed(name, error))?;
        return if removed {
            Ok(())
        } else {
            Err(End::Refused(format!(
                "{name}: a process has it open: end that process first"
            )))
        };
    }
    Err(match error {
        RemoveError::Open(error) if is_foreign => End::Refused(format!(
            "{name}: {}; `workring rm --force` removes it if no process has it open",
            json_problem(&error)
        )),
        RemoveError::Open(error) => End::not_opened(name, &error),
        error => End::Refused(format!("{name}: {}", with_causes(&error))),
    })
}

fn json_problem(error: &OpenError) -> String {
    super::json::problem(error)
}

/// Does something with each of several queues, also if it fails for some, and returns the first failure.
fn each<T>(names: &[T], what: impl Fn(&T) -> Result<(), End>) -> Result<(), End> {
    let mut failed = Ok(());
    for name in names {
        match what(name) {
            Ok(()) => {}
            Err(End::Pipe) => return Err(End::Pipe),
            Err(error) if failed.is_ok() => failed = Err(error),
            Err(error) => {
                super::exit::report(&error);
            }
        }
    }
    failed
}
