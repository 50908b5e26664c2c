//! Both ways to sleep on several words: in the kernel's wait, and by threads.

use super::*;
use crate::sync::AtomicU32;
use std::io::Write;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

/// Long enough that a test whose sleep is not ended fails by its watchdog.
const FOREVER: Duration = Duration::from_secs(3600);

/// One way to sleep.
type WaitAny = fn(&mut WordSleeper, &[WaitWord<'_>], Duration) -> io::Result<()>;

fn by_threads(
    sleeper: &mut WordSleeper,
    words: &[WaitWord<'_>],
    limit: Duration,
) -> io::Result<()> {
    sleeper.threads()?.wait(words, limit)
}

/// Both ways; on a kernel without the call, and after another test has refused it, the same one twice.
const WAYS: [WaitAny; 2] = [WordSleeper::wait_any, by_threads];

fn on(words: &[AtomicU32]) -> Vec<WaitWord<'_>> {
    let expected = |word| WaitWord { word, expected: 0 };
    words.iter().map(expected).collect()
}

/// Runs a test, and ends the process if that takes half a minute.
fn timed(test: impl FnOnce() + Send) {
    let (ended, ending) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if ending
                .recv_timeout(Duration::from_secs(30))
                .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                // The test's output is kept back, and lost by an abort.
                let _ = writeln!(io::stderr(), "a sleep was not ended");
                std::process::abort();
            }
        });
        test();
        drop(ended);
    });
}

/// Returns when this thread of this process sleeps.
fn await_asleep(thread: rustix::thread::Pid) {
    let stat = format!("/proc/self/task/{}/stat", thread.as_raw_nonzero());
    while !std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") S ")) {
        thread::yield_now();
    }
}

/// Returns the number of threads of this process with this name.
fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    let names = tasks
        .flatten()
        .map(|task| std::fs::read_to_string(task.path().join("comm")));
    names.flatten().filter(|comm| comm.trim() == name).count()
}

#[test]
fn a_wake_of_any_word_ends_a_sleep() {
    timed(|| {
        for wait in WAYS {
            let words: [_; 5] = core::array::from_fn(|_| AtomicU32::new(0));
            thread::scope(|scope| {
                let (begin, begins) = channel();
                let (returned, returns) = channel();
                let words = &words;
                scope.spawn(move || {
                    let mut sleeper = WordSleeper::new();
                    while begins.recv().is_ok() {
                        wait(&mut sleeper, &on(words), FOREVER).expect("a wait");
                        returned.send(()).expect("the test waits");
                    }
                });
                for word in words.iter().rev() {
                    begin.send(()).expect("the sleeper waits");
                    // A wake that comes before the sleep begins is lost, since the word does not change.
                    while returns.try_recv().is_err() {
                        futex::wake(word, 1);
                        thread::yield_now();
                    }
                }
                drop(begin);
            });
        }
    });
}

#[test]
fn a_word_that_has_changed_ends_a_sleep_at_once() {
    timed(|| {
        for wait in WAYS {
            let words: [_; 3] = core::array::from_fn(|_| AtomicU32::new(0));
            let mut sleeper = WordSleeper::new();
            for word in &words {
                word.store(1, Ordering::Relaxed);
                // By threads, also when all of them sleep since an earlier wait.
                wait(&mut sleeper, &on(&words), FOREVER).expect("a wait");
                word.store(0, Ordering::Relaxed);
                wait(&mut sleeper, &on(&words), Duration::from_millis(5)).expect("a wait");
            }
        }
    });
}

#[test]
fn a_sleep_lasts_until_its_limit() {
    for wait in WAYS {
        let words: [_; 3] = core::array::from_fn(|_| AtomicU32::new(0));
        let mut sleeper = WordSleeper::new();
        let limit = Duration::from_millis(20);
        // A signal may end a sleep early, but not every one of them.
        let slept = (0..10).any(|_| {
            let start = Instant::now();
            wait(&mut sleeper, &on(&words), limit).expect("a wait");
            start.elapsed() >= limit
        });
        assert!(slept);
    }
}

#[test]
fn a_wake_between_two_waits_is_passed_on() {
    timed(|| {
        let words: [_; 2] = core::array::from_fn(|_| AtomicU32::new(0));
        let mut sleeper = WordSleeper::new();
        by_threads(&mut sleeper, &on(&words), Duration::from_millis(5)).expect("a wait");
        let (tell, told) = channel();
        thread::scope(|scope| {
            let word = &words[0];
            scope.spawn(move || {
                tell.send(rustix::thread::gettid()).expect("the test waits");
                futex::wait(word, 0, FOREVER);
            });
            await_asleep(told.recv().expect("a thread"));
            // The sleeper's thread has slept for longer, so this wakes it, and not the other thread.
            assert_eq!(futex::wake(word, 1), 1);
        });
    });
}

#[test]
fn threads_leave_words_that_are_no_longer_waited_for_and_end_with_the_sleeper() {
    timed(|| {
        let words: [_; 8] = core::array::from_fn(|_| AtomicU32::new(0));
        let mut sleeper = WordSleeper::new();
        let moment = Duration::from_millis(5);
        let (some, others) = words.split_at(4);
        for words in [some, others, &words[2..6]] {
            by_threads(&mut sleeper, &on(words), moment).expect("a wait");
        }
        let counted = sleeper.threads.as_ref().map(Threads::count);
        assert_eq!(counted, Some(4));
        assert!(threads_named("workring-word") >= 4);
        for (index, word) in words.iter().enumerate() {
            if (2..6).contains(&index) {
                // Its thread sleeps, or is about to.
                while futex::wake(word, u32::MAX) == 0 {
                    thread::yield_now();
                }
            } else {
                assert_eq!(futex::wake(word, u32::MAX), 0, "word {index}");
            }
        }
        sleeper.release();
        assert!(sleeper.threads.is_none());
        for word in &words {
            assert_eq!(futex::wake(word, u32::MAX), 0);
        }
    });
}

#[test]
fn sleepers_that_end_do_not_keep_each_other_awake() {
    timed(|| {
        let words: [_; 2] = core::array::from_fn(|_| AtomicU32::new(0));
        let returns = AtomicU32::new(0);
        let is_over = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut sleeper = WordSleeper::new();
                    loop {
                        // As with a queue, a thread that begins to wait changes the word.
                        let expected = |word: &AtomicU32| word.fetch_add(2, Ordering::AcqRel) + 2;
                        let waits = words.each_ref().map(|word| WaitWord {
                            word,
                            expected: expected(word),
                        });
                        if is_over.load(Ordering::Acquire) == 1 {
                            break;
                        }
                        by_threads(&mut sleeper, &waits, FOREVER).expect("a wait");
                        returns.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            // A fourth sleeper comes and goes, which wakes the others each time.
            for _ in 0..20 {
                let mut sleeper = WordSleeper::new();
                let waits = on(&words).into_iter().map(|word| WaitWord {
                    expected: word.word.load(Ordering::Relaxed),
                    ..word
                });
                by_threads(
                    &mut sleeper,
                    &waits.collect::<Vec<_>>(),
                    Duration::from_millis(5),
                )
                .expect("a wait");
            }
            // If they woke each other, they would for ever, and this would not end.
            let mut before = u32::MAX;
            while before != returns.load(Ordering::Relaxed) {
                before = returns.load(Ordering::Relaxed);
                thread::sleep(Duration::from_millis(200));
            }
            is_over.store(1, Ordering::Release);
            for word in &words {
                word.fetch_add(2, Ordering::AcqRel);
                futex::wake(word, u32::MAX);
            }
        });
    });
}

#[test]
fn the_number_of_words_is_limited() {
    let words: Vec<AtomicU32> = (0..=MAX_WORDS).map(|_| AtomicU32::new(0)).collect();
    let waits = on(&words);
    let mut sleeper = WordSleeper::new();
    let refused = sleeper.wait_any(&waits, FOREVER).expect_err("too many");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    let (_, fewer) = waits.split_first().expect("many");
    for wait in WAYS {
        wait(&mut sleeper, fewer, Duration::from_millis(5)).expect("as many as possible");
    }
}
