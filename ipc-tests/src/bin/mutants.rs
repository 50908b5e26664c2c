//! Shows that the tests and tools of this crate find faults: breaks the crate in one way after the other, and reports
//! which test or tool has caught it.
//!
//! ```sh
//! cargo run --release -p ipc-tests --bin mutants
//! cargo run --release -p ipc-tests --bin mutants -- --layer pool
//! cargo run --release -p ipc-tests --bin mutants -- SealNotHelped TypeNotChecked
//! ```
//!
//! | argument       | meaning                                                                   |
//! | -------------- | ------------------------------------------------------------------------- |
//! | `--layer NAME` | only the mutants of a layer: `protocol`, `queue`, `segment`, `os`, `pool` |
//! | `MUTANT...`    | only these mutants                                                        |
//!
//! `src/mutants/catalogue.rs` describes each mutant. The table in `mutants/table.rs` lists each with its layer and the
//! cheapest that is known to catch it:
//!
//! | catcher    | what is run                                     | built in                 |
//! | ---------- | ----------------------------------------------- | ------------------------ |
//! | `Unit`     | one test of the crate itself                    | `target/mutants/debug`   |
//! | `Ipc`      | one test between processes                      | `target/mutants/debug`   |
//! | `Stepkill` | `stepkill` with certain arguments               | `target/mutants/release` |
//! | `Storm`    | `storm` with certain arguments, also over pools | `target/mutants/release` |
//!
//! Each catcher runs once without a mutant, and must pass; and once with the mutant switched on, and must fail, or hang
//! for more than ten times as long. Only what the chosen mutants need is built, with `--cfg workring_mutants`. All of
//! them take some twenty minutes. The explorer's own tests run the mutants of the protocol's transitions
//! (`src/protocol/verify/explorer/mutant_tables.rs`), and the models of loom those that only they catch.
//!
//! **Output.** A line for each row of the table: `LAYER MUTANT: caught by CATCHER: REASON`, or `NOT AS EXPECTED`. The
//! last line counts:
//!
//! ```text
//! mutants: 112 as expected, 0 runs not
//! ```
//!
//! | exit code | meaning                                                |
//! | --------- | ------------------------------------------------------ |
//! | 0         | each mutant was caught as expected                     |
//! | 1         | a mutant was not caught, or a catcher fails without it |
//! | 2         | the arguments are wrong                                |

use crate::{
    process::{End, failure_reason, run},
    programs::Programs,
    table::{Catcher, Layer, MUTANTS, Row},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    process::ExitCode,
    time::Duration,
};

#[path = "mutants/process.rs"]
mod process;
#[path = "mutants/programs.rs"]
mod programs;
#[path = "mutants/table.rs"]
mod table;

/// A run with a mutant hangs if it takes this much longer than ten times the run without.
const PATIENCE: Duration = Duration::from_secs(30);
/// The limit of a run without a mutant.
const SOUND_LIMIT: Duration = Duration::from_mins(10);

fn main() -> ExitCode {
    let rows = match chosen_rows() {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("mutants: {error}");
            return ExitCode::from(2);
        }
    };
    let programs = Programs::build(&rows);
    let mut sound_runs = BTreeMap::new();
    let (mut caught, mut failed) = (BTreeSet::new(), 0);
    for (mutant, layer, catcher) in rows {
        let layer = layer.name();
        match try_mutant(&programs, mutant, catcher, &mut sound_runs) {
            Ok(line) => {
                caught.insert(mutant);
                println!("{layer} {mutant}: {line}");
            }
            Err(line) => {
                failed += 1;
                println!("{layer} {mutant}: NOT AS EXPECTED: {line}");
            }
        }
    }
    println!("mutants: {} as expected, {failed} runs not", caught.len());
    ExitCode::from(u8::from(failed > 0))
}

/// Returns the rows of the table that the arguments choose.
fn chosen_rows() -> Result<Vec<Row>, String> {
    let (mut names, mut layer) = (BTreeSet::new(), None);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--layer" {
            let name = arguments.next().unwrap_or_default();
            let found = Layer::ALL.into_iter().find(|layer| layer.name() == name);
            layer = Some(found.ok_or(format!(
                "no layer {name:?}; there are protocol, queue, segment, os and pool"
            ))?);
        } else {
            names.insert(argument);
        }
    }
    let is_unknown = |name: &&String| !MUTANTS.iter().any(|(mutant, ..)| mutant == name);
    if let Some(unknown) = names.iter().find(is_unknown) {
        return Err(format!(
            "no mutant {unknown}; they are in src/mutants/catalogue.rs"
        ));
    }
    let rows = MUTANTS.iter().copied().filter(|&(mutant, of, _)| {
        layer.is_none_or(|layer| layer == of) && (names.is_empty() || names.contains(mutant))
    });
    Ok(rows.collect())
}

/// Runs a catcher without and with a mutant. Returns an error if that does not end as expected. `sound_runs` has the
/// duration of each catcher that has passed without a mutant.
fn try_mutant(
    programs: &Programs,
    mutant: &str,
    catcher: Catcher,
    sound_runs: &mut BTreeMap<Catcher, Duration>,
) -> Result<String, String> {
    match catcher {
        Catcher::Neither(why) => return Ok(format!("by none: it {why}")),
        Catcher::Explorer => return Ok("by the explorer's own tests, not run here".to_owned()),
        Catcher::Loom(path) => return Ok(format!("by a model of loom, not run here: {path}")),
        _ => {}
    }
    let name = format!("{catcher:?}");
    let usual = if let Some(&usual) = sound_runs.get(&catcher) {
        usual
    } else {
        let sound = run(programs.command(catcher), None, SOUND_LIMIT);
        if sound.end != End::Passed {
            return Err(format!("{name} fails without it, too: {}", sound.output));
        }
        if matches!(catcher, Catcher::Unit(_) | Catcher::Ipc(..))
            && !sound.output.contains(" 1 passed;")
        {
            return Err(format!("{name} is no test: {}", sound.output));
        }
        sound_runs.insert(catcher, sound.took);
        sound.took
    };
    let limit = PATIENCE + 10 * usual;
    let broken = run(programs.command(catcher), Some(mutant), limit);
    match broken.end {
        End::Passed => Err(format!("not caught by {name}")),
        End::Hung => Ok(format!("hangs in {name}")),
        End::Failed => {
            let reason = failure_reason(&broken.output);
            Ok(format!("caught by {name}: {reason}"))
        }
    }
}
