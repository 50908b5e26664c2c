//! Measures time, unless this process was stopped during the measurement.
//!
//! A measurement elsewhere on the machine may stop all tests for a minute. A stopped process gets a SIGCONT before it
//! continues, so a handler of that signal distinguishes a long stop from a long wait.

use signal_hook::{consts::SIGCONT, flag};
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

static RESUMED: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
    let resumed = Arc::default();
    flag::register(SIGCONT, Arc::clone(&resumed)).expect("a handler of SIGCONT");
    resumed
});

/// Returns the time that `body` takes, or `None` if this process was stopped during that time. For one thread at
/// a time.
pub fn time(body: impl FnOnce()) -> Option<Duration> {
    RESUMED.store(false, Ordering::SeqCst);
    let start = Instant::now();
    body();
    let took = start.elapsed();
    (!RESUMED.load(Ordering::SeqCst)).then_some(took)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    #[test]
    fn a_time_with_a_stop_in_it_says_nothing() {
        assert_eq!(time(|| raise(Signal::SIGCONT).expect("raise")), None);
    }
}
