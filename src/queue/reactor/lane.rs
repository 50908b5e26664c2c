//! A lane: the state that one thread of the reactor shares with the futures it serves. See the table in [`super`].

use super::seat::{Seat, Ticket};
use super::source::Source;
use crate::protocol::parking::WaitKey;
use crate::sync::{AtomicU32, Mutex, Ordering};
use core::task::Waker;
use core::time::Duration;
use std::sync::Arc;

/// The largest number of seats of a lane: the kernel sleeps on 128 words at most, and one of them is the lane's own.
pub(crate) const SEATS: usize = 127;

pub(crate) struct Lane {
    /// The word that wakes the thread for something else than a notification. In this process's own memory.
    call: AtomicU32,
    /// How often the thread has let go of seats that were given up.
    departures: AtomicU32,
    state: Mutex<State>,
}

struct State {
    /// The seats, by their numbers.
    seats: Vec<Option<Seat>>,
    next_ticket: u64,
    phase: Phase,
    /// Whether the thread has slept since it attended to the seats.
    has_slept: bool,
    /// Whether a seat was given up to which the thread may still refer.
    is_leaving: bool,
    /// Whether the last seat was given up.
    has_ended: bool,
}

/// What the thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It will attend to all seats before it sleeps.
    Awake,
    /// It calls user code, and will then attend to all seats.
    Calling,
    /// It sleeps, or is about to: on `call` too, with the value that this had when the phase began.
    Asleep,
}

/// What the thread does next.
pub(crate) enum Next {
    /// Call these wakers.
    Wake(Vec<Waker>),
    /// Sweep these queues.
    Sweep(Vec<Arc<dyn Source>>),
    Sleep(Sleep),
    /// Drop all references to queues, and [report](Lane::let_go) that.
    LetGo,
    /// End: the last seat was given up.
    End,
}

/// What the thread sleeps on, and for how long.
pub(crate) struct Sleep {
    pub(crate) call: u32,
    pub(crate) words: Vec<(Arc<dyn Source>, WaitKey)>,
    pub(crate) limit: Option<Duration>,
}

/// Whether the thread of a lane has to be woken by its own word.
#[must_use = "the thread may be asleep"]
pub(crate) struct Kick(bool);

impl Kick {
    pub(crate) fn is_needed(&self) -> bool {
        self.0
    }
}

/// What [`Lane::admit`] leaves to its caller.
pub(crate) struct Admitted {
    pub(crate) ticket: Ticket,
    pub(crate) kick: Kick,
    /// The waker that was replaced.
    pub(crate) old: Option<Waker>,
}

/// How long a process may sleep that could not make the fence of PARK-2: what another process has stored is visible to all
/// long before that.
const UNFENCED_SLEEP: Duration = Duration::from_millis(1);

impl Lane {
    pub(crate) fn new() -> Self {
        Self {
            call: AtomicU32::new(0),
            departures: AtomicU32::new(0),
            state: Mutex::new(State {
                seats: Vec::new(),
                next_ticket: 0,
                phase: Phase::Awake,
                has_slept: false,
                is_leaving: false,
                has_ended: false,
            }),
        }
    }

    /// Returns the word that wakes the thread.
    pub(crate) fn call_word(&self) -> &AtomicU32 {
        &self.call
    }

    /// Adds a seat. Returns its number; `None` if all are in use.
    pub(crate) fn add_seat(&self, source: &Arc<dyn Source>) -> Option<usize> {
        let mut state = self.state.lock();
        let seats = &mut state.seats;
        let free = seats.iter().position(Option::is_none);
        let number = free.unwrap_or(seats.len());
        let seat = Some(Seat::new(Arc::clone(source)));
        match seats.get_mut(number) {
            Some(place) => *place = seat,
            None if number < SEATS => seats.push(seat),
            None => return None,
        }
        Some(number)
    }

    /// Puts a future into the line of a seat: at its old place if it has a ticket, otherwise at the end. The caller then
    /// tries once more (REACTOR-1).
    pub(crate) fn admit(&self, seat: usize, ticket: Option<Ticket>, waker: Waker) -> Admitted {
        let mut state = self.state.lock();
        let is_again = ticket.is_some();
        let ticket = ticket.unwrap_or_else(|| {
            state.next_ticket += 1;
            Ticket(state.next_ticket)
        });
        let Some(seat) = state.seat(seat) else {
            return Admitted {
                ticket,
                kick: Kick(false),
                old: Some(waker),
            };
        };
        let old = seat.admit(ticket, is_again, waker);
        let kick = if seat.key().is_none() {
            self.kick(&mut state)
        } else {
            Kick(false)
        };
        Admitted { ticket, kick, old }
    }

    /// Takes a future out of the line, and passes the baton if it was woken before (REACTOR-4). `is_used`: the future has
    /// got what it waited for. Returns its waker, if it was in line.
    pub(crate) fn dismiss(
        &self,
        seat: usize,
        ticket: Ticket,
        is_used: bool,
        woken: &mut Vec<Waker>,
    ) -> Option<Waker> {
        let mut state = self.state.lock();
        let seat = state.seat(seat)?;
        let place = seat.dismiss(ticket);
        let was_woken = place.as_ref().is_none_or(|place| place.was_woken);
        if was_woken && !mutant!(BatonDropped) {
            seat.pass_baton(is_used, woken);
        }
        Some(place?.waker)
    }

    /// Takes all futures out of the line of a seat, to be woken by the caller.
    pub(crate) fn call_all(&self, seat: usize, woken: &mut Vec<Waker>) {
        let mut state = self.state.lock();
        if let Some(seat) = state.seat(seat) {
            seat.call(super::Found::All, woken);
        }
    }

    /// Gives up a seat. The thread may still refer to the queue: the caller [waits](GivenUp) until it does not any more.
    pub(crate) fn give_up(&self, seat: usize) -> GivenUp {
        let mut state = self.state.lock();
        let seat = state.seats.get_mut(seat).and_then(Option::take);
        let is_last = state.seats.iter().all(Option::is_none);
        state.has_ended |= is_last;
        state.is_leaving = true;
        // User code may wait for the caller, or be the caller.
        let is_calling = state.phase == Phase::Calling;
        GivenUp {
            is_last,
            wait_for: (!is_calling).then(|| self.departures.load(Ordering::Relaxed)),
            kick: self.kick(&mut state),
            seat,
        }
    }

    /// Returns the word that [`let_go`](Self::let_go) raises.
    pub(crate) fn departures(&self) -> &AtomicU32 {
        &self.departures
    }

    /// Decides what the thread does next.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.state.lock();
        let state = &mut *state;
        if core::mem::take(&mut state.has_slept) {
            state.make_unfenced_due();
        }
        state.phase = Phase::Awake;
        if state.is_leaving {
            return Next::LetGo;
        }
        if state.has_ended {
            return Next::End;
        }
        let mut woken = Vec::new();
        for seat in state.seats.iter_mut().flatten() {
            seat.attend(&mut woken);
        }
        if !woken.is_empty() {
            state.phase = Phase::Calling;
            return Next::Wake(woken);
        }
        let limit = state.limit();
        if limit == Some(Duration::ZERO) {
            state.phase = Phase::Calling;
            return Next::Sweep(state.due_sources());
        }
        state.phase = Phase::Asleep;
        state.has_slept = true;
        let seats = state.seats.iter().flatten();
        let words = seats.filter_map(|seat| Some((Arc::clone(&seat.source), seat.key()?)));
        Next::Sleep(Sleep {
            // Raised under the lock (`kick`).
            call: self.call.load(Ordering::Relaxed),
            words: words.collect(),
            limit,
        })
    }

    /// Makes the thread announce and look again at every word: it could not sleep on them.
    pub(crate) fn attend_again(&self) {
        let mut state = self.state.lock();
        for seat in state.seats.iter_mut().flatten() {
            seat.make_due();
        }
    }

    /// Notes that the thread refers to no queue any more.
    pub(crate) fn let_go(&self) {
        let mut state = self.state.lock();
        state.is_leaving = false;
        self.departures.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes the thread attend to its seats, if it sleeps or is about to.
    fn kick(&self, state: &mut State) -> Kick {
        if state.phase != Phase::Asleep {
            return Kick(false);
        }
        state.phase = Phase::Awake;
        self.call.fetch_add(1, Ordering::Relaxed);
        Kick(true)
    }
}

/// What [`Lane::give_up`] leaves to its caller.
pub(crate) struct GivenUp {
    /// Whether this was the last seat: the thread ends.
    pub(crate) is_last: bool,
    /// The value of [`Lane::departures`] that lasts until the thread has let go. `None`: it will, but calls user code now,
    /// which may wait for the caller, or be the caller.
    pub(crate) wait_for: Option<u32>,
    pub(crate) kick: Kick,
    /// Dropped by the caller, since it contains wakers.
    seat: Option<Seat>,
}

impl GivenUp {
    /// Passes on a wake that the thread may have taken for the seat. Called when the thread has let go.
    pub(crate) fn pass_on_wake(&self) {
        if let Some(seat) = &self.seat {
            seat.retire();
        }
    }
}

impl State {
    fn seat(&mut self, number: usize) -> Option<&mut Seat> {
        self.seats.get_mut(number).and_then(Option::as_mut)
    }

    /// Returns how long the thread may sleep. `None`: until it is woken.
    fn limit(&self) -> Option<Duration> {
        let seats = self
            .seats
            .iter()
            .flatten()
            .filter(|seat| seat.has_waiters());
        seats
            .map(|seat| {
                let time = seat.source.time_until_sweep();
                if seat.is_fenced() {
                    time
                } else {
                    time.min(UNFENCED_SLEEP)
                }
            })
            .min()
    }

    /// After a sleep: where the fence of PARK-2 could not be made, looks again.
    fn make_unfenced_due(&mut self) {
        for seat in self.seats.iter_mut().flatten() {
            if !seat.is_fenced() {
                seat.make_due();
            }
        }
    }

    /// Returns the queues that futures wait for. Each of their seats announces and looks again afterwards, as every sleeper
    /// does when its sleep has ended.
    fn due_sources(&mut self) -> Vec<Arc<dyn Source>> {
        let seats = self.seats.iter_mut().flatten();
        let waited_for = seats.filter(|seat| seat.has_waiters());
        let due = waited_for.map(|seat| {
            seat.make_due();
            Arc::clone(&seat.source)
        });
        due.collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::source::Found;
    use super::*;
    use crate::protocol::parking::ParkingWord;
    use crate::sync::AtomicBool;

    /// A word with something to take after its first look, whose wakes are counted.
    struct Counted {
        word: ParkingWord,
        is_there: AtomicBool,
        passed_on: AtomicU32,
    }

    impl Source for Counted {
        fn word(&self) -> Option<&ParkingWord> {
            Some(&self.word)
        }
        fn fence_others(&self) -> bool {
            true
        }
        fn look(&self) -> Found {
            if self.is_there.load(Ordering::Relaxed) {
                Found::One
            } else {
                Found::Nothing
            }
        }
        fn wakes_all(&self) -> bool {
            false
        }
        fn pass_on_wake(&self) {
            self.passed_on.fetch_add(1, Ordering::Relaxed);
        }
        fn time_until_sweep(&self) -> Duration {
            Duration::MAX
        }
        fn sweep(&self) {}
    }

    /// The thread sleeps on the word of a seat whose future is dropped, takes the wake of a notification, and finds the seat
    /// given up: the last handle has gone. Another process waits for that wake.
    #[test]
    fn a_wake_that_comes_while_a_seat_is_given_up_is_passed_on() {
        for is_notified in [true, false] {
            let lane = Lane::new();
            let counted = Arc::new(Counted {
                word: ParkingWord::new(),
                is_there: AtomicBool::new(false),
                passed_on: AtomicU32::new(0),
            });
            let source: Arc<dyn Source> = Arc::<Counted>::clone(&counted);
            let seat = lane.add_seat(&source).expect("a free seat");
            let admitted = lane.admit(seat, None, Waker::noop().clone());
            assert!(matches!(lane.next(), Next::Sleep(_)), "nothing is there");
            let mut woken = Vec::new();
            assert!(
                lane.dismiss(seat, admitted.ticket, false, &mut woken)
                    .is_some()
            );
            if is_notified {
                counted.is_there.store(true, Ordering::Relaxed);
                counted.word.notify(|_| 1);
            }
            let given_up = lane.give_up(seat);
            assert!(matches!(lane.next(), Next::LetGo));
            lane.let_go();
            given_up.pass_on_wake();
            let passed_on = counted.passed_on.load(Ordering::Relaxed);
            assert_eq!(passed_on, u32::from(is_notified));
        }
    }
}
