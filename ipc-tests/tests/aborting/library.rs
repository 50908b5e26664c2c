//! A library with a pool, which a program loads that knows nothing of it. See `main.rs` beside it.

use std::ffi::{CString, c_char};
use workring::pool::{Context, Task, TypedPool};

#[derive(Debug)]
struct Nothing;

impl serde::Serialize for Nothing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for Nothing {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self)
    }
}

impl Task for Nothing {
    type Output = ();
    type Error = ();

    fn run(self, _: &Context) -> Result<(), ()> {
        Ok(())
    }
}

/// Starts a pool, and returns its error as a C string that is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn start_pool() -> *mut c_char {
    let text = match TypedPool::<Nothing>::builder().workers(1).start() {
        Ok(_) => "a pool".to_owned(),
        Err(error) => error.to_string(),
    };
    CString::new(text).unwrap_or_default().into_raw()
}
