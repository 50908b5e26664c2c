//! A live pool: this test program's, whose workers are this program, started again.

use super::support::{Name, Watchdog, json, ok};
use serde_json::Value;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process;
use std::time::{Duration, Instant};
use workring::Failure;
use workring::pool::{Pool, Shutdown};

workring::auto_worker!();

/// Calls the test, and runs until the test hangs up.
#[workring::task]
fn call_the_test(name: String) -> Result<u32, Failure> {
    let called = SocketAddr::from_abstract_name(&name)
        .and_then(|address| UnixStream::connect_addr(&address))
        .and_then(|mut call| call.read_to_end(&mut Vec::new()));
    called.map_err(|error| Failure::new(error.to_string()))?;
    Ok(process::id())
}

/// By how much a worker's clock may be late when it notes the start of a task: a tick of a kernel with 100 a second.
const TICK: Duration = Duration::from_millis(10);

/// Returns the entry of this process's pool in the output of `ls --json`.
fn own_pool() -> Value {
    let all = json("ls", &["ls", "--json"]);
    let pools = all["pools"].as_array().expect("pools");
    let own = pools.iter().find(|pool| pool["parent"] == process::id());
    let own = own.unwrap_or_else(|| panic!("{all:#}")).clone();
    let queues = all["queues"].as_array().expect("queues");
    for queue in ["tasks", "results"] {
        let is_listed = queues.iter().any(|listed| listed["name"] == own[queue]);
        assert!(is_listed, "{queue}: {all:#}");
    }
    own
}

fn workers(pool: &Value) -> &Vec<Value> {
    pool["workers"].as_array().expect("workers")
}

/// Returns the workers that run a task.
fn busy(pool: &Value) -> Vec<&Value> {
    let workers = workers(pool).iter();
    workers.filter(|worker| !worker["task"].is_null()).collect()
}

/// Looks until the pool is as wanted, as long as the watchdog permits.
fn until(look: impl Fn() -> Value, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let pool = look();
        if wanted(&pool) {
            return pool;
        }
    }
}

#[test]
fn a_pool_is_shown_with_its_workers_and_what_they_run_since_when() {
    let _watchdog = Watchdog::start();
    let name = Name::new("pool");
    let address = SocketAddr::from_abstract_name(&name.0).expect("an address");
    let listener = UnixListener::bind_addr(&address).expect("a socket");
    let pool = Pool::start(2).expect("a pool");
    let submitted = Instant::now();
    let handle = pool
        .submit(call_the_test::new(name.0.clone()))
        .expect("room");
    let (call, _) = listener.accept().expect("a call");
    let called = Instant::now();

    // The other worker may not have begun yet.
    let is_complete = |pool: &Value| workers(pool).iter().all(|worker| worker["pid"].is_u64());
    let shown = until(own_pool, is_complete);
    assert_eq!(workers(&shown).len(), 2, "{shown:#}");
    let board = shown["name"].as_str().expect("a name");
    let stat = || json("pool", &["stat", board, "--json"]);

    let least = called.elapsed();
    let shown = stat();
    let most = submitted.elapsed() + TICK;
    let [worker] = busy(&shown)[..] else {
        panic!("{shown:#}");
    };
    let task = &worker["task"];
    assert_eq!(task["id"].to_string(), handle.id().to_string());
    assert_eq!(task["phase"], "running", "{shown:#}");
    let age = Duration::from_secs_f64(task["age"].as_f64().expect("an age"));
    assert!(least <= age && age <= most, "{least:?} {age:?} {most:?}");

    let text = ok(&["stat", board]);
    let pid = worker["pid"].to_string();
    let is_row = |line: &&str| line.split_whitespace().nth(1) == Some(&pid);
    let row = text.lines().find(is_row).expect("the worker's row");
    assert!(row.contains("running"), "{text}");
    let text = ok(&["ls"]);
    let row = text.lines().find(|line| line.starts_with(board));
    let columns: Vec<_> = row.expect("a row").split_whitespace().collect();
    let parent = process::id().to_string();
    assert_eq!(columns[1..4], [parent.as_str(), "2/2", "1"], "{text}");

    drop(call);
    let ran_in = handle.wait().expect("the task's output");
    assert_eq!(worker["pid"], ran_in, "the worker that was shown ran it");
    // A worker sends the result, and then says that it runs nothing.
    until(stat, |pool| busy(pool).is_empty());
    let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(60));
    assert!(report.expect("a report").is_balanced());
}
