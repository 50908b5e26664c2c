//! Goal: `examples/digest` prints exactly what `find`, `sort` and `sha256sum` print, and ends in each of its
//! ways with the right exit code, the right words, and no process left behind.
//!
//! Method: run it on trees made for the purpose, and compare with hashes computed here and with the real
//! pipeline. To stop it in the middle, without sleeping: it has begun once it has printed a line, and it
//! can't be done while a file of 1 TiB is not hashed, or while nobody reads what it prints. All processes of
//! a run hold its standard error, so reading that to its end waits for them all. A watchdog kills what hangs.

mod run;
mod tree;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use run::{Run, example, run};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;
use tree::Tree;

fn assert_same_lines(printed: &[u8], expected: &[u8], what: &str) {
    let readable = |list: &[u8]| -> Vec<String> {
        let lines = list.split_inclusive(|&byte| byte == b'\n');
        lines.map(|line| line.escape_ascii().to_string()).collect()
    };
    assert_eq!(readable(printed), readable(expected), "{what}");
}

/// Whether there is a pipeline to compare with: `sha256sum` escapes carriage returns since coreutils 9.0.
fn has_the_tools(tree: &Tree) -> bool {
    let has_find = Command::new("sh")
        .args(["-c", "find . -prune -print0 | sort -z | xargs -0 true"])
        .output();
    let sum = Command::new("sha256sum").arg(tree.path("\r")).output();
    matches!((has_find, sum), (Ok(found), Ok(sum))
        if found.status.success() && found.stderr.is_empty() && sum.stdout.first() == Some(&b'\\'))
}

#[test]
fn the_list_is_what_the_real_pipeline_prints() {
    const PIPELINE: &str = r#"find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"#;
    let tree = Tree::with_odd_files();
    if !has_the_tools(&tree) {
        eprintln!("SKIPPED: no find, sort, xargs and sha256sum of GNU coreutils 9 here");
        return;
    }
    let whole = tree.0.clone().into_os_string().into_encoded_bytes();
    let whole = |end: &str| OsStr::from_bytes(&[&whole, end.as_bytes()].concat()).to_owned();
    let roots: &[&[&str]] = &[
        &[""],
        &["/"],
        &["//"],
        &["/."],
        &["/dir", "/dir/", "", "/dir/../dir"],
        &["/plain"],
        &["/plain", "/new\nline", "/plain"],
        &["/link to file", "/link to dir", "/plain", "/fifo"],
        &["/link to dir/"],
    ];
    for roots in roots {
        let roots: Vec<_> = roots.iter().map(|end| whole(end)).collect();
        let theirs = Command::new("sh")
            .args(["-c", PIPELINE, "sh"])
            .args(&roots)
            .output();
        let ours = run(example().arg("--").args(&roots)).expect("the example");
        assert_eq!(ours.status.code(), Some(0), "{roots:?}");
        assert!(ours.stderr.is_empty(), "{roots:?}: {ours:?}");
        let theirs = theirs.expect("the pipeline").stdout;
        assert!(!theirs.is_empty(), "{roots:?}");
        assert_same_lines(&ours.stdout, &theirs, &format!("{roots:?}"));
    }
    for root in [".", "./", "dir", "./dir//"] {
        let mut pipeline = Command::new("sh");
        pipeline.args(["-c", PIPELINE, "sh", root]);
        let theirs = pipeline.current_dir(&tree.0).output();
        let ours = run(example().arg(root).current_dir(&tree.0)).expect("the example");
        assert_same_lines(&ours.stdout, &theirs.expect("the pipeline").stdout, root);
    }
}

#[test]
fn the_list_is_the_same_however_many_workers_make_it() {
    let odd = Tree::with_odd_files();
    let many = Tree::with_many_files();
    for tree in [&odd, &many] {
        let expected = tree.list();
        for workers in ["1", "2", "5"] {
            let output = run(example().args(["--workers", workers]).arg(&tree.0));
            let output = output.expect("the example");
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert!(output.stderr.is_empty(), "{output:?}");
            assert_same_lines(&output.stdout, &expected, workers);
        }
    }
}

#[test]
fn nothing_to_list_is_an_empty_list() {
    let tree = Tree::new();
    let output = run(example().arg(&tree.0)).expect("the example");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn what_is_missing_or_unreadable_costs_a_line_and_exit_code_1() {
    let tree = Tree::with_odd_files();
    let missing = tree.path("not\nthere");
    // A regular file that opens, but can't be read at its start, not even by root.
    let memory = "/proc/self/mem";
    let mut command = example();
    let output = run(command.arg(&missing).arg(memory).arg(&tree.0)).expect("the example");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_same_lines(&output.stdout, &tree.list(), "all others");
    let words = String::from_utf8(output.stderr).expect("text");
    let lines: Vec<&str> = words.lines().collect();
    let [first, second] = lines.as_slice() else {
        panic!("not two lines: {words:?}");
    };
    assert!(first.contains(r"not\nthere") && first.contains("No such file"));
    assert!(second.contains(memory) && second.contains("Input/output error"));
    // Each is reason enough: one is met by the walk, the other by a worker.
    for path in [missing.as_path(), Path::new(memory)] {
        let output = run(example().arg(path)).expect("the example");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
}

#[test]
fn what_is_forbidden_costs_a_line_and_exit_code_1() {
    const NOBODY: u32 = 65534;
    let tree = Tree::new();
    tree.file("a", "a");
    tree.file("z", "z");
    let list = tree.list();
    tree.file("forbidden\nfile", "secret");
    fs::create_dir(tree.path("forbidden dir")).expect("a directory");
    let forbid = |name: &str, mode| {
        fs::set_permissions(tree.path(name), Permissions::from_mode(mode)).expect("permissions");
    };
    forbid("forbidden\nfile", 0);
    forbid("forbidden dir", 0);

    let mut command = example();
    command.arg(&tree.0);
    if fs::metadata(&tree.0).expect("the tree").uid() == 0 {
        // Nothing is forbidden to root.
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = run(&mut command);
    forbid("forbidden dir", 0o700);
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: root runs this test, and nobody else may run the example");
            return;
        }
        output => output.expect("the example"),
    };
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_same_lines(&output.stdout, &list, "all others");
    let words = String::from_utf8(output.stderr).expect("text");
    assert_eq!(words.lines().count(), 2, "{words:?}");
    for name in [
        "forbidden dir\": Permission",
        r#"forbidden\nfile": Permission"#,
    ] {
        assert!(words.contains(name), "{words:?}");
    }
}

/// The two ways to be in the middle: waiting for a worker, and waiting for somebody to read.
fn for_both_middles(test: impl Fn(Run)) {
    let small = Tree::new();
    small.file("a", "a");
    let large = Tree::with_many_files();
    for tree in [small, large] {
        tree.endless_files();
        test(Run::begun(&tree));
    }
}

/// Stop runs in the middle by `signal`; it must look like a program that a signal ended, seen from a shell.
fn assert_ends_cleanly(signal: Signal, send: impl Fn(Pid, Signal) -> nix::Result<()>) {
    for_both_middles(|run| {
        run.workers();
        send(run.id(), signal).expect("a signal is sent");
        let (status, words) = run.end();
        assert_eq!(status.code(), Some(128 + signal as i32), "{words}");
        assert_eq!(words, "");
    });
}

#[test]
fn an_interrupt_of_the_parent_alone_ends_all() {
    assert_ends_cleanly(Signal::SIGINT, kill);
}

#[test]
fn an_interrupt_from_the_terminal_ends_all() {
    assert_ends_cleanly(Signal::SIGINT, killpg);
}

#[test]
fn a_request_to_terminate_ends_all() {
    assert_ends_cleanly(Signal::SIGTERM, kill);
    assert_ends_cleanly(Signal::SIGTERM, killpg);
}

#[test]
fn the_death_of_a_worker_ends_all_and_is_reported() {
    for choose in [<[Pid]>::first, <[Pid]>::last] {
        for_both_middles(|run| {
            let workers = run.workers();
            let victim = *choose(&workers).expect("a worker");
            kill(victim, Signal::SIGKILL).expect("a worker is killed");
            let (status, words) = run.end();
            assert_eq!(status.code(), Some(2), "{words}");
            assert_eq!(words.lines().count(), 1, "{words}");
            let expected = format!("worker {victim} died unexpectedly (signal: 9 (SIGKILL))");
            assert!(words.contains(&expected), "{words}");
        });
    }
}

#[test]
fn the_death_of_the_parent_ends_its_workers() {
    for_both_middles(|mut run| {
        run.workers();
        kill(run.id(), Signal::SIGKILL).expect("the parent is killed");
        let status = run.child.wait().expect("a child");
        assert_eq!(status.signal(), Some(9));
        assert_eq!(run.last_words(), "");
    });
}

#[test]
fn a_reader_who_has_seen_enough_ends_all_quietly() {
    const SIGPIPE: i32 = 13;
    let tree = Tree::with_many_files();
    let mut run = Run::begun(&tree);
    run.stop_reading();
    let (status, words) = run.end();
    assert_eq!(status.code(), Some(128 + SIGPIPE), "{words}");
    assert_eq!(words, "");
}

#[test]
fn a_full_disk_ends_all_and_is_reported() {
    let tree = Tree::with_odd_files();
    let disk = File::create("/dev/full").expect("a device of Linux");
    let output = run(example().arg(&tree.0).stdout(disk)).expect("the example");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let words = String::from_utf8(output.stderr).expect("text");
    assert_eq!(words.lines().count(), 1, "{words:?}");
    assert!(
        words.contains("standard output: No space left"),
        "{words:?}"
    );
}
