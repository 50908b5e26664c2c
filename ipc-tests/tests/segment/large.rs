//! M1, M5: messages of any size between processes. Their memory is allocated when they are sent and freed when it is
//! idle; an error names the limit that prevents an allocation, and no process gets a signal.

use ipc_tests::support::{LIMIT, asleep, dismiss, hand_over, prompt, sleepy};
use ipc_tests::{
    Pid,
    child::Peer,
    guarded, program,
    rounds::{Rng, rounds, seed},
};
use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};
use workring::{
    Options, Receiver, SendError, Sender,
    error::{CreateError, MemoryLimit, SendTimeoutError, TrySendError},
    queue::{DeadLetter, Raw, Stats},
};

type Ends = (Sender<Vec<u8>, Raw>, Receiver<Vec<u8>, Raw>);

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Makes a queue that takes memory for messages of more than 64 KiB only, once it is made.
fn queue(options: &Options) -> Ends {
    let options = options.clone().preallocate(true);
    options.channel_with().expect("a queue")
}

/// Returns the memory of a queue without messages, in bytes.
fn base(options: &Options) -> usize {
    queue(options).0.stats().memory
}

/// Returns a message whose bytes depend on their place and on the message.
fn message(rng: &mut Rng, length: usize) -> Vec<u8> {
    let pattern: Vec<u8> = (0..length.min(65_521)).map(|_| rng.u8(..)).collect();
    let mut bytes = Vec::with_capacity(length + pattern.len());
    while bytes.len() < length {
        bytes.extend_from_slice(&pattern);
    }
    bytes.truncate(length);
    bytes
}

/// Returns how many bytes of memory the machine has available.
fn available() -> usize {
    let text = fs::read_to_string("/proc/meminfo").expect("/proc");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number
        .expect("MemAvailable")
        .parse::<usize>()
        .expect("a number")
        * KIB
}

/// Sends messages of these lengths to a child in `role`, and asserts that it sends them back unchanged.
fn round_trips(role: &str, lengths: &[usize]) {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let options = sleepy(8).max_message_len(longest);
    let queue = || -> Ends { options.channel_with().expect("a queue") };
    let ((tx, input), (output, rx)) = (queue(), queue());
    let relay = hand_over(role, &[&1], |handoff| {
        handoff.give("in", &input)?.give("out", &output)
    });
    drop((input, output));
    let mut rng = Rng::with_seed(seed());
    for &length in lengths {
        let sent = message(&mut rng, length);
        tx.send(sent.clone()).expect("it is open");
        let lease = rx.lease_bytes().expect("a message");
        assert!(*lease == sent, "{length} bytes were changed");
        lease.ack();
    }
    drop(tx);
    dismiss(relay);
}

#[test]
fn every_size_arrives_unchanged() {
    guarded(LIMIT, || {
        let edges = [
            96,
            256,
            KIB,
            4 * KIB,
            16 * KIB,
            64 * KIB,
            256 * KIB,
            MIB,
            4 * MIB,
        ];
        let around = edges.iter().flat_map(|edge| [edge - 1, *edge, edge + 1]);
        let mut lengths: Vec<usize> = [0, 1, 16 * MIB].into_iter().chain(around).collect();
        // Five copies: one in each queue, one in the child, and two here.
        if available() > 8 * 256 * MIB {
            lengths.push(256 * MIB);
        } else {
            println!("SKIPPED: no memory for messages of 256 MiB");
        }
        round_trips("relay", &lengths);
        round_trips("in-place", &lengths);
    });
}

fn committed(stats: &Stats, payload: usize) -> u64 {
    let class = stats.blocks.iter().find(|class| class.payload == payload);
    class.expect("a class of that size").committed
}

#[test]
fn memory_is_allocated_when_it_is_used_and_freed_when_it_is_idle() {
    guarded(LIMIT, || {
        let options = sleepy(16).max_message_len(128 * MIB);
        let (tx, rx) = queue(&options.max_idle_memory(64 * MIB));
        let base = tx.stats().memory;
        assert!(base < 8 * MIB, "{base} bytes without a message");
        for _ in 0..8 {
            tx.reserve(16 * MIB)
                .expect("memory")
                .commit()
                .expect("room");
        }
        let stats = rx.stats();
        assert_eq!(
            (stats.memory, committed(&stats, 16 * MIB)),
            (base + 128 * MIB, 8)
        );
        for _ in 0..8 {
            rx.lease_bytes().expect("a message").ack();
        }
        let stats = rx.stats();
        assert_eq!(
            (stats.memory, committed(&stats, 16 * MIB)),
            (base + 64 * MIB, 4)
        );
        tx.reserve(128 * MIB)
            .expect("memory")
            .commit()
            .expect("room");
        assert_eq!(tx.stats().memory, base + (64 + 128) * MIB);
        rx.lease_bytes().expect("a message").ack();
        assert_eq!(tx.stats().memory, base + 64 * MIB);
        drop(tx.reserve(128 * MIB).expect("memory"));
        assert_eq!(
            tx.stats().memory,
            base + 64 * MIB,
            "after a dropped reservation"
        );
        tx.reserve(128 * MIB)
            .expect("memory")
            .commit()
            .expect("room");
        assert_eq!(tx.cancel(), 1);
        assert_eq!(
            tx.stats().memory,
            base + 64 * MIB,
            "after a discarded message"
        );
    });
}

#[test]
fn discarding_a_dead_letter_frees_its_memory() {
    guarded(LIMIT, || {
        let options = sleepy(4).max_deliveries(1).max_message_len(128 * MIB);
        let (tx, rx) = queue(&options.max_idle_memory(0));
        let base = tx.stats().memory;
        tx.reserve(128 * MIB)
            .expect("memory")
            .commit()
            .expect("room");
        rx.lease_bytes().expect("a message").nack();
        assert_eq!(tx.stats().memory, base + 128 * MIB);
        rx.dead_letters().next().expect("a dead letter").discard();
        assert_eq!(tx.stats().memory, base);
    });
}

/// Otherwise one size of message could use up the limit for good.
#[test]
fn idle_memory_of_one_size_is_released_for_another() {
    guarded(LIMIT, || {
        let options = sleepy(64).max_message_len(16 * MIB);
        let limit = base(&options) + 16 * MIB;
        let (tx, rx) = queue(&options.memory_limit(limit));
        for length in [256 * KIB, 16 * MIB, MIB, 16 * MIB, 4 * MIB, 256 * KIB] {
            let count = 16 * MIB / length;
            for _ in 0..count {
                let mut room = tx.try_reserve(length).expect("memory");
                room.fill(7);
                room.try_commit().expect("room");
            }
            assert!(rx.stats().memory <= limit);
            for _ in 0..count {
                let message = rx.try_lease_bytes().expect("a message");
                assert!(message.len() == length && message.iter().all(|&byte| byte == 7));
                message.ack();
            }
        }
    });
}

#[test]
fn a_queue_that_exceeds_its_own_limit_is_not_created() {
    guarded(LIMIT, || {
        let options = Options::new(4).preallocate(true);
        let refused = options.clone().memory_limit(MIB).channel::<u32>();
        let Err(error) = refused else {
            panic!("the queue exceeds its limit")
        };
        let CreateError::NoMemory {
            limit,
            wanted,
            available,
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((*limit, *available), (MemoryLimit::Queue, 1 << 20));
        assert!(*wanted > 1 << 20);
        assert!(
            error.to_string().contains("the queue's memory limit"),
            "{error}"
        );
        let exactly = base(&options);
        drop(
            options
                .memory_limit(exactly)
                .channel::<u32>()
                .expect("a queue within its limit"),
        );
    });
}

#[test]
fn a_message_that_can_never_have_memory_is_returned_at_once() {
    guarded(LIMIT, || {
        let options = sleepy(8).max_message_len(4 * MIB);
        let limit = base(&options) + 3 * MIB;
        let (tx, rx) = queue(&options.memory_limit(limit));
        let large = || vec![7; 4 * MIB];
        match tx.send(large()) {
            Err(SendError::NoMemory {
                value,
                limit,
                wanted,
                available,
                ..
            }) => {
                assert_eq!(
                    (value == large(), limit, wanted, available),
                    (true, MemoryLimit::Queue, 4 << 20, 3 << 20)
                );
            }
            other => panic!("{other:?}"),
        }
        let tried = tx.try_send(large()).expect_err("no memory");
        assert!(matches!(tried, TrySendError::NoMemory { .. }), "{tried:?}");
        assert!(tried.into_inner() == large());
        let timed = tx.send_timeout(large(), LIMIT).expect_err("no memory");
        assert!(
            matches!(timed, SendTimeoutError::NoMemory { .. }),
            "{timed:?}"
        );
        assert!(matches!(
            tx.reserve(4 * MIB),
            Err(SendError::NoMemory {
                value: 4_194_304,
                ..
            })
        ));
        tx.send(vec![8; MIB]).expect("memory for a smaller message");
        assert_eq!(rx.recv().expect("a message").len(), MIB);
    });
}

/// Memory that other messages of the queue use will become free, so a sender waits for it.
#[test]
fn a_sender_that_waits_for_memory_is_woken_by_an_acknowledgement() {
    prompt(|| {
        let options = sleepy(8).max_message_len(4 * MIB);
        let limit = base(&options) + 5 * MIB;
        let (tx, rx) = queue(&options.memory_limit(limit));
        tx.send(vec![1; 4 * MIB]).expect("memory for one");
        let full = tx
            .try_send(vec![2; 4 * MIB])
            .expect_err("no memory for two");
        assert!(matches!(full, TrySendError::Full(_)), "{full:?}");
        let waiting = {
            let tx = tx.clone();
            asleep(move || tx.send(vec![2; 4 * MIB]))
        };
        let lease = rx.lease_bytes().expect("a message");
        assert_eq!(rx.stats().queued, 0, "a lease keeps its memory");
        lease.ack();
        waiting.join().expect("join").expect("memory");
        assert_eq!(rx.recv().expect("a message"), vec![2; 4 * MIB]);
    });
}

/// Dead letters of one size use all memory, and then messages of another size are sent.
#[test]
fn dead_letters_are_evicted_for_messages_that_need_their_memory() {
    guarded(LIMIT, || {
        let options = sleepy(8).max_deliveries(1).max_message_len(4 * MIB);
        let limit = base(&options) + 4 * MIB;
        let (tx, rx) = queue(&options.memory_limit(limit));
        for length in [MIB, MIB, 4 * MIB, 256 * KIB, 4 * MIB] {
            tx.try_send(vec![7; length])
                .expect("the memory of dead letters");
            rx.try_lease().expect("a message").nack();
        }
        assert_eq!(
            rx.dead_letters().count(),
            1,
            "no more blocks than needed are evicted"
        );
    });
}

/// With `evict_dead_letters(false)` they stay until they are discarded, whichever message needs the memory.
#[test]
fn dead_letters_that_must_not_be_evicted_stay() {
    guarded(LIMIT, || {
        for length in [KIB, 64 * KIB, 4 * MIB] {
            let options = sleepy(64).max_deliveries(1).max_message_len(4 * MIB);
            let options = options.max_dead_letters(64).evict_dead_letters(false);
            let limit = base(&options) + 8 * MIB;
            let (tx, rx) = queue(&options.memory_limit(limit));
            let mut letters = 0;
            while tx.try_send(vec![7; length]).is_ok() && letters < 64 {
                rx.try_lease().expect("a message").nack();
                letters += 1;
                assert_eq!(rx.dead_letters().count(), letters, "{length} bytes");
            }
            assert_eq!(rx.stats().dropped_letters, 0);
            rx.dead_letters().for_each(DeadLetter::discard);
            tx.try_send(vec![7; length]).expect("memory");
        }
    });
}

fn peer(role: &str, arguments: &[&dyn Display]) -> Peer {
    Peer::spawn(program("peer"), role, arguments, Command::spawn).expect("spawn")
}

/// A file beyond this limit would cause SIGXFSZ, which kills the process.
#[test]
fn the_limit_on_the_size_of_files_is_named() {
    guarded(LIMIT, || {
        let mut child = peer("limited", &[&"file size", &(64 * MIB)]);
        let error = child.answer();
        for part in ["NoMemory", "FileSize", "available: 67108864"] {
            assert!(error.contains(part), "no {part:?} in {error}");
        }
        assert_eq!(child.answer(), "done");
        dismiss(child);
    });
}

#[test]
fn the_limit_on_addresses_is_named() {
    guarded(LIMIT, || {
        let mut child = peer("limited", &[&"address space", &(256 * MIB)]);
        let error = child.answer();
        for part in ["NoMemory", "AddressSpace"] {
            assert!(error.contains(part), "no {part:?} in {error}");
        }
        assert_eq!(child.answer(), "done");
        dismiss(child);
        let (tx, rx) = Options::new(4)
            .max_message_len(256 * MIB)
            .channel::<u32>()
            .expect("a queue");
        let mut heir = hand_over(
            "limited-inheritor",
            &[&"address space", &(256 * MIB)],
            |handoff| handoff.give("queue", &tx),
        );
        let error = heir.answer();
        for part in ["NoMemory", "AddressSpace"] {
            assert!(error.contains(part), "no {part:?} in {error}");
        }
        dismiss(heir);
        drop((tx, rx));
    });
}

/// A memory control group below that of this process, removed on drop.
struct Group(PathBuf);

impl Group {
    /// Creates a group with a limit on its memory. The error says why this process cannot create one.
    fn new(bytes: usize) -> Result<Self, String> {
        let groups = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let of = |line: &str| -> Option<(PathBuf, &'static str)> {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let below = path.trim_start_matches('/');
            match controllers {
                "memory" => Some((
                    Path::new("/sys/fs/cgroup/memory").join(below),
                    "memory.limit_in_bytes",
                )),
                "" => Some((Path::new("/sys/fs/cgroup").join(below), "memory.max")),
                _ => None,
            }
        };
        let tried = groups.lines().filter_map(of).map(|(parent, limit)| {
            let group = Self(parent.join(format!("workring-test-{}", Pid::this())));
            let path = group.0.display();
            fs::create_dir(&group.0).map_err(|error| format!("{path}: {error}"))?;
            fs::write(group.0.join(limit), bytes.to_string())
                .map_err(|error| format!("{path}/{limit}: {error}"))?;
            Ok(group)
        });
        let mut why = "no memory control group".to_owned();
        for group in tried {
            match group {
                Ok(group) => return Ok(group),
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last process of the group has just ended, which the kernel may notice a moment later.
        for _ in 0..1_000_000 {
            match fs::remove_dir(&self.0) {
                Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => thread::yield_now(),
                _ => return,
            }
        }
    }
}

/// The kernel would kill a process that uses more memory than its control group may.
#[test]
fn the_limit_of_a_control_group_is_named() {
    guarded(LIMIT, || {
        let group = match Group::new(64 * MIB) {
            Ok(group) => group,
            Err(why) => {
                return println!("SKIPPED: this process cannot create a control group: {why}");
            }
        };
        let mut child = peer("reserve-until-error", &[]);
        let pid = child.pid().to_string();
        if let Err(error) = fs::write(group.0.join("cgroup.procs"), pid) {
            println!("SKIPPED: this process cannot move a process into a group: {error}");
            return;
        }
        child.say("start");
        let used: usize = child.answer().parse().expect("a number");
        let error = child.answer();
        assert!((1..16).contains(&used), "{used} of 4 MiB, then {error}");
        assert_eq!(
            error, "Full(..)",
            "the memory of other blocks will become free"
        );
        let error = child.answer();
        for part in ["NoMemory", "Cgroup", "wanted: 134217728"] {
            assert!(error.contains(part), "no {part:?} in {error}");
        }
        dismiss(child);
    });
}

/// Processes compete for memory that suffices for few of their messages. Each message arrives, no limit is exceeded,
/// and no process is killed by an access to memory that is not allocated.
#[test]
fn processes_that_compete_for_little_memory_lose_no_message() {
    let rounds = rounds(200, 1_000);
    guarded(LIMIT + Duration::from_millis(20) * rounds, || {
        let options = sleepy(16).max_message_len(4 * MIB);
        let limit = base(&options) + 9 * MIB;
        let options = options.memory_limit(limit);
        let ((tx, input), (output, rx)) = (queue(&options), queue(&options));
        let children = ["relay", "in-place", "relay"].map(|role| {
            hand_over(role, &[&2], |handoff| {
                handoff.give("in", &input)?.give("out", &output)
            })
        });
        drop((input, output));
        let mut rng = Rng::with_seed(seed());
        let mut expected: Vec<Vec<u8>> = (0..rounds)
            .map(|_| {
                let most = *[100 * KIB, MIB, 4 * MIB]
                    .get(rng.usize(0..3))
                    .expect("three");
                let length = rng.usize(0..=most);
                message(&mut rng, length)
            })
            .collect();
        let messages = expected.clone();
        let sending = thread::spawn(move || {
            for message in messages {
                tx.send(message).expect("it is open");
                assert!(
                    tx.stats().memory <= limit + 4 * MIB * 4,
                    "far above the limit"
                );
            }
        });
        let mut received: Vec<Vec<u8>> = rx.iter().map(|message| message.expect("one")).collect();
        sending.join().expect("join");
        received.sort_unstable();
        expected.sort_unstable();
        assert!(received == expected, "messages were lost or changed");
        assert!(rx.stats().memory <= limit);
        children.into_iter().for_each(dismiss);
    });
}
