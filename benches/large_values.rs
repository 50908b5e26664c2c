//! Values of 64 MiB through the default codec, next to bincode alone.
//!
//!     cargo bench --bench large_values                   # `String` and `Vec<u8>`
//!     cargo bench --bench large_values -- String
//!
//! All sides are measured in turn, in one run. What is received is dropped outside of the measured times.
//!
//! | column | meaning |
//! |---|---|
//! | encode | bincode alone: from the value to a slice that has memory; drops the value |
//! | send | `Sender::send` to a queue with room, which drops the value |
//! | decode | bincode alone: from a slice that has memory |
//! | recv | `Receiver::recv` of a message that is there, sent by another process |
//! | two hops | to another process and back, through two queues |
//! | pool | as a task and back, by a worker that returns its task |
//! | / | the ratio to the column before |
//!
//! Times are in ms, medians of at least five.

mod support;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::process::Command;
use std::time::{Duration, Instant};
use support::{arguments, median, print_origin};
use workring::pool::{Context, Shutdown, Task, TypedPool, run_if_worker_for};
use workring::{Handoff, Options, Receiver, Sender, inherit};

const LEN: usize = 64 << 20;
/// More than [`LEN`], for the length of the value and the header of a task.
const MAX_MESSAGE_LEN: usize = LEN + 4096;
/// Rounds; the first one, which takes all memory, does not count.
const ROUNDS: usize = 9;

trait Value: Clone + PartialEq + Send + Sync + Serialize + DeserializeOwned + 'static {
    const NAME: &'static str;
    fn new() -> Self;
    fn into_task(self) -> Echo;
    fn from_task(task: Echo) -> Option<Self>;
}

impl Value for String {
    const NAME: &'static str = "String";
    fn new() -> Self {
        "large value ".chars().cycle().take(LEN).collect()
    }
    fn into_task(self) -> Echo {
        Echo::Text(self)
    }
    fn from_task(task: Echo) -> Option<Self> {
        match task {
            Echo::Text(text) => Some(text),
            Echo::Bytes(_) => None,
        }
    }
}

impl Value for Vec<u8> {
    const NAME: &'static str = "Vec<u8>";
    fn new() -> Self {
        (0..=u8::MAX).cycle().take(LEN).collect()
    }
    fn into_task(self) -> Echo {
        Echo::Bytes(self)
    }
    fn from_task(task: Echo) -> Option<Self> {
        match task {
            Echo::Bytes(bytes) => Some(bytes),
            Echo::Text(_) => None,
        }
    }
}

/// A task that returns itself.
#[derive(Serialize, Deserialize)]
enum Echo {
    Text(String),
    Bytes(Vec<u8>),
}

impl Task for Echo {
    type Output = Self;
    type Error = ();

    fn run(self, _: &Context) -> Result<Self, ()> {
        Ok(self)
    }
}

fn main() {
    run_if_worker_for::<Echo>();
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["child", String::NAME] => child::<String>(),
        ["child", Vec::NAME] => child::<Vec<u8>>(),
        [] => {
            print_head();
            measure::<String>();
            measure::<Vec<u8>>();
        }
        [String::NAME] => {
            print_head();
            measure::<String>();
        }
        [Vec::NAME] => {
            print_head();
            measure::<Vec<u8>>();
        }
        other => panic!("see the first lines of this file; got {other:?}"),
    }
}

fn print_head() {
    print_origin();
    println!(
        "# ms, median of {}, values of {} MiB",
        ROUNDS - 1,
        LEN >> 20
    );
    println!(
        "{:>8} {:>7} {:>7} {:>5} {:>7} {:>7} {:>5} {:>9} {:>7} {:>5}",
        "type", "encode", "send", "/", "decode", "recv", "/", "two hops", "pool", "/"
    );
}

/// Runs `act`, and returns how many milliseconds it takes and its result.
fn timed<R>(act: impl FnOnce() -> R) -> (f64, R) {
    let began = Instant::now();
    let result = act();
    (began.elapsed().as_secs_f64() * 1e3, result)
}

/// The figures of one column.
#[derive(Default)]
struct Column(Vec<f64>);

impl Column {
    fn time<R>(&mut self, act: impl FnOnce() -> R) -> R {
        let (time, result) = timed(act);
        self.0.push(time);
        result
    }

    /// Returns the median of all rounds but the first.
    fn median(&self) -> f64 {
        median(self.0.get(1..).unwrap_or_default())
    }
}

fn measure<V: Value>() {
    let format = bincode::config::standard().with_fixed_int_encoding();
    let value = V::new();
    let mut slice = bincode::serde::encode_to_vec(&value, format).expect("it can be encoded");
    let peer = Peer::<V>::start();
    let pool = TypedPool::<Echo>::builder()
        .workers(1)
        .max_message_len(MAX_MESSAGE_LEN)
        .start()
        .expect("a pool");
    let [
        mut encode,
        mut send,
        mut decode,
        mut recv,
        mut hops,
        mut task,
    ] = [const { Column(Vec::new()) }; 6];
    for _ in 0..ROUNDS {
        let copy = value.clone();
        encode.time(|| {
            bincode::serde::encode_into_slice(&copy, &mut slice, format)
                .expect("it can be encoded");
            drop(copy);
        });
        let copy = value.clone();
        assert!(send.time(|| peer.there.send(copy)).is_ok(), "open");
        peer.ready.recv().expect("the child has the message");
        let (decoded, _): (V, _) = decode
            .time(|| bincode::serde::decode_from_slice(&slice, format))
            .expect("it can be decoded");
        assert!(decoded == value);
        drop(decoded);
        peer.go.send(()).expect("open");
        peer.ready.recv().expect("the child has sent it back");
        let received = recv.time(|| peer.back.recv()).expect("a message");
        assert!(received == value);
        drop(received);
        let copy = value.clone();
        let returned = hops.time(|| peer.round_trip(copy));
        assert!(returned == value);
        drop(returned);
        let input = value.clone().into_task();
        let output = task.time(|| pool.submit(input).expect("open").wait());
        let returned = V::from_task(output.expect("an output"));
        assert!(returned.is_some_and(|returned| returned == value));
    }
    let ratio = |over: &Column, under: &Column| over.median() / under.median();
    println!(
        "{:>8} {:>7.1} {:>7.1} {:>5.2} {:>7.1} {:>7.1} {:>5.2} {:>9.1} {:>7.1} {:>5.2}",
        V::NAME,
        encode.median(),
        send.median(),
        ratio(&send, &encode),
        decode.median(),
        recv.median(),
        ratio(&recv, &decode),
        hops.median(),
        task.median(),
        ratio(&task, &hops),
    );
    peer.end();
    let report = pool
        .shutdown(Shutdown::Drain, Duration::from_secs(60))
        .expect("the pool's own process");
    assert!(report.is_balanced() && report.died == 0, "{report}");
}

/// A child process that sends each message back.
struct Peer<V: Value> {
    there: Sender<V>,
    back: Receiver<V>,
    /// The child reports that it has received, or sent, a message.
    ready: Receiver<()>,
    /// Lets the child go on.
    go: Sender<()>,
    child: std::process::Child,
}

impl<V: Value> Peer<V> {
    fn start() -> Self {
        let options = Options::new(4).max_message_len(MAX_MESSAGE_LEN);
        let (there, childs_receiver) = options.channel::<V>().expect("a queue");
        let (childs_sender, back) = options.channel::<V>().expect("a queue");
        let (childs_ready, ready) = workring::channel::<()>(4).expect("a queue");
        let (go, childs_go) = workring::channel::<()>(4).expect("a queue");
        let handoff = Handoff::new().give("there", &childs_receiver);
        let handoff = handoff.and_then(|handoff| handoff.give("back", &childs_sender));
        let handoff = handoff.and_then(|handoff| handoff.give("ready", &childs_ready));
        let handoff = handoff.and_then(|handoff| handoff.give("go", &childs_go));
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["child", V::NAME]);
        let child = handoff.expect("tickets").spawn(&mut command);
        Self {
            there,
            back,
            ready,
            go,
            child: child.expect("a child"),
        }
    }

    fn round_trip(&self, value: V) -> V {
        self.go.send(()).expect("open");
        assert!(self.there.send(value).is_ok(), "open");
        let returned = self.back.recv().expect("a message");
        for _ in 0..2 {
            self.ready.recv().expect("the child's report");
        }
        returned
    }

    fn end(mut self) {
        self.there.close();
        assert!(self.child.wait().expect("wait").success());
    }
}

fn child<V: Value>() {
    let there: Receiver<V> = inherit("there").expect("there");
    let back: Sender<V> = inherit("back").expect("back");
    let ready: Sender<()> = inherit("ready").expect("ready");
    let go: Receiver<()> = inherit("go").expect("go");
    while let Ok(value) = there.recv() {
        ready.send(()).expect("open");
        go.recv().expect("open");
        assert!(back.send(value).is_ok(), "open");
        ready.send(()).expect("open");
    }
}
