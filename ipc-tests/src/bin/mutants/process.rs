//! Runs a program to its end, with a mutant switched on or without, and finds out why it failed.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio, id},
    thread,
    time::{Duration, Instant},
};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Passed,
    Failed,
    /// It did not end in time, and was killed.
    Hung,
}

/// What a program did.
pub(crate) struct Run {
    pub(crate) end: End,
    /// What it printed, on standard output and standard error.
    pub(crate) output: String,
    pub(crate) took: Duration,
}

/// Runs a command to its end. After `limit` it is killed with its process group.
pub(crate) fn run(mut command: Command, mutant: Option<&str>, limit: Duration) -> Run {
    let path = env::temp_dir().join(format!("workring-mutants-{}", id()));
    let file = fs::File::create(&path).expect("a file");
    command
        .env_remove("WORKRING_MUTANT")
        .envs(mutant.map(|mutant| ("WORKRING_MUTANT", mutant)))
        .stdin(Stdio::null())
        .stderr(file.try_clone().expect("another descriptor"))
        .stdout(file)
        .process_group(0);
    let start = Instant::now();
    let mut child = command.spawn().expect("start it");
    let end = wait(&mut child, start + limit);
    let took = start.elapsed();
    let output = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
    let _ = fs::remove_file(&path);
    Run { end, output, took }
}

fn wait(child: &mut Child, deadline: Instant) -> End {
    loop {
        match child.try_wait().expect("wait") {
            Some(status) if status.success() => return End::Passed,
            Some(_) => return End::Failed,
            None if Instant::now() < deadline => {
                // Leaves the processor to the child.
                thread::sleep(Duration::from_millis(10));
            }
            None => {
                let group = i32::try_from(child.id()).expect("a process id");
                let group = ipc_tests::Pid::from_raw(group);
                let _ = nix::sys::signal::killpg(group, ipc_tests::Signal::SIGKILL);
                child.wait().expect("wait");
                return End::Hung;
            }
        }
    }
}

/// Returns the line of an output that describes the failure. The command that repeats it comes first, if a tool has
/// printed it.
pub(crate) fn failure_reason(output: &str) -> String {
    let marks = [
        "Wedged: ",
        "WEDGED",
        "Lost: ",
        "Duplicated: ",
        "Leaked: ",
        "violation: ",
    ];
    let violation = output
        .lines()
        .find(|line| marks.iter().any(|mark| line.starts_with(mark)));
    let panic_message = || {
        let place = output.lines().find(|line| line.contains("panicked at "))?;
        let next = output.lines().skip_while(|line| *line != place).nth(1);
        Some(next.unwrap_or(place))
    };
    let line = violation.or_else(panic_message).unwrap_or("it crashed");
    let line: String = line.chars().take(100).collect();
    let command = output
        .lines()
        .find_map(|line| line.trim().strip_prefix("to repeat it: "));
    command.map_or(line.clone(), |command| format!("{command}: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_tool_is_its_first_violation_after_the_command_that_repeats_it() {
        let output =
            "seed 7\nLost: 3 is nowhere\n  to repeat it: stepkill --op send --at 7\nLost: 4\n";
        assert_eq!(
            failure_reason(output),
            "stepkill --op send --at 7: Lost: 3 is nowhere"
        );
    }

    #[test]
    fn the_reason_of_a_test_is_its_panic_message() {
        let output = "running 1 test\nthread 'x' panicked at a.rs:1:2:\nnothing came\nnote: y\n";
        assert_eq!(failure_reason(output), "nothing came");
        assert_eq!(failure_reason(""), "it crashed");
    }
}
