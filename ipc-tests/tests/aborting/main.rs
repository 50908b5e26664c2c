//! Goal: in a program that is built with `panic = "abort"`, the panic of a task is its outcome, with message and place. In a
//! library that a program loads, a pool without a program for its workers is an error.
//!
//! Method: `program.rs` and `library.rs` are built as a package of their own, since the setting is one of the whole program. The
//! program has a task for each place where a worker can panic, and prints the outcomes. The library is loaded into the test. Only
//! these tests build the crate once more; without macros, and with few dependencies.
#![allow(unsafe_code, reason = "a library is loaded and called")]

use ipc_tests::guarded;
use nix::libc;
use std::env;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// For the build, too, which may share its processors with other tests.
const LIMIT: Duration = Duration::from_mins(10);

/// Builds the package, and returns the folder with the program and the library.
fn build() -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = ours.parent().expect("the folder of workring");
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aborting");
    let manifest = format!(
        "[workspace]\n\
         [package]\nname = \"aborting\"\nedition = \"2024\"\n\
         [[bin]]\nname = \"aborting\"\npath = \"{}\"\n\
         [lib]\nname = \"hosted\"\npath = \"{}\"\ncrate-type = [\"cdylib\"]\n\
         [dependencies]\nserde = \"1\"\n\
         workring = {{ path = \"{}\", default-features = false }}\n\
         [profile.dev]\npanic = \"abort\"\ndebug = false\n",
        ours.join("tests/aborting/program.rs").display(),
        ours.join("tests/aborting/library.rs").display(),
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
    target.join("debug")
}

#[test]
fn a_panic_that_ends_the_worker_is_the_outcome_of_its_task() {
    guarded(LIMIT, || {
        let output = Command::new(build().join("aborting"))
            .output()
            .expect("the program");
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

#[test]
fn a_pool_of_a_loaded_library_asks_for_the_program_of_its_workers() {
    guarded(LIMIT, || {
        let library = build().join("libhosted.so");
        let path = CString::new(library.as_os_str().as_bytes()).expect("a path");
        // SAFETY: the library has no constructors of its own.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null());
        // SAFETY: the handle is valid, and the name is a C string.
        let function = unsafe { libc::dlsym(handle, c"start_pool".as_ptr()) };
        assert!(!function.is_null());
        // SAFETY: this is the type of `start_pool` in `library.rs`.
        let start_pool: extern "C" fn() -> *mut libc::c_char =
            unsafe { core::mem::transmute(function) };
        // SAFETY: the function returns a C string that is never freed.
        let text = unsafe { core::ffi::CStr::from_ptr(start_pool()) };
        let text = text.to_str().expect("text");
        assert!(text.contains("libhosted.so is a library that"), "{text}");
        let me = env::current_exe().expect("this program");
        assert!(text.contains(me.to_str().expect("text")), "{text}");
        assert!(text.contains("give `Builder::program` the path"), "{text}");
    });
}
