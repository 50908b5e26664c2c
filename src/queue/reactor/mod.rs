//! The reactor: wakes the futures of this process that wait for queues.
//!
//! A future does not sleep on a parking word itself, since it must not block its thread. It takes a place in the *line* of
//! the word, and a thread of the reactor sleeps for all of them. There is one thread for each [`Lane`](lane::Lane) of up
//! to 127 words. It is started by the first future that is pending, and ends with the last handle of the last queue in its lane.
//!
//! A *seat* is one parking word of one queue in its lane:
//!
//! | in line | `key` | the parking word | meaning                                                                  |
//! |---------|-------|------------------|--------------------------------------------------------------------------|
//! | none    | -     | any              | no future waits, and the thread does not sleep on the word               |
//! | some    | -     | any              | a future has just come: the thread has been kicked, and will attend      |
//! | some    | k     | k                | the thread sleeps on the word, or is about to; *has waiters* is set      |
//! | some    | k     | another value    | notified, or another sleeper has come: the thread will attend            |
//! | none    | k     | k                | as above, for the next future that comes: nothing need be done for it    |
//! | none    | k     | another value    | the thread will pass on the wake, which it may have taken, and clear `key` |
//!
//! To *attend* to a seat with futures in line and without a valid key is what a sleeper does before it sleeps: announce
//! (`prepare_wait`), fence, and look once more; if there is something to take, wake the first future in line.
//!
//! | the thread is | it                                      | a future that comes, for a seat without key            |
//! |---------------|-----------------------------------------|--------------------------------------------------------|
//! | `Awake`       | will attend to all seats before it sleeps | does nothing                                         |
//! | `Calling`     | calls wakers, or sweeps: user code      | does nothing                                           |
//! | `Asleep`      | sleeps, or is about to                  | makes it `Awake`, raises the lane's own word, wakes it |
//!
//! REACTOR-1. A future tries, takes its place in line, and tries once more before it is pending. What was published before
//!     the thread attended last is found by that last try: the thread's lock, or the one of the exchange that the thread
//!     has seen, comes in between. What is published later finds the future in line.
//! REACTOR-2. The thread sleeps on a word only with a key that it has announced itself, and compares it with the word each
//!     time that it is awake. A wake that another word's wake has overtaken shows in the value.
//! REACTOR-3. After each announcement the thread looks once more, because a notifier that woke no process clears *has waiters*
//!     (PARK-3). It announces only if its key is no longer valid, or the liveness interval has passed. So an announcement of
//!     one process makes another one announce only if that one was between its own announcement and its sleep, as with
//!     blocking sleepers, and futures never announce: idle processes come to rest.
//! REACTOR-4. The baton: a future that was woken and leaves the line, because it has taken something, has failed, or was
//!     dropped, looks at the queue. If there is something for another one it wakes the next in line; if there is none and
//!     it has not used its wake, it passes the wake on to another process (PARK-4). It leaves the line before it looks. It
//!     keeps the baton if it comes into line again: that poll may have begun, and found nothing, before the wake. So a wake
//!     is lost neither with a dropped future, nor if the thread wakes one future for several notifications.
//! REACTOR-5. Close and cancel wake all in line. So does the end of the wait on a word whose notifications wake all
//!     (`Blocks`); such a word needs no baton.
//! REACTOR-6. No user code (a waker's call, clone or drop, a `tracing` subscriber) runs under a lock, nor while another thread
//!     waits for the reactor's. A panic in it is caught.
//! REACTOR-7. A queue stays mapped while the thread sleeps on a word of it: the seat and the sleep have references to its
//!     attachment. The last handle gives up the seats of its queue, and waits until the thread refers to them no more. It then passes on
//!     the wake that the thread may have taken last.
//!
//! What is private to the process (a batch in a receiver's store, an interrupt) does not show in the shared words. It makes
//! all futures of that word in this process try again ([`Seats::call_all`]).
//!
//! Crash: a process that dies with futures pending is a sleeper that dies. Its bit costs one needless wake; a wake that it took
//! along is made up for by the liveness interval, after which each thread announces and looks again.
//!
//! Fork: a forked child is not attached, so its calls fail before they come here. For a queue of its own it has a reactor
//! of its own ([`process`]).

mod lane;
#[cfg(all(test, loom))]
mod loom_models;
#[cfg(not(loom))]
mod process;
mod seat;
#[cfg(not(loom))]
mod seats;
mod source;
#[cfg(not(loom))]
mod wakers;

#[cfg(not(loom))]
pub(in crate::queue) use seats::{Place, Seats, Word};
pub(crate) use source::{Found, Source};
