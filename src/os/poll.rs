//! Waiting for descriptors: sockets, processes, events of this process itself.

use super::descriptor::beyond_stdio;
use core::time::Duration;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// Some descriptors, and, after a wait, which of them are ready.
#[derive(Debug, Default)]
pub(crate) struct Poll<'a>(Vec<PollFd<'a>>);

/// One of the descriptors of a [`Poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

impl<'a> Poll<'a> {
    /// No descriptor yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Wait for this one, too: until there is something to read, or its end, or an error to hear of.
    pub(crate) fn readable(&mut self, file: BorrowedFd<'a>) -> Place {
        self.add(file, PollFlags::IN)
    }

    fn add(&mut self, file: BorrowedFd<'a>, flags: PollFlags) -> Place {
        self.0.push(PollFd::from_borrowed_fd(file, flags));
        Place(self.0.len() - 1)
    }

    /// Wait until one of them is ready; false if none was until the deadline. One in the past: look, and don't wait.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let deadline = deadline.filter(|_| !mutant!(PollWithoutDeadline));
        loop {
            let now = Instant::now();
            let remaining = deadline.map(|deadline| deadline.saturating_duration_since(now));
            let remaining = remaining.map(|remaining| Timespec {
                tv_sec: i64::try_from(remaining.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(remaining.subsec_nanos()),
            });
            match poll(&mut self.0, remaining.as_ref()) {
                Ok(0) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return Ok(false);
                }
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the last wait has found it ready.
    pub(crate) fn is_ready(&self, place: Place) -> bool {
        let polled = self.0.get(place.0);
        polled.is_some_and(|polled| !polled.revents().is_empty())
    }
}

/// A set of descriptors to wait for, each with a key, that is kept from one wait to the next.
///
/// Unlike [`Poll`], a wait needs no memory per descriptor and works whatever `RLIMIT_NOFILE` is by then: `poll(2)` fails
/// with `EINVAL` for more descriptors than that.
#[derive(Debug)]
pub(crate) struct Watchlist {
    epoll: OwnedFd,
}

/// Descriptors reported by one wait. Those that are ready and not reported are the first of the next wait.
const REPORTED: usize = 64;
/// A longer wait is split: so the kernel needs no other call than `epoll_pwait(2)`, which every kernel has.
const LONGEST_WAIT: Duration = Duration::from_secs(1_000_000);

impl Watchlist {
    /// Returns an empty set.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = beyond_stdio(epoll::create(CreateFlags::CLOEXEC)?)?;
        Ok(Self { epoll })
    }

    /// Adds a descriptor: it is reported by `key` while there is something to read, or its end, or an error.
    pub(crate) fn add(&self, file: impl AsFd, key: u64) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            file,
            EventData::new_u64(key),
            EventFlags::IN,
        )?)
    }

    /// Removes a descriptor. To be called before it is closed: the kernel goes on reporting it while a forked child has a
    /// copy of it.
    pub(crate) fn remove(&self, file: impl AsFd) {
        // It fails only for a descriptor that is not in the set.
        let _ = epoll::delete(&self.epoll, file);
    }

    /// Blocks until a descriptor is ready, or until `deadline`. Returns the keys of those that are ready: at most
    /// [`REPORTED`], each in its turn.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> io::Result<Vec<u64>> {
        let mut events = Vec::with_capacity(REPORTED);
        loop {
            let now = Instant::now();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
            let wait = left.map(|left| {
                let wait = left.min(LONGEST_WAIT);
                Timespec {
                    tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: i64::from(wait.subsec_nanos()),
                }
            });
            match epoll::wait(&self.epoll, spare_capacity(&mut events), wait.as_ref()) {
                Ok(0) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return Ok(Vec::new());
                }
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => {
                    let keys = events.iter().map(|event: &epoll::Event| event.data.u64());
                    return Ok(keys.collect());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether there is something to read from `file` now, or its end, or an error.
pub(crate) fn is_readable(file: impl AsFd) -> io::Result<bool> {
    let mut poll = Poll::new();
    poll.readable(file.as_fd());
    poll.wait(Some(Instant::now()))
}

/// Whether nothing will ever come from the other end of a socket or pipe: nobody has it open any more, or it was shut down.
pub(crate) fn has_hung_up(file: impl AsFd) -> io::Result<bool> {
    let mut poll = Poll::new();
    // That nobody has it open need not be asked for.
    poll.add(file.as_fd(), PollFlags::RDHUP);
    poll.wait(Some(Instant::now()))
}

/// Something that one thread tells another, who waits for it together with descriptors: it is readable while it is
/// set. Setting it twice counts once.
#[derive(Debug)]
pub(crate) struct Event(OwnedFd);

impl Event {
    /// Not set.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(beyond_stdio(eventfd(0, flags)?)?))
    }

    /// Never waits.
    pub(crate) fn set(&self) {
        // It fails only if it has been set 2^64 times over: then it is set.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Not set any more. To be done before looking at what it tells of. Never waits.
    pub(crate) fn clear(&self) {
        // It fails only if it is not set.
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use std::thread;

    #[test]
    fn an_event_is_set_until_it_is_cleared() {
        let event = Event::new().expect("an event");
        assert!(!is_readable(&event).expect("poll"));
        event.clear();
        event.set();
        event.set();
        assert!(is_readable(&event).expect("poll"));
        event.clear();
        assert!(!is_readable(&event).expect("poll"));
    }

    #[test]
    fn the_one_that_is_ready_is_known() {
        let events = [(); 3].map(|()| Event::new().expect("an event"));
        let mut poll = Poll::new();
        let places = events.each_ref().map(|event| poll.readable(event.as_fd()));
        let ready = |poll: &Poll<'_>| places.map(|place| poll.is_ready(place));
        assert!(!poll.wait(Some(Instant::now())).expect("poll"));
        assert_eq!(ready(&poll), [false; 3]);
        thread::scope(|scope| {
            scope.spawn(|| events[1].set());
            let deadline = Instant::now() + Duration::from_mins(1);
            assert!(poll.wait(Some(deadline)).expect("poll"));
        });
        assert_eq!(ready(&poll), [false, true, false]);
        events[1].clear();
        assert!(!poll.wait(Some(Instant::now())).expect("poll"));
        assert_eq!(ready(&poll), [false; 3], "of the last wait");
    }

    #[test]
    fn a_watchlist_reports_what_is_ready_until_it_is_removed() {
        let events = [(); 3].map(|()| Event::new().expect("an event"));
        let list = Watchlist::new().expect("a list");
        for (key, event) in (7..).zip(&events) {
            list.add(event, key).expect("added");
        }
        let ready = || {
            let mut keys = list.wait(Some(Instant::now())).expect("a wait");
            keys.sort_unstable();
            keys
        };
        assert_eq!(ready(), [0; 0]);
        events[0].set();
        events[2].set();
        assert_eq!(ready(), [7, 9]);
        assert_eq!(ready(), [7, 9], "they are still set");
        list.remove(&events[0]);
        assert_eq!(ready(), [9]);
        events[2].clear();
        assert_eq!(ready(), [0; 0]);
    }

    #[test]
    fn each_of_many_descriptors_has_its_turn_in_a_watchlist() {
        let many = 2 * REPORTED as u64 + 10;
        let list = Watchlist::new().expect("a list");
        let events: Vec<Event> = (0..many)
            .map(|key| {
                let event = Event::new().expect("an event");
                list.add(&event, key).expect("added");
                event.set();
                event
            })
            .collect();
        let mut seen: Vec<u64> = (0..3)
            .flat_map(|_| list.wait(None).expect("a wait"))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), events.len());
    }

    #[test]
    fn a_watchlist_waits_until_its_deadline_and_for_ever_without_one() {
        let list = Watchlist::new().expect("a list");
        let event = Event::new().expect("an event");
        list.add(&event, 1).expect("added");
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(list.wait(Some(deadline)).expect("a wait"), [0; 0]);
        assert!(Instant::now() >= deadline);
        let far = Instant::now().checked_add(Duration::from_secs(u64::MAX / 4));
        for deadline in [None, far] {
            thread::scope(|scope| {
                scope.spawn(|| event.set());
                assert_eq!(list.wait(deadline).expect("a wait"), [1]);
            });
            event.clear();
        }
    }

    #[test]
    fn a_wait_lasts_until_its_deadline() {
        let event = Event::new().expect("an event");
        let mut poll = Poll::new();
        poll.readable(event.as_fd());
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(!poll.wait(Some(deadline)).expect("poll"));
        assert!(Instant::now() >= deadline);
    }
}
