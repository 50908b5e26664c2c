//! Compares this process after a test with what it was before.
//!
//! GUARD-1. A difference counts only if it lasts for [`PATIENCE`]: the kernel still lists a thread for a moment after it was
//!     joined, and a thread of another test may be about to wait for its turn.
//! GUARD-2. One thread at a time has guards. The others wait, and are on a list: their threads do not count.
//!
//! State: the turn, and that list.

use super::snapshot::{Leak, Snapshot, own_thread};
use core::fmt;
use core::time::Duration;
use parking_lot::{Mutex, ReentrantMutex, ReentrantMutexGuard};
use std::thread;
use std::time::Instant;

/// How long a difference must last (GUARD-1).
const PATIENCE: Duration = Duration::from_secs(3);

/// The pause between two looks. Nothing reports that the kernel has removed a thread from its list.
const PAUSE: Duration = Duration::from_millis(5);

/// Held by the thread whose turn it is. It may have several guards.
static TURN: ReentrantMutex<()> = ReentrantMutex::new(());

/// The threads that wait for their turn.
static WAITING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Takes note of what this process has now. [`LeakGuard::check`], or dropping the guard, fails the test if it has more then.
///
/// Blocks while another thread of this process has a guard.
///
/// # Panics
///
/// If `/proc` is not mounted.
///
/// # Examples
///
/// See the [module](crate::testing).
#[must_use = "a guard compares when it is checked or dropped"]
pub fn leak_guard() -> LeakGuard {
    let me = own_thread();
    WAITING.lock().push(me);
    let turn = TURN.lock();
    WAITING.lock().retain(|&thread| thread != me);
    LeakGuard {
        before: Snapshot::take(),
        is_checked: false,
        _turn: turn,
    }
}

/// Made by [`leak_guard`]. Compares this process with what it was then.
#[must_use = "a guard compares when it is checked or dropped"]
pub struct LeakGuard {
    before: Snapshot,
    is_checked: bool,
    _turn: ReentrantMutexGuard<'static, ()>,
}

impl LeakGuard {
    /// Returns what this process has more than when the guard was made. Empty: nothing has leaked.
    ///
    /// Blocks for up to three seconds while there is any difference, since the kernel still lists a thread for a moment after
    /// it was joined.
    ///
    /// # Examples
    ///
    /// ```standalone_crate
    /// use workring::testing::{Leak, leak_guard};
    ///
    /// let guard = leak_guard();
    /// let file = std::fs::File::open("/dev/null")?;
    /// let leaks = guard.leaks();
    /// assert!(matches!(leaks.as_slice(), [Leak::Descriptor { target, .. }] if target == "/dev/null"));
    /// drop(file);
    /// guard.check();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn leaks(&self) -> Vec<Leak> {
        self.leaks_after(PATIENCE)
    }

    fn leaks_after(&self, patience: Duration) -> Vec<Leak> {
        let deadline = Instant::now() + patience;
        loop {
            // The list first: a thread that waits now was started before the snapshot.
            let waiting = WAITING.lock().clone();
            let mut new = Snapshot::take().beyond(&self.before);
            new.retain(|leak| !matches!(leak, Leak::Thread { id, .. } if waiting.contains(id)));
            if new.is_empty() || Instant::now() >= deadline {
                return new;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Fails the test if anything has leaked. Blocks like [`leaks`](Self::leaks).
    ///
    /// # Panics
    ///
    /// With a list of what has leaked. Dropping a guard that was not checked does the same, unless the thread is panicking.
    ///
    /// # Examples
    ///
    /// ```should_panic,standalone_crate
    /// let guard = workring::testing::leak_guard();
    /// std::mem::forget(std::fs::File::open("/dev/null"));
    /// guard.check();
    /// ```
    #[track_caller]
    pub fn check(mut self) {
        self.fail_for_leaks();
    }

    #[track_caller]
    fn fail_for_leaks(&mut self) {
        self.is_checked = true;
        let leaks = self.leaks();
        let list: Vec<_> = leaks.iter().map(ToString::to_string).collect();
        assert!(
            leaks.is_empty(),
            "the test has left something behind, or another test of this process runs without a guard:\n  {}",
            list.join("\n  ")
        );
    }
}

impl Drop for LeakGuard {
    fn drop(&mut self) {
        if !self.is_checked && !thread::panicking() {
            self.fail_for_leaks();
        }
    }
}

impl fmt::Debug for LeakGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeakGuard")
            .field("before", &self.before)
            .finish_non_exhaustive()
    }
}
