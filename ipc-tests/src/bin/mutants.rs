//! Shows that `stepkill` and `storm` find what they are for: breaks the protocol in one way after the other, and says
//! which of them has seen it, and where.
//!
//! ```text
//! cargo run --release -p ipc-tests --bin mutants [-- MUTANT...]
//! ```
//!
//! Builds both tools with `--cfg workring_mutants`, in a target folder of its own (`target/mutants`), and runs them
//! once with each mutant in force and once with none, which must be found to be in order. The mutants are described in
//! `src/protocol/mutants.rs`. Ends with exit code 1 if one is not caught that should be.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output, Stdio},
};

/// Who is expected to catch a mutant.
#[derive(Clone, Copy)]
enum Catcher {
    /// By these arguments.
    Stepkill(&'static str),
    Storm(&'static str),
    /// Neither; and why.
    Neither(&'static str),
}

use Catcher::{Neither, Stepkill, Storm};

/// All mutants. One that is caught in several ways is there several times.
const MUTANTS: &[(&str, Catcher)] = &[
    (
        "OverwriteWithoutHelp",
        Stepkill("--op try-recv --mode kill"),
    ),
    (
        "OverwriteWithoutHelp",
        Stepkill("--op try-recv --mode copy"),
    ),
    (
        "HelpWithoutReread",
        Stepkill("--op send-over-taker --mode stop --sample 300"),
    ),
    (
        "KeepName",
        Stepkill("--op try-recv --mode kill --sample 20"),
    ),
    ("KeepName", Stepkill("--op try-recv --mode copy")),
    ("KeepName", Storm(BUSY)),
    ("NobodySeals", Stepkill("--op close --mode kill")),
    ("NobodySeals", Stepkill("--op close --mode copy")),
    (
        "ClosedIsNotSticky",
        Stepkill("--op nack-after-end --mode kill"),
    ),
    (
        "ClosedIsNotSticky",
        Stepkill("--op nack-after-end --mode copy"),
    ),
    (
        "VerdictInOnePass",
        Stepkill("--op lease-settled --mode kill --sample 300"),
    ),
    (
        "VerdictInOnePass",
        Stepkill("--op lease-settled --mode copy"),
    ),
    ("SayBeforeReturning", Stepkill("--op nack --mode stop")),
    (
        "ClearWhatHasChanged",
        Stepkill("--op recv-after-returned --mode stop --sample 300"),
    ),
    (
        "ReadLetterAsHeld",
        Stepkill("--op letter-keep-settled --mode kill --sample 300"),
    ),
    (
        "ReadLetterAsHeld",
        Stepkill("--op letter-keep-settled --mode copy"),
    ),
    (
        "CloseAfterArrival",
        Neither(
            "takes three at once: a role that goes from one row to another while a leaver looks",
        ),
    ),
    (
        "RecoverWithoutConfirming",
        Stepkill("--op recover --mode stop --sample 300"),
    ),
    (
        "ConfirmBeforeReading",
        Stepkill("--op recover --mode stop --sample 300"),
    ),
    ("WriteAnyWord", Stepkill("--op recover --mode stop")),
    (
        "RecoverWithoutR3",
        Stepkill("--op recover-taker --mode kill --sample 20"),
    ),
    (
        "RecoverWithoutR3",
        Stepkill("--op recover-taker --mode copy"),
    ),
    ("RecoverWithoutR3", Storm(FULL)),
    (
        "R4KeepsGeneration",
        Stepkill("--op recover-pack --mode stop"),
    ),
    ("RecoverWithoutR6", Stepkill("--op send --mode kill")),
    ("RecoverWithoutR6", Stepkill("--op send --mode copy")),
    ("RecoverWithoutR6", Storm(BUSY)),
    (
        "R6ReadsRingFirst",
        Neither("does no harm by itself: who is dead sends no more, and each exchange is exact"),
    ),
    ("R7WithoutReturned", Stepkill("--op lease --mode kill")),
    ("R7WithoutReturned", Stepkill("--op lease --mode copy")),
    ("R7WithoutReturned", Storm(BUSY)),
    (
        "VacateKeepsIncarnation",
        Stepkill("--op recover --mode stop --sample 100"),
    ),
];

/// Many hands, each with several messages.
const BUSY: &str = "--seconds 30 --senders 2 --receivers 1 --lessees 2 --kills-per-second 150";
/// Half of all blocks are in use at any time.
const FULL: &str = "--seconds 30 --senders 4 --receivers 1 --lessees 0 --kills-per-second 150 --size 64 --capacity 512";
const SEED: &str = "20261121";

fn main() -> ExitCode {
    let wanted: BTreeSet<String> = env::args().skip(1).collect();
    let known = |name: &String| MUTANTS.iter().any(|(mutant, _)| mutant == name);
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        eprintln!("no mutant {unknown}; they are in src/protocol/mutants.rs");
        return ExitCode::from(2);
    }
    let tools = build();
    let mut failed = 0;
    let mut sound = BTreeSet::new();
    for &(mutant, catcher) in MUTANTS {
        if wanted.is_empty() || wanted.contains(mutant) {
            let (line, as_expected) = try_one(&tools, mutant, catcher, &mut sound);
            println!("{mutant}: {line}");
            failed += u32::from(!as_expected);
        }
    }
    println!("mutants: {failed} not as expected");
    ExitCode::from(u8::from(failed > 0))
}

/// Where the tools are that have the mutants.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target/mutants");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(&root)
        .args(["build", "--release", "-p", "ipc-tests"])
        .args(["--bin", "stepkill", "--bin", "storm", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "--cfg workring_mutants")
        .status()
        .expect("run cargo");
    assert!(status.success(), "the tools could not be built");
    target.join("release")
}

/// What came of it, and whether that is as it should be. `sound` has the runs that found nothing without a mutant.
fn try_one(
    tools: &Path,
    mutant: &str,
    catcher: Catcher,
    sound: &mut BTreeSet<String>,
) -> (String, bool) {
    let (tool, arguments) = match catcher {
        Stepkill(arguments) => ("stepkill", arguments),
        Storm(arguments) => ("storm", arguments),
        Neither(why) => return (format!("by neither: it {why}"), true),
    };
    let command = format!("{tool} {arguments}");
    if !sound.contains(&command) {
        let output = run(tools, tool, arguments, None);
        if !output.status.success() {
            return (
                format!("{command} fails without it, too: {}", said(&output)),
                false,
            );
        }
        sound.insert(command.clone());
    }
    let output = run(tools, tool, arguments, Some(mutant));
    if output.status.success() {
        return (format!("NOT caught by {command}"), false);
    }
    let said = said(&output);
    let mut lines = said.lines();
    let violation = lines
        .find(|line| is_violation(line))
        .unwrap_or("it crashed");
    let place = lines.find_map(|line| line.trim().strip_prefix("again: "));
    let place = place.unwrap_or(arguments);
    let violation: String = violation.chars().take(90).collect();
    (format!("caught by {tool} {place}: {violation}"), true)
}

fn run(tools: &Path, tool: &str, arguments: &str, mutant: Option<&str>) -> Output {
    let mut command = Command::new(tools.join(tool));
    command.args(arguments.split_whitespace());
    command.args(["--seed", SEED]).stderr(Stdio::null());
    command.env_remove("WORKRING_MUTANT");
    if let Some(mutant) = mutant {
        command.env("WORKRING_MUTANT", mutant);
    }
    command.output().expect("run a tool")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn is_violation(line: &str) -> bool {
    [
        "Wedged: ",
        "WEDGED",
        "Lost: ",
        "Duplicated: ",
        "Leaked: ",
        "violation: ",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}
