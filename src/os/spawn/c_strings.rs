//! A program's path, arguments and environment in the form that `execve(2)` takes.

use core::cell::Cell;
use core::ffi::c_char;
use core::ptr;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A list of C strings as `execve(2)` takes it.
pub(super) struct CStrings {
    /// The strings that `pointers` point to.
    _strings: Vec<CString>,
    /// One pointer for each string, and a null pointer at the end. In cells, because the child changes one.
    pointers: Vec<Cell<*const c_char>>,
}

impl CStrings {
    pub(super) fn new(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<Self> {
        let strings = words.into_iter().map(|word| c_string(word.as_ref()));
        let strings = strings.collect::<io::Result<Vec<CString>>>()?;
        let pointers = strings.iter().map(|string| string.as_ptr());
        let pointers = pointers.chain([ptr::null()]).map(Cell::new).collect();
        Ok(Self {
            _strings: strings,
            pointers,
        })
    }

    /// Returns the address of the first pointer.
    pub(super) fn first(&self) -> *const *const c_char {
        // A `Cell` has the layout of its content.
        self.pointers.as_ptr().cast()
    }

    /// Replaces the second string, and returns the first. Async-signal-safe.
    pub(super) fn set_second(&self, string: &CString) -> Option<*const c_char> {
        let [first, second, ..] = self.pointers.as_slice() else {
            return None;
        };
        second.set(string.as_ptr());
        Some(first.get())
    }
}

/// Converts a string.
///
/// # Errors
///
/// It contains a zero byte.
pub(super) fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        let what = format!(
            "{} contains a zero byte, which no argument, variable or path may have",
            text.display()
        );
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })
}

/// Returns the environment of this process, or an empty one, with `changes` applied in order.
pub(super) fn environment(
    is_cleared: bool,
    changes: &[(OsString, Option<OsString>)],
) -> BTreeMap<OsString, OsString> {
    let mut variables = BTreeMap::new();
    if !is_cleared {
        variables.extend(std::env::vars_os());
    }
    for (name, value) in changes {
        match value {
            Some(value) => variables.insert(name.clone(), value.clone()),
            None => variables.remove(name),
        };
    }
    variables
}

/// Returns the paths at which `execvp(3)` looks for a program, given the value of `PATH`.
pub(super) fn candidates(program: &OsStr, path: Option<&OsString>) -> io::Result<Vec<CString>> {
    /// The folders to search if there is no `PATH`.
    const DEFAULT_PATH: &str = "/bin:/usr/bin";
    let bytes = program.as_bytes();
    if bytes.is_empty() || bytes.contains(&b'/') {
        return Ok(vec![c_string(program)?]);
    }
    let path = path
        .map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str)
        .as_bytes();
    let folders = path.split(|&byte| byte == b':');
    let in_folder = |folder: &[u8]| match folder {
        // An empty entry is the working directory.
        [] => c_string(program),
        _ => c_string(&OsString::from_vec([folder, b"/", bytes].concat())),
    };
    folders.map(in_folder).collect()
}
