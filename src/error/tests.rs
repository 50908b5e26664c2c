//! Rules that hold for all error types.

use super::*;
use crate::codec::{DecodeError, EncodeError};
use std::error::Error;
use std::io;

fn encode_error() -> EncodeError {
    EncodeError::failed("no colour called mauve")
}

fn decode_error() -> DecodeError {
    DecodeError::new("colour 77 of 16")
}

fn send_error() -> SendError<()> {
    SendError::Encode {
        value: (),
        source: encode_error(),
    }
}

/// Returns an error of each type that has a source.
fn errors_with_sources() -> Vec<Box<dyn Error>> {
    let os = || io::Error::from_raw_os_error(13);
    let what = "no shared memory for the queue";
    let create = || CreateError::Os { what, source: os() };
    let open = || OpenError::Os { what, source: os() };
    #[cfg_attr(
        not(feature = "rendezvous"),
        expect(unused_mut, reason = "only connections add to them")
    )]
    let mut errors: Vec<Box<dyn Error>> = vec![
        Box::new(send_error()),
        Box::new(TrySendError::from(send_error())),
        Box::new(SendTimeoutError::from(send_error())),
        Box::new(SendManyError {
            accepted: 3,
            error: send_error(),
            rest: Unsent::new(Vec::new().into_iter(), std::iter::empty::<()>()),
        }),
        Box::new(RecvError::Decode(decode_error())),
        Box::new(TryRecvError::Decode(decode_error())),
        Box::new(RecvTimeoutError::Decode(decode_error())),
        Box::new(create()),
        Box::new(CreateNamedError::Create(create())),
        Box::new(open()),
        Box::new(RemoveError::Open(open())),
        Box::new(OpenOrCreateError::Open(open())),
        Box::new(OpenOrCreateError::Create(create().into())),
        Box::new(RequestError::NotSent(SendTimeoutError::from(send_error()))),
        Box::new(HandoffError::Os { what, source: os() }),
        Box::new(InheritError::Os {
            what,
            source: io::Error::other(decode_error()),
        }),
        Box::new(WatchError::Os { what, source: os() }),
        Box::new(SelectError::Os { source: os() }),
        Box::new(SelectTimeoutError::Os { source: os() }),
        Box::new(StartError::Queue(create())),
        Box::new(StartError::Os { what, source: os() }),
        Box::new(StartError::Spawn {
            program: "/bin/worker".into(),
            source: os(),
        }),
        Box::new(SubmitError::Encode {
            task: (),
            source: encode_error(),
        }),
        Box::new(TrySubmitError::Refused(SubmitError::Encode {
            task: (),
            source: encode_error(),
        })),
    ];
    #[cfg(feature = "rendezvous")]
    errors.extend(
        errors_of_connections()
            .into_iter()
            .filter(|error| error.source().is_some()),
    );
    errors
}

/// Returns an error of each kind of sentence.
fn errors() -> Vec<Box<dyn Error>> {
    let (value, len, max) = ((), 9, 8);
    let (limit, wanted, available) = (MemoryLimit::Machine, 7, 5);
    let name = || "name".to_owned();
    let (theirs, ours) = (1, 2);
    let mut errors: Vec<Box<dyn Error>> = vec![
        Box::new(SendError::Closed(())),
        Box::new(SendError::Forked(())),
        Box::new(SendError::Interrupted(())),
        Box::new(SendError::TooLarge { value, len, max }),
        Box::new(SendError::NoMemory {
            value,
            limit,
            wanted,
            available,
        }),
        Box::new(TrySendError::Full(())),
        Box::new(SendTimeoutError::Timeout(())),
        Box::new(RecvError::Closed),
        Box::new(RecvError::TooManyLeases { max: 3 }),
        Box::new(RecvError::Corrupt { what: "a lap" }),
        Box::new(TryRecvError::Empty),
        Box::new(RecvTimeoutError::Timeout),
        Box::new(CreateError::InvalidOption {
            option: "capacity",
            value: "0".to_owned(),
            allowed: "from 1 to 8".to_owned(),
        }),
        Box::new(CreateNamedError::InvalidName { name: name() }),
        Box::new(CreateNamedError::AlreadyExists { name: name() }),
        Box::new(OpenError::NotFound { name: name() }),
        Box::new(OpenError::BeingRemoved { name: name() }),
        Box::new(OpenError::NotPrivate {
            owner: 1,
            mode: 0o644,
        }),
        Box::new(OpenError::NotAQueue { what: "too short" }),
        Box::new(OpenError::Version { theirs, ours }),
        Box::new(OpenError::Layout { theirs, ours }),
        Box::new(OpenError::TooManyPeers { max: 3 }),
        Box::new(RemoveError::InUse { processes: 1 }),
        Box::new(RemoveError::InUse { processes: 2 }),
        Box::new(HandoffError::InvalidName { name: name() }),
        Box::new(HandoffError::TooManyPeers { max: 3 }),
        Box::new(InheritError::NotGiven {
            name: name(),
            given: Vec::new(),
        }),
        Box::new(InheritError::NotGiven {
            name: name(),
            given: vec![name()],
        }),
        Box::new(InheritError::AlreadyTaken { name: name() }),
        Box::new(InheritError::WrongEnd {
            name: name(),
            given: "file",
        }),
        Box::new(InheritError::Type {
            theirs: name(),
            ours: name(),
        }),
        Box::new(InheritError::Codec {
            theirs: name(),
            ours: name(),
        }),
        Box::new(WatchError::Forked),
        Box::new(SelectError::NoOperations),
        Box::new(SelectError::TooManyQueues { max: 3 }),
        Box::new(TrySelectError::NotReady),
    ];
    errors.extend(errors_with_sources());
    #[cfg(feature = "rendezvous")]
    errors.extend(errors_of_connections());
    errors.extend(errors_of_pools());
    errors.extend(errors_of_requests_and_names());
    errors
}

/// Returns an error of each kind of sentence about connections.
#[cfg(feature = "rendezvous")]
fn errors_of_connections() -> Vec<Box<dyn Error>> {
    let name = || "name".to_owned();
    let what = "what was tried";
    let os = || io::Error::from_raw_os_error(13);
    let directory = || "/tmp/workring-1".into();
    let (owner, mode, max) = (1, 0o777, 64);
    vec![
        Box::new(BindError::InvalidName { name: name() }),
        Box::new(BindError::NameTaken { name: name() }),
        Box::new(BindError::NotPrivate {
            directory: directory(),
            owner,
            mode,
        }),
        Box::new(BindError::Os { what, source: os() }),
        Box::new(AcceptError::Timeout),
        Box::new(AcceptError::Empty),
        Box::new(AcceptError::Interrupted),
        Box::new(AcceptError::Forked),
        Box::new(AcceptError::Os { what, source: os() }),
        Box::new(ConnectError::InvalidName { name: name() }),
        Box::new(ConnectError::Timeout { last: what }),
        Box::new(ConnectError::Closed),
        Box::new(ConnectError::Refused { user: 1 }),
        Box::new(ConnectError::WrongUser {
            theirs: 1,
            expected: 2,
        }),
        Box::new(ConnectError::NotUnderstood { what }),
        Box::new(ConnectError::NotPrivate {
            directory: directory(),
            owner,
            mode,
        }),
        Box::new(ConnectError::Os { what, source: os() }),
        Box::new(GiveError::Closed),
        Box::new(GiveError::Full),
        Box::new(GiveError::OtherUser { user: 1 }),
        Box::new(GiveError::Handoff(HandoffError::Closed)),
        Box::new(TakeError::Closed),
        Box::new(TakeError::Timeout),
        Box::new(TakeError::Interrupted),
        Box::new(TakeError::NotGiven {
            name: name(),
            given: Vec::new(),
        }),
        Box::new(TakeError::NotGiven {
            name: name(),
            given: vec![name()],
        }),
        Box::new(TakeError::TooManyGiven { max }),
        Box::new(TakeError::Forked),
        Box::new(TakeError::NotUnderstood { what }),
        Box::new(TakeError::Inherit(InheritError::AlreadyTaken {
            name: name(),
        })),
        Box::new(TakeError::Os { what, source: os() }),
    ]
}

/// Returns an error of each kind of sentence about requests, and about queues that are found by their names.
fn errors_of_requests_and_names() -> Vec<Box<dyn Error>> {
    let name = || "name".to_owned();
    vec![
        Box::new(CreateNamedError::Mapping {
            what: "it has a file link",
        }),
        Box::new(OpenError::OtherFile { os_id: name() }),
        Box::new(OpenOrCreateError::OtherOption {
            option: "capacity",
            theirs: "1".to_owned(),
            ours: "2".to_owned(),
        }),
        Box::new(ReplyError::Timeout),
        Box::new(ReplyError::Abandoned { deliveries: 2 }),
        Box::new(ReplyError::AnswerNotSent { what: name() }),
        Box::new(ReplyError::Corrupt { what: "a lap" }),
        Box::new(RequestError::NotSent(SendTimeoutError::Timeout(()))),
        Box::new(RequestError::<()>::NoAnswer(ReplyError::Closed)),
    ]
}

/// Returns an error of each kind of sentence about pools.
fn errors_of_pools() -> Vec<Box<dyn Error>> {
    let name = || "name".to_owned();
    vec![
        Box::new(StartError::InvalidOption {
            option: "workers",
            value: "0".to_owned(),
            allowed: "1 to 512".to_owned(),
        }),
        Box::new(StartError::StartedAsWorker),
        Box::new(StartError::NoHandshake { status: None }),
        Box::new(StartError::Mismatch {
            what: "type of task",
            theirs: name(),
            ours: name(),
        }),
        Box::new(StartError::Unfit { what: name() }),
        Box::new(StartError::Died { status: None }),
        Box::new(StartError::TimedOut),
        Box::new(SubmitError::Closed(())),
        Box::new(SubmitError::Forked(())),
        Box::new(SubmitError::Unclaimed { task: (), max: 3 }),
        Box::new(SubmitError::NoWorkers {
            task: (),
            why: name(),
        }),
        Box::new(SubmitError::TooLarge {
            task: (),
            len: 9,
            max: 8,
        }),
        Box::new(SubmitError::NoMemory {
            task: (),
            limit: MemoryLimit::Machine,
            wanted: 7,
            available: 5,
        }),
        Box::new(SubmitError::Corrupt {
            task: (),
            what: "a lap",
        }),
        Box::new(TrySubmitError::Full(())),
        Box::new(ShutdownError::Forked),
        Box::new(RolloutError::Closed),
        Box::new(RolloutError::InvalidSize {
            workers: 0..=9,
            max: 8,
        }),
        Box::new(RolloutError::Forked),
    ]
}

#[test]
fn every_sentence_is_in_lower_case_and_says_what_to_do() {
    for error in errors() {
        let sentence = error.to_string();
        let (failure, remedy) = sentence.split_once(": ").unwrap_or((&sentence, ""));
        assert!(!failure.is_empty() && !remedy.is_empty(), "{sentence}");
        assert!(!sentence.starts_with(char::is_uppercase), "{sentence}");
        assert!(!sentence.ends_with('.'), "{sentence}");
    }
}

#[test]
fn the_cause_is_the_source_and_not_part_of_the_sentence() {
    for error in errors_with_sources() {
        let source = error.source().expect("a cause").to_string();
        assert!(!error.to_string().contains(&source), "{error}: {source}");
        let all = with_causes(&*error);
        assert!(all.contains(&source), "{all}");
        assert!(
            all.contains("mauve") || all.contains("77") || all.contains("denied"),
            "{all}"
        );
    }
}

#[test]
fn one_process_is_not_called_processes() {
    let one = RemoveError::InUse { processes: 1 }.to_string();
    assert!(one.starts_with("1 process is"), "{one}");
}

#[test]
fn an_error_of_the_system_names_the_limit_that_can_be_raised() {
    for (number, limit) in [(24, "ulimit -n"), (23, "fs.file-max"), (11, "ulimit -u")] {
        let source = io::Error::from_raw_os_error(number);
        let what = "no descriptor for the child";
        let sentence = HandoffError::Os { what, source }.to_string();
        assert!(
            sentence.contains(what) && sentence.contains(limit),
            "{sentence}"
        );
    }
}

#[test]
fn errors_are_equal_if_all_their_parts_are() {
    assert_eq!(SendError::Closed(7), SendError::Closed(7));
    assert_ne!(SendError::Closed(7), SendError::Closed(8));
    assert_ne!(SendError::Closed(7), SendError::Forked(7));
    assert_eq!(send_error(), send_error());
    assert_eq!(TryRecvError::Empty, TryRecvError::Empty);
    assert_eq!(
        RecvError::Decode(decode_error()),
        RecvError::Decode(decode_error())
    );
    assert_ne!(
        RecvError::Decode(decode_error()),
        RecvError::Decode(DecodeError::new("another"))
    );
    let unsent = |from| SendManyError {
        accepted: 3,
        error: TrySendError::Full(7),
        rest: Unsent::new(vec![8].into_iter(), from..10),
    };
    assert_eq!(unsent(9), unsent(9));
    assert_ne!(unsent(9), unsent(8));
    assert_eq!(TrySubmitError::Full(7), TrySubmitError::Full(7));
    assert_ne!(SubmitError::Closed(7), SubmitError::Closed(8));
    let option = "capacity";
    let invalid = |option| StartError::InvalidOption {
        option,
        value: "0".to_owned(),
        allowed: "1 to 8".to_owned(),
    };
    assert_eq!(invalid(option), invalid(option));
    assert_ne!(invalid(option), invalid("workers"));
    let queue = |what| {
        StartError::Queue(CreateError::Os {
            what,
            source: io::Error::from_raw_os_error(13),
        })
    };
    assert_eq!(queue("no memory"), queue("no memory"));
    assert_ne!(queue("no memory"), queue("no file"));
}

#[test]
fn errors_of_the_system_are_equal_if_their_kinds_are() {
    let open = |what, number| OpenError::Os {
        what,
        source: io::Error::from_raw_os_error(number),
    };
    // EACCES and EPERM are of one kind.
    assert_eq!(open("no file", 13), open("no file", 1));
    assert_ne!(open("no file", 13), open("no lock", 13));
    assert_ne!(open("no file", 13), open("no file", 2));
    assert_eq!(
        RemoveError::Open(open("no file", 13)),
        RemoveError::Open(open("no file", 13))
    );
    let name = |name: &str| OpenError::NotFound {
        name: name.to_owned(),
    };
    assert_eq!(name("a"), name("a"));
    assert_ne!(name("a"), name("b"));
    assert_ne!(name("a"), open("no file", 2));
    let spawn = |number| StartError::Spawn {
        program: "/bin/worker".into(),
        source: io::Error::from_raw_os_error(number),
    };
    assert_eq!(spawn(13), spawn(1));
    assert_ne!(spawn(13), spawn(2));
}

#[test]
fn an_error_of_a_waiting_operation_becomes_one_of_the_other_forms() {
    assert_eq!(
        TrySendError::from(SendError::Interrupted(7)),
        TrySendError::Full(7)
    );
    assert_eq!(
        SendTimeoutError::from(SendError::Interrupted(7)),
        SendTimeoutError::Interrupted(7)
    );
    assert_eq!(
        TryRecvError::from(RecvError::Interrupted),
        TryRecvError::Empty
    );
    let what = "a lap";
    assert_eq!(
        RecvTimeoutError::from(RecvError::Corrupt { what }),
        RecvTimeoutError::Corrupt { what }
    );
}

#[test]
fn each_reason_has_a_method_that_tests_for_it() {
    assert!(SendError::Closed(()).is_closed() && !SendError::Closed(()).is_interrupted());
    assert!(SendError::Interrupted(()).is_interrupted());
    assert!(TrySendError::Full(()).is_full() && !TrySendError::Full(()).is_closed());
    assert!(SendTimeoutError::Timeout(()).is_timeout());
    assert!(SendTimeoutError::Interrupted(()).is_interrupted());
    assert!(TryRecvError::Empty.is_empty() && TryRecvError::Closed.is_closed());
    assert!(RecvTimeoutError::Timeout.is_timeout() && RecvError::Interrupted.is_interrupted());
    assert!(HandoffError::Closed.is_closed() && OpenError::Closed.is_closed());
    assert!(StartError::TimedOut.is_timeout() && !StartError::StartedAsWorker.is_timeout());
    assert!(SubmitError::Closed(()).is_closed() && !SubmitError::Forked(()).is_closed());
    assert!(TrySubmitError::Full(()).is_full() && !TrySubmitError::Full(()).is_closed());
    assert!(TrySubmitError::Refused(SubmitError::Closed(())).is_closed());
}
