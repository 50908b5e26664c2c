//! The child's side of [`child`](crate::child): a program that plays one of several roles.
//!
//! `peer ROLE ARGUMENT...` calls the function of that name with an [`Io`]. A role ends well by returning, and badly by
//! panicking (exit code 101) or `std::process::exit`. A role that waits for a line ends when its test has ended.

use std::{
    any::type_name,
    env,
    fmt::Display,
    io::{self, Write},
    process::{self, ExitCode},
    str::FromStr,
    vec,
};

/// A function that a child process runs.
pub type Role = fn(&mut Io);

/// The exit code of a role whose test has ended, so that it has no partner any more.
pub const ABANDONED: i32 = 3;

/// Plays the role that the first argument names, or fails with exit code 2 and the list of roles.
#[must_use = "this is the exit code of main"]
pub fn run(roles: &[(&str, Role)]) -> ExitCode {
    let mut arguments = env::args().skip(1).collect::<Vec<_>>().into_iter();
    let wanted = arguments.next().unwrap_or_default();
    let Some((_, role)) = roles.iter().find(|(name, _)| *name == wanted) else {
        let names: Vec<&str> = roles.iter().map(|(name, _)| *name).collect();
        eprintln!("no role {wanted:?}; the roles are: {}", names.join(", "));
        return ExitCode::from(2);
    };
    role(&mut Io { arguments });
    ExitCode::SUCCESS
}

/// The arguments of a role, and its lines to and from the test.
#[derive(Debug)]
pub struct Io {
    arguments: vec::IntoIter<String>,
}

impl Io {
    /// The next argument of the role. Panics if there is none or it can't be read as a `T`.
    pub fn argument<T: FromStr>(&mut self) -> T {
        let text = self.arguments.next();
        let value = text.as_ref().and_then(|text| text.parse().ok());
        value.unwrap_or_else(|| panic!("the argument has to be a {}: {text:?}", type_name::<T>()))
    }

    /// Sends one line to the test. Ends the process if the test has ended.
    pub fn say(&mut self, line: impl Display) {
        let mut output = io::stdout().lock();
        let said = output.write_all(format!("{line}\n").as_bytes());
        if said.and_then(|()| output.flush()).is_err() {
            process::exit(ABANDONED);
        }
    }

    /// Waits for the next line from the test. Ends the process if there will be none.
    pub fn next_line(&mut self) -> String {
        self.try_next_line()
            .unwrap_or_else(|| process::exit(ABANDONED))
    }

    /// Waits for the next line. Returns `None` once the test has closed the input, or has ended.
    pub fn try_next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        io::stdin()
            .read_line(&mut line)
            .expect("read from the test");
        line.strip_suffix('\n').map(str::to_owned)
    }

    /// Waits for this line. Panics if another one comes.
    pub fn expect(&mut self, line: &str) {
        assert_eq!(
            self.next_line(),
            line,
            "the test says something else than its role expects"
        );
    }
}
