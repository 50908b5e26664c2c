//! `workring`: see and steer queues from a terminal.
//!
//! | file                          | what                                                                     |
//! |-------------------------------|--------------------------------------------------------------------------|
//! | [`args`]                      | the commands and their options                                           |
//! | [`exit`]                      | how a command ends: exit codes, and one line of error                    |
//! | [`text`], [`output`]          | numbers and bytes for people; tables, colours, standard output           |
//! | [`json`]                      | what `--json` prints                                                     |
//! | [`observe`]                   | queues over time: rates, and how long messages are held                  |
//! | [`list`], [`stat`], [`top`]   | `ls`; `stat`; `top`                                                      |
//! | [`peek`], [`letters`]         | `peek`; `dead-letters`                                                   |
//! | [`stream`], [`send`], [`recv`] | messages in pipes; `send`; `recv` and `drain`                           |
//! | [`steer`], [`gc`]             | `close`, `cancel`, `rm`; `gc`                                            |
//! | [`doctor`], [`shell`]         | `doctor`; `completions` and `man`                                        |
//! | [`signals`]                   | what Ctrl-C does                                                         |
//!
//! `ls`, `stat`, `top`, `peek`, `dead-letters list` and `doctor` only look: [`workring::inspect`].

mod args;
mod doctor;
mod exit;
mod gc;
mod json;
mod letters;
mod list;
mod observe;
mod output;
mod peek;
mod recv;
mod send;
mod shell;
mod signals;
mod stat;
mod steer;
mod stream;
mod text;
mod top;

use args::{Args, Command};
use clap::Parser;
use exit::End;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    let end = match args.command {
        Command::Ls(args) => list::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Peek(args) => peek::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Recv(args) => recv::run(&args),
        Command::Drain(args) => recv::drain(&args),
        Command::DeadLetters(args) => letters::run(&args.command),
        Command::Close(args) => steer::close(&args),
        Command::Cancel(args) => steer::cancel(&args),
        Command::Rm(args) => steer::remove(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => shell::completions(args.shell),
        Command::Man(args) => shell::man(args.dir.as_deref()),
    };
    exit::report(&end.err().unwrap_or(End::Done))
}
