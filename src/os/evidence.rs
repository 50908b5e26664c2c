//! Evidence of how this process was started, which it inherits from the process that started it.
//!
//! | evidence            | survives                                             | lost by                                        |
//! |---------------------|------------------------------------------------------|------------------------------------------------|
//! | initial environment | whatever the program does with its own environment   | a wrapper that clears the environment          |
//! | mark                | closed descriptors, a cleared environment, wrappers  | a wrapper that resets all signal dispositions  |
//!
//! The *mark* is a pattern of ignored real-time signals, see [`MARKED`]. The kernel passes ignored signals on to every
//! program that a process runs or forks, and shells, `env`, `nice`, `timeout`, `strace` and the like leave them alone. The
//! pattern also has signals that are *not* ignored, so that a process that ignores all signals has no mark.

use core::{mem, ptr};
use nix::libc;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// Real-time signals that a marked process ignores at its start.
pub(super) const MARKED: [libc::c_int; 4] = [64, 62, 61, 59];
/// Real-time signals that a marked process does not ignore.
const UNMARKED: [libc::c_int; 3] = [63, 60, 58];

/// Marks this process. Async-signal-safe.
pub(super) fn set_mark() -> io::Result<()> {
    for signal in MARKED {
        set_disposition(signal, libc::SIG_IGN)?;
    }
    for signal in UNMARKED {
        set_disposition(signal, libc::SIG_DFL)?;
    }
    Ok(())
}

/// Whether this process is marked. Only meaningful before the program handles real-time signals itself.
pub(crate) fn is_marked() -> bool {
    MARKED.iter().all(|&signal| is_ignored(signal))
        && !UNMARKED.iter().any(|&signal| is_ignored(signal))
}

/// Removes the mark from this process, and so from the processes that it starts from now on.
pub(crate) fn clear_mark() {
    if is_marked() {
        for signal in MARKED {
            // The numbers are those of signals.
            let _ = set_disposition(signal, libc::SIG_DFL);
        }
    }
}

fn set_disposition(signal: libc::c_int, disposition: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: zeros are a valid value: no flags, no signals blocked.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = disposition;
    // SAFETY: `action` is valid, and its disposition is no handler of this program.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: zeros are a valid value of this struct of integers.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: only asks, and `action` is valid for the answer.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Returns the value that an environment variable had when a process was started, whatever it has now; `None` if there was
/// none, or the environment of that process can't be read.
pub(crate) fn initial_variable(process: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{process}/environ")).ok()?;
    environment.split(|&byte| byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(OsStr::from_bytes(value).to_string_lossy().into_owned())
    })
}

/// Removes a variable from the environment of this process, unless it has several threads: another one might be reading
/// the environment then. Returns whether it was removed.
pub(crate) fn remove_variable(name: &str) -> bool {
    if !is_single_threaded() {
        return false;
    }
    // SAFETY: this is the only thread, so that no other one reads or writes the environment meanwhile.
    unsafe { std::env::remove_var(name) };
    true
}

fn is_single_threaded() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Returns the parent of a process.
pub(crate) fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether a process has a thread of this name, which has at most 15 bytes.
pub(crate) fn has_thread(process: u32, name: &str) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return false;
    };
    threads.flatten().any(|thread| {
        let its = fs::read_to_string(thread.path().join("comm"));
        its.is_ok_and(|its| its.trim_end_matches('\n') == name)
    })
}

/// Whether a process exists, ended or not.
pub(crate) fn exists(process: u32) -> bool {
    let process = i32::try_from(process)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    process.is_some_and(|process| rustix::process::test_kill_process(process) != Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_initial_environment_is_that_of_the_start() {
        let path = initial_variable(std::process::id(), "PATH");
        assert_eq!(path, std::env::var("PATH").ok());
        assert_eq!(initial_variable(std::process::id(), "PAT"), None);
        assert_eq!(initial_variable(std::process::id(), "NO_SUCH_NAME"), None);
    }

    #[test]
    fn a_process_with_several_threads_keeps_its_environment() {
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || receiver.recv());
            assert!(!remove_variable("PATH"));
            drop(sender);
        });
        assert!(std::env::var_os("PATH").is_some());
    }

    #[test]
    fn the_parent_and_the_threads_of_a_process_are_known() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("a child");
        assert_eq!(parent(child.id()), Some(std::process::id()));
        assert!(exists(child.id()));
        child.kill().expect("kill");
        child.wait().expect("reaped");
        assert!(!exists(child.id()));
        let named = std::thread::Builder::new().name("fifteen-letters".to_owned());
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel::<()>();
        let thread = named.spawn(move || {
            ready.send(()).expect("the test waits");
            receiver.recv()
        });
        is_ready.recv().expect("it runs");
        assert!(has_thread(std::process::id(), "fifteen-letters"));
        assert!(!has_thread(std::process::id(), "fifteen"));
        drop(sender);
        let _ = thread.expect("a thread").join();
    }

    /// In a process of its own, whose dispositions are nobody else's.
    #[test]
    fn the_mark_passes_through_wrappers_and_can_be_cleared() {
        const CHILD: &str = "WORKRING_TEST_MARK";
        match std::env::var(CHILD).as_deref() {
            Ok("marked") => {
                assert!(is_marked());
                clear_mark();
                assert!(!is_marked());
                return;
            }
            Ok("all ignored") => return assert!(!is_marked()),
            _ => {}
        }
        assert!(!is_marked());
        let run = |how: &str, ignored: &'static [libc::c_int], shell: &str| {
            let me = std::env::current_exe().expect("this program");
            let test = "os::evidence::tests::the_mark_passes_through_wrappers_and_can_be_cleared";
            let script = format!(
                "{shell} env -i {CHILD}='{how}' {} --exact {test}",
                me.display()
            );
            let mut command = Command::new("sh");
            command
                .args(["-c", &script])
                .stdout(std::process::Stdio::null());
            let prepare = move || {
                set_mark()?;
                ignored
                    .iter()
                    .try_for_each(|&signal| set_disposition(signal, libc::SIG_IGN))
            };
            // SAFETY: the closure only makes system calls.
            unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, prepare) };
            assert!(command.status().expect("a shell").success(), "{script}");
        };
        run("marked", &[], "exec");
        run("marked", &[], "nice setsid --wait");
        run("marked", &[], "timeout 60");
        run("all ignored", &UNMARKED, "exec");
    }
}
