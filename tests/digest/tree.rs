//! Trees of files for the example to list.

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A temporary directory, which is removed when this is dropped.
pub(crate) struct Tree(pub(crate) PathBuf);

impl Tree {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("workring-digest-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a directory for the test");
        Self(path)
    }

    pub(crate) fn path(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.0.join(OsStr::from_bytes(name.as_ref()))
    }

    pub(crate) fn file(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a file");
    }

    /// Adds two files, the last in the list, that take minutes to hash and no room on the disk: one for each of two
    /// workers.
    pub(crate) fn endless_files(&self) {
        for name in ["z1", "z2"] {
            let file = File::create(self.path(name)).expect("a file");
            file.set_len(1 << 40).expect("a sparse file of 1 TiB");
        }
    }

    /// Makes a tree whose list is larger than a pipe, which has up to 1 MiB on machines with large pages.
    pub(crate) fn with_many_files() -> Self {
        let tree = Self::new();
        let directory = vec!["d".repeat(200); 9].join("/");
        fs::create_dir_all(tree.path(&directory)).expect("directories");
        for n in 0..1000 {
            tree.file(format!("{directory}/{n}"), n.to_string());
        }
        tree
    }

    /// Makes a tree of unusual names, sizes and kinds of files.
    pub(crate) fn with_odd_files() -> Self {
        let tree = Self::new();
        for name in ["plain", "a b", "*", "'\"", "tab\t", "-n", "ünï", "~", "#"] {
            tree.file(name, name);
        }
        for name in ["back\\slash", "new\nline", "\r", "\\\n\r\\", "\\n", "end\n"] {
            tree.file(name, name);
        }
        tree.file(b"\xff\xfe", "not UTF-8");
        tree.file(b"\xc3\n\x80", "not UTF-8, and escaped");
        // Around the block size of the hash and the buffer of a worker.
        for size in [
            0, 1, 55, 56, 63, 64, 65, 131_071, 131_072, 131_073, 3_000_000,
        ] {
            let content: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
            tree.file(format!("size {size}"), content);
        }
        for name in ["dir", "dir/deep", "dir/deep/deeper", "empty dir"] {
            fs::create_dir(tree.path(name)).expect("a directory");
        }
        // By the bytes of whole paths, "dir-x" comes before "dir/x", and "dir0x" after.
        for name in ["dir-x", "dir/x", "dir/deep/x", "dir/deep/deeper/x", "dir0x"] {
            tree.file(name, name);
        }
        symlink("plain", tree.path("link to file")).expect("a link");
        symlink("dir", tree.path("link to dir")).expect("a link");
        symlink("nowhere", tree.path("link to nothing")).expect("a link");
        mkfifo(&tree.path("fifo"), Mode::S_IRWXU).expect("a fifo");
        tree
    }

    /// Returns the list of the tree, computed here.
    pub(crate) fn list(&self) -> Vec<u8> {
        let mut files = Vec::new();
        let mut directories = vec![self.0.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).expect("a directory") {
                let entry = entry.expect("an entry");
                let kind = entry.file_type().expect("a file type");
                if kind.is_dir() {
                    directories.push(entry.path());
                } else if kind.is_file() {
                    files.push(entry.path());
                }
            }
        }
        files.sort_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
        files.iter().flat_map(|file| line(file)).collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the line that `sha256sum` prints for a file.
fn line(path: &Path) -> Vec<u8> {
    let sum = Sha256::digest(fs::read(path).expect("a file"));
    let hex = sum
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let mut name = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'\\' => name.extend(br"\\"),
            b'\n' => name.extend(br"\n"),
            b'\r' => name.extend(br"\r"),
            byte => name.push(byte),
        }
    }
    let mark: &[u8] = if name.contains(&b'\\') { b"\\" } else { b"" };
    [mark, hex.as_bytes(), b"  ", &name, b"\n"].concat()
}
