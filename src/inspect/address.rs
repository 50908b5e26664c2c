//! How a queue is named on the command line.

use core::fmt;
use core::str::FromStr;

/// Where a queue is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// By its name.
    Named(String),
    /// By a descriptor of a process that has it open, written `PID/FD`. No name has a slash.
    Descriptor {
        /// The process.
        process: u32,
        /// The number of its descriptor.
        descriptor: u32,
    },
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((process, descriptor)) = text.split_once('/') else {
            return Ok(Self::Named(text.to_owned()));
        };
        match (process.parse(), descriptor.parse()) {
            (Ok(process), Ok(descriptor)) => Ok(Self::Descriptor {
                process,
                descriptor,
            }),
            _ => Err(format!(
                "`{text}` is neither a name nor PROCESS/DESCRIPTOR: `workring ls` lists both"
            )),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Descriptor {
                process,
                descriptor,
            } => write!(f, "{process}/{descriptor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["jobs", "a.b-c_d", "4711/12"] {
            assert_eq!(
                text.parse::<Address>().expect("an address").to_string(),
                text
            );
        }
        for text in ["a/b", "1/", "/2", "-1/2", "1/2/3"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
