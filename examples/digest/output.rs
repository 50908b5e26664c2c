//! Standard output and standard error.

use crate::stop::Stop;
use crate::unfinished::Unfinished;
use indicatif::ProgressBar;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

/// How many bytes a pipe takes without waiting once `poll(2)` reports it as writable: `PIPE_BUF`, see `pipe(7)`.
const ATOMIC_WRITE: usize = 4096;
/// How many bytes to collect before they are printed.
const BUFFER_SIZE: usize = 64 * 1024;

/// Prints the list. A write ends when the run is stopped, even if no process reads the output.
pub(crate) struct Output<'a> {
    stdout: File,
    buffer: Vec<u8>,
    bar: &'a ProgressBar,
    /// Whether list and progress bar go to the same terminal. Then the bar is hidden while lines are printed.
    shares_terminal: bool,
    stop: &'a Stop,
}

impl<'a> Output<'a> {
    pub(crate) fn new(bar: &'a ProgressBar, stop: &'a Stop) -> io::Result<Self> {
        let stdout = io::stdout();
        Ok(Self {
            // Not through `io::Stdout`, which has a buffer of its own.
            stdout: stdout.as_fd().try_clone_to_owned()?.into(),
            buffer: Vec::new(),
            bar,
            shares_terminal: stdout.is_terminal() && !bar.is_hidden(),
            stop,
        })
    }

    /// Prints a line as `sha256sum` does.
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
        if self.buffer.len() >= BUFFER_SIZE {
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
            self.stop.wait_writable(self.stdout.as_fd())?;
            let now = rest.get(..ATOMIC_WRITE).unwrap_or(rest);
            match self.stdout.write(now) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.buffer.clear();
        Ok(())
    }

    /// Prints a line on standard error, above the progress bar.
    pub(crate) fn report(&self, line: fmt::Arguments<'_>) {
        self.bar.suspend(|| report(line));
    }

    pub(crate) fn progress(&self, printed: usize) {
        self.bar
            .set_position(u64::try_from(printed).unwrap_or(u64::MAX));
    }
}

/// Prints a line on standard error. If that fails, there is no place to report it.
pub(crate) fn report(line: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(format!("digest: {line}\n").as_bytes());
}

/// Returns a path for a message, on one line whatever bytes it has.
pub(crate) fn quoted(path: &[u8]) -> impl fmt::Display {
    format!("\"{}\"", path.escape_ascii())
}
