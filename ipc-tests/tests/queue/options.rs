//! Options out of their range: each is a typed error that names the option, what was asked for and what may be.

use ipc_tests::support::LIMIT;
use ipc_tests::{Pid, asleep, guarded};
use std::{
    io, thread,
    time::{Duration, Instant},
};
use workring::{
    Options,
    error::CreateError,
    queue::{Raw, Watched},
};

fn refused(options: &Options, name: &str, asked: &str, may_be: &str) {
    let error = options.channel::<u32>().expect_err(name);
    let CreateError::InvalidOption {
        option,
        value,
        allowed,
        ..
    } = &error
    else {
        panic!("{name}: {error:?}");
    };
    assert_eq!((*option, value.as_str()), (name, asked));
    assert!(allowed.contains(may_be), "{name}: {allowed}");
    let sentence = error.to_string();
    for part in [name, asked, may_be] {
        assert!(sentence.contains(part), "no {part:?} in {sentence:?}");
    }
}

#[test]
fn each_option_out_of_its_range_is_named() {
    guarded(LIMIT, || {
        let new = || Options::new(4);
        let milliseconds = Duration::from_millis;
        let cases = [
            (Options::new(0), "capacity", "0", "from 1 to 65536"),
            (Options::new(65_537), "capacity", "65537", "from 1 to 65536"),
            (
                new().max_deliveries(0),
                "max_deliveries",
                "0",
                "from 1 to 15",
            ),
            (
                new().max_deliveries(16),
                "max_deliveries",
                "16",
                "from 1 to 15",
            ),
            (new().max_leases(0), "max_leases", "0", "from 1 to"),
            (
                new().max_leases(1 << 21),
                "max_leases",
                "2097152",
                "1048576",
            ),
            (
                new().max_message_len(127),
                "max_message_len",
                "127",
                "from 128 bytes to 1 GiB",
            ),
            (
                new().max_message_len((1 << 30) + 1),
                "max_message_len",
                "1073741825",
                "from 128 bytes to 1 GiB",
            ),
            (
                new().max_dead_letters(129),
                "max_dead_letters",
                "129",
                "to 128",
            ),
            (
                new().spin(milliseconds(11)),
                "spin",
                "11ms",
                "at most 10 ms",
            ),
            (
                new().liveness_interval(Duration::ZERO),
                "liveness_interval",
                "0ns",
                "from 1 ms to 10 s",
            ),
            (
                new().liveness_interval(milliseconds(10_001)),
                "liveness_interval",
                "10.001s",
                "from 1 ms to 10 s",
            ),
        ];
        for (options, name, asked, may_be) in cases {
            refused(&options, name, asked, may_be);
        }
        let most = format!("{}", usize::MAX);
        refused(&Options::new(usize::MAX), "capacity", &most, "65536");
        refused(
            &new().max_leases(usize::MAX),
            "max_leases",
            &most,
            "1048576",
        );
    });
}

#[test]
fn the_limits_themselves_make_a_queue_that_works() {
    guarded(LIMIT, || {
        let milliseconds = Duration::from_millis;
        for options in [
            Options::new(1)
                .max_deliveries(1)
                .max_leases(1)
                .max_dead_letters(0),
            Options::new(1)
                .max_deliveries(15)
                .max_leases(1 << 20)
                .max_dead_letters(128),
            Options::new(65_536).max_dead_letters(65_536),
            Options::new(1).max_message_len(128),
            Options::new(1).max_message_len(1 << 30),
            Options::new(1)
                .spin(Duration::ZERO)
                .liveness_interval(milliseconds(1)),
            Options::new(1)
                .spin(milliseconds(10))
                .liveness_interval(milliseconds(10_000)),
        ] {
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            for number in 0..u32::try_from(tx.capacity()).expect("a small number") {
                tx.try_send(number).expect("room up to the capacity");
            }
            assert!(tx.is_full() && rx.is_full() && rx.len() == rx.capacity());
            tx.try_send(0).expect_err("it is full");
            assert!(
                rx.try_iter()
                    .map(|number| number.expect("a number"))
                    .eq(0..u32::try_from(tx.capacity()).expect("small"))
            );
            assert!(rx.is_empty());
        }
    });
}

/// Each call that waits, without a wait: there is a message, or room.
fn calls_that_need_no_wait(time: Duration) {
    let (tx, rx) = Options::new(4).channel::<u32>().expect("a queue");
    tx.send_timeout(1, time).expect("room");
    assert_eq!(rx.recv_timeout(time).ok(), Some(1));
    assert_eq!(
        tx.send_many_timeout([2, 3, 4].into_iter(), time).ok(),
        Some(3)
    );
    rx.lease_timeout(time).expect("a message").ack();
    let mut batch = Vec::new();
    assert_eq!(rx.recv_many_timeout(&mut batch, 4, time).ok(), Some(2));
    let (tx, rx) = Options::new(4)
        .channel_with::<Vec<u8>, Raw>()
        .expect("a queue");
    let mut room = tx.reserve_timeout(2, time).expect("room");
    room.copy_from_slice(b"in");
    assert!(room.commit_timeout(time).is_ok());
    rx.lease_bytes_timeout(time).expect("a message").ack();
    let (file, _other) = io::pipe().expect("a pipe");
    let watch = rx.watch(&file).expect("a watch");
    tx.send(b"1".to_vec()).expect("room");
    assert!(matches!(watch.recv_timeout(time), Ok(Watched::Message(_))));
    tx.send(b"2".to_vec()).expect("room");
    assert!(matches!(watch.lease_timeout(time), Ok(Watched::Message(_))));
}

/// Each call that waits until another thread has sent, or made room.
fn calls_that_wait(time: Duration) {
    let (tx, rx) = Options::new(1).channel::<u32>().expect("a queue");
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..6 {
                tx.send_timeout(number, time).expect("room, some time");
            }
            assert_eq!(tx.send_many_timeout(6..9, time).ok(), Some(3));
        });
        for number in 0..3 {
            assert_eq!(rx.recv_timeout(time).ok(), Some(number));
            asleep::await_sleepers(Pid::this(), 1);
        }
        for number in 3..6 {
            assert_eq!(rx.lease_timeout(time).expect("a message").ack(), number);
        }
        let mut batch = Vec::new();
        while batch.len() < 3 {
            rx.recv_many_timeout(&mut batch, 3, time).expect("messages");
        }
        assert_eq!(batch, [6, 7, 8]);
    });
}

/// "For ever" as a duration, and no time at all.
#[test]
fn every_option_and_call_of_a_queue_takes_any_duration() {
    guarded(LIMIT, || {
        for time in [Duration::ZERO, Duration::MAX / 2, Duration::MAX] {
            for options in [
                Options::new(1).liveness_interval(time),
                Options::new(1).spin(time),
            ] {
                match options.channel::<u32>() {
                    Ok(_) | Err(CreateError::InvalidOption { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            calls_that_need_no_wait(time);
            if !time.is_zero() {
                calls_that_wait(time);
            }
        }
        // The last moments that there are.
        let (tx, rx) = Options::new(1).channel::<u32>().expect("a queue");
        for shift in 1..64 {
            let far = Duration::from_secs(u64::MAX >> shift);
            let Some(far) = Instant::now().checked_add(far) else {
                continue;
            };
            thread::scope(|scope| {
                scope.spawn(|| tx.send_deadline(shift, far).expect("room"));
                assert_eq!(rx.recv_deadline(far).ok(), Some(shift));
            });
        }
    });
}
