//! `doctor`, `completions`, `man`, help and errors.

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
fn completions_know_the_commands_of_each_shell() {
    let _watchdog = Watchdog::start();
    for shell in ["bash", "zsh", "fish"] {
        let script = ok(&["completions", shell]);
        assert!(
            script.contains("dead-letters") && script.contains("older-than"),
            "{shell}"
        );
        // Where the shell is installed, it must accept the script.
        if let Ok(mut child) = Command::new(shell)
            .arg("-n")
            .stdin(std::process::Stdio::piped())
            .spawn()
        {
            let mut input = child.stdin.take().expect("a pipe");
            std::io::Write::write_all(&mut input, script.as_bytes()).expect("write");
            drop(input);
            assert!(
                child.wait().expect("wait").success(),
                "{shell} refuses the script"
            );
        } else {
            println!("SKIPPED: {shell} is not installed");
        }
    }
}

#[test]
fn the_manual_pages_have_the_exit_codes() {
    let _watchdog = Watchdog::start();
    let page = ok(&["man"]);
    assert!(page.contains(".TH workring 1") && page.contains("Exit codes"));
    let folder = std::env::temp_dir().join(format!("workring-man-{}", std::process::id()));
    ok(&["man", folder.to_str().expect("a path")]);
    for page in [
        "workring.1",
        "workring-recv.1",
        "workring-dead-letters-requeue.1",
    ] {
        let text = std::fs::read_to_string(folder.join(page))
            .unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains("Exit codes"), "{page}");
    }
    std::fs::remove_dir_all(&folder).expect("remove");
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
