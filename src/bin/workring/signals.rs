//! What Ctrl-C, SIGTERM and SIGHUP do to a command that takes part in a queue: it ends what it does, and leaves.
//!
//! | signals so far | the command                                                                             |
//! |----------------|-----------------------------------------------------------------------------------------|
//! | none           | runs                                                                                    |
//! | one            | ends its wait, gives back what it holds and did not write out, and exits                |
//! | two            | exits at once; what it held is recovered by the next process that uses the queue         |
//!
//! SIGNAL-1. The command leaves its queue only when the call that ended its wait has returned. That call keeps the
//!           attachment alive; if the process exited meanwhile, its entry would stay until another process recovers it.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

/// The signal that has come, if one has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caught {
    signal: Arc<OnceLock<i32>>,
    /// Locked while the first signal is dealt with.
    interrupting: Arc<Mutex<()>>,
}

impl Caught {
    /// Returns the signal, once it is dealt with (SIGNAL-1).
    pub(crate) fn signal(&self) -> Option<i32> {
        let signal = self.signal.get().copied()?;
        drop(self.interrupting.lock());
        Some(signal)
    }
}

/// Catches signals from now on. The first one is recorded, and then `interrupt` is called in a thread of its own.
pub(crate) fn catch(interrupt: impl Fn(i32) + Send + 'static) -> std::io::Result<Caught> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let caught = Caught::default();
    let record = caught.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let _interrupting = record.interrupting.lock();
                if record.signal.set(signal).is_err() {
                    process::exit(128 + signal);
                }
                interrupt(signal);
            }
        })?;
    Ok(caught)
}
