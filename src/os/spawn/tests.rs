use super::*;
use crate::os::child::Process;
use crate::os::process::number;
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// A directory with programs, removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("workring-unit-{name}-{}", getpid()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    /// A script, which may be run by everybody, or by nobody.
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

fn file(path: impl Into<PathBuf>) -> Order {
    Order::new(Program::File(path.into()))
}

fn shell(script: &str) -> Order {
    let mut order = file("/bin/sh");
    order.arguments = vec!["-c".into(), script.into()];
    order
}

/// Another thread may have forked while a script was open for writing.
fn start(order: &Order) -> io::Result<Process> {
    loop {
        match Process::start(order, &Inheritance::default()) {
            Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) => std::thread::yield_now(),
            started => return started,
        }
    }
}

/// Started, and waited for.
fn run(order: &Order) -> ExitStatus {
    let process = start(order).expect("a child");
    let mut poll = crate::os::poll::Poll::new();
    poll.readable(process.as_fd());
    assert!(poll.wait(None).expect("poll"));
    process.reap().expect("reaped").expect("by us")
}

/// What a script writes to the end, and the pipe that it writes to.
fn output(script: &str, mut order: Order) -> (String, String) {
    let (mut output, its) = io::pipe().expect("a pipe");
    let pipe = target(&number(&its).to_string());
    let mut inheritance = Inheritance::default();
    inheritance.add_file(&its);
    let script = format!("exec >/proc/self/fd/{}\n{script}", number(&its));
    order.arguments = vec!["-c".into(), script.into()];
    let process = Process::start(&order, &inheritance).expect("a shell");
    drop(its);
    let mut text = String::new();
    output.read_to_string(&mut text).expect("text");
    process.reap().expect("reaped");
    (text, pipe)
}

/// What a descriptor of this process is of.
fn target(number: &str) -> String {
    let target = fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
    target.to_string_lossy().into_owned()
}

/// What each program that this process starts inherits anyway: what it has inherited itself.
fn inherited_anyway() -> Vec<String> {
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
        let mut order = file(program);
        order.environment.push(("PATH".into(), Some(path.into())));
        order
    };
    let path = format!("/no/such:{}:{}", denied.0.display(), folder.0.display());
    assert_eq!(
        run(&with_path("workring-unit-program", path.clone())).code(),
        Some(5)
    );
    let refused = start(&with_path("workring-unit-denied", path.clone())).expect_err("its mode");
    assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
    let refused = start(&with_path("workring-unit-none", path)).expect_err("nowhere");
    assert_eq!(refused.raw_os_error(), Some(libc::ENOENT));
    // An empty part of the path is the working directory.
    let mut here = with_path("workring-unit-program", "/no/such:".to_owned());
    here.directory = Some(folder.0.clone());
    assert_eq!(run(&here).code(), Some(5));
    let mut without = file("sh");
    without.arguments = vec!["-c".into(), "exit 4".into()];
    without.environment.push(("PATH".into(), None));
    assert_eq!(run(&without).code(), Some(4), "the usual folders");
}

#[test]
fn a_script_without_an_interpreter_is_run_by_a_shell() {
    let folder = Folder::new("script");
    let path = folder.script("script", "exit $1\n", 0o755);
    let mut order = file(path);
    order.arguments.push("9".into());
    assert_eq!(run(&order).code(), Some(9));
}

#[test]
fn what_can_not_be_started_is_an_error_that_names_the_cause() {
    let refused = start(&file("/no/such/program")).expect_err("no program");
    assert_eq!(refused.raw_os_error(), Some(libc::ENOENT));
    assert_eq!(
        start(&file("")).expect_err("no name").kind(),
        io::ErrorKind::NotFound
    );
    let mut order = shell("exit 0");
    order.directory = Some("/no/such/directory".into());
    let refused = start(&order).expect_err("no directory");
    assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    assert!(
        refused
            .to_string()
            .contains("working directory /no/such/directory"),
        "{refused}"
    );
    for order in [file("a\0b"), shell("a\0b")] {
        let refused = start(&order).expect_err("a zero byte");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{refused}");
    }
    let gone = Inheritance::default();
    let closed = {
        let (read, _write) = io::pipe().expect("a pipe");
        let mut inheritance = gone;
        inheritance.add_file(&read);
        inheritance
    };
    // Unless another test has opened one of that number meanwhile.
    if let Err(refused) = Process::start(&shell("exit 0"), &closed) {
        assert!(refused.to_string().contains("handed over"), "{refused}");
    }
}

/// Failed children too: the thousand leave neither zombies nor mappings of stacks.
#[test]
fn a_thousand_failed_starts_leave_nothing_behind() {
    let maps = || fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for _ in 0..1000 {
        start(&file("/no/such/program")).expect_err("no program");
    }
    assert_eq!(maps(), "", "children of this thread");
}

#[test]
fn the_environment_is_this_process_s_with_the_changes_in_their_order() {
    let mut order = file("/bin/sh");
    let change = |name: &str, value: Option<&str>| (name.into(), value.map(Into::into));
    order.environment = vec![
        change("WORKRING_A", Some("1")),
        change("WORKRING_A", Some("2 = two")),
        change("WORKRING_B", Some("3")),
        change("WORKRING_B", None),
        change("HOME", None),
    ];
    let path = std::env::var("PATH").expect("a path");
    let (text, _) = output(
        r#"echo "$WORKRING_A,${WORKRING_B-none},${HOME-none},$PATH""#,
        order,
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

/// Blocked in the thread that starts it, handled or ignored in the process.
#[test]
fn the_mask_of_the_thread_is_as_it_was() {
    let before = mask_signals(1 << (libc::SIGUSR1 - 1)).expect("a mask");
    assert!(run(&shell("exit 0")).success());
    start(&file("/no/such/program")).expect_err("no program");
    let after = mask_signals(before).expect("a mask");
    assert_eq!(after, 1 << (libc::SIGUSR1 - 1));
    assert_eq!(run(&shell("kill -USR1 $$")).signal(), Some(libc::SIGUSR1));
}

#[test]
fn this_program_is_known_by_its_path_whatever_has_become_of_its_file() {
    let Program::Own(path) = Program::own().expect("this program") else {
        panic!("a path only");
    };
    assert_eq!(path, std::env::current_exe().expect("this program"));
}

/// Each has a pipe of its own, and nothing of the others.
#[test]
fn threads_that_start_children_at_the_same_time_do_not_mix_them_up() {
    let anyway = inherited_anyway();
    let anyway = &anyway;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..20 {
                    let script = format!("echo {thread} {round}; readlink /proc/$$/fd/*");
                    let (said, pipe) = output(&script, file("/bin/sh"));
                    let mut lines = said.lines();
                    assert_eq!(lines.next(), Some(format!("{thread} {round}").as_str()));
                    assert!(lines.clone().any(|line| line == pipe), "{said}");
                    let is_its_own = |line: &str| {
                        line == "/dev/null" || line == pipe || anyway.iter().any(|it| it == line)
                    };
                    assert!(lines.all(is_its_own), "{pipe} {anyway:?} {said}");
                }
            });
        }
    });
}
