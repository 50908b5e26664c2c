//! Codecs that say untrue things about lengths.

use ipc_tests::guarded;
use ipc_tests::support::books::{assert_all_free, assert_balanced};
use ipc_tests::support::{LIMIT, sleepy};
use std::sync::atomic::{AtomicUsize, Ordering};
use workring::{
    RecvError, SendError,
    error::{DecodeError, EncodeError, TrySendError},
    queue::Codec,
};

/// A codec that says untrue things about lengths: which, the message tells.
struct Liar;

/// What a [`Liar`] does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// It says it has written more than there was room for.
    WroteMore,
    /// It says it has written `usize::MAX` bytes.
    WroteEverything,
    /// It never has room enough.
    NeverRoom,
    /// It needs another length whenever it is asked.
    AnotherLength,
    /// It needs more than it says.
    TooShort,
    /// It says it needs no room, and has none.
    NoLength,
    /// It says it needs all memory.
    AllMemory,
    /// It says there is no room when it is asked how much it needs.
    LengthHasNoRoom,
}

const LIES: [Lie; 8] = [
    Lie::WroteMore,
    Lie::WroteEverything,
    Lie::NeverRoom,
    Lie::AnotherLength,
    Lie::TooShort,
    Lie::NoLength,
    Lie::AllMemory,
    Lie::LengthHasNoRoom,
];

static ASKED: AtomicUsize = AtomicUsize::new(0);

impl Codec<Lie> for Liar {
    const NAME: &'static str = "liar";

    fn encode(lie: &Lie, into: &mut [u8]) -> Result<usize, EncodeError> {
        match lie {
            Lie::WroteMore => Ok(into.len() + 1),
            Lie::WroteEverything => Ok(usize::MAX),
            _ => Err(EncodeError::NoRoom),
        }
    }

    fn encoded_len(lie: &Lie) -> Result<usize, EncodeError> {
        match lie {
            Lie::WroteMore | Lie::WroteEverything | Lie::NeverRoom => Ok(300),
            Lie::AnotherLength => Ok(100 * (1 + ASKED.fetch_add(1, Ordering::Relaxed) % 5)),
            Lie::TooShort => Ok(8),
            Lie::NoLength => Ok(0),
            Lie::AllMemory => Ok(usize::MAX),
            Lie::LengthHasNoRoom => Err(EncodeError::NoRoom),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Lie, DecodeError> {
        // As a careless codec reads beyond its bytes.
        match bytes.get(1 << 20) {
            Some(_) => Ok(Lie::NoLength),
            None => Err(DecodeError::new("the bytes end early")),
        }
    }
}

#[test]
fn a_codec_that_lies_about_lengths_gets_an_error_and_keeps_no_block() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8).channel_with::<Lie, Liar>().expect("a queue");
        for lie in LIES {
            for _ in 0..100 {
                let refused = tx.send(lie).expect_err("a lie");
                match refused {
                    SendError::Encode {
                        value, ref source, ..
                    } => {
                        assert_eq!(value, lie);
                        assert!(!source.to_string().is_empty());
                    }
                    SendError::TooLarge { value, .. } => assert_eq!(value, Lie::AllMemory),
                    other => panic!("{lie:?}: {other:?}"),
                }
                let refused = tx.try_send(lie).expect_err("a lie");
                assert!(
                    matches!(
                        refused,
                        TrySendError::Encode { .. } | TrySendError::TooLarge { .. }
                    ),
                    "{refused:?}"
                );
                let refused = tx.send_many([lie, lie]).expect_err("a lie");
                assert_eq!(refused.accepted, 0);
                assert_eq!(refused.into_unsent().count(), 2);
            }
            assert_all_free(&rx);
        }
        assert_eq!(rx.stats().accepted, 0);
    });
}

/// What is sent is what `encode` says that it has written, whatever that is; `decode` gets exactly that much.
#[test]
fn decoding_that_expects_more_than_there_is_makes_a_dead_letter() {
    struct Short;
    impl Codec<u8> for Short {
        const NAME: &'static str = "short";
        fn encode(_: &u8, into: &mut [u8]) -> Result<usize, EncodeError> {
            into.fill(9);
            Ok(0)
        }
        fn encoded_len(_: &u8) -> Result<usize, EncodeError> {
            Ok(0)
        }
        fn decode(bytes: &[u8]) -> Result<u8, DecodeError> {
            let first = bytes.first().copied();
            first.ok_or_else(|| DecodeError::new("no byte"))
        }
    }
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8).channel_with::<u8, Short>().expect("a queue");
        tx.send(1).expect("room");
        assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
        tx.send_many([1, 2, 3]).expect("room");
        for _ in 0..3 {
            assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
        }
        assert_eq!(rx.stats().dead_letters, 4);
        rx.dead_letters()
            .for_each(workring::queue::DeadLetter::discard);
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}
