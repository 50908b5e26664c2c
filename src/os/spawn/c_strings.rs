//! A program's name, arguments and environment, as `execve(2)` wants them.

use core::cell::Cell;
use core::ffi::c_char;
use core::ptr;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Strings as `execve(2)` wants them.
pub(super) struct CStrings {
    /// What `pointers` point to.
    _strings: Vec<CString>,
    /// One more than there are strings, the last one null. In a cell, for the child changes one.
    pointers: Vec<Cell<*const c_char>>,
}

impl CStrings {
    pub(super) fn new(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<Self> {
        let strings = words.into_iter().map(|word| text(word.as_ref()));
        let strings = strings.collect::<io::Result<Vec<CString>>>()?;
        let pointers = strings.iter().map(|string| string.as_ptr());
        let pointers = pointers.chain([ptr::null()]).map(Cell::new).collect();
        Ok(Self {
            _strings: strings,
            pointers,
        })
    }

    pub(super) fn first(&self) -> *const *const c_char {
        // A cell has the layout of what is in it.
        self.pointers.as_ptr().cast()
    }

    /// Replaces the second string. Returns the first.
    pub(super) fn set_second(&self, string: &CString) -> Option<*const c_char> {
        let [first, second, ..] = self.pointers.as_slice() else {
            return None;
        };
        second.set(string.as_ptr());
        Some(first.get())
    }
}

pub(super) fn text(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        let what = format!("{} has a zero byte in it", text.display());
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })
}

pub(super) fn environment(
    changes: &[(OsString, Option<OsString>)],
) -> BTreeMap<OsString, OsString> {
    let mut variables: BTreeMap<_, _> = std::env::vars_os().collect();
    for (name, value) in changes {
        match value {
            Some(value) => variables.insert(name.clone(), value.clone()),
            None => variables.remove(name),
        };
    }
    variables
}

/// Where `execvp(3)` looks for a program.
pub(super) fn candidates(program: &OsStr, path: Option<&OsString>) -> io::Result<Vec<CString>> {
    /// Where there is no `PATH`.
    const USUAL: &str = "/bin:/usr/bin";
    let bytes = program.as_bytes();
    if bytes.is_empty() || bytes.contains(&b'/') {
        return Ok(vec![text(program)?]);
    }
    let path = path
        .map_or(OsStr::new(USUAL), OsString::as_os_str)
        .as_bytes();
    let folders = path.split(|&byte| byte == b':');
    let in_folder = |folder: &[u8]| match folder {
        // The working directory.
        [] => text(program),
        _ => text(&OsString::from_vec([folder, b"/", bytes].concat())),
    };
    folders.map(in_folder).collect()
}
