//! A thread for each word, where the kernel has no wait for several.
//!
//! All state is private to the process, and under one lock. Each thread has a post:
//!
//! | post               | thread                         | becomes                                                       |
//! |--------------------|--------------------------------|---------------------------------------------------------------|
//! | Free               | waits for a word               | Asleep, by a wait that has no thread for one of its words     |
//! | Asleep (w)         | sleeps on w, or is about to    | Free, by the thread, when it was woken or w has changed       |
//! | Leaving (w)        | as above, but is to leave w    | Free, by the thread                                           |
//!
//! | `waiting` | `reported` | meaning                                                                                   |
//! |-----------|------------|-------------------------------------------------------------------------------------------|
//! | false     | any        | the owner does not wait: a thread that is woken passes the wake on                        |
//! | true      | false      | the owner waits, for a report                                                             |
//! | true      | true       | a thread has reported: the owner's wait ends                                              |
//!
//! WORDS-1. A thread that is Asleep when a wait begins may sleep since an earlier one, with an older expected value. A
//!     wake reaches it all the same. What came before the wait began, the owner sees: it compares the words after it has
//!     set `waiting`.
//! WORDS-2. A wake that reached a thread is reported to an owner that waits, or passed on. An owner that has been reported
//!     to looks at all words.
//! WORDS-3. A thread never reads its word; the kernel does. So a word that is gone leads to no access to memory.
//! WORDS-4. A forked child has a copy of this, but no threads, and perhaps a locked lock: it leaves everything alone.

use crate::os::clock;
use crate::os::fork::OwnerProcess;
use crate::os::futex::{Address, Slept, WaitWord};
use crate::sync::Ordering;
use core::time::Duration;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// The threads of one sleeper.
#[derive(Debug)]
pub(super) struct Threads {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
    owner: OwnerProcess,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled after a report, and when a thread has left its word.
    owner: Condvar,
    /// Signalled when threads have something to do.
    threads: Condvar,
}

/// See the tables above.
#[derive(Debug, Default)]
struct State {
    waiting: bool,
    reported: bool,
    ending: bool,
    posts: Vec<Post>,
}

#[derive(Clone, Copy, Debug)]
enum Post {
    Free,
    Asleep(Address, u32),
    Leaving(Address),
}

impl Post {
    fn word(self) -> Option<Address> {
        match self {
            Self::Free => None,
            Self::Asleep(word, _) | Self::Leaving(word) => Some(word),
        }
    }
}

/// A thread that is to leave its word may be just about to sleep on it, and then misses the wake. So the wake is repeated
/// until the thread has left, after this time at first, and then after twice the time before.
const FIRST_REPEAT: Duration = Duration::from_micros(100);
const LAST_REPEAT: Duration = Duration::from_millis(100);

impl Threads {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            shared: Arc::default(),
            handles: Vec::new(),
            owner: OwnerProcess::current()?,
        })
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.handles.len()
    }

    /// See [`WordSleeper::wait_any`](super::WordSleeper::wait_any).
    pub(super) fn wait(&mut self, words: &[WaitWord<'_>], limit: Duration) -> io::Result<()> {
        if !self.owner.is_current() {
            // The old threads are leaked (WORDS-4).
            core::mem::forget(core::mem::replace(self, Self::new()?));
        }
        let end = clock::after(Instant::now(), limit);
        self.leave_words_except(words);
        self.assign(words)?;
        // After `waiting` is set (WORDS-1).
        let has_changed = |word: &WaitWord<'_>| word.word.load(Ordering::Relaxed) != word.expected;
        let changed = words.iter().any(has_changed);
        let mut state = self.shared.state.lock();
        while !changed && !state.reported {
            if self.shared.owner.wait_until(&mut state, end).timed_out() {
                break;
            }
        }
        state.waiting = false;
        Ok(())
    }

    /// Gives each word that has no thread a free one, and begins to wait.
    fn assign(&mut self, words: &[WaitWord<'_>]) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        for word in words {
            let address = Address::of(word.word);
            if state.posts.iter().any(|post| post.word() == Some(address)) {
                continue;
            }
            let free = state.posts.iter().position(|p| matches!(p, Post::Free));
            let post = free.unwrap_or(state.posts.len());
            if free.is_none() {
                let shared = Arc::clone(&self.shared);
                let thread = Builder::new().name("workring-word".to_owned());
                self.handles.push(thread.spawn(move || shared.run(post))?);
                state.posts.push(Post::Free);
            }
            if let Some(post) = state.posts.get_mut(post) {
                *post = Post::Asleep(address, word.expected);
            }
        }
        state.waiting = true;
        state.reported = false;
        self.shared.threads.notify_all();
        Ok(())
    }

    /// Makes threads leave all words but these.
    fn leave_words_except(&self, words: &[WaitWord<'_>]) {
        let mut state = self.shared.state.lock();
        for post in &mut state.posts {
            if let Post::Asleep(word, _) = *post
                && !words.iter().any(|other| Address::of(other.word) == word)
            {
                *post = Post::Leaving(word);
            }
        }
        let mut repeat = FIRST_REPEAT;
        loop {
            let leaving = state.posts.iter().filter_map(|post| match *post {
                Post::Leaving(word) => Some(word),
                Post::Free | Post::Asleep(..) => None,
            });
            let mut leaving = leaving.peekable();
            if leaving.peek().is_none() {
                return;
            }
            // All sleepers: the word does not say which of them is the thread.
            leaving.for_each(|word| word.wake(u32::MAX));
            self.shared.owner.wait_for(&mut state, repeat);
            repeat = (repeat * 2).min(LAST_REPEAT);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if !self.owner.is_current() {
            // They are leaked (WORDS-4).
            core::mem::forget(Arc::clone(&self.shared));
            core::mem::take(&mut self.handles)
                .into_iter()
                .for_each(core::mem::forget);
            return;
        }
        self.leave_words_except(&[]);
        self.shared.state.lock().ending = true;
        self.shared.threads.notify_all();
        for thread in self.handles.drain(..) {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Runs the thread of a post.
    fn run(&self, post: usize) {
        let mut state = self.state.lock();
        loop {
            match state.posts.get(post) {
                _ if state.ending => return,
                Some(&Post::Asleep(word, expected)) => {
                    drop(state);
                    let slept = word.wait(expected);
                    state = self.state.lock();
                    state.left(post, word, slept);
                    self.owner.notify_one();
                }
                Some(&Post::Leaving(_)) => {
                    // It was asked to leave before it slept.
                    state.set(post, Post::Free);
                    self.owner.notify_one();
                }
                Some(Post::Free) | None => self.threads.wait(&mut state),
            }
        }
    }
}

impl State {
    /// Notes that the thread of a post has returned from its sleep (WORDS-2).
    fn left(&mut self, post: usize, word: Address, slept: Slept) {
        match self.posts.get(post) {
            // It sleeps again.
            Some(Post::Asleep(..)) if slept == Slept::Interrupted => return,
            Some(Post::Asleep(..)) if self.waiting => self.reported = true,
            Some(Post::Asleep(..)) if slept == Slept::Woken && !mutant!(WordThreadKeepsWake) => {
                word.wake(1);
            }
            // All sleepers of a word that a thread leaves are woken.
            _ => {}
        }
        self.set(post, Post::Free);
    }

    fn set(&mut self, post: usize, to: Post) {
        if let Some(post) = self.posts.get_mut(post) {
            *post = to;
        }
    }
}
