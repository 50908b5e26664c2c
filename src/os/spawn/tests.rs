//! Real programs and scripts: where they are found, what they inherit, how a failed start is reported.

use super::signals::mask_signals;
use super::*;
use crate::os::child::ChildProcess;
use crate::os::descriptor::number;
use crate::os::poll::Poll;
use nix::libc;
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

/// A directory with programs, removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir();
        let path = path.join(format!("workring-unit-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn script(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn file(path: impl Into<PathBuf>) -> SpawnRequest {
    SpawnRequest::new(Program::File(path.into()))
}

fn shell(script: &str) -> SpawnRequest {
    let mut request = file("/bin/sh");
    request.arguments = vec!["-c".into(), script.into()];
    request
}

/// Starts a child. Retries while a script is open for writing in a child that another test's thread has forked.
fn start(request: &SpawnRequest) -> io::Result<ChildProcess> {
    loop {
        match ChildProcess::spawn(request, &InheritedFiles::default()) {
            Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) => std::thread::yield_now(),
            started => return started,
        }
    }
}

/// Starts a child and waits for its end.
fn run(request: &SpawnRequest) -> ExitStatus {
    let mut child = start(request).expect("a child");
    let mut poll = Poll::new();
    poll.readable(child.as_fd());
    assert!(poll.wait(None).expect("poll"));
    child.reap().expect("reaped").expect("not reaped elsewhere")
}

/// Runs a script. Returns all that it writes, and the link in `/proc` of the pipe that it writes to.
fn output(script: &str, mut request: SpawnRequest) -> (String, String) {
    let (mut output, its_output) = io::pipe().expect("a pipe");
    let pipe = target(&number(&its_output).to_string());
    let mut inherited = InheritedFiles::default();
    inherited.add_file(&its_output);
    let script = format!("exec >/proc/self/fd/{}\n{script}", number(&its_output));
    request.arguments = vec!["-c".into(), script.into()];
    let mut child = ChildProcess::spawn(&request, &inherited).expect("a shell");
    drop(its_output);
    let mut text = String::new();
    output.read_to_string(&mut text).expect("text");
    child.reap().expect("reaped");
    (text, pipe)
}

/// Returns the link in `/proc` of a descriptor of this process.
fn target(number: &str) -> String {
    let target = fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
    target.to_string_lossy().into_owned()
}

/// Returns what every program that this process starts inherits: the descriptors that are not close-on-exec, because
/// this process has inherited them itself.
fn always_inherited() -> Vec<String> {
    let all = fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let numbers = all.filter_map(|entry| entry.file_name().into_string().ok());
    let is_kept = |number: &String| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
        flags.is_some_and(|flags| flags & libc::O_CLOEXEC == 0)
    };
    numbers
        .filter(is_kept)
        .map(|number| target(&number))
        .collect()
}

#[test]
fn a_program_without_a_slash_is_searched_for_in_the_childs_path() {
    let folder = Folder::new("path");
    let denied = Folder::new("denied");
    folder.script("workring-unit-program", "#!/bin/sh\nexit 5\n", 0o755);
    denied.script("workring-unit-program", "#!/bin/sh\nexit 6\n", 0o644);
    denied.script("workring-unit-denied", "#!/bin/sh\nexit 6\n", 0o644);
    let with_path = |program: &str, path: String| {
        let mut request = file(program);
        request.environment.push(("PATH".into(), Some(path.into())));
        request
    };
    let path = format!("/no/such:{}:{}", denied.0.display(), folder.0.display());
    assert_eq!(
        run(&with_path("workring-unit-program", path.clone())).code(),
        Some(5)
    );
    let error = start(&with_path("workring-unit-denied", path.clone())).expect_err("its mode");
    assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    let error = start(&with_path("workring-unit-none", path)).expect_err("nowhere");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    // An empty part of the path is the working directory.
    let mut here = with_path("workring-unit-program", "/no/such:".to_owned());
    here.directory = Some(folder.0.clone());
    assert_eq!(run(&here).code(), Some(5));
    let mut without = file("sh");
    without.arguments = vec!["-c".into(), "exit 4".into()];
    without.environment.push(("PATH".into(), None));
    assert_eq!(run(&without).code(), Some(4), "the default folders");
}

#[test]
fn a_script_without_an_interpreter_is_run_by_a_shell() {
    let folder = Folder::new("script");
    let path = folder.script("script", "exit $1\n", 0o755);
    let mut request = file(path);
    request.arguments.push("9".into());
    assert_eq!(run(&request).code(), Some(9));
}

#[test]
fn the_error_of_a_failed_start_names_the_cause() {
    let error = start(&file("/no/such/program")).expect_err("no program");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    assert_eq!(
        start(&file("")).expect_err("no name").kind(),
        io::ErrorKind::NotFound
    );
    let mut request = shell("exit 0");
    request.directory = Some("/no/such/directory".into());
    let error = start(&request).expect_err("no directory");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(
        error
            .to_string()
            .contains("working directory /no/such/directory"),
        "{error}"
    );
    for request in [file("a\0b"), shell("a\0b")] {
        let error = start(&request).expect_err("a zero byte");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }
    let closed = {
        let (read, _write) = io::pipe().expect("a pipe");
        let mut inherited = InheritedFiles::default();
        inherited.add_file(&read);
        inherited
    };
    // It succeeds if another test has opened a descriptor of the same number in the meantime.
    if let Err(error) = ChildProcess::spawn(&shell("exit 0"), &closed) {
        assert!(error.to_string().contains("handed over"), "{error}");
    }
}

#[test]
fn failed_starts_leave_no_zombies() {
    let children = || fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for _ in 0..1000 {
        start(&file("/no/such/program")).expect_err("no program");
    }
    assert_eq!(children(), "", "children of this thread");
}

#[test]
fn changes_to_the_environment_are_applied_in_order() {
    let mut request = file("/bin/sh");
    let change = |name: &str, value: Option<&str>| (name.into(), value.map(Into::into));
    request.environment = vec![
        change("WORKRING_A", Some("1")),
        change("WORKRING_A", Some("2 = two")),
        change("WORKRING_B", Some("3")),
        change("WORKRING_B", None),
        change("HOME", None),
    ];
    let path = std::env::var("PATH").expect("a path");
    let (text, _) = output(
        r#"echo "$WORKRING_A,${WORKRING_B-none},${HOME-none},$PATH""#,
        request,
    );
    assert_eq!(text, format!("2 = two,none,none,{path}\n"));
}

#[test]
fn a_child_has_an_empty_input_and_a_group_of_its_own() {
    let (text, _) = output("wc -c; ps -o pgid= -p $$; echo $$", file("/bin/sh"));
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(
        matches!(words.as_slice(), ["0", group, id] if group == id),
        "{text}"
    );
}

#[test]
fn starting_a_child_restores_the_threads_signal_mask() {
    let before = mask_signals(1 << (libc::SIGUSR1 - 1)).expect("a mask");
    assert!(run(&shell("exit 0")).success());
    start(&file("/no/such/program")).expect_err("no program");
    let after = mask_signals(before).expect("a mask");
    assert_eq!(after, 1 << (libc::SIGUSR1 - 1));
    assert_eq!(run(&shell("kill -USR1 $$")).signal(), Some(libc::SIGUSR1));
}

#[test]
fn the_program_of_this_process_has_the_path_of_the_current_executable() {
    let Program::Own(path) = Program::own().expect("this program") else {
        panic!("a path only");
    };
    assert_eq!(path, std::env::current_exe().expect("this program"));
}

/// Each child inherits a pipe of its own, and none of the others' pipes.
#[test]
fn threads_that_start_children_at_the_same_time_do_not_mix_up_descriptors() {
    let always_inherited = always_inherited();
    let always_inherited = &always_inherited;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..20 {
                    let script = format!("echo {thread} {round}; readlink /proc/$$/fd/*");
                    let (text, pipe) = output(&script, file("/bin/sh"));
                    let mut lines = text.lines();
                    assert_eq!(lines.next(), Some(format!("{thread} {round}").as_str()));
                    assert!(lines.clone().any(|line| line == pipe), "{text}");
                    let is_expected = |line: &str| {
                        line == "/dev/null"
                            || line == pipe
                            || always_inherited.iter().any(|link| link == line)
                    };
                    assert!(lines.all(is_expected), "{pipe} {always_inherited:?} {text}");
                }
            });
        }
    });
}
