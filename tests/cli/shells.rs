//! `completions` and `man`: they know all commands and options, and shells accept the scripts.
//!
//! Where a shell is not installed, its script is still read here: its quotes are closed, and each option that `--help` shows
//! of a command is in the part of that command. Where it is installed, the shell itself reads the script, too.

use super::support::{Watchdog, ok, stdout};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

/// Returns the commands that `workring --help` lists.
fn commands() -> Vec<String> {
    let help = ok(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").expect("a list of commands");
    let (list, _) = list.split_once("\n\n").expect("an end of the list");
    let commands: Vec<String> = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect();
    assert_eq!(commands.len(), 15, "{help}");
    commands
}

/// Returns the long options that the help of a command shows, without their dashes.
fn options(command: &str) -> BTreeSet<String> {
    let help = ok(&[command, "--help"]);
    let is_option = |line: &&str| line.trim_start().starts_with('-');
    let options: BTreeSet<String> = help
        .lines()
        .filter(is_option)
        .filter_map(|line| line.split_once("--"))
        .map(|(_, option)| name(option))
        .collect();
    assert!(options.contains("help"), "{help}");
    options
}

/// Returns the name that a text begins with.
fn name(text: &str) -> String {
    let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    text.chars().take_while(is_part).collect()
}

/// Returns the options of a command in a script.
fn completed(shell: &str, script: &str, command: &str) -> BTreeSet<String> {
    let mut lines = script.lines();
    match shell {
        "bash" => {
            let part = format!(
                "        workring__subcmd__{})",
                command.replace('-', "__subcmd__")
            );
            let options = lines
                .skip_while(|line| *line != part)
                .find_map(|line| line.trim().strip_prefix("opts="))
                .unwrap_or_default();
            let words = options.trim_matches('"').split(' ');
            words
                .filter_map(|word| word.strip_prefix("--"))
                .map(str::to_owned)
                .collect()
        }
        "zsh" => {
            let part = format!("({command})");
            let of_command = lines
                .by_ref()
                .skip_while(|line| line.trim() != part)
                .take_while(|line| *line != "&& ret=0");
            let option = |line: &str| {
                let (before, option) = line.strip_prefix('\'')?.split_once("--")?;
                let is_first = before.is_empty() || before.ends_with(')') || before.ends_with('*');
                // What excludes an option names others in brackets before it.
                let option = option
                    .rsplit_once(")--")
                    .map_or(option, |(_, option)| option);
                (is_first || line.starts_with("'(")).then(|| name(option))
            };
            of_command.filter_map(option).collect()
        }
        _ => {
            let part = format!("using_subcommand {command}");
            lines
                .filter(|line| {
                    line.contains(&format!("{part}\"")) || line.contains(&format!("{part};"))
                })
                .filter_map(|line| line.split_once(" -l "))
                .map(|(_, option)| name(option))
                .collect()
        }
    }
}

/// Returns whether all quotes of a script are closed.
fn is_closed(shell: &str, script: &str) -> bool {
    let mut quote = None;
    let mut before = '\n';
    let mut chars = script.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            // In fish, a backslash also takes the meaning from a quote inside single quotes.
            (None | Some('"'), '\\') => drop(chars.next()),
            (Some('\''), '\\') if shell == "fish" => drop(chars.next()),
            (None, '#') if before.is_whitespace() => {
                chars.by_ref().find(|c| *c == '\n');
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        before = c;
    }
    quote.is_none()
}

/// Lets the shell read a script without running it. Returns `None` where the shell is not installed.
fn is_accepted(shell: &str, script: &str) -> Option<bool> {
    let mut child = Command::new(shell)
        .arg("-n")
        .stdin(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, script.as_bytes()).expect("write");
    drop(input);
    Some(child.wait().expect("wait").success())
}

#[test]
fn completions_know_every_command_and_option_in_each_shell() {
    let _watchdog = Watchdog::start();
    let commands = commands();
    for shell in ["bash", "zsh", "fish"] {
        let script = ok(&["completions", shell]);
        assert!(is_closed(shell, &script), "{shell}: a quote is not closed");
        let cut = script.rfind('\'').map_or("", |at| &script[..at]);
        assert!(
            shell == "bash" || !is_closed(shell, cut),
            "{shell}: an open quote is found"
        );
        for command in commands.iter().filter(|command| *command != "dead-letters") {
            assert_eq!(
                completed(shell, &script, command),
                options(command),
                "{shell}: {command}"
            );
        }
        for command in ["dead-letters", "requeue", "drop"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
        match is_accepted(shell, &script) {
            Some(is_accepted) => assert!(is_accepted, "{shell} refuses the script"),
            None => assert!(shell != "bash", "bash is not installed"),
        }
    }
}

#[test]
fn bash_completes_an_option_and_a_command() {
    let _watchdog = Watchdog::start();
    let script = ok(&["completions", "bash"]);
    for (words, last, expected) in [
        ("workring recv --ack", "--ack", "--ack-after\n"),
        ("workring do", "do", "doctor\n"),
    ] {
        let complete = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _workring workring {last} ''; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &complete]).output();
        let output = output.expect("bash");
        assert_eq!(stdout(&output), expected, "{output:?}");
    }
}

#[test]
fn the_manual_pages_have_the_exit_codes() {
    let _watchdog = Watchdog::start();
    let page = ok(&["man"]);
    assert!(page.contains(".TH workring 1") && page.contains("Exit codes"));
    let folder = std::env::temp_dir().join(format!("workring-man-{}", std::process::id()));
    ok(&["man", folder.to_str().expect("a path")]);
    let mut pages: Vec<String> = commands();
    pages.push("dead-letters-requeue".to_owned());
    for command in pages {
        let page = folder.join(format!("workring-{command}.1"));
        let text =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(text.contains("Exit codes"), "{command}");
    }
    let recv = std::fs::read_to_string(folder.join("workring-recv.1")).expect("a page");
    assert!(recv.contains("One message is held at a time"), "{recv}");
    std::fs::remove_dir_all(&folder).expect("remove");
}
