//! The options of a storm, read from the command line. `storm.rs` describes them.

use std::{
    fmt::{self, Display},
    str::FromStr,
    time::Duration,
};

pub(crate) const USAGE: &str = "storm --seconds N [--kills N] --senders N --receivers N --lessees N --kills-per-second N \
    [--stops-per-second N] [--size BYTES|large] [--batch N] [--capacity N] [--close-at SECONDS] \
    [--futures none|some|all] [--liveness-seconds N] [--seed N]";

/// More than 64 KiB: the memory of such messages is allocated when they are sent, and freed when it is idle.
const LARGE: usize = 600_000;

/// How many processes of each kind, how often they are killed, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Config {
    /// The round that has begun by then is finished.
    pub(crate) seconds: f64,
    /// The storm ends earlier after the round that reaches this number of kills.
    pub(crate) kills: Option<u64>,
    pub(crate) senders: u32,
    /// Processes that receive, which acknowledges.
    pub(crate) receivers: u32,
    /// Processes that lease, and acknowledge or return later.
    pub(crate) lessees: u32,
    pub(crate) kills_per_second: f64,
    pub(crate) stops_per_second: f64,
    /// The length of the longest message, in bytes.
    pub(crate) max_length: usize,
    /// The most messages that one call sends or receives.
    pub(crate) max_batch: usize,
    pub(crate) capacity: usize,
    /// Which of the processes use futures.
    pub(crate) futures: Futures,
    /// After how many seconds each queue is closed, in the middle of the kills; `None`: after the kills.
    pub(crate) close_at: Option<f64>,
    /// The liveness interval of each queue. All waits are then without a limit and all deaths are reported, so that
    /// nothing but a wake-up ends a sleep: a missing one is a hang. `None`: an interval of some milliseconds, which
    /// hides that.
    pub(crate) liveness_seconds: Option<u64>,
    pub(crate) seed: u64,
}

/// Which processes send, receive or lease by futures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Futures {
    None,
    /// Half of them, chosen at random.
    Some,
    All,
}

impl Futures {
    const ALL: [Self; 3] = [Self::None, Self::Some, Self::All];

    /// Returns whether a process uses futures. `random` chooses.
    pub(crate) const fn are_used(self, random: u64) -> bool {
        match self {
            Self::None => false,
            Self::Some => random.is_multiple_of(2),
            Self::All => true,
        }
    }
}

impl Display for Futures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Some => "some",
            Self::All => "all",
        })
    }
}

impl FromStr for Futures {
    type Err = &'static str;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|one| one.to_string() == name);
        found.ok_or("it is none, some or all")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seconds: 10.0,
            kills: None,
            senders: 2,
            receivers: 1,
            lessees: 1,
            kills_per_second: 100.0,
            stops_per_second: 0.0,
            max_length: 256,
            max_batch: 1,
            capacity: 64,
            futures: Futures::Some,
            close_at: None,
            liveness_seconds: None,
            seed: fastrand::u64(..),
        }
    }
}

impl Config {
    /// Reads `--name value` pairs.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut config = Self::default();
        let (pairs, rest) = arguments.as_chunks::<2>();
        if let [name] = rest {
            return Err(format!("{name} has no value"));
        }
        for [name, value] in pairs {
            config.set(name, value)?;
        }
        config.check()
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "--seconds" => self.seconds = parse_value(name, value)?,
            "--kills" => self.kills = Some(parse_value(name, value)?),
            "--senders" => self.senders = parse_value(name, value)?,
            "--receivers" => self.receivers = parse_value(name, value)?,
            "--lessees" => self.lessees = parse_value(name, value)?,
            "--kills-per-second" => self.kills_per_second = parse_value(name, value)?,
            "--stops-per-second" => self.stops_per_second = parse_value(name, value)?,
            "--size" if value == "large" => self.max_length = LARGE,
            "--batch" => self.max_batch = parse_value(name, value)?,
            "--size" => self.max_length = parse_value(name, value)?,
            "--capacity" => self.capacity = parse_value(name, value)?,
            "--futures" => self.futures = parse_value(name, value)?,
            "--close-at" => self.close_at = Some(parse_value(name, value)?),
            "--liveness-seconds" => self.liveness_seconds = Some(parse_value(name, value)?),
            "--seed" => self.seed = parse_value(name, value)?,
            _ => return Err(format!("there is no option {name}")),
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
            .liveness_seconds
            .is_some_and(|seconds| !(1..=3_600).contains(&seconds))
        {
            return Err("a liveness interval takes from a second to an hour".to_owned());
        }
        if self.max_batch == 0 {
            return Err("a batch has at least one message".to_owned());
        }
        if self.senders == 0 || self.consumers() == 0 {
            return Err("at least one process has to send, and one to receive or lease".to_owned());
        }
        Ok(self)
    }

    /// Returns how many processes receive or lease.
    pub(crate) fn consumers(&self) -> u32 {
        self.receivers + self.lessees
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

fn parse_value<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|error| format!("{name} {value}: {error}"))
}

impl Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--seconds {} --senders {} --receivers {} --lessees {} --kills-per-second {} --stops-per-second {} \
             --size {} --batch {} --capacity {} --futures {} --seed {}",
            self.seconds,
            self.senders,
            self.receivers,
            self.lessees,
            self.kills_per_second,
            self.stops_per_second,
            self.max_length,
            self.max_batch,
            self.capacity,
            self.futures,
            self.seed
        )?;
        if let Some(kills) = self.kills {
            write!(f, " --kills {kills}")?;
        }
        if let Some(seconds) = self.close_at {
            write!(f, " --close-at {seconds}")?;
        }
        if let Some(seconds) = self.liveness_seconds {
            write!(f, " --liveness-seconds {seconds}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Config::parse(&arguments)
    }

    #[test]
    fn printed_options_are_parsed_to_the_same_config() {
        for close in [
            "--futures all",
            "--close-at 0.25",
            "--liveness-seconds 600 --kills 9",
        ] {
            let text = format!(
                "--seconds 1.5 --senders 3 --receivers 0 --stops-per-second 2 --batch 9 --seed 7 {close}"
            );
            let config = parse(&text).expect("valid options");
            assert_eq!((config.senders, config.consumers(), config.seed), (3, 1, 7));
            assert_eq!(parse(&config.to_string()), Ok(config));
        }
    }

    #[test]
    fn invalid_options_are_errors() {
        for invalid in [
            "--seconds",
            "--seconds -1",
            "--senders two",
            "--senders 0",
            "--batch 0",
            "--liveness-seconds 0",
            "--size small",
            "--receivers 0 --lessees 0",
            "--futures most",
            "--speed 3",
        ] {
            assert!(parse(invalid).is_err(), "{invalid}");
        }
    }
}
