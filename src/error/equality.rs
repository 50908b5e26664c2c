//! Comparing errors that contain an [`io::Error`], which has no equality of its own.

use std::io;

/// What a field of an error is compared by.
pub(super) trait Compared {
    type Key<'a>: Eq
    where
        Self: 'a;

    fn key(&self) -> Self::Key<'_>;
}

impl Compared for io::Error {
    type Key<'a> = io::ErrorKind;

    fn key(&self) -> io::ErrorKind {
        self.kind()
    }
}

macro_rules! compared_by_value {
    ($($field:ty),*) => {$(
        impl Compared for $field {
            type Key<'a> = &'a Self;

            fn key(&self) -> &Self {
                self
            }
        }
    )*};
}

compared_by_value!(
    u32,
    u64,
    usize,
    &'static str,
    String,
    Option<String>,
    Vec<String>,
    std::path::PathBuf,
    Option<std::process::ExitStatus>,
    super::CreateError,
    super::HandoffError,
    super::InheritError,
    super::MemoryLimit
);

/// Implements `PartialEq` and `Eq` for an error: the variant and all fields must be equal, errors of the operating
/// system in kind. The compiler checks that no variant and no field is left out.
macro_rules! impl_eq {
    ($error:ty { $($variant:ident $({ $($field:ident),* })? $(($source:ident))?),* $(,)? }) => {
        impl PartialEq for $error {
            fn eq(&self, other: &Self) -> bool {
                #[allow(unused_imports, reason = "not every error has fields")]
                use $crate::error::equality::Compared;
                match self {
                    $(Self::$variant $({ $($field),* })? $(($source))? => {
                        let own = ($($($field.key(),)*)? $($source.key(),)?);
                        match other {
                            Self::$variant $({ $($field),* })? $(($source))? => {
                                own == ($($($field.key(),)*)? $($source.key(),)?)
                            }
                            _ => false,
                        }
                    })*
                }
            }
        }

        impl Eq for $error {}
    };
}

pub(super) use impl_eq;
