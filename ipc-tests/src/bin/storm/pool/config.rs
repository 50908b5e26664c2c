//! The options of a storm over pools. `storm/pool.rs` describes them.

use std::fmt::{self, Display};

pub(crate) const USAGE: &str =
    "storm --pool --seconds N --workers N --kills-per-second N [--seed N]";

/// The options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Config {
    pub(super) seconds: f64,
    pub(super) workers: u32,
    pub(super) kills_per_second: f64,
    pub(super) seed: u64,
}

impl Config {
    /// Reads `--name value` pairs.
    pub(super) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut config = Self {
            seconds: 10.0,
            workers: 2,
            kills_per_second: 50.0,
            seed: fastrand::u64(..),
        };
        let (pairs, rest) = arguments.as_chunks::<2>();
        if let [name] = rest {
            return Err(format!("{name} has no value"));
        }
        for [name, value] in pairs {
            let is_number = match name.as_str() {
                "--seconds" => value.parse().map(|it| config.seconds = it).is_ok(),
                "--workers" => value.parse().map(|it| config.workers = it).is_ok(),
                "--kills-per-second" => {
                    let number = value.parse();
                    number.map(|it| config.kills_per_second = it).is_ok()
                }
                "--seed" => value.parse().map(|it| config.seed = it).is_ok(),
                _ => return Err(format!("a storm over pools has no option {name}")),
            };
            if !is_number {
                return Err(format!("{name} {value}: not such a number"));
            }
        }
        if !(0.0..1e6).contains(&config.seconds) || !(0.1..1e6).contains(&config.kills_per_second) {
            return Err("times are from 0, and rates from 0.1, to a million".to_owned());
        }
        Ok(config)
    }
}

impl Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--pool --seconds {} --workers {} --kills-per-second {} --seed {}",
            self.seconds, self.workers, self.kills_per_second, self.seed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_options_are_parsed_to_the_same_config() {
        let text = "--seconds 1.5 --workers 3 --kills-per-second 7 --seed 9";
        let arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let config = Config::parse(&arguments).expect("valid options");
        assert_eq!((config.workers, config.seed), (3, 9));
        assert_eq!(config.to_string(), format!("--pool {text}"));
    }

    #[test]
    fn invalid_options_are_errors() {
        for invalid in ["--seconds", "--workers two", "--senders 3", "--seconds -1"] {
            let arguments: Vec<String> = invalid.split(' ').map(str::to_owned).collect();
            assert!(Config::parse(&arguments).is_err(), "{invalid}");
        }
    }
}
