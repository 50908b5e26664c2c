//! Waiting for descriptors: sockets, processes, events of this process itself.

use super::descriptor::beyond_stdio;
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
    fn a_wait_lasts_until_its_deadline() {
        let event = Event::new().expect("an event");
        let mut poll = Poll::new();
        poll.readable(event.as_fd());
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(!poll.wait(Some(deadline)).expect("poll"));
        assert!(Instant::now() >= deadline);
    }
}
