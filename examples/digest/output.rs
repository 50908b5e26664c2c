//! Standard output and standard error.

use crate::list::Unfinished;
use crate::stop::Stop;
use indicatif::ProgressBar;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

/// A pipe that is ready takes so much without waiting: `PIPE_BUF`, see `pipe(7)`.
const ATOMIC: usize = 4096;
/// So much is worth printing even if there is more to come.
const ENOUGH: usize = 64 * 1024;

/// Prints the list. No write outlasts a stop, even if nobody reads.
pub(crate) struct Output<'a> {
    stdout: File,
    buffer: Vec<u8>,
    bar: &'a ProgressBar,
    /// The list goes to a terminal, and so does the bar, which must step aside for it.
    shares_terminal: bool,
    stop: &'a Stop,
}

impl<'a> Output<'a> {
    pub(crate) fn new(bar: &'a ProgressBar, stop: &'a Stop) -> io::Result<Self> {
        let stdout = io::stdout();
        Ok(Self {
            // Without the line buffer of `io::Stdout`: this is one already.
            stdout: stdout.as_fd().try_clone_to_owned()?.into(),
            buffer: Vec::new(),
            bar,
            shares_terminal: stdout.is_terminal() && !bar.is_hidden(),
            stop,
        })
    }

    /// A line as `sha256sum` prints it.
    pub(crate) fn line(&mut self, sum: &[u8; 32], path: &[u8]) -> Result<(), Unfinished> {
        let is_odd = |byte: &u8| matches!(byte, b'\\' | b'\n' | b'\r');
        if path.iter().any(is_odd) {
            self.buffer.push(b'\\');
        }
        for byte in sum {
            write!(self.buffer, "{byte:02x}")?;
        }
        self.buffer.extend(b"  ");
        for &byte in path {
            match byte {
                b'\\' => self.buffer.extend(br"\\"),
                b'\n' => self.buffer.extend(br"\n"),
                b'\r' => self.buffer.extend(br"\r"),
                byte => self.buffer.push(byte),
            }
        }
        self.buffer.push(b'\n');
        if self.buffer.len() >= ENOUGH {
            self.flush()?;
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), Unfinished> {
        if self.shares_terminal && !self.buffer.is_empty() {
            let bar = self.bar;
            return bar.suspend(|| self.write());
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), Unfinished> {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            self.stop.or_writable(self.stdout.as_fd())?;
            let now = rest.get(..ATOMIC).unwrap_or(rest);
            match self.stdout.write(now) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.buffer.clear();
        Ok(())
    }

    /// A line on standard error, next to the progress bar.
    pub(crate) fn complain(&self, line: fmt::Arguments<'_>) {
        self.bar.suspend(|| report(line));
    }

    pub(crate) fn progress(&self, printed: usize) {
        self.bar
            .set_position(u64::try_from(printed).unwrap_or(u64::MAX));
    }
}

/// A line on standard error. That it can't be written can't be reported anywhere.
pub(crate) fn report(line: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(format!("digest: {line}\n").as_bytes());
}

/// A path for a message: on one line, whatever is in it.
pub(crate) fn quoted(path: &[u8]) -> impl fmt::Display {
    format!("\"{}\"", path.escape_ascii())
}
