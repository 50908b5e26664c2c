//! `doctor`, help and errors.

use super::support::{Watchdog, fails, json, ok, run, stdout};
use std::process::Command;

#[test]
fn doctor_gives_each_check_a_verdict_and_a_remedy_if_one_is_needed() {
    let _watchdog = Watchdog::start();
    let value = json("doctor", &["doctor", "--json"]);
    let checks = value["checks"].as_array().expect("checks");
    assert!(checks.len() >= 15);
    for check in checks {
        assert_eq!(
            check["verdict"] == "good",
            check["remedy"].is_null(),
            "{check}"
        );
    }
    let text = ok(&["doctor"]);
    for what in [
        "memory files",
        "locks",
        "pidfds",
        "futex_waitv",
        "/dev/shm size",
        "NOFILE",
        "FSIZE",
        "MEMLOCK",
        "control group",
        "hidepid",
        "namespace",
    ] {
        assert!(text.contains(what), "{what}: {text}");
    }
}

#[test]
fn doctor_finds_a_limit_that_is_too_low() {
    let _watchdog = Watchdog::start();
    let limited = format!(
        "ulimit -n 40; exec {} doctor",
        env!("CARGO_BIN_EXE_workring")
    );
    let output = Command::new("sh")
        .args(["-c", &limited])
        .output()
        .expect("sh");
    let text = stdout(&output);
    let at = text
        .find("warning NOFILE: 40 descriptors")
        .unwrap_or_else(|| panic!("{text}"));
    assert!(
        text[at..]
            .lines()
            .nth(1)
            .is_some_and(|line| line.contains("ulimit -n"))
    );
}

#[test]
fn errors_are_one_line_with_a_remedy() {
    let _watchdog = Watchdog::start();
    assert!(fails(&["stat", "cli-there-is-none"], 3).contains("`workring ls` lists"));
    let no_queue = format!("{}/0", std::process::id());
    assert!(fails(&["stat", &no_queue], 3).contains("`workring ls` lists"));
    assert!(fails(&["stat", "a/b"], 2).contains("PROCESS/DESCRIPTOR"));
    fails(&["nonsense"], 2);
    assert!(stdout(&run(&["--help"])).contains("Exit codes"));
}
