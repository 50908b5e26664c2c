//! The tasks of these tests.

use std::{fmt, fs, io, path::PathBuf, process, thread, time::Duration};
use workring::{Context, Failure};

#[workring::task]
pub(crate) fn square(n: u64) -> Result<u64, Failure> {
    n.checked_mul(n)
        .ok_or_else(|| Failure::new(format!("{n} is too large")).with_kind("range"))
}

#[workring::task]
pub(crate) fn shout(mut text: String, (mark, times): (char, usize)) -> String {
    text = text.to_uppercase();
    text.extend([mark].repeat(times));
    text
}

/// Exits until the attempt with this number.
#[workring::task]
pub(crate) fn exit_before(context: &Context, attempt: u32) -> u32 {
    if context.attempt() < attempt {
        process::exit(9);
    }
    context.attempt()
}

/// The same, with its own number of retries.
#[workring::task(retries = 1)]
pub(crate) fn retried_once(context: &Context, attempt: u32) -> u32 {
    exit_before(context, attempt)
}

#[workring::task(retries = 0)]
pub(crate) fn never_retried(context: &Context, attempt: u32) -> u32 {
    exit_before(context, attempt)
}

/// Exits if it gets this number.
#[workring::task]
pub(crate) fn exit_at(number: u32, bad: u32) -> u32 {
    if number == bad {
        process::exit(9);
    }
    number
}

#[workring::task(time_limit = Duration::from_millis(20))]
pub(crate) fn endless() {
    loop {
        thread::park();
    }
}

#[workring::task]
pub(crate) fn read(path: PathBuf) -> Result<String, Failure> {
    Ok(fs::read_to_string(path)?)
}

#[workring::task]
pub(crate) fn read_io(path: PathBuf) -> io::Result<String> {
    fs::read_to_string(path)
}

/// An error with a cause.
#[derive(Debug)]
pub(crate) struct Outer(io::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[workring::task]
pub(crate) fn with_cause() -> Result<(), Outer> {
    Err(Outer(io::Error::other("inner")))
}

#[workring::task]
pub(crate) fn boxed() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    with_cause().map_err(Into::into)
}

#[workring::task]
pub(crate) fn text() -> Result<(), String> {
    Err("only text".to_owned())
}

/// Can be displayed, and is no error.
#[derive(Debug)]
pub(crate) struct Shown;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shown")
    }
}

#[workring::task]
pub(crate) fn shown() -> Result<(), Shown> {
    Err(Shown)
}

/// Has neither `Display` nor `Error`.
#[derive(Debug)]
pub(crate) struct Unspoken {
    #[expect(dead_code, reason = "only `Debug` shows it")]
    code: u32,
}

#[workring::task]
pub(crate) fn unspoken() -> Result<u64, Unspoken> {
    Err(Unspoken { code: 7 })
}

#[workring::task]
pub(crate) fn unit_error(fails: bool) -> Result<u64, ()> {
    if fails { Err(()) } else { Ok(7) }
}

#[workring::task]
pub(crate) fn sum_of_four(one: u8, two: u16, three: u32, four: u64) -> u64 {
    u64::from(one) + u64::from(two) + u64::from(three) + four
}

/// An error that travels as it is.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Own {
    Missing(String),
}

impl From<io::Error> for Own {
    fn from(error: io::Error) -> Self {
        Self::Missing(error.kind().to_string())
    }
}

#[workring::task(error = Own)]
pub(crate) fn own_error(path: PathBuf) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len())
}

/// Returns the signals that its process ignores.
#[workring::task]
pub(crate) fn ignored_signals() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    Ok(u64::from_str_radix(
        line.ok_or_else(|| Failure::new("no line"))?.trim(),
        16,
    )?)
}

/// Overflows the stack.
#[workring::task]
pub(crate) fn overflow(depth: u64) -> u64 {
    #[allow(unconditional_recursion, reason = "it is to overflow the stack")]
    fn deeper(depth: u64) -> u64 {
        std::hint::black_box([depth; 64]).iter().sum::<u64>() + deeper(depth + 1)
    }
    deeper(depth)
}

/// A task without the macro.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) enum ByHand {
    Double(u32),
    Name,
}

workring::register!(ByHand as "tests: by hand");

impl workring::Task for ByHand {
    type Output = String;
    type Error = String;

    fn run(self, _: &Context) -> Result<String, String> {
        match self {
            Self::Double(number) => Ok((2 * number).to_string()),
            Self::Name => Err("it has none".to_owned()),
        }
    }
}
