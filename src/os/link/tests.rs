//! Two sides of a link in one process.

use super::*;
use crate::os::descriptor::comes_true;
use crate::os::poll::{Poll, is_readable};
use core::time::Duration;
use std::thread;
use std::time::Instant;

fn pair() -> (Link, Link) {
    Link::pair().expect("a link")
}

/// Receives one datagram. Fails rather than hangs if none arrives.
fn received(link: &Link) -> Result<Vec<u8>, &'static str> {
    let mut poll = Poll::new();
    poll.readable(link.as_fd());
    let deadline = Instant::now() + Duration::from_secs(60);
    assert!(poll.wait(Some(deadline)).expect("poll"), "nothing arrived");
    match link.recv(&mut vec![0; MAX_DATAGRAM]).expect("receive") {
        RecvOutcome::Datagram(bytes) => Ok(bytes.to_vec()),
        RecvOutcome::Closed => Err("closed"),
        RecvOutcome::WouldBlock => Err("nothing"),
        RecvOutcome::TooLong(_) => Err("too long"),
    }
}

#[test]
fn pending_bytes_is_the_length_of_all_datagrams() {
    let (one, other) = pair();
    assert_eq!(other.pending_bytes().expect("a length"), 0);
    for datagram in [&b"first"[..], b"and second"] {
        one.send(datagram).expect("sent");
    }
    assert_eq!(other.pending_bytes().expect("a length"), 15);
    assert_eq!(received(&other), Ok(b"first".to_vec()));
    assert_eq!(other.pending_bytes().expect("a length"), 10);
}

#[test]
fn datagrams_arrive_whole_and_in_order_both_ways() {
    let (one, other) = pair();
    let long: Vec<u8> = (0..=255).cycle().take(MAX_DATAGRAM).collect();
    one.send(b"first").expect("sent");
    one.send(&long).expect("sent");
    other.send(b"answer").expect("sent");
    assert_eq!(received(&other).expect("a datagram"), b"first");
    assert_eq!(received(&other).expect("a datagram"), long);
    assert_eq!(received(&one).expect("a datagram"), b"answer");
    let mut buffer = [0; 8];
    let nothing = one.try_recv(&mut buffer).expect("receive");
    assert_eq!(nothing, RecvOutcome::WouldBlock);
}

#[test]
fn a_datagram_carries_the_process_id_of_its_sender() {
    let (one, other) = pair();
    let mut buffer = [0; 8];
    one.send(b"before").expect("sent");
    other.enable_credentials().expect("an option");
    one.send(b"after").expect("sent");
    assert_eq!(received(&other).expect("a datagram"), b"before");
    let (after, sender) = other.try_recv_from(&mut buffer).expect("receive");
    assert_eq!(after, RecvOutcome::Datagram(b"after"));
    assert_eq!(sender, Some(std::process::id()));
    let (nothing, sender) = other.try_recv_from(&mut buffer).expect("receive");
    assert_eq!((nothing, sender), (RecvOutcome::WouldBlock, None));
    drop(one);
    assert!(comes_true(|| other.has_hung_up().expect("poll")));
    let (end, _) = other.try_recv_from(&mut buffer).expect("receive");
    assert_eq!(end, RecvOutcome::Closed);
}

#[test]
fn a_datagram_that_is_too_long_is_a_typed_error_on_either_side() {
    let (one, other) = pair();
    let error = one.send(&vec![0; MAX_DATAGRAM + 1]);
    assert!(matches!(error, Err(SendError::TooLong)), "{error:?}");
    assert!(matches!(one.send(&[]), Err(SendError::Empty)));
    one.send(b"nine byte").expect("sent");
    one.send(b"next").expect("sent");
    let mut buffer = [0; 8];
    let cut = other.recv(&mut buffer).expect("receive");
    assert_eq!(cut, RecvOutcome::TooLong(9));
    let next = other.recv(&mut buffer).expect("receive");
    assert_eq!(next, RecvOutcome::Datagram(b"next"));
}

#[test]
fn a_full_link_is_a_typed_error_and_a_blocked_sender_continues_when_there_is_room() {
    let (one, other) = pair();
    let mut sent = 0;
    let error = loop {
        match one.try_send(&[7; 1000]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SendError::Full), "{error:?}");
    assert!(sent > 0);
    thread::scope(|scope| {
        let blocked = scope.spawn(|| one.send(b"last"));
        (0..sent).for_each(|_| assert_eq!(received(&other), Ok(vec![7; 1000])));
        blocked.join().expect("join").expect("sent");
    });
    assert_eq!(received(&other).expect("a datagram"), b"last");
}

#[test]
fn the_end_comes_after_the_last_datagram_and_is_reported_repeatedly() {
    let (one, other) = pair();
    one.send(b"last words").expect("sent");
    drop(one);
    assert!(comes_true(|| other.has_hung_up().expect("poll")));
    assert_eq!(received(&other).expect("a datagram"), b"last words");
    for _ in 0..2 {
        assert_eq!(received(&other), Err("closed"));
        let error = other.send(b"too late");
        assert!(matches!(error, Err(SendError::Closed)), "{error:?}");
        let error = other.try_send(b"too late");
        assert!(matches!(error, Err(SendError::Closed)), "{error:?}");
    }
}

/// LINK-2: Linux reports that the other side left something unread before it delivers what that side has sent.
#[test]
fn datagrams_are_received_from_a_side_that_left_something_unread() {
    let (one, other) = pair();
    other.send(b"never read").expect("sent");
    one.send(b"last words").expect("sent");
    drop(one);
    assert_eq!(received(&other).expect("a datagram"), b"last words");
    assert_eq!(received(&other), Err("closed"));

    let (one, other) = pair();
    other.send(b"never read").expect("sent");
    drop(one);
    let error = other.send(b"too late");
    assert!(matches!(error, Err(SendError::Closed)), "{error:?}");
}

#[test]
fn blocked_senders_and_receivers_notice_the_end_at_once() {
    let (one, other) = pair();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| received(&other));
        drop(one);
        assert_eq!(waiting.join().expect("join"), Err("closed"));
    });
    let (one, other) = pair();
    while one.try_send(&[7; 1000]).is_ok() {}
    thread::scope(|scope| {
        let blocked = scope.spawn(|| one.send(b"last"));
        drop(other);
        let error = blocked.join().expect("join");
        assert!(matches!(error, Err(SendError::Closed)), "{error:?}");
    });
}

/// LINK-4: another program might shut down one direction.
#[test]
fn a_side_shut_down_for_sending_counts_as_gone_and_can_still_receive() {
    let (one, other) = pair();
    one.send(b"the last").expect("room");
    rustix::net::shutdown(&one.0, rustix::net::Shutdown::Write).expect("shut down");
    assert_eq!(received(&other).as_deref(), Ok(&b"the last"[..]));
    for _ in 0..3 {
        assert_eq!(received(&other), Err("closed"));
    }
    other.send(b"answer").expect("room");
    assert_eq!(received(&one).as_deref(), Ok(&b"answer"[..]));
}

/// LINK-3: another program might send one.
#[test]
fn an_empty_datagram_is_not_the_end() {
    let (one, other) = pair();
    let send_empty = || send(&one.0, &[], SendFlags::NOSIGNAL).expect("sent");
    send_empty();
    assert!(is_readable(&other).expect("poll"));
    assert_eq!(received(&other).expect("a datagram"), b"");
    send_empty();
    one.send(b"last words").expect("sent");
    drop(one);
    assert_eq!(received(&other).expect("a datagram"), b"");
    assert_eq!(received(&other).expect("a datagram"), b"last words");
    assert_eq!(received(&other), Err("closed"));
}
