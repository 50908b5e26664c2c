//! The commands and their options.

use super::exit::CODES;
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use workring::inspect::Address;

/// See and steer the queues of workring.
///
/// A queue is named by its name, or as PROCESS/DESCRIPTOR if it has none: `workring ls` lists both. ls, stat, top, peek,
/// dead-letters list and doctor only look: they take no part in a queue, and change nothing in it.
#[derive(Debug, Parser)]
#[command(name = "workring", version, after_long_help = CODES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List queues and pools
    Ls(Ls),
    /// Show one queue, or one pool
    Stat(Stat),
    /// Watch queues and pools, live
    Top(Top),
    /// Show messages without taking them
    Peek(Peek),
    /// Send messages: those given, or standard input line by line
    Send(Send),
    /// Receive messages to standard output
    Recv(Recv),
    /// Discard all messages that wait in a queue
    Drain(Drain),
    /// List dead letters, send them again, or drop them
    DeadLetters(DeadLetters),
    /// Close a queue: no message is accepted any more, what it has can be received
    Close(Names),
    /// Close a queue and discard what no process holds
    Cancel(Names),
    /// Remove named queues that no process uses
    Rm(Rm),
    /// Remove all named queues that no process has used for some time, and what killed makers of queues have left
    Gc(Gc),
    /// Check what a queue or a pool on this machine could be refused for
    Doctor(Doctor),
    /// Print completions for a shell
    Completions(Completions),
    /// Print the manual page, or write all pages to a folder
    Man(Man),
}

/// Options of what can be printed again and again.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Repeat {
    /// Print JSON, as docs/CLI.md describes it; with --watch, one value a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print again and again, every second or every SECONDS
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = seconds)]
    pub(crate) watch: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    #[command(flatten)]
    pub(crate) repeat: Repeat,
    /// Look twice, a moment apart, and show rates
    #[arg(long)]
    pub(crate) rates: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Stat {
    /// The queue, or a pool as PROCESS/DESCRIPTOR
    pub(crate) name: Address,
    #[command(flatten)]
    pub(crate) repeat: Repeat,
    /// How long to look, to find rates and what is held all the time; 0: once
    #[arg(long, value_name = "SECONDS", default_value = "0.2", value_parser = seconds)]
    pub(crate) sample: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    /// How often to look
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) interval: Duration,
    /// Show only what has this text in its name or type
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) filter: String,
}

#[derive(Debug, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct Peek {
    /// The queue
    pub(crate) name: Address,
    /// How many messages to show
    #[arg(short = 'n', long, default_value_t = 10)]
    pub(crate) count: usize,
    /// How many bytes to show of each
    #[arg(long, default_value_t = 256)]
    pub(crate) max_bytes: usize,
    /// Also show messages that processes hold
    #[arg(long)]
    pub(crate) held: bool,
    /// Also show dead letters
    #[arg(long)]
    pub(crate) dead: bool,
    /// Show bytes in hexadecimal, as for messages that are not text
    #[arg(long)]
    pub(crate) hex: bool,
    /// Print JSON, as docs/CLI.md describes it
    #[arg(long)]
    pub(crate) json: bool,
}

/// How messages are separated in a stream of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Framing {
    /// Each ends with a newline
    Lines,
    /// Each ends with a NUL byte
    Nul,
    /// Each begins with its length: 4 bytes, little-endian
    Length,
}

/// How long to wait.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Patience {
    /// Give up after SECONDS
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "no_wait")]
    pub(crate) timeout: Option<Duration>,
    /// Do not wait at all
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    /// The queue
    pub(crate) name: Address,
    /// The messages; without any, standard input
    pub(crate) messages: Vec<String>,
    /// How messages are separated in standard input
    #[arg(short, long, value_enum, default_value = "lines")]
    pub(crate) framing: Framing,
    #[command(flatten)]
    pub(crate) patience: Patience,
    /// Create a raw queue of this capacity, if there is none of the name
    #[arg(long, value_name = "CAPACITY")]
    pub(crate) create: Option<usize>,
    /// Send to a queue that is not raw, too: what its codec does not understand becomes a dead letter
    #[arg(long)]
    pub(crate) force: bool,
    /// Close the queue after the last message
    #[arg(long)]
    pub(crate) close: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Recv {
    /// The queue
    pub(crate) name: Address,
    /// How many messages to receive; without, all until the queue is closed
    #[arg(short = 'n', long)]
    pub(crate) count: Option<u64>,
    /// How to separate messages in standard output
    #[arg(short, long, value_enum, default_value = "lines")]
    pub(crate) framing: Framing,
    #[command(flatten)]
    pub(crate) patience: Patience,
    /// Create a raw queue of this capacity, if there is none of the name
    #[arg(long, value_name = "CAPACITY")]
    pub(crate) create: Option<usize>,
    /// Run CMD with sh for each message, which is its standard input; acknowledge the message if CMD succeeds, and
    /// return it to the queue if not
    ///
    /// One message is held at a time: the others stay in the queue, for other receivers, too. But a batch, which a
    /// program has sent by `send_many`, is received as a whole: up to 64 small messages wait for the commands before them.
    /// `workring send` makes no batches.
    #[arg(long, value_name = "CMD")]
    pub(crate) ack_after: Option<String>,
    /// Print messages in hexadecimal, as those of a queue that is not raw
    #[arg(long)]
    pub(crate) hex: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    /// The queue
    pub(crate) name: Address,
    /// Only say what would be discarded
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    pub(crate) command: Letters,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Letters {
    /// Show dead letters
    List(LetterList),
    /// Send dead letters to the queue again
    Requeue(LetterChoice),
    /// Drop dead letters
    Drop(LetterChoice),
}

#[derive(Debug, clap::Args)]
pub(crate) struct LetterList {
    /// The queue
    pub(crate) name: Address,
    /// How many bytes to show of each
    #[arg(long, default_value_t = 256)]
    pub(crate) max_bytes: usize,
    /// Show bytes in hexadecimal
    #[arg(long)]
    pub(crate) hex: bool,
    /// Print JSON, as docs/CLI.md describes it
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LetterChoice {
    /// The queue
    pub(crate) name: Address,
    /// At most this many, the oldest first
    #[arg(short = 'n', long)]
    pub(crate) count: Option<usize>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Names {
    /// The queues
    #[arg(required = true)]
    pub(crate) names: Vec<Address>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The queues
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Also remove queues of another version, if no process has them open
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Gc {
    /// Only queues that no process has used for this long: seconds, or with s, m, h or d
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = age)]
    pub(crate) older_than: Duration,
    /// Also queues that have messages or dead letters
    #[arg(long)]
    pub(crate) with_messages: bool,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON, as docs/CLI.md describes it
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Print JSON, as docs/CLI.md describes it
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Write workring.1, and a page for each command, to this folder
    pub(crate) dir: Option<PathBuf>,
}

/// The longest time that an option takes, in seconds: about three years.
const LONGEST: f64 = 1e8;

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number of seconds"))?;
    if (0.0..=LONGEST).contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err(format!("`{text}` is not between 0 and {LONGEST} seconds"))
    }
}

fn age(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.trim_end_matches(['s', 'm', 'h', 'd']) {
        number if number.len() + 1 == text.len() => (number, text.get(number.len()..)),
        _ => (text, None),
    };
    let unit = match unit {
        Some("m") => 60.0,
        Some("h") => 3600.0,
        Some("d") => 86400.0,
        _ => 1.0,
    };
    let duration = seconds(number)?.as_secs_f64() * unit;
    seconds(&duration.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn ages_have_units() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("2m", 120),
            ("1h", 3600),
            ("1.5d", 129_600),
        ] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "-1", "1w", "1hh", "1e99"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
