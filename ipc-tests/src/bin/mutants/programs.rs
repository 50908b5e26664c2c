//! Builds the programs that contain the mutants, and makes the commands that run them.

use crate::table::{
    Catcher::{self, Explorer, Ipc, Loom, Neither, Stepkill, Storm, Unit},
    Row,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The seed of the tools.
const SEED: &str = "20261121";

/// Where the programs are.
#[derive(Default)]
pub(crate) struct Programs {
    /// The test programs by name. That of the crate itself is `workring`.
    tests: BTreeMap<String, PathBuf>,
    /// The folder of the tools.
    tools: PathBuf,
}

impl Programs {
    /// Builds what these rows of the table need.
    pub(crate) fn build(rows: &[Row]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = root.join("target/mutants");
        let mut programs = Self {
            tools: target.join("release"),
            ..Self::default()
        };
        let (mut units, mut folders, mut tools) = (false, BTreeSet::new(), false);
        for (_, _, catcher) in rows {
            match catcher {
                Unit(_) => units = true,
                Ipc(folder, _) => _ = folders.insert(*folder),
                Stepkill(_) | Storm(_) => tools = true,
                Explorer | Loom(_) | Neither(_) => {}
            }
        }
        // In one command, so that the crate is built once for both, with the same features.
        if units || !folders.is_empty() {
            let mut arguments = vec!["test", "-p", "workring", "-p", "ipc-tests", "--no-run"];
            if units {
                arguments.push("--lib");
            }
            arguments.extend(folders.iter().flat_map(|folder| ["--test", folder]));
            let output = cargo(&root, &target, &arguments);
            programs.add_tests(&output);
        }
        if tools {
            let arguments = ["build", "--release", "-p", "ipc-tests"];
            let tools = ["--bin", "stepkill", "--bin", "storm"];
            cargo(&root, &target, &[&arguments[..], &tools].concat());
        }
        programs
    }

    /// Reads lines such as `Executable tests/death/main.rs (target/mutants/debug/deps/death-0123)`.
    fn add_tests(&mut self, output: &str) {
        for line in output.lines() {
            let Some(rest) = line.trim().strip_prefix("Executable ") else {
                continue;
            };
            let Some((_, program)) = rest.split_once(" (") else {
                continue;
            };
            let program = program.trim_end_matches(')');
            let file = program.rsplit('/').next().unwrap_or_default();
            let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            self.tests.insert(name.to_owned(), root.join(program));
        }
    }

    /// Returns the command that runs a catcher.
    pub(crate) fn command(&self, catcher: Catcher) -> Command {
        let test = |program: &str, path: &str| {
            let found = self.tests.get(program);
            let mut command = Command::new(found.unwrap_or_else(|| panic!("no test {program}")));
            command.args(["--exact", path, "--nocapture"]);
            command
        };
        let tool = |name: &str, arguments: &str| {
            let mut command = Command::new(self.tools.join(name));
            command.args(arguments.split_whitespace());
            command.args(["--seed", SEED]);
            command
        };
        match catcher {
            Unit(path) => test("workring", path),
            Ipc(folder, path) => test(folder, path),
            Stepkill(arguments) => tool("stepkill", arguments),
            Storm(arguments) => tool("storm", arguments),
            Explorer | Loom(_) | Neither(_) => unreachable!("no command runs it"),
        }
    }
}

/// Runs cargo with the flag that compiles the mutants in. Returns what it prints about the programs.
fn cargo(root: &Path, target: &Path, arguments: &[&str]) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(arguments)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_TERM_COLOR", "never")
        .env("RUSTFLAGS", "--cfg workring_mutants")
        .stdout(Stdio::null())
        .output()
        .expect("run cargo");
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {printed}");
    printed
}
