//! The shape of a storm, read from the command line.

use std::{
    fmt::{self, Display},
    str::FromStr,
    time::Duration,
};

pub(crate) const USAGE: &str = "storm --seconds N --senders N --receivers N --lessees N --kills-per-second N \
    [--stops-per-second N] [--size BYTES|large] [--batch N] [--capacity N] [--close-at SECONDS] \
    [--slice-seconds N] [--seed N]";

/// Such messages are in memory that comes and goes: more than 64 KiB.
const LARGE: usize = 600_000;

/// How many of what, for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    /// For this long; what has begun by then is finished.
    pub(crate) seconds: f64,
    pub(crate) senders: u32,
    /// Who acknowledge as they receive.
    pub(crate) receivers: u32,
    /// Who lease, and acknowledge or return later.
    pub(crate) lessees: u32,
    pub(crate) kills_per_second: f64,
    pub(crate) stops_per_second: f64,
    /// The length of the longest message, in bytes.
    pub(crate) size: usize,
    /// How many messages are sent or received in one call, at the most.
    pub(crate) batch: usize,
    pub(crate) capacity: usize,
    /// When each queue is closed, in the middle of everything; `None`: when nobody is killed any more.
    pub(crate) close_at: Option<f64>,
    /// The slice of each queue. Then all waits are without a limit and all deaths are reported, so that nothing but a wake
    /// ends a sleep: one that is missing is a hang. `None`: a slice of some milliseconds, which hides that.
    pub(crate) slice_seconds: Option<u64>,
    pub(crate) seed: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            seconds: 10.0,
            senders: 2,
            receivers: 1,
            lessees: 1,
            kills_per_second: 100.0,
            stops_per_second: 0.0,
            size: 256,
            batch: 1,
            capacity: 64,
            close_at: None,
            slice_seconds: None,
            seed: fastrand::u64(..),
        }
    }
}

impl Shape {
    /// Reads `--name value` pairs.
    pub(crate) fn read(arguments: &[String]) -> Result<Self, String> {
        let mut shape = Self::default();
        let (pairs, rest) = arguments.as_chunks::<2>();
        if let [name] = rest {
            return Err(format!("{name} has no value"));
        }
        for [name, value] in pairs {
            shape.set(name, value)?;
        }
        shape.check()
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "--seconds" => self.seconds = read(name, value)?,
            "--senders" => self.senders = read(name, value)?,
            "--receivers" => self.receivers = read(name, value)?,
            "--lessees" => self.lessees = read(name, value)?,
            "--kills-per-second" => self.kills_per_second = read(name, value)?,
            "--stops-per-second" => self.stops_per_second = read(name, value)?,
            "--size" if value == "large" => self.size = LARGE,
            "--batch" => self.batch = read(name, value)?,
            "--size" => self.size = read(name, value)?,
            "--capacity" => self.capacity = read(name, value)?,
            "--close-at" => self.close_at = Some(read(name, value)?),
            "--slice-seconds" => self.slice_seconds = Some(read(name, value)?),
            "--seed" => self.seed = read(name, value)?,
            _ => return Err(format!("there is no {name}")),
        }
        Ok(())
    }

    fn check(self) -> Result<Self, String> {
        let times = [self.seconds, self.kills_per_second, self.stops_per_second];
        let close_at = self.close_at.unwrap_or_default();
        if times
            .iter()
            .chain([&close_at])
            .any(|time| !(0.0..1e6).contains(time))
        {
            return Err("times and rates are from 0 to a million".to_owned());
        }
        if self
            .slice_seconds
            .is_some_and(|seconds| !(1..=3_600).contains(&seconds))
        {
            return Err("a slice takes from a second to an hour".to_owned());
        }
        if self.batch == 0 {
            return Err("a batch has a message at least".to_owned());
        }
        if self.senders == 0 || self.consumers() == 0 {
            return Err("somebody has to send, and somebody to receive or lease".to_owned());
        }
        Ok(self)
    }

    /// Who receive or lease.
    pub(crate) fn consumers(&self) -> u32 {
        self.receivers + self.lessees
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

fn read<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|error| format!("{name} {value}: {error}"))
}

impl Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--seconds {} --senders {} --receivers {} --lessees {} --kills-per-second {} --stops-per-second {} \
             --size {} --batch {} --capacity {} --seed {}",
            self.seconds,
            self.senders,
            self.receivers,
            self.lessees,
            self.kills_per_second,
            self.stops_per_second,
            self.size,
            self.batch,
            self.capacity,
            self.seed
        )?;
        if let Some(seconds) = self.close_at {
            write!(f, " --close-at {seconds}")?;
        }
        if let Some(seconds) = self.slice_seconds {
            write!(f, " --slice-seconds {seconds}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Shape, String> {
        let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Shape::read(&arguments)
    }

    #[test]
    fn a_shape_that_was_printed_is_read_again() {
        for close in ["", "--close-at 0.25", "--slice-seconds 600"] {
            let text = format!(
                "--seconds 1.5 --senders 3 --receivers 0 --stops-per-second 2 --batch 9 --seed 7 {close}"
            );
            let shape = read(&text).expect("a shape");
            assert_eq!((shape.senders, shape.consumers(), shape.seed), (3, 1, 7));
            assert_eq!(read(&shape.to_string()), Ok(shape));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for nonsense in [
            "--seconds",
            "--seconds -1",
            "--senders two",
            "--senders 0",
            "--batch 0",
            "--slice-seconds 0",
            "--size small",
            "--receivers 0 --lessees 0",
            "--speed 3",
        ] {
            assert!(read(nonsense).is_err(), "{nonsense}");
        }
    }
}
