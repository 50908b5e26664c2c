//! Waiting for descriptors: `poll(2)`, `epoll(7)`, `eventfd(2)`.
//!
//! A descriptor is *ready* when a read would not block: there is data, or the end, or an error. State: an [`Epoll`] and
//! an [`EventFd`] each own one descriptor.

use super::descriptor::beyond_stdio;
use core::time::Duration;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// A list of descriptors to wait for, and which of them the last wait has found ready.
#[derive(Debug, Default)]
pub(crate) struct Poll<'a>(Vec<PollFd<'a>>);

/// The place of a descriptor in a [`Poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PollIndex(usize);

impl<'a> Poll<'a> {
    /// Returns an empty list.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a descriptor, to wait until it is ready.
    pub(crate) fn readable(&mut self, file: BorrowedFd<'a>) -> PollIndex {
        self.add(file, PollFlags::IN)
    }

    fn add(&mut self, file: BorrowedFd<'a>, flags: PollFlags) -> PollIndex {
        self.0.push(PollFd::from_borrowed_fd(file, flags));
        PollIndex(self.0.len() - 1)
    }

    /// Blocks until a descriptor is ready, or until `deadline`, and returns false then. With a deadline in the past it
    /// does not block.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let deadline = deadline.filter(|_| !mutant!(PollWithoutDeadline));
        loop {
            let remaining = deadline.map(|deadline| timespec(remaining(deadline)));
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

    /// Returns whether the last wait has found this descriptor ready.
    pub(crate) fn is_ready(&self, index: PollIndex) -> bool {
        let polled = self.0.get(index.0);
        polled.is_some_and(|polled| !polled.revents().is_empty())
    }
}

fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// A set of descriptors to wait for, each with a key. The set is kept from one wait to the next.
///
/// Unlike [`Poll`], a wait needs no memory for each descriptor, and works whatever `RLIMIT_NOFILE` is by then:
/// `poll(2)` fails with `EINVAL` for more descriptors than that limit.
#[derive(Debug)]
pub(crate) struct Epoll {
    epoll: OwnedFd,
}

/// The number of descriptors that one wait reports. Further ready ones are the first that the next wait reports.
const MAX_REPORTED: usize = 64;
/// The longest wait of one system call. A longer wait is split, which `epoll_pwait(2)` can do on every kernel.
const MAX_WAIT: Duration = Duration::from_secs(1_000_000);

impl Epoll {
    /// Returns an empty set.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = beyond_stdio(epoll::create(CreateFlags::CLOEXEC)?)?;
        Ok(Self { epoll })
    }

    /// Adds a descriptor: every wait returns `key` while it is ready.
    pub(crate) fn add(&self, file: impl AsFd, key: u64) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            file,
            EventData::new_u64(key),
            EventFlags::IN,
        )?)
    }

    /// Adds a descriptor: one wait returns `key` when it is ready, and no further one until [`rearm`](Epoll::rearm).
    pub(super) fn add_once(&self, file: impl AsFd, key: u64) -> io::Result<()> {
        let (key, flags) = (
            EventData::new_u64(key),
            EventFlags::IN | EventFlags::ONESHOT,
        );
        Ok(epoll::add(&self.epoll, file, key, flags)?)
    }

    /// Makes one more wait return the key of a descriptor that was added with [`add_once`](Epoll::add_once).
    pub(super) fn rearm(&self, file: impl AsFd, key: u64) -> io::Result<()> {
        let (key, flags) = (
            EventData::new_u64(key),
            EventFlags::IN | EventFlags::ONESHOT,
        );
        Ok(epoll::modify(&self.epoll, file, key, flags)?)
    }

    /// Removes a descriptor. Call it before the descriptor is closed: otherwise the kernel goes on reporting it as long
    /// as a forked child has a copy.
    pub(crate) fn remove(&self, file: impl AsFd) {
        // It fails only for a descriptor that is not in the set.
        let _ = epoll::delete(&self.epoll, file);
    }

    /// Blocks until a descriptor is ready, or until `deadline`. Returns the keys of ready descriptors, at most
    /// [`MAX_REPORTED`]; repeated waits report each ready descriptor in turn.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> io::Result<Vec<u64>> {
        let mut events = Vec::with_capacity(MAX_REPORTED);
        loop {
            let wait = deadline.map(|deadline| timespec(remaining(deadline).min(MAX_WAIT)));
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

impl AsFd for Epoll {
    /// Returns the set's own descriptor, which is ready while one of its descriptors is.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Returns whether the descriptor is ready now. Does not block.
pub(crate) fn is_readable(file: impl AsFd) -> io::Result<bool> {
    let mut poll = Poll::new();
    poll.readable(file.as_fd());
    poll.wait(Some(Instant::now()))
}

/// Returns whether the other end of a socket or pipe will send nothing more: no process has it open, or it was shut
/// down. Does not block.
pub(super) fn has_hung_up(file: impl AsFd) -> io::Result<bool> {
    let mut poll = Poll::new();
    // RDHUP reports a shutdown. HUP, when no process has it open, is always reported.
    poll.add(file.as_fd(), PollFlags::RDHUP);
    poll.wait(Some(Instant::now()))
}

/// A flag that one thread sets and another waits for together with descriptors: its descriptor is ready while it is
/// set.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    /// Returns a flag that is not set.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(beyond_stdio(eventfd(0, flags)?)?))
    }

    /// Sets the flag. Does not block.
    pub(crate) fn set(&self) {
        // It fails only after 2^64 - 1 calls: the flag is set then.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Clears the flag, and returns whether it was set. Of several threads, one gets it. Does not block.
    #[cfg(feature = "rendezvous")]
    pub(crate) fn take(&self) -> bool {
        rustix::io::read(&self.0, &mut [0_u8; 8]).is_ok()
    }

    /// Clears the flag. Call it before checking what the flag announces, so that no change is missed. Does not block.
    pub(crate) fn clear(&self) {
        // It fails only if the flag is not set.
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn an_event_is_set_until_it_is_cleared() {
        let event = EventFd::new().expect("an event");
        assert!(!is_readable(&event).expect("poll"));
        event.clear();
        event.set();
        event.set();
        assert!(is_readable(&event).expect("poll"));
        event.clear();
        assert!(!is_readable(&event).expect("poll"));
    }

    #[test]
    fn a_poll_tells_which_descriptor_is_ready() {
        let events = [(); 3].map(|()| EventFd::new().expect("an event"));
        let mut poll = Poll::new();
        let indices = events.each_ref().map(|event| poll.readable(event.as_fd()));
        let ready = |poll: &Poll<'_>| indices.map(|index| poll.is_ready(index));
        assert!(!poll.wait(Some(Instant::now())).expect("poll"));
        assert_eq!(ready(&poll), [false; 3]);
        thread::scope(|scope| {
            scope.spawn(|| events[1].set());
            let deadline = Instant::now() + Duration::from_secs(60);
            assert!(poll.wait(Some(deadline)).expect("poll"));
        });
        assert_eq!(ready(&poll), [false, true, false]);
        events[1].clear();
        assert!(!poll.wait(Some(Instant::now())).expect("poll"));
        assert_eq!(ready(&poll), [false; 3], "as of the last wait");
    }

    #[test]
    fn an_epoll_reports_a_ready_descriptor_until_it_is_removed() {
        let events = [(); 3].map(|()| EventFd::new().expect("an event"));
        let epoll = Epoll::new().expect("an epoll");
        for (key, event) in (7..).zip(&events) {
            epoll.add(event, key).expect("added");
        }
        let ready = || {
            let mut keys = epoll.wait(Some(Instant::now())).expect("a wait");
            keys.sort_unstable();
            keys
        };
        assert_eq!(ready(), [0; 0]);
        events[0].set();
        events[2].set();
        assert_eq!(ready(), [7, 9]);
        assert_eq!(ready(), [7, 9], "they are still set");
        epoll.remove(&events[0]);
        assert_eq!(ready(), [9]);
        events[2].clear();
        assert_eq!(ready(), [0; 0]);
    }

    #[test]
    fn an_epoll_reports_each_of_many_ready_descriptors_in_turn() {
        let many = 2 * MAX_REPORTED as u64 + 10;
        let epoll = Epoll::new().expect("an epoll");
        let events: Vec<EventFd> = (0..many)
            .map(|key| {
                let event = EventFd::new().expect("an event");
                epoll.add(&event, key).expect("added");
                event.set();
                event
            })
            .collect();
        let mut seen: Vec<u64> = (0..3)
            .flat_map(|_| epoll.wait(None).expect("a wait"))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), events.len());
    }

    #[test]
    fn an_epoll_waits_until_its_deadline_or_without_limit() {
        let epoll = Epoll::new().expect("an epoll");
        let event = EventFd::new().expect("an event");
        epoll.add(&event, 1).expect("added");
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(epoll.wait(Some(deadline)).expect("a wait"), [0; 0]);
        assert!(Instant::now() >= deadline);
        let far = Instant::now().checked_add(Duration::from_secs(u64::MAX / 4));
        for deadline in [None, far] {
            thread::scope(|scope| {
                scope.spawn(|| event.set());
                assert_eq!(epoll.wait(deadline).expect("a wait"), [1]);
            });
            event.clear();
        }
    }

    #[test]
    fn a_wait_lasts_until_its_deadline() {
        let event = EventFd::new().expect("an event");
        let mut poll = Poll::new();
        poll.readable(event.as_fd());
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(!poll.wait(Some(deadline)).expect("poll"));
        assert!(Instant::now() >= deadline);
    }
}
