//! The number of rounds and the random seed of a test. Both are printed.
//!
//! | variable             | value  | meaning                                              |
//! |----------------------|--------|------------------------------------------------------|
//! | `WORKRING_TEST_FULL` | 1      | the counts that a release has to pass                |
//! |                      | unset  | short counts, for every day                          |
//! | `WORKRING_TEST_SEED` | number | the seed of every random test, to repeat a failure   |
//! |                      | unset  | another seed each time                               |

use crate::watchdog::remark;
use std::env;

/// Random numbers: `Rng::with_seed(seed())`.
pub use fastrand::Rng;

const FULL: &str = "WORKRING_TEST_FULL";
const SEED: &str = "WORKRING_TEST_SEED";

/// Returns the number of rounds: `full` if the environment asks for it, otherwise `short`.
#[must_use]
pub fn rounds(short: u32, full: u32) -> u32 {
    let (rounds, line) = choose(variable(FULL).as_deref(), short, full);
    remark(line);
    rounds
}

/// Returns the seed of this run.
#[must_use]
pub fn seed() -> u64 {
    let given = variable(SEED);
    let seed = given.map_or_else(|| fastrand::u64(..), |text| read_seed(&text));
    remark(format!("seed: repeat this run by {SEED}={seed}"));
    seed
}

fn choose(value: Option<&str>, short: u32, full: u32) -> (u32, String) {
    match value {
        Some("1") => (full, format!("rounds: {full}, the full count")),
        None | Some("" | "0") => (short, format!("rounds: {short}; {FULL}=1 runs {full}")),
        Some(other) => panic!("{FULL} is 1 or unset, not {other:?}"),
    }
}

fn read_seed(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|error| panic!("{SEED}={text:?}: {error}"))
}

fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.into_string().expect("a value in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_means_full_and_nothing_means_short() {
        assert_eq!(
            choose(Some("1"), 3, 500),
            (500, "rounds: 500, the full count".into())
        );
        assert_eq!(
            choose(None, 3, 500),
            (3, "rounds: 3; WORKRING_TEST_FULL=1 runs 500".into())
        );
    }

    #[test]
    #[should_panic(expected = "WORKRING_TEST_FULL is 1 or unset, not \"yes\"")]
    fn a_value_that_means_nothing_is_refused() {
        let _ = choose(Some("yes"), 3, 500);
    }

    #[test]
    fn a_seed_repeats_its_numbers() {
        assert_eq!(read_seed("18446744073709551615"), u64::MAX);
        let numbers = || Rng::with_seed(7).choose_multiple(0..1000, 20);
        assert_eq!(numbers(), numbers());
        if variable(SEED).is_none() {
            assert_ne!(
                seed(),
                seed(),
                "without a given seed each run has another one"
            );
        }
    }
}
