//! Kills, or stops, a process after each machine instruction of an operation, and checks that the others go on.
//!
//! ```text
//! cargo run --release -p ipc-tests --bin stepkill -- --op all --mode kill
//! ```
//!
//! | option       | value                           | meaning                                                              |
//! |--------------|---------------------------------|----------------------------------------------------------------------|
//! | `--op`       | a name, `all`                   | which operation (by default all); an unknown name lists them         |
//! | `--mode`     | `kill`, `copy`, `stop`, `pairs` | what happens to the victim; in pairs, its recoverer is killed too    |
//! | `--sample`   | number                          | at most so many victims of each operation, or pairs, by the seed     |
//! | `--within`   | number                          | only the first so many instructions of each operation                |
//! | `--seed`     | number                          | of the random choices                                                |
//! | `--at`       | I or I,J                        | this boundary only, or this pair                                     |
//!
//! A *boundary* is the moment after an instruction. The victim is this same program, run again and traced: it prepares
//! itself, stops, and from there on does the operation up to its boundary. Each boundary has a victim and a queue of
//! its own. Operations of up to 5,000 instructions are tried at every boundary; of longer ones, each address at its
//! first two visits and its last. Besides, whoever kills goes once through the whole operation, however long, and looks
//! at the queue at every boundary: of its memory a copy is made, the victim dies in the copy, and the copy is recovered
//! (`copies.rs`). Bytes that an earlier boundary had too are not tried again: few instructions write to the queue.
//!
//! | mode  | at each boundary                                                                                      |
//! |-------|-------------------------------------------------------------------------------------------------------|
//! | kill  | the victim is killed, and reported; and, in another round, reported only after four laps of the ring (of long operations one of the two in turn) |
//! | copy  | nothing but the copies that belong to mode kill                                                       |
//! | stop  | the victim stands still while two other processes do four laps (`carriers.rs`), and further ones come, take messages, get the rows of the dead, and die; then it goes on; and, in another round, while the parent does five laps (of long operations at every other boundary) |
//! | pairs | the victim is killed at one boundary, and whoever clears up after it at another                       |
//!
//! In some operations somebody else is dead when they begin, killed between two rows of the protocol
//! (`operations/corpses.rs`). Afterwards everything is checked: nobody waits for the dead, each message is in exactly
//! one place, all blocks and rows are free, and one more lap goes through. What happened before the operation, and what
//! the operation had come to when it returned, the victim has said on its standard output; so after a kill only the
//! messages that were in flight are uncertain, and each of those may be there or not, but not twice.
//!
//! The last line says what was found, and in how many boundaries; in the modes that copy, the line before it says how
//! many boundaries were looked at, and how many copies that gave. To repeat what went wrong, take the arguments that
//! stand with it: a copy is made again at its boundary only, and in mode kill that boundary gets a real victim, too.

use crate::{
    campaign::{Campaign, Mode},
    carriers::CARRIER,
    operations::OPERATIONS,
    victim::VICTIM,
};
use ipc_tests::role;
use std::{env, process::ExitCode};

#[path = "stepkill/campaign.rs"]
mod campaign;
#[path = "stepkill/carriers.rs"]
mod carriers;
#[path = "stepkill/copies.rs"]
mod copies;
#[path = "stepkill/operations.rs"]
mod operations;
#[path = "stepkill/queue.rs"]
mod queue;
#[path = "stepkill/round.rs"]
mod round;
#[path = "stepkill/route.rs"]
mod route;
#[path = "stepkill/tracer.rs"]
mod tracer;
#[path = "stepkill/victim.rs"]
mod victim;

fn main() -> ExitCode {
    let first = env::args().nth(1).unwrap_or_default();
    let roles = [VICTIM, CARRIER];
    if roles.iter().any(|(name, _)| *name == first) {
        return role::run(&roles);
    }
    match campaign_from(env::args().skip(1)) {
        Ok(campaign) => campaign.run(),
        Err(complaint) => {
            eprintln!("stepkill: {complaint}");
            ExitCode::from(2)
        }
    }
}

fn campaign_from(mut arguments: impl Iterator<Item = String>) -> Result<Campaign, String> {
    let mut campaign = Campaign::new();
    while let Some(name) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        let number = || {
            let number = value.parse::<u64>();
            number.map_err(|error| format!("{name} {value}: {error}"))
        };
        match name.as_str() {
            "--op" if value == "all" => campaign.operations = OPERATIONS.iter().collect(),
            "--op" => {
                let found = OPERATIONS.iter().find(|operation| operation.name == value);
                campaign.operations = vec![found.ok_or_else(|| {
                    let names: Vec<_> = OPERATIONS.iter().map(|known| known.name).collect();
                    format!("no operation {value}; there are: all, {}", names.join(", "))
                })?];
            }
            "--mode" => campaign.mode = Mode::named(&value)?,
            "--sample" => {
                // A run that tries nothing finds nothing, and must not look like one that found all in order.
                campaign.sample = match number()? {
                    0 => return Err("--sample 0 tries nothing: give at least 1".to_owned()),
                    sample => Some(sample),
                };
            }
            "--within" => campaign.within = number()?,
            "--seed" => campaign.seed = number()?,
            "--at" => {
                let steps = value.split(',').map(str::parse).collect::<Result<_, _>>();
                campaign.at = Some(steps.map_err(|error| format!("{name} {value}: {error}"))?);
            }
            _ => {
                return Err(format!(
                    "no option {name}; they are described in the source"
                ));
            }
        }
    }
    campaign.check()?;
    Ok(campaign)
}
