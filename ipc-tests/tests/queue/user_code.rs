//! User code that a queue calls: `Codec` (and so `Serialize` and `Deserialize`), `Drop`, iterators, errors. In each
//! place it may panic, hang, or use the same queue.
//!
//! The messages of these tests call a *hook* wherever the queue runs their code. A test sets the hook, does each
//! operation, and then looks at the queue: each message is in one place, and no block is lost. The table in
//! docs/user-code.md names the test for each place.

use ipc_tests::guarded;
use ipc_tests::support::books::{assert_adds_up, assert_all_free, assert_balanced};
use ipc_tests::support::{LIMIT, sleepy};
use std::{
    cell::RefCell,
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use workring::{
    Options, Receiver, SendError, Sender,
    error::{DecodeError, EncodeError},
    queue::{Codec, Select},
};

/// Where the code of a message runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Encode,
    Length,
    Decode,
    Drop,
    DropError,
    Debug,
}

type Hook = Rc<dyn Fn(Place, u32)>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

fn visit(place: Place, number: u32) {
    let hook = HOOK.with_borrow(Clone::clone);
    if let Some(hook) = hook {
        hook(place, number);
    }
}

/// In this thread, the code of messages calls `hook`, but not what `hook` itself does with messages.
pub(crate) fn with_hook<R>(hook: impl Fn(Place, u32) + 'static, body: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            HOOK.take();
        }
    }
    let inside = AtomicBool::new(false);
    let hook = move |place, number| {
        if !inside.swap(true, Ordering::Relaxed) {
            struct Outside<'a>(&'a AtomicBool);
            impl Drop for Outside<'_> {
                fn drop(&mut self) {
                    self.0.store(false, Ordering::Relaxed);
                }
            }
            let _outside = Outside(&inside);
            hook(place, number);
        }
    };
    HOOK.set(Some(Rc::new(hook)));
    let _reset = Reset;
    body()
}

/// Panics in one place, for one message.
pub(crate) fn panics_in(place: Place, number: u32) -> impl Fn(Place, u32) {
    move |now, of| assert!((now, of) != (place, number), "as the test wants it")
}

/// Whether it panics.
pub(crate) fn panics<R>(act: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

/// A number whose code calls the hook. From [`LARGE`] on it takes a kibibyte or more, so that it goes alone, and not
/// into the smallest block.
pub(crate) struct Message(pub(crate) u32);

pub(crate) const LARGE: u32 = 1000;
/// Can't be decoded.
pub(crate) const BAD: u32 = 666;

impl Drop for Message {
    fn drop(&mut self) {
        visit(Place::Drop, self.0);
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        visit(Place::Debug, self.0);
        write!(f, "{}", self.0)
    }
}

#[derive(Debug)]
struct Undecodable(u32);

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be decoded", self.0)
    }
}

impl Error for Undecodable {}

impl Drop for Undecodable {
    fn drop(&mut self) {
        visit(Place::DropError, self.0);
    }
}

pub(crate) struct Hooked;

fn length(number: u32) -> usize {
    if number >= LARGE { 2000 } else { 4 }
}

impl Codec<Message> for Hooked {
    const NAME: &'static str = "hooked";

    fn encode(message: &Message, into: &mut [u8]) -> Result<usize, EncodeError> {
        visit(Place::Encode, message.0);
        let length = length(message.0);
        let room = into.get_mut(..length).ok_or(EncodeError::NoRoom)?;
        let (number, rest) = room.split_at_mut(4);
        number.copy_from_slice(&message.0.to_le_bytes());
        rest.fill(7);
        Ok(length)
    }

    fn encoded_len(message: &Message) -> Result<usize, EncodeError> {
        visit(Place::Length, message.0);
        Ok(length(message.0))
    }

    fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        let number = bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let number = number.ok_or_else(|| DecodeError::new("too short"))?;
        visit(Place::Decode, number);
        if number == BAD {
            return Err(DecodeError::new(Undecodable(number)));
        }
        Ok(Message(number))
    }
}

pub(crate) type Tx = Sender<Message, Hooked>;
pub(crate) type Rx = Receiver<Message, Hooked>;

pub(crate) fn hooked(options: &Options) -> (Tx, Rx) {
    options.channel_with().expect("a queue")
}

pub(crate) fn queue() -> (Tx, Rx) {
    hooked(&sleepy(8).max_deliveries(3))
}

pub(crate) fn numbers(messages: impl IntoIterator<Item = Message>) -> Vec<u32> {
    messages.into_iter().map(|message| message.0).collect()
}

pub(crate) fn received(rx: &Rx) -> Vec<u32> {
    numbers(rx.try_iter().map(|message| message.expect("a message")))
}

pub(crate) fn batch(range: impl IntoIterator<Item = u32>) -> Vec<Message> {
    range.into_iter().map(Message).collect()
}

/// All ways to send number 7, or 7,000, with others around it where that is possible.
const WAYS_TO_SEND: [fn(&Tx, u32); 5] = [
    |tx, n| tx.send(Message(n)).expect("room"),
    |tx, n| tx.try_send(Message(n)).expect("room"),
    |tx, n| {
        tx.send_timeout(Message(n), LIMIT).expect("room");
    },
    |tx, n| {
        tx.send_many(batch([1, n, 2])).expect("room");
    },
    |tx, n| {
        tx.try_send_many(batch([1, n, 2])).expect("room");
    },
];

#[test]
fn a_panic_of_encode_sends_nothing_and_frees_the_block() {
    guarded(LIMIT, || {
        for (way, send) in WAYS_TO_SEND.iter().enumerate() {
            for number in [7, 7 * LARGE] {
                for place in [Place::Encode, Place::Length] {
                    let (tx, rx) = queue();
                    let hook = panics_in(place, number);
                    let panicked = with_hook(hook, || panics(|| send(&tx, number)));
                    // The length is asked for only if the message is not small.
                    let due = place == Place::Encode || number >= LARGE;
                    assert_eq!(panicked, due, "way {way}, {number}, {place:?}");
                    let before = received(&rx);
                    assert!(!panicked || !before.contains(&number), "{before:?}");
                    assert_all_free(&rx);
                    assert_balanced(&rx);
                    send(&tx, number);
                    assert!(received(&rx).contains(&number));
                }
            }
        }
    });
}

#[test]
fn a_panic_of_encode_in_a_select_frees_the_block_and_the_select_goes_on() {
    guarded(LIMIT, || {
        for place in [Place::Encode, Place::Length] {
            let (tx, rx) = queue();
            let message = Message(7);
            let mut select = Select::new();
            select.send(&tx, &message);
            let attempt = || drop(select.try_select());
            assert!(with_hook(panics_in(place, 7), || panics(attempt)));
            assert_all_free(&rx);
            assert_balanced(&rx);
            let selected = select.try_select().expect("ready");
            selected.send(&tx).expect("room");
            assert_eq!(received(&rx), [7]);
        }
    });
}

#[test]
fn an_iterator_that_panics_leaves_what_was_accepted_before() {
    guarded(LIMIT, || {
        for count in [0, 1, 63, 64, 65, 130] {
            let (tx, rx) = queue();
            let source = (0..).map(|n| {
                assert!(n < count, "as the test wants it");
                Message(n)
            });
            assert!(panics(|| tx.send_many(source)));
            // Whole batches are accepted; the rest has been dropped with the iterator.
            let accepted = count / 64 * 64;
            assert_eq!(received(&rx), (0..accepted).collect::<Vec<_>>(), "{count}");
            assert_all_free(&rx);
            assert_balanced(&rx);
            assert_eq!(tx.send_many(batch(0..100)).expect("room"), 100);
            assert_eq!(received(&rx).len(), 100);
        }
    });
}

#[test]
fn an_iterator_may_use_the_queue_and_may_be_slow() {
    guarded(LIMIT, || {
        let (tx, rx) = queue();
        let source = (0..100).map(|n| {
            if n % 10 == 0 {
                tx.send_many(batch([n + 500, n + 501])).expect("room");
                assert_eq!(received(&rx).len(), 2, "nothing else is there yet");
                assert_all_free(&rx);
            }
            Message(n)
        });
        // Another thread sends and receives while this iterator takes its time.
        let source = source.take(64).inspect(|message| {
            if message.0 == 63 {
                thread::scope(|scope| {
                    scope.spawn(|| {
                        tx.send(Message(1)).expect("room");
                        assert_eq!(received(&rx), [1]);
                    });
                });
            }
        });
        assert_eq!(tx.send_many(source).expect("room"), 64);
        assert_eq!(received(&rx), (0..64).collect::<Vec<_>>());
        // It closes the queue.
        let source = (0..100).map(|n| {
            if n == 70 {
                tx.close();
            }
            Message(n)
        });
        let refused = tx.send_many(source).expect_err("closed");
        assert_eq!(refused.accepted, 64);
        let unsent = numbers(refused.into_unsent());
        assert_eq!(unsent, (64..100).collect::<Vec<_>>());
        assert_eq!(received(&rx).len(), 64);
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

#[test]
fn a_panic_of_drop_in_the_sender_comes_after_the_message_is_accepted() {
    guarded(LIMIT, || {
        for (way, send) in WAYS_TO_SEND.iter().enumerate() {
            for number in [7, 7 * LARGE] {
                let (tx, rx) = queue();
                let hook = panics_in(Place::Drop, number);
                assert!(with_hook(hook, || panics(|| send(&tx, number))), "{way}");
                let messages = received(&rx);
                assert!(messages.contains(&number), "way {way}: {messages:?}");
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}

#[test]
fn encoding_and_dropping_may_use_the_queue() {
    guarded(LIMIT, || {
        for place in [Place::Encode, Place::Length, Place::Drop] {
            for (way, send) in WAYS_TO_SEND.iter().enumerate() {
                for number in [7, 7 * LARGE] {
                    let (tx, rx) = queue();
                    let (tx, rx) = (Rc::new(tx), Rc::new(rx));
                    let seen = Rc::new(RefCell::new(Vec::new()));
                    let (inner, outer) = (Rc::clone(&tx), Rc::clone(&rx));
                    let taken = Rc::clone(&seen);
                    let hook = move |now, of| {
                        if (now, of) == (place, number) {
                            inner.try_send(Message(90)).expect("room");
                            inner.try_send_many(batch([91, 92])).expect("room");
                            taken.borrow_mut().extend(received(&outer));
                            drop((*inner).clone());
                            assert_adds_up(&outer.stats());
                        }
                    };
                    with_hook(hook, || send(&tx, number));
                    seen.borrow_mut().extend(received(&rx));
                    let seen = seen.take();
                    for wanted in [number, 90, 91, 92] {
                        let due = wanted == number || place != Place::Length || number >= LARGE;
                        assert_eq!(
                            seen.contains(&wanted),
                            due,
                            "{place:?} way {way}: {wanted} in {seen:?}"
                        );
                    }
                    assert_all_free(&rx);
                    assert_balanced(&rx);
                }
            }
        }
    });
}

#[test]
fn a_queue_that_is_closed_during_encoding_returns_the_message() {
    guarded(LIMIT, || {
        for number in [7, 7 * LARGE] {
            for cancels in [false, true] {
                let (tx, rx) = queue();
                tx.send(Message(1)).expect("room");
                let closer = tx.clone();
                let hook = move |place, of| {
                    if (place, of) == (Place::Encode, number) {
                        if cancels {
                            closer.cancel();
                        } else {
                            closer.close();
                        }
                    }
                };
                let refused = with_hook(hook, || tx.send(Message(number)));
                assert!(
                    matches!(refused, Err(SendError::Closed(Message(n))) if n == number),
                    "{refused:?}"
                );
                assert_eq!(received(&rx).len(), usize::from(!cancels));
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}

/// A gate that a hook waits at, in another thread than the test's.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(AtomicBool, AtomicBool)>);

impl Gate {
    /// A hook that stops in one place, for one message.
    pub(crate) fn hook(&self, place: Place, number: u32) -> impl Fn(Place, u32) + use<> {
        let gate = self.clone();
        move |now, of| {
            if (now, of) == (place, number) {
                gate.0.0.store(true, Ordering::SeqCst);
                while !gate.0.1.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            }
        }
    }

    pub(crate) fn await_arrival(&self) {
        while !self.0.0.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // A test that panics before it opens the gate would leave a thread waiting.
        if thread::panicking() {
            self.open();
        }
    }
}

impl Gate {
    pub(crate) fn open(&self) {
        self.0.1.store(true, Ordering::SeqCst);
    }
}

#[test]
fn encoding_that_hangs_holds_up_no_other_thread() {
    guarded(LIMIT, || {
        for number in [7, 7 * LARGE] {
            for (way, send) in WAYS_TO_SEND.iter().enumerate() {
                let (tx, rx) = queue();
                let gate = Gate::default();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        with_hook(gate.hook(Place::Encode, number), || send(&tx, number));
                    });
                    gate.await_arrival();
                    for other in WAYS_TO_SEND {
                        other(&tx, 8);
                        other(&tx.clone(), 8 * LARGE);
                        assert!(!received(&rx).contains(&number));
                    }
                    assert_adds_up(&rx.stats());
                    gate.open();
                });
                assert!(received(&rx).contains(&number), "way {way}");
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}
