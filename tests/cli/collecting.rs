//! `gc` in a `/dev/shm` of its own, where it can remove all that is old without taking the queues of other tests.

use super::schema;
use super::support::Watchdog;
use serde_json::{Deserializer, Value};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{self, Command, Stdio};

/// Its arguments: the program, and the names of two files that are being made. Prints JSON of `ls`, of `gc` twice, and of
/// `ls` again, and then the files that are left. A receiver has shown by its output that it uses a queue.
const SCRIPT: &str = r#"
    set -e
    umask 077
    mount -t tmpfs tmpfs /dev/shm
    cd /dev/shm
    "$1" send --create 8 old </dev/null
    "$1" send --create 8 full message
    "$1" send --create 8 used message
    mkfifo pipe
    "$1" recv used >pipe &
    exec 3<pipe
    read -r message <&3
    touch "workring-$(id -u)-$2" "workring-$(id -u)-$3"
    "$1" ls --json
    "$1" gc --older-than 0 --dry-run --json
    "$1" gc --older-than 0 --json
    "$1" ls --json
    kill $!
    wait
    echo '"files:"'
    ls | sed 's/^workring-[0-9]*-//; s/.*/"&"/'
"#;

/// Returns what a file is named that a process makes.
fn staging_name(process: u32, started: &str) -> String {
    let namespace = fs::metadata("/proc/self/ns/pid").expect("/proc").ino();
    format!("~~{namespace}-{process}.{started}-0")
}

/// Returns when this process started, as the kernel says it.
fn own_start() -> String {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    fields.split(' ').nth(19).expect("22 fields").to_owned()
}

/// Returns the names in the output of `ls`.
fn names(value: &Value) -> Vec<&str> {
    schema::check("ls", value);
    let queues = value["queues"].as_array().expect("queues");
    let named = queues.iter().filter(|queue| queue["kind"] == "named");
    named.map(|queue| queue["name"].as_str().unwrap()).collect()
}

/// Returns what `gc` says of a name: whether it is not complete, and why it stays.
fn verdict(value: &Value, name: &str) -> (bool, Option<String>) {
    schema::check("gc", value);
    let queues = value["queues"].as_array().expect("queues");
    let found = queues.iter().find(|queue| queue["name"] == name);
    let queue = found.unwrap_or_else(|| panic!("{name}: {value:#}"));
    let kept = queue["kept_because"].as_str().map(str::to_owned);
    assert_eq!(queue["removed"], kept.is_none(), "{queue}");
    (queue["incomplete"] == true, kept)
}

#[test]
fn gc_removes_old_queues_and_what_killed_makers_left_and_keeps_the_others() {
    let _watchdog = Watchdog::start();
    let able = Command::new("unshare").args(["-rm", "true"]).output();
    if !able.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: this user cannot mount a /dev/shm of its own, or unshare(1) is missing");
        return;
    }
    // The highest process id that Linux gives is 2^22.
    let left = staging_name(1 << 30, "1");
    let being_made = staging_name(process::id(), &own_start());
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", SCRIPT, "sh"])
        .args([env!("CARGO_BIN_EXE_workring"), &left, &being_made])
        .stdin(Stdio::null())
        .output()
        .expect("unshare");
    assert!(output.status.success(), "{output:?}");
    let values: Vec<Value> = Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let [before, dry, real, after, files @ ..] = values.as_slice() else {
        panic!("{values:?}");
    };
    assert_eq!(names(before), ["full", "old", "used"]);
    for said in [dry, real] {
        assert_eq!(verdict(said, "old"), (false, None));
        assert_eq!(verdict(said, &left), (true, None));
        let (incomplete, kept) = verdict(said, &being_made);
        assert!(incomplete && kept.expect("kept").contains("maker may be alive"));
        let kept = verdict(said, "used").1.expect("kept");
        assert!(kept.contains("1 processes use it"), "{kept}");
        let kept = verdict(said, "full").1.expect("kept");
        assert!(kept.contains("1 messages"), "{kept}");
    }
    // What the dry run said would go was there for the real one.
    assert_eq!(names(after), ["full", "used"]);
    let expected = ["files:", "full", "used", &being_made, "pipe"];
    let mut files: Vec<_> = files.iter().map(|file| file.as_str().unwrap()).collect();
    let mut expected = expected.to_vec();
    files.sort_unstable();
    expected.sort_unstable();
    assert_eq!(files, expected);
}
