//! Marks a process as started by this crate, so that it, and programs run in its place, can find out later.
//!
//! The *mark* is a pattern of ignored real-time signals (`sigaction(2)`): those of [`IGNORED`] are ignored and those of
//! [`NOT_IGNORED`] are not, so that a process that ignores all signals is not marked. The kernel keeps ignored signals
//! across `fork(2)` and `execve(2)`, and shells, `env`, `nice`, `timeout`, `strace` and the like leave them alone.
//!
//! The [initial environment](super::environment) is the other evidence of such a start:
//!
//! | evidence            | survives                                            | lost by a wrapper that        |
//! |---------------------|-----------------------------------------------------|-------------------------------|
//! | initial environment | changes that the program makes to its environment   | clears the environment        |
//! | mark                | closed descriptors, a cleared environment, wrappers | resets all signal dispositions |
//!
//! State: the signal dispositions of this process.

use core::{mem, ptr};
use nix::libc;
use std::io;

/// Real-time signals that a marked process ignores.
const IGNORED: [libc::c_int; 4] = [64, 62, 61, 59];
/// Real-time signals that a marked process does not ignore.
const NOT_IGNORED: [libc::c_int; 3] = [63, 60, 58];

/// Marks this process. Async-signal-safe.
pub(super) fn set() -> io::Result<()> {
    for signal in IGNORED {
        set_disposition(signal, libc::SIG_IGN)?;
    }
    for signal in NOT_IGNORED {
        set_disposition(signal, libc::SIG_DFL)?;
    }
    Ok(())
}

/// Returns whether this process is marked. Only meaningful before the program handles real-time signals itself.
pub(crate) fn is_set() -> bool {
    IGNORED.iter().all(|&signal| is_ignored(signal))
        && !NOT_IGNORED.iter().any(|&signal| is_ignored(signal))
}

/// Removes the mark from this process, and so from the processes that it starts from now on.
pub(crate) fn clear() {
    if is_set() {
        for signal in IGNORED {
            // It fails only for a number that is no signal's.
            let _ = set_disposition(signal, libc::SIG_DFL);
        }
    }
}

fn set_disposition(signal: libc::c_int, disposition: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: all zeros are a valid `sigaction`: no flags, no blocked signals.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = disposition;
    // SAFETY: `action` is valid, and `SIG_IGN` or `SIG_DFL` runs no code of this program.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all zeros are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: the call changes nothing, and `action` is valid for its answer.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    /// Runs itself in child processes, because the dispositions belong to the whole process.
    #[test]
    fn the_mark_passes_through_wrappers_and_can_be_cleared() {
        const CHILD: &str = "WORKRING_TEST_MARK";
        match std::env::var(CHILD).as_deref() {
            Ok("marked") => {
                assert!(is_set());
                clear();
                assert!(!is_set());
                return;
            }
            Ok("all ignored") => return assert!(!is_set()),
            _ => {}
        }
        assert!(!is_set());
        let run = |case: &str, also_ignored: &'static [libc::c_int], wrapper: &str| {
            let me = std::env::current_exe().expect("this program");
            let test = "os::mark::tests::the_mark_passes_through_wrappers_and_can_be_cleared";
            let script = format!(
                "{wrapper} env -i {CHILD}='{case}' {} --exact {test}",
                me.display()
            );
            let mut command = Command::new("sh");
            command.args(["-c", &script]).stdout(Stdio::null());
            let prepare = move || {
                set()?;
                also_ignored
                    .iter()
                    .try_for_each(|&signal| set_disposition(signal, libc::SIG_IGN))
            };
            // SAFETY: the closure only makes system calls.
            unsafe { command.pre_exec(prepare) };
            assert!(command.status().expect("a shell").success(), "{script}");
        };
        run("marked", &[], "exec");
        run("marked", &[], "nice setsid --wait");
        run("marked", &[], "timeout 60");
        run("all ignored", &NOT_IGNORED, "exec");
    }
}
