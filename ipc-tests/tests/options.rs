//! Options out of their range: each is a typed error that names the option, what was asked for and what may be.

use crate::support::LIMIT;
use ipc_tests::guarded;
use std::time::Duration;
use workring::{CreateError, Options};

mod support;

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
            (new().attempts(0), "attempts", "0", "from 1 to 15"),
            (new().attempts(16), "attempts", "16", "from 1 to 15"),
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
                new().slice(Duration::ZERO),
                "slice",
                "0ns",
                "from 1 ms to 10 s",
            ),
            (
                new().slice(milliseconds(10_001)),
                "slice",
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
                .attempts(1)
                .max_leases(1)
                .max_dead_letters(0),
            Options::new(1)
                .attempts(15)
                .max_leases(1 << 20)
                .max_dead_letters(128),
            Options::new(65_536).max_dead_letters(65_536),
            Options::new(1).max_message_len(128),
            Options::new(1).max_message_len(1 << 30),
            Options::new(1).spin(Duration::ZERO).slice(milliseconds(1)),
            Options::new(1)
                .spin(milliseconds(10))
                .slice(milliseconds(10_000)),
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
