//! A library that computes in worker processes. Programs that use it need to know nothing of that.

#![forbid(unsafe_code)]

use std::error::Error;
use workring::{Failure, Pool};

workring::auto_worker!();

/// Returns the square of a number.
///
/// # Errors
///
/// The square is too large.
#[workring::task]
pub fn square(n: u64) -> Result<u64, Failure> {
    let square = n.checked_mul(n);
    square.ok_or_else(|| Failure::new(format!("the square of {n} is too large")))
}

/// Returns the squares of these numbers, computed by two processes.
///
/// # Errors
///
/// A square is too large, or the processes can't be started.
pub fn squares(numbers: &[u64]) -> Result<Vec<u64>, Box<dyn Error>> {
    let pool = Pool::start(2)?;
    let squares = pool.map(numbers.iter().copied().map(square::new));
    Ok(squares
        .map(|outcome| outcome.result)
        .collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipc_tests::guarded;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_unit_test_uses_a_pool() {
        guarded(LIMIT, || {
            assert_eq!(squares(&[3, 4]).expect("squares"), [9, 16]);
        });
    }

    #[test]
    fn another_uses_one_at_the_same_time() {
        guarded(LIMIT, || {
            let failed = squares(&[u64::MAX]).expect_err("too large");
            assert!(failed.to_string().ends_with("is too large"), "{failed}");
        });
    }

    #[test]
    fn the_function_can_be_called_here() {
        assert_eq!(square(5).expect("25"), 25);
    }
}
