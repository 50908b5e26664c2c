//! Goal: in a program that is built with `panic = "abort"`, the panic of a task is its outcome, with message and place.
//!
//! Method: `program.rs` is built as a package of its own, since the setting is one of the whole program. It has a task for each
//! place where a worker can panic, and prints the outcomes. Only this test builds the crate once more; without macros, and
//! with few dependencies.

use ipc_tests::guarded;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// For the build, too, which may share its processors with other tests.
const LIMIT: Duration = Duration::from_mins(10);

/// Builds the program, and returns its path.
fn build() -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = ours.parent().expect("the folder of workring");
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aborting");
    let manifest = format!(
        "[workspace]\n\
         [package]\nname = \"aborting\"\nedition = \"2024\"\n\
         [[bin]]\nname = \"aborting\"\npath = \"{}\"\n\
         [dependencies]\nserde = \"1\"\n\
         workring = {{ path = \"{}\", default-features = false }}\n\
         [profile.dev]\npanic = \"abort\"\ndebug = false\n",
        ours.join("tests/aborting/program.rs").display(),
        root.display(),
    );
    fs::create_dir_all(&package).expect("a folder");
    // The same versions as ours. Cargo removes from a lock file what it does not need.
    let lock = fs::read_to_string(root.join("Cargo.lock")).expect("a lock file");
    let written = package.join("written");
    let text = format!("{manifest}\n{lock}");
    // Written only if it changes: another process may read it.
    if fs::read_to_string(&written).ok().as_ref() != Some(&text) {
        fs::write(package.join("Cargo.toml"), manifest).expect("a manifest");
        fs::write(package.join("Cargo.lock"), lock).expect("a lock file");
        fs::write(written, text).expect("a note");
    }
    let target = package.join("target");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--target-dir"])
        .arg(&target)
        .current_dir(&package)
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{output:?}");
    target.join("debug/aborting")
}

#[test]
fn a_panic_that_ends_the_worker_is_the_outcome_of_its_task() {
    guarded(LIMIT, || {
        let output = Command::new(build()).output().expect("the program");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{printed}\n{errors}");
        let lines: Vec<&str> = printed.lines().collect();
        let [
            decode,
            run,
            encode,
            dropped,
            thread,
            echo,
            report,
            map,
            of_map,
            unfit,
        ] = lines[..]
        else {
            panic!("{printed}\n{errors}");
        };
        let at_place = "panicked at";
        for (line, parts) in [
            (
                decode,
                [
                    "decoding the task",
                    at_place,
                    "program.rs:",
                    "no act of number 1 (1)",
                ],
            ),
            (
                run,
                [
                    "2: the task panicked",
                    at_place,
                    "program.rs:",
                    "the act of number 2 (1)",
                ],
            ),
            (
                encode,
                [
                    "could not be sent",
                    at_place,
                    "program.rs:",
                    "no answer of number 3 (1)",
                ],
            ),
        ] {
            for part in parts {
                assert!(line.contains(part), "{part} in {line}");
            }
        }
        // The outcome was sent before the panic, and does not change.
        assert_eq!(dropped, "4: answer 4 (1)");
        assert!(errors.contains("an answer that stays"), "{errors}");
        // A panic of another thread may have nothing to do with the task, which is tried again.
        assert!(
            thread.contains("SIGABRT") && thread.ends_with("(3)"),
            "{thread}"
        );
        assert_eq!(echo, "6: answer 6 (1)");
        let balance =
            "6 tasks submitted = 2 completed + 3 failed + 0 timed out + 0 cancelled + 1 lost";
        assert!(report.starts_with(balance), "{report}");
        // Each death is one, and only those of the other thread are followed by another attempt.
        assert!(
            report.contains("2 retried; 8 workers started, 7 died, 0 killed"),
            "{report}"
        );
        assert_eq!(map, "map: 20 panicked, 20 answers of 40");
        assert!(
            of_map.contains("0 lost to crashes; 0 retried; 21 workers started, 20 died"),
            "{of_map}"
        );
        assert!(
            unfit.contains("nothing is prepared") && unfit.contains("program.rs:"),
            "{unfit}"
        );
    });
}
