//! `top`, in a terminal of tmux: what it shows, what keys do, and how it leaves the terminal.

use super::support::{CROWD, Name, Watchdog, fails};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{PoisonError, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};
use workring::queue::Raw;
use workring::{Options, Receiver, Sender};

/// Less than that of the watchdog, which could not show the screen.
const LIMIT: Duration = Duration::from_secs(60);

/// A terminal of 80 columns and 24 lines, with a shell in it. A server of its own, which ends with it.
struct Terminal {
    socket: PathBuf,
    _no_crowd: RwLockReadGuard<'static, ()>,
}

impl Terminal {
    /// Returns `None`, and says so, where tmux is not installed.
    fn start(name: &Name) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            println!("SKIPPED: tmux is not installed");
            return None;
        }
        let socket = std::env::temp_dir().join(format!("{}.tmux", name.0));
        let terminal = Self {
            socket,
            _no_crowd: CROWD.read().unwrap_or_else(PoisonError::into_inner),
        };
        let shell = ["env", "PS1=prompt:", "sh"];
        let mut arguments = vec!["new-session", "-d", "-x", "80", "-y", "24"];
        arguments.extend(shell);
        terminal.tmux(&arguments);
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let output = Command::new("tmux")
            .args(["-f", "/dev/null", "-S"])
            .arg(&self.socket)
            .args(arguments)
            .output()
            .expect("tmux");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    fn keys(&self, keys: &[&str]) {
        let mut arguments = vec!["send-keys"];
        arguments.extend(keys);
        self.tmux(&arguments);
    }

    /// Runs a command line in the shell.
    fn line(&self, line: &str) {
        self.keys(&[line, "Enter"]);
    }

    /// Waits until the screen is as wanted, and returns it.
    #[track_caller]
    fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(
                start.elapsed() < LIMIT,
                "not the screen that is wanted:\n{screen}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .arg("kill-server")
            .output();
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn queue(name: &Name) -> (Sender<Vec<u8>, Raw>, Receiver<Vec<u8>, Raw>) {
    Options::new(16)
        .create_named_with(&name.0)
        .expect("a queue")
}

fn top(name: &Name) -> String {
    format!(
        "{} top --interval 0.05 --filter {}",
        env!("CARGO_BIN_EXE_workring"),
        name.0
    )
}

// A screen that is drawn from top to bottom may be caught half way: both views are known by their first and last lines.

fn is_list(screen: &str) -> bool {
    screen.contains("HELDv") && screen.contains("q quit") && !screen.contains("Esc back")
}

fn is_detail(screen: &str) -> bool {
    screen.contains("acknowledged") && screen.contains("Esc back") && !screen.contains("q quit")
}

#[test]
fn top_follows_a_queue_and_its_keys() {
    let _watchdog = Watchdog::start();
    let name = Name::new("top");
    let Some(terminal) = Terminal::start(&name) else {
        return;
    };
    let (tx, rx) = queue(&name);
    terminal.line(&top(&name));
    terminal.until(|screen| screen.contains("QUEUEv") && screen.contains("0/16"));
    tx.send(vec![1]).expect("room");
    let lease = rx.lease().expect("a lease");
    tx.send(vec![2]).expect("room");
    let screen = terminal.until(|screen| screen.contains("1/16"));
    assert!(
        screen.lines().all(|line| line.chars().count() <= 80),
        "{screen}"
    );
    terminal.keys(&["h"]);
    terminal.until(|screen| screen.contains("HELDv"));
    terminal.keys(&["p"]);
    terminal.until(|screen| screen.contains("PAUSED"));
    terminal.keys(&["p", "Enter"]);
    terminal.until(|screen| is_detail(screen) && screen.contains("one of them for"));
    terminal.tmux(&["resize-window", "-x", "60", "-y", "12"]);
    let screen = terminal.until(|screen| screen.lines().count() <= 12 && is_detail(screen));
    assert!(
        screen.lines().all(|line| line.chars().count() <= 60),
        "{screen}"
    );
    terminal.keys(&["Escape"]);
    terminal.until(is_list);
    // A key that comes together with a new size is not overlooked.
    for width in 70..80 {
        terminal.keys(&["Enter"]);
        terminal.until(is_detail);
        terminal.tmux(&["resize-window", "-x", &width.to_string(), "-y", "20"]);
        terminal.keys(&["Escape"]);
        terminal.until(is_list);
    }
    // Wide enough for the filter in the first line, after the rates of whatever other queues there are.
    terminal.tmux(&["resize-window", "-x", "120", "-y", "20"]);
    terminal.keys(&["/"]);
    terminal.keys(&["nothing-has-this-name"]);
    terminal.until(|screen| screen.contains("filter: nothing") && !screen.contains("1/16"));
    terminal.keys(&["Escape"]);
    terminal.until(|screen| screen.contains("1/16"));
    assert_eq!(tx.stats().peers.len(), 1, "looking takes no entry");
    drop(lease);
}

#[test]
fn top_puts_the_terminal_back_however_it_ends() {
    let _watchdog = Watchdog::start();
    let name = Name::new("top-end");
    let Some(terminal) = Terminal::start(&name) else {
        return;
    };
    let _ends = queue(&name);
    let ends = [("q", 0), ("C-c", 0), ("TERM", 143), ("HUP", 129)];
    for (end, code) in ends {
        terminal.line(&format!(
            "clear; {} ; echo code=$? ; stty -a | grep -o ' .echo '",
            top(&name)
        ));
        terminal.until(|screen| screen.contains("QUEUEv"));
        if let "q" | "C-c" = end {
            terminal.keys(&[end]);
        } else {
            let pattern = format!("^[^ ]*workring top .*{}$", name.0);
            let found = Command::new("pgrep")
                .args(["-f", &pattern])
                .output()
                .expect("pgrep");
            let pid = String::from_utf8_lossy(&found.stdout).trim().to_owned();
            let status = Command::new("kill").args(["-s", end, &pid]).status();
            assert!(status.expect("kill").success(), "{pid}");
        }
        let screen = terminal.until(|screen| screen.contains(&format!("code={code}")));
        assert!(
            !screen.contains("QUEUEv"),
            "the screen of before is back: {screen}"
        );
        // With echo off, what is typed next would not be shown.
        terminal.line("echo typed");
        terminal.until(|screen| screen.contains("echo typed"));
    }
}

#[test]
fn top_needs_a_terminal() {
    let _watchdog = Watchdog::start();
    assert!(fails(&["top"], 1).contains("needs a terminal"));
}
