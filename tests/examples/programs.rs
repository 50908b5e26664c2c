//! The programs of `docs/PROGRAMS.md`: each does what its table says, in as few lines as that says.
#![allow(
    clippy::indexing_slicing,
    reason = "a test that finds less than it expects fails"
)]

use super::{TIME_LIMIT, counted, output, program, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, File};
#[cfg(all(feature = "async", feature = "macros", feature = "metrics"))]
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

/// The largest number of lines that each program may have.
const LIMITS: [(&str, usize); 6] = [
    ("segfault", 15),
    ("thumbnails", 60),
    ("model", 50),
    ("dead_letters", 60),
    ("service", 120),
    ("pools_in_tests", 40),
];

/// Returns the number of lines of code: without imports, comments, blank lines, and attributes of the whole file.
fn lines_of_code(source: &str) -> usize {
    let mut count = 0;
    // What ends the import or attribute that the next line belongs to.
    let mut left_out = None;
    for line in source.lines().map(str::trim) {
        if let Some(end) = left_out {
            if line.ends_with(end) {
                left_out = None;
            }
            continue;
        }
        let end = match line {
            _ if line.is_empty() || line.starts_with("//") => continue,
            _ if line.starts_with("use ") => ";",
            _ if line.starts_with("#![") => "]",
            _ => {
                count += 1;
                continue;
            }
        };
        left_out = (!line.ends_with(end)).then_some(end);
    }
    count
}

#[test]
fn lines_of_code_are_counted_without_imports_comments_and_attributes_of_the_file() {
    let source = "//! Words.\n#![expect(\n  x,\n)]\n\nuse a::{\n  b,\n};\nuse c;\n\n// More.\nfn d() {\n  e(); // f\n}\n";
    assert_eq!(lines_of_code(source), 3);
}

#[test]
fn each_program_has_as_few_lines_as_its_table_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("docs/PROGRAMS.md")).expect("the table");
    let rows = table.lines().filter(|line| line.starts_with("| ["));
    let mut found = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (name, path) = cells[0].split_once("](../").expect("a link");
        let (name, path) = (&name[1..], path.trim_end_matches(')'));
        let source = fs::read_to_string(root.join(path)).expect("its source");
        let lines = lines_of_code(&source);
        assert_eq!(cells[2], lines.to_string(), "{path}");
        found.insert(name.to_owned(), lines);
    }
    assert_eq!(found.len(), LIMITS.len(), "{found:?}");
    for (name, limit) in LIMITS {
        assert!(found[name] <= limit, "{name}: {found:?}");
    }
}

/// A folder with images, removed on drop.
struct Images(PathBuf);

impl Images {
    fn new(name: &str) -> Self {
        let name = format!("workring-images-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a folder");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, image: &[u8]) {
        fs::write(self.path(name), image).expect("an image");
    }

    fn paths(&self, names: &[&str]) -> Vec<String> {
        let path = |name: &&str| self.path(name).display().to_string();
        names.iter().map(path).collect()
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(feature = "macros")]
#[test]
fn thumbnails_are_made_and_each_error_is_that_of_its_own_file() {
    let images = Images::new("some");
    let pixels = |width: u8, height: u8| {
        let row = 0..width;
        let rows = (0..height).flat_map(|y| row.clone().map(move |x| x ^ y));
        [vec![width], rows.collect()].concat()
    };
    images.write("large.image", &pixels(100, 50));
    images.write("small.image", &pixels(3, 1));
    images.write("cut.image", &pixels(100, 50)[..123]);
    images.write("empty.image", &[]);
    let names = ["large", "missing", "small", "cut", "empty"].map(|name| format!("{name}.image"));
    let paths = images.paths(&names.each_ref().map(String::as_str));
    let text = run("thumbnails", &paths.join(" "));
    let lines: Vec<&str> = text.lines().collect();
    for (line, (path, expected)) in lines.iter().zip(paths.iter().zip([
        "13 x 7",
        "the task failed: No such file",
        "1 x 1",
        "the task failed: the image has no complete row",
        "the task failed: the image has no complete row",
    ])) {
        assert!(line.starts_with(&format!("{path}: {expected}")), "{text}");
    }
    let report = "5 tasks submitted = 2 completed + 3 failed";
    assert!(lines[5].starts_with(report), "{text}");
    let small = fs::read(images.path("large.thumb")).expect("a copy");
    let expected = (0..7_u8).flat_map(|y| (0..13_u8).map(move |x| (8 * x) ^ (8 * y)));
    assert_eq!(small, [vec![13], expected.collect()].concat());
}

/// The first file is a pipe that nothing is written to, so its task would run forever.
#[cfg(feature = "macros")]
#[test]
fn an_interrupt_ends_the_making_of_thumbnails() {
    let images = Images::new("interrupted");
    let pipe = images.path("pipe.image");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let child = Command::new(program("thumbnails"))
        .args([&pipe, &images.path("missing.image")])
        .stdout(Stdio::piped())
        .spawn();
    let child = child.expect("the example");
    let pid = Pid::from_raw(child.id().try_into().expect("process ids are positive"));
    let (done, is_done) = mpsc::channel::<()>();
    let output = thread::scope(|scope| {
        scope.spawn(|| {
            let is_done = is_done;
            if is_done.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
                // So that the wait for a reader ends.
                let _ = File::options().read(true).write(true).open(&pipe);
            }
        });
        // Returns when the task has opened its end.
        let writer = File::create(&pipe).expect("a pipe");
        kill(pid, Signal::SIGINT).expect("it lives");
        let output = child.wait_with_output().expect("a child");
        drop((writer, done));
        output
    });
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let report = text.lines().last().expect("a report");
    assert!(counted(report, " cancelled") >= 1, "{text}");
}

#[cfg(feature = "macros")]
#[test]
fn a_model_is_loaded_once_per_worker_and_its_words_arrive_one_by_one() {
    let folder = Images::new("model");
    folder.write(
        "text",
        b"One two three one TWO four five six seven eight nine ten",
    );
    let text = folder.path("text").display().to_string();
    let output = output("model", &format!("{text} one ten four"));
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("text");
    let expected = [
        "two ... four ... five ... six ... seven ... eight ... nine ... ten ... \
         one two four five six seven eight nine ten",
        "the task failed: the model does not know what follows on `ten`",
        "five ... six ... seven ... eight ... nine ... ten ... \
         the task failed: the model does not know what follows on `ten`",
    ];
    assert!(printed.lines().eq(expected), "{printed}");
    // Two processes may write at the same time, so that the lines mix.
    let loaded = String::from_utf8(output.stderr).expect("text");
    assert_eq!(
        loaded.matches("a worker has loaded ").count(),
        2,
        "{loaded}"
    );
}

/// An `@` is 64, a multiple of 32: the code reads where it should.
#[cfg(feature = "macros")]
#[test]
fn tasks_that_crash_native_code_are_tried_three_times_and_logged_as_they_are() {
    let folder = Images::new("letters");
    let log = folder.path("log");
    let with = |texts: &str| run("dead_letters", &format!("{} {texts}", log.display()));
    let text = with("@a bad @b");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[2]), ("161", "162"), "{text}");
    let crash = "after 3 attempts: the task's worker died: signal: 11 (SIGSEGV)";
    assert!(lines[1].starts_with(crash), "{text}");
    let report = "3 tasks submitted = 2 completed";
    assert!(lines[3].starts_with(report), "{text}");
    assert!(lines[3].contains("1 lost to crashes; 2 retried"), "{text}");
    let letters = fs::read_to_string(&log).expect("a log");
    assert_eq!(letters, "{\"text\":\"bad\"}\n");
    // The code is not repaired.
    assert!(with("").starts_with(crash));
    assert_eq!(fs::read_to_string(&log).expect("a log"), letters);
}

/// A running service, which is killed on drop, or when it takes too long.
#[cfg(all(feature = "async", feature = "macros", feature = "metrics"))]
struct Service {
    child: std::process::Child,
    printed: BufReader<std::process::ChildStdout>,
    address: String,
    _watch: mpsc::Sender<()>,
}

#[cfg(all(feature = "async", feature = "macros", feature = "metrics"))]
impl Service {
    fn start() -> Self {
        let mut command = Command::new(program("service"));
        command.arg("127.0.0.1:0").stdout(Stdio::piped());
        let mut child = command.spawn().expect("the example");
        let pid = Pid::from_raw(child.id().try_into().expect("process ids are positive"));
        let (watch, is_done) = mpsc::channel::<()>();
        thread::spawn(move || {
            if is_done.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        let mut service = Self {
            printed: BufReader::new(child.stdout.take().expect("its output")),
            child,
            address: String::new(),
            _watch: watch,
        };
        let line = service.line();
        let address = line.trim_start_matches("http://").split('/').next();
        address
            .expect("an address")
            .clone_into(&mut service.address);
        service
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.printed.read_line(&mut line).expect("its output");
        line
    }

    fn signal(&self, signal: Signal) {
        let pid = self
            .child
            .id()
            .try_into()
            .expect("process ids are positive");
        kill(Pid::from_raw(pid), signal).expect("it lives");
    }

    /// Sends a request, and returns the answer with its head.
    fn request(&self, request: &str) -> String {
        use std::io::{Read, Write};
        let mut client = std::net::TcpStream::connect(&self.address).expect("connect");
        client.set_read_timeout(Some(TIME_LIMIT)).expect("a limit");
        let head = format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        client.write_all(head.as_bytes()).expect("sent");
        let mut text = String::new();
        client.read_to_string(&mut text).expect("an answer");
        text
    }

    /// Returns what the service shows to Prometheus.
    fn figures(&self) -> Figures {
        let answer = self.request("GET /metrics");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Figures(answer)
    }
}

/// Text in the format of Prometheus.
#[cfg(all(feature = "async", feature = "macros", feature = "metrics"))]
struct Figures(String);

#[cfg(all(feature = "async", feature = "macros", feature = "metrics"))]
impl Figures {
    /// Returns a figure of the pool `jobs` as it is written, by its name and further label.
    fn get(&self, name: &str, label: &str) -> &str {
        let comma = if label.is_empty() { "" } else { "," };
        let key = format!("{name}{{pool=\"jobs\"{comma}{label}}} ");
        let found = self.0.lines().find_map(|line| line.strip_prefix(&key));
        found.unwrap_or_else(|| panic!("no {key}: {}", self.0))
    }

    /// Asserts that the text says of which type a metric is, and what it means.
    fn assert_described(&self, name: &str, kind: &str, text: &str) {
        for line in [
            format!("# TYPE {name} {kind}"),
            format!("# HELP {name} {text}"),
        ] {
            assert!(self.0.lines().any(|it| it == line), "no {line}: {}", self.0);
        }
    }
}

#[cfg(all(feature = "async", feature = "macros", feature = "metrics"))]
impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(all(feature = "async", feature = "macros", feature = "metrics"))]
#[test]
fn a_service_runs_jobs_shows_figures_and_restarts_its_workers() {
    let mut service = Service::start();
    for priority in ["low", "normal", "high"] {
        let answer = service.request(&format!("POST /jobs/{priority}/1000"));
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    }
    let refused = service.request("POST /jobs/urgent/1000");
    assert!(refused.starts_with("HTTP/1.1 404 "), "{refused}");
    let figures = loop {
        let figures = service.figures();
        if figures.get("workring_tasks_ended_total", "outcome=\"completed\"") == "3" {
            break figures;
        }
    };
    assert_eq!(figures.get("workring_tasks_submitted_total", ""), "3");
    assert_eq!(
        figures.get("workring_tasks_ended_total", "outcome=\"crashed\""),
        "0"
    );
    assert_eq!(figures.get("workring_tasks", "state=\"queued\""), "0");
    assert_eq!(figures.get("workring_workers_started_total", ""), "2");
    for times in [
        "workring_task_waiting_seconds",
        "workring_task_running_seconds",
    ] {
        assert_eq!(figures.get(&format!("{times}_count"), ""), "3");
        let buckets = format!("{times}_bucket");
        assert_eq!(figures.get(&buckets, "le=\"+Inf\""), "3");
    }
    figures.assert_described(
        "workring_tasks_ended_total",
        "counter",
        "Tasks with an outcome, by its kind",
    );
    figures.assert_described("workring_tasks", "gauge", "Tasks, by their state");
    figures.assert_described(
        "workring_task_waiting_seconds",
        "histogram",
        "From the submission of a task to its first start",
    );
    service.signal(Signal::SIGHUP);
    assert_eq!(service.line(), "all workers are replaced\n");
    let figures = service.figures();
    assert_eq!(figures.get("workring_workers_started_total", ""), "4");
    assert_eq!(figures.get("workring_workers_recycled_total", ""), "2");
    // Jobs that are accepted are done before the end.
    service.request("POST /jobs/low/1000");
    service.signal(Signal::SIGINT);
    let report = service.line();
    assert!(
        report.starts_with("4 tasks submitted = 4 completed"),
        "{report}"
    );
    assert!(service.child.wait().expect("an end").success());
}
