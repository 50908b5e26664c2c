//! Environment variables: those that a process was started with (`/proc/ID/environ`), and removing one from this
//! process.
//!
//! State: the environment of this process.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

/// Returns the value that a variable had when a process was started, whatever it is now; `None` if there was none, or
/// the environment of that process cannot be read.
pub(crate) fn initial_variable(process_id: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{process_id}/environ")).ok()?;
    environment.split(|&byte| byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(OsStr::from_bytes(value).to_string_lossy().into_owned())
    })
}

/// Removes a variable from this process's environment if the process has only one thread. With more, another thread
/// might be reading the environment. Returns whether the variable was removed.
pub(crate) fn remove_variable(name: &str) -> bool {
    if !is_single_threaded() {
        return false;
    }
    // SAFETY: this is the only thread, so no other one reads or writes the environment during the call.
    unsafe { std::env::remove_var(name) };
    true
}

fn is_single_threaded() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
