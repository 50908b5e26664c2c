//! Committing a part of a queue: taking its memory when it is first used ([`crate::protocol::parts`]).

use crate::error::OutOfMemory;
use crate::protocol::parts::{Part, PartMemory};

/// Commits a part, unless it is committed. After an error, another attempt may succeed.
///
/// Any number of processes may do so at once, and each may die at any point (PARTS-5).
#[cold]
pub(crate) fn commit<M: PartMemory>(memory: &M, part: Part) -> Result<(), OutOfMemory> {
    let word = memory.parts();
    loop {
        let seen = word.load();
        if seen.committed().has(part) {
            return Ok(());
        }
        let is_reserved = seen.reserved().has(part);
        if !is_reserved {
            memory.check_own_limit(part, seen.reserved())?;
        }
        // Before the part is reserved, so that a part that the system refuses does not use up the queue's own limit.
        memory.check_limits_of_system(part)?;
        if is_reserved || mutant!(PartNotReserved) || word.reserve(seen, part) {
            break;
        }
    }
    if mutant!(PartMarkedEarly) {
        word.note_committed(part);
    }
    memory.take_part(part)?;
    word.note_committed(part);
    Ok(())
}
