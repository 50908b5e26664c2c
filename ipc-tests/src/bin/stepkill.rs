//! Kills or stops a process after each machine instruction of an operation, and checks that the others go on.
//!
//! ```sh
//! cargo run --release -p ipc-tests --bin stepkill -- --op all --mode kill
//! cargo run --release -p ipc-tests --bin stepkill -- --op send --mode stop --at 412
//! ```
//!
//! | option     | value                           | meaning                                                 |
//! | ---------- | ------------------------------- | ------------------------------------------------------- |
//! | `--op`     | a name, or `all` (the default)  | the operation; an unknown name lists them               |
//! | `--mode`   | `kill`, `copy`, `stop`, `pairs` | what happens to the victim; `kill` by default           |
//! | `--sample` | number                          | this many random boundaries of each operation, or pairs |
//! | `--within` | number                          | only the first instructions of each operation           |
//! | `--seed`   | number                          | seed of the random choices                              |
//! | `--at`     | I, or I,J                       | only this boundary, or this pair                        |
//!
//! A *boundary* is the moment after an instruction. The *victim* is this same program, run again and traced: it
//! prepares itself, stops, and from there on runs the operation up to its boundary. Each boundary has a victim and a
//! queue of its own.
//!
//! **Modes.** At each boundary:
//!
//! - `kill`: the victim is killed and reported at once; in a second round it is reported only after four laps of the
//!   ring. Besides, copies are recovered (see below).
//! - `copy`: only the copies.
//! - `stop`: the victim is stopped while two other processes do four laps (`traffic.rs`), and further ones attach, take
//!   messages, reuse the peer entries of the dead, and die; then it is continued. In a second round it is stopped while
//!   the parent does five laps.
//! - `pairs`: the victim is killed at one boundary, and the process that recovers it at another; without `--sample`,
//!   10,000 random pairs.
//!
//! **Boundaries.** Operations of up to 5,000 instructions are tried at every boundary. In longer ones each address is
//! tried at its first two visits and its last; there mode `kill` does one of its two rounds by turns, and mode `stop`
//! does the second round at every other boundary.
//!
//! **Copies.** The whole operation, however long, is stepped through once, and the queue's memory is compared at every
//! boundary. Each content that was not there before is copied; in the copy the victim is dead, and is recovered
//! (`copies.rs`). There are few of them, because few instructions write to the queue.
//!
//! **Predecessors.** Some operations begin when another process, the *predecessor*, is dead already, killed between two
//! transitions of the protocol (`operations/predecessors.rs`).
//!
//! **Futures.** Only the victim's main thread is traced. A future that waits starts another one, that of the reactor: it
//! dies with the victim, but runs on while the victim is stopped, and between two steps.
//!
//! **What is checked.** No process waits for a dead one; each message is in exactly one place; all blocks and peer
//! entries are free; and another lap goes through. The victim prints what it did before the operation, and what the
//! operation returned. So after a kill only the messages of the operation are uncertain: each of them may be there or
//! not, but not twice.
//!
//! **Output.** Each violation is two lines: its kind and its story, and the options that repeat it. The last line
//! counts:
//!
//! ```text
//! copies: 98113 boundaries, 412 that differ
//! stepkill: 12704 boundaries, 0 wedged, 0 lost, 0 duplicated, 0 leaked
//! ```
//!
//! The first of these two is missing in modes without copies. `--at` repeats a copy too, and in mode `kill` also runs a
//! real victim there.
//!
//! | exit code | meaning                                                        |
//! | --------- | -------------------------------------------------------------- |
//! | 0         | no violation                                                   |
//! | 1         | violations, or a boundary that did not end within 240 seconds  |
//! | 2         | the options are wrong, or no boundary was tried                |
//!
//! | file                               | content                                                             |
//! | ---------------------------------- | ------------------------------------------------------------------- |
//! | `campaign.rs`                      | runs many boundaries                                                |
//! | `tally.rs`                         | counts boundaries and violations, and ends the program if it hangs  |
//! | `round.rs`                         | one boundary: a queue, a victim, what happens to it, and the checks |
//! | `copies.rs`                        | copies of the queue in which the victim is dead                     |
//! | `operations.rs`                    | the operations                                                      |
//! | `queue.rs`                         | the parent's end of a queue, and the checks                         |
//! | `testimony.rs`                     | what victims have printed                                           |
//! | `message.rs`, `violation.rs`       | messages; kinds of violations                                       |
//! | `traffic.rs`                       | processes that keep a queue busy                                    |
//! | `traced_operation.rs`, `tracer.rs` | the parent's side of a victim: single steps and breakpoints         |
//! | `path.rs`                          | the boundaries of an operation, and the quickest way to each        |
//! | `victim.rs`, `victim_role.rs`      | the victim's side                                                   |

use crate::{
    campaign::{Campaign, Mode},
    operations::OPERATIONS,
    traffic::TRAFFIC_ROLE,
    victim_role::VICTIM_ROLE,
};
use ipc_tests::role;
use std::{env, process::ExitCode};

#[path = "stepkill/campaign.rs"]
mod campaign;
#[path = "stepkill/copies.rs"]
mod copies;
#[path = "stepkill/message.rs"]
mod message;
#[path = "stepkill/operations.rs"]
mod operations;
#[path = "stepkill/path.rs"]
mod path;
#[path = "stepkill/queue.rs"]
mod queue;
#[path = "stepkill/round.rs"]
mod round;
#[path = "stepkill/tally.rs"]
mod tally;
#[path = "stepkill/testimony.rs"]
mod testimony;
#[path = "stepkill/traced_operation.rs"]
mod traced_operation;
#[path = "stepkill/tracer.rs"]
mod tracer;
#[path = "stepkill/traffic.rs"]
mod traffic;
#[path = "stepkill/victim.rs"]
mod victim;
#[path = "stepkill/victim_role.rs"]
mod victim_role;
#[path = "stepkill/violation.rs"]
mod violation;

fn main() -> ExitCode {
    let first = env::args().nth(1).unwrap_or_default();
    let roles = [VICTIM_ROLE, TRAFFIC_ROLE];
    if roles.iter().any(|(name, _)| *name == first) {
        return role::run(&roles);
    }
    match parse_options(env::args().skip(1)) {
        Ok(campaign) => campaign.run(),
        Err(error) => {
            eprintln!("stepkill: {error}");
            ExitCode::from(2)
        }
    }
}

fn parse_options(mut arguments: impl Iterator<Item = String>) -> Result<Campaign, String> {
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
                // A run that tries nothing finds nothing, and must not look like a success.
                campaign.sample = match number()? {
                    0 => return Err("--sample 0 tries nothing: give at least 1".to_owned()),
                    sample => Some(sample),
                };
            }
            "--within" => campaign.within = number()?,
            "--seed" => campaign.seed = number()?,
            "--at" => {
                let boundaries = value.split(',').map(str::parse).collect::<Result<_, _>>();
                campaign.at = Some(boundaries.map_err(|error| format!("{name} {value}: {error}"))?);
            }
            _ => {
                return Err(format!(
                    "no option {name}; the head of ipc-tests/src/bin/stepkill.rs describes the options"
                ));
            }
        }
    }
    campaign.check()?;
    Ok(campaign)
}
