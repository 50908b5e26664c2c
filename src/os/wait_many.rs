//! Sleeping on several words at once: `futex_waitv(2)`, which Linux has since 5.16. As in [`futex`], the words may be
//! shared with other processes.
//!
//! Where the kernel does not have the call, or a filter refuses it, a thread for each word [sleeps](threads) in the
//! ordinary wait instead, and reports.
//!
//! | [`REFUSED`] | meaning                                                                                     |
//! |-------------|---------------------------------------------------------------------------------------------|
//! | false       | no call was refused yet                                                                     |
//! | true        | a call was refused (`ENOSYS`, `EPERM`): this process does not try again                     |

mod threads;

use super::futex;
pub(crate) use super::futex::WaitWord;
use crate::os::clock;
use crate::sync::{AtomicBool, Ordering};
use core::time::Duration;
use rustix::io::Errno;
use rustix::thread::ClockId;
use rustix::thread::futex::{Timespec, Wait, WaitFlags, WaitPtr, WaitvFlags, waitv};
use std::io;
use std::thread::sleep;
use threads::Threads;

/// The largest number of words of one wait. The kernel's limit.
pub(crate) const MAX_WORDS: usize = 128;

/// What a thread needs to sleep on several words, time after time: nothing, or, where the kernel has no such wait, a
/// thread for each word.
///
/// Such a thread stays asleep on its word when a wait has ended, for the next wait on the same word. A wake that reaches
/// it in between is passed on to another sleeper. So a word must stay mapped until a wait without it,
/// [`release`](WordSleeper::release) or dropping the sleeper has returned: these end the thread, which needs the word
/// for that (but no memory is accessed if it is gone). To end a thread, all sleepers of its word are woken; they check and
/// sleep again.
#[derive(Debug, Default)]
pub(crate) struct WordSleeper {
    threads: Option<Threads>,
}

static REFUSED: AtomicBool = AtomicBool::new(false);

impl WordSleeper {
    /// Returns a sleeper without threads. Never fails, and takes no memory.
    pub(crate) const fn new() -> Self {
        Self { threads: None }
    }

    /// Sleeps until one of the words is woken or differs from its expected value, for at most `limit`. May return early
    /// for no reason, and does not tell why it returned: the caller compares every word with its expected value. A word
    /// that differs may have been woken, whether or not another one ended the sleep.
    ///
    /// No two of the words may be the same one. If there are none, sleeps for `limit`.
    ///
    /// # Errors
    ///
    /// There are more than [`MAX_WORDS`] words; the kernel has no memory; where threads are needed, the system has none
    /// left. Nothing has slept then, so do not call again at once.
    pub(crate) fn wait_any(&mut self, words: &[WaitWord<'_>], limit: Duration) -> io::Result<()> {
        match words {
            [] => sleep(limit),
            [one] => {
                self.release();
                futex::wait(one.word, one.expected, limit);
            }
            _ if words.len() > MAX_WORDS => return Err(io::ErrorKind::InvalidInput.into()),
            _ if REFUSED.load(Ordering::Relaxed) => return self.threads()?.wait(words, limit),
            _ => match wait_in_kernel(words, limit) {
                Err(Errno::NOSYS | Errno::PERM) => {
                    REFUSED.store(true, Ordering::Relaxed);
                    return self.threads()?.wait(words, limit);
                }
                // A wake, a changed word, a signal and the limit all mean the same to the caller.
                Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
                Err(error) => return Err(error.into()),
            },
        }
        Ok(())
    }

    /// Ends the threads, if there are any. Returns when no thread sleeps on a word any more.
    pub(crate) fn release(&mut self) {
        self.threads = None;
    }

    fn threads(&mut self) -> io::Result<&mut Threads> {
        let threads = match self.threads.take() {
            Some(threads) => threads,
            None => Threads::new()?,
        };
        Ok(self.threads.insert(threads))
    }
}

/// Makes all sleepers of this process that begin a wait from now on use threads.
#[cfg(feature = "test-hooks")]
pub(crate) fn refuse_waitv() {
    REFUSED.store(true, Ordering::Relaxed);
}

fn wait_in_kernel(words: &[WaitWord<'_>], limit: Duration) -> Result<usize, Errno> {
    let waits: Vec<Wait> = words
        .iter()
        .map(|word| {
            let mut wait = Wait::new();
            wait.val = word.expected.into();
            wait.uaddr = WaitPtr::new(core::ptr::from_ref(word.word).cast_mut().cast());
            wait.flags = WaitFlags::SIZE_U32;
            wait
        })
        .collect();
    // Unlike that of a wait for one word, this time limit is a moment.
    let end = Duration::from_nanos(clock::now()).saturating_add(limit);
    let end = Timespec {
        tv_sec: i64::try_from(end.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(end.subsec_nanos()),
    };
    waitv(&waits, WaitvFlags::empty(), Some(&end), ClockId::Monotonic)
}

#[cfg(test)]
mod tests;
