//! Goal: `examples/digest` prints exactly what `find`, `sort` and `sha256sum` print. However it ends, its exit code and
//! its message are right, and no process is left.
//!
//! Method: run it on trees of files made for the purpose, and compare its output with hashes computed here and with the
//! pipeline of these three programs. The tests stop it in the middle without sleeping: it has begun once it has printed
//! a line, and it cannot have finished while a file of 1 TiB is not hashed, or while its output is not read. All
//! processes of a run hold its standard error, so reading that to its end waits for all of them. A watchdog kills a run
//! that hangs.

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

/// Returns whether there is a pipeline to compare with: `sha256sum` escapes carriage returns since coreutils 9.0.
fn has_the_tools(tree: &Tree) -> bool {
    let has_find = Command::new("sh")
        .args(["-c", "find . -prune -print0 | sort -z | xargs -0 true"])
        .output();
    let sum = Command::new("sha256sum").arg(tree.path("\r")).output();
    matches!((has_find, sum), (Ok(found), Ok(sum))
        if found.status.success() && found.stderr.is_empty() && sum.stdout.first() == Some(&b'\\'))
}

#[test]
fn the_list_is_the_same_as_that_of_find_sort_and_sha256sum() {
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
fn the_number_of_workers_does_not_change_the_list() {
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
fn an_empty_directory_gives_an_empty_list() {
    let tree = Tree::new();
    let output = run(example().arg(&tree.0)).expect("the example");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_missing_or_unreadable_file_gives_a_message_and_exit_code_1() {
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
    // Each alone has the same effect: the walk finds one of them, a worker the other.
    for path in [missing.as_path(), Path::new(memory)] {
        let output = run(example().arg(path)).expect("the example");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
}

#[test]
fn a_forbidden_file_or_directory_gives_a_message_and_exit_code_1() {
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
        // Root may read every file.
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = run(&mut command);
    forbid("forbidden dir", 0o700);
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: root runs this test, and user nobody may not run the example");
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

/// Runs `test` on two runs that have begun: one waits for a worker, the other until its output is read.
fn for_both_waits(test: impl Fn(Run)) {
    let small = Tree::new();
    small.file("a", "a");
    let large = Tree::with_many_files();
    for tree in [small, large] {
        tree.endless_files();
        test(Run::begun(&tree));
    }
}

/// Stops runs in the middle by `signal`. The exit code must be that which a shell gives a program that the signal ends.
fn assert_ends_cleanly(signal: Signal, send: impl Fn(Pid, Signal) -> nix::Result<()>) {
    for_both_waits(|run| {
        run.workers();
        send(run.id(), signal).expect("a signal is sent");
        let (status, words) = run.end();
        assert_eq!(status.code(), Some(128 + signal as i32), "{words}");
        assert_eq!(words, "");
    });
}

#[test]
fn an_interrupt_of_the_parent_alone_ends_all_processes() {
    assert_ends_cleanly(Signal::SIGINT, kill);
}

#[test]
fn an_interrupt_from_the_terminal_ends_all_processes() {
    assert_ends_cleanly(Signal::SIGINT, killpg);
}

#[test]
fn a_request_to_terminate_ends_all_processes() {
    assert_ends_cleanly(Signal::SIGTERM, kill);
    assert_ends_cleanly(Signal::SIGTERM, killpg);
}

#[test]
fn the_death_of_a_worker_is_reported_and_ends_all_processes() {
    for choose in [<[Pid]>::first, <[Pid]>::last] {
        for_both_waits(|run| {
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
    for_both_waits(|mut run| {
        run.workers();
        kill(run.id(), Signal::SIGKILL).expect("the parent is killed");
        let status = run.child.wait().expect("a child");
        assert_eq!(status.signal(), Some(9));
        assert_eq!(run.read_stderr(), "");
    });
}

#[test]
fn a_reader_that_closes_the_pipe_ends_all_processes_without_a_message() {
    const SIGPIPE: i32 = 13;
    let tree = Tree::with_many_files();
    let mut run = Run::begun(&tree);
    run.stop_reading();
    let (status, words) = run.end();
    assert_eq!(status.code(), Some(128 + SIGPIPE), "{words}");
    assert_eq!(words, "");
}

#[test]
fn a_full_disk_is_reported_and_ends_all_processes() {
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
