//! Which program this process runs, and which build of it: `/proc/ID/exe`, `/proc/self/maps`, the note `NT_GNU_BUILD_ID`.
//!
//! | question                                      | evidence                                                             |
//! |-----------------------------------------------|----------------------------------------------------------------------|
//! | does another process run the same file?       | device and inode of `/proc/ID/exe`, which outlive the file's name    |
//! | does it run the same build from another file? | the build id, which the linker makes of the contents                 |
//! | is this crate part of the program?            | the file that a constant of this crate was mapped from               |
//!
//! Owns no state that changes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::OnceLock;

const OWN: &str = "/proc/self/exe";

/// Returns whether another process runs the same file as this one. False if that is not known.
pub(crate) fn runs_same_file(process: u32) -> bool {
    let file = |path: &str| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let own = file(OWN);
    own.is_some() && own == file(&format!("/proc/{process}/exe"))
}

/// Returns the build id of this program, in hexadecimal digits. `None` if it was linked without one.
pub(crate) fn build_id() -> Option<&'static str> {
    static ID: OnceLock<Option<String>> = OnceLock::new();
    ID.get_or_init(|| note_of(&File::open(OWN).ok()?))
        .as_deref()
}

/// Where this crate is, if that is not the program of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// The program of this process.
    pub(crate) program: PathBuf,
    /// The library of which this crate is a part.
    pub(crate) library: PathBuf,
}

/// Returns the host of this crate if it is part of a library: a Python module, a plugin. `None` if it is part of the program,
/// or if that cannot be found out.
pub(crate) fn host() -> Option<&'static Host> {
    static HOST: OnceLock<Option<Host>> = OnceLock::new();
    HOST.get_or_init(|| {
        // Both paths are what the kernel says at this moment, so they are equal even after the file was removed or renamed.
        let program = fs::read_link(OWN).ok()?;
        let maps = fs::read("/proc/self/maps").ok()?;
        host_in(&maps, program.as_os_str(), anchor())
    })
    .as_ref()
}

/// Returns the address of a constant of this crate.
fn anchor() -> usize {
    /// Not zero, so that it is in the file.
    static ANCHOR: [u8; 8] = *b"workring";
    core::ptr::from_ref(&ANCHOR).addr()
}

fn host_in(maps: &[u8], program: &OsStr, anchor: usize) -> Option<Host> {
    let mappings = || maps.split(|&byte| byte == b'\n').filter_map(Mapping::parse);
    // A program that was unpacked into memory is mapped from no file.
    let is_mapped = mappings().any(|mapping| mapping.path == program);
    let of_crate = mappings().find(|mapping| mapping.start <= anchor && anchor < mapping.end)?;
    (is_mapped && of_crate.path != program).then(|| Host {
        program: program.into(),
        library: of_crate.path.into(),
    })
}

/// A part of memory that a file is mapped to.
struct Mapping<'a> {
    start: usize,
    end: usize,
    path: &'a OsStr,
}

impl<'a> Mapping<'a> {
    /// Parses a line of `/proc/self/maps`: `START-END PERMISSIONS OFFSET DEVICE INODE   PATH`.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let range = core::str::from_utf8(fields.next()?).ok()?;
        let (start, end) = range.split_once('-')?;
        let path = fields.nth(4)?.trim_ascii_start();
        let address = |text| usize::from_str_radix(text, 16).ok();
        path.starts_with(b"/").then_some(Self {
            start: address(start)?,
            end: address(end)?,
            path: OsStr::from_bytes(path),
        })
    }
}

/// Reads the build id from the file of a program: `elf(5)`. Only 64-bit files of this machine's byte order have one here.
fn note_of(program: &File) -> Option<String> {
    const CLASS_64: u8 = 2;
    const NOTES: u32 = 4;
    /// Longer than any note that a linker makes.
    const LONGEST: u64 = 1 << 16;
    let header: [u8; 64] = read(program, 0).ok()?;
    if !header.starts_with(b"\x7fELF") || header.get(4) != Some(&CLASS_64) {
        return None;
    }
    let table = u64::from_ne_bytes(array(&header, 32)?);
    let size = u16::from_ne_bytes(array(&header, 54)?);
    let count = u16::from_ne_bytes(array(&header, 56)?);
    (0..u64::from(count)).find_map(|index| {
        let entry: [u8; 56] = read(program, table.checked_add(index * u64::from(size))?).ok()?;
        let length = u64::from_ne_bytes(array(&entry, 32)?);
        if u32::from_ne_bytes(array(&entry, 0)?) != NOTES || length > LONGEST {
            return None;
        }
        let mut notes = vec![0; usize::try_from(length).ok()?];
        let offset = u64::from_ne_bytes(array(&entry, 8)?);
        program.read_exact_at(&mut notes, offset).ok()?;
        let alignment = u64::from_ne_bytes(array(&entry, 48)?);
        id_in(&notes, if alignment == 8 { 8 } else { 4 })
    })
}

/// Finds the build id among notes: three numbers (length of the name, length of the contents, kind), name, contents.
fn id_in(mut notes: &[u8], alignment: usize) -> Option<String> {
    const BUILD_ID: u32 = 3;
    loop {
        let number = |at| array(notes, at).map(u32::from_ne_bytes);
        let (name, contents, kind) = (number(0)?, number(4)?, number(8)?);
        let name_end = 12_usize.checked_add(usize::try_from(name).ok()?)?;
        let start = name_end.checked_next_multiple_of(alignment)?;
        let end = start.checked_add(usize::try_from(contents).ok()?)?;
        let (name, contents) = (notes.get(12..name_end)?, notes.get(start..end)?);
        if kind == BUILD_ID && name == b"GNU\0" && !contents.is_empty() {
            let digits: Vec<_> = contents.iter().map(|byte| format!("{byte:02x}")).collect();
            return Some(digits.concat());
        }
        notes = notes.get(end.checked_next_multiple_of(alignment)?..)?;
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn read<const N: usize>(file: &File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_test_program_contains_this_crate_and_runs_its_own_file() {
        assert_eq!(host(), None);
        assert!(runs_same_file(std::process::id()));
        let mut other = Command::new("sleep").arg("60").spawn().expect("a child");
        assert!(!runs_same_file(other.id()));
        other.kill().expect("killed");
        other.wait().expect("reaped");
        assert!(!runs_same_file(other.id()), "it has ended");
    }

    const MAPS: &[u8] = b"\
        1000-2000 r--p 00000000 fe:00 7    /usr/bin/python3.12\n\
        2000-3000 rw-p 00000000 00:00 0 \n\
        3000-4000 r--p 00000000 fe:00 9    /a folder/lib.so\n\
        5000-6000 rw-p 00000000 00:00 0    [heap]\n";

    #[test]
    fn a_library_has_the_program_that_loaded_it_as_host() {
        let python = OsStr::new("/usr/bin/python3.12");
        let library = host_in(MAPS, python, 0x3008).expect("a host");
        assert_eq!(library.library, PathBuf::from("/a folder/lib.so"));
        assert_eq!(library.program, PathBuf::from(python));
        assert_eq!(host_in(MAPS, python, 0x1008), None, "the program itself");
        assert_eq!(host_in(MAPS, python, 0x2008), None, "from no file");
        assert_eq!(host_in(MAPS, python, 0x4000), None, "unmapped");
        // Whatever the kernel calls the program, it is not what was mapped.
        assert_eq!(host_in(MAPS, OsStr::new("/packed"), 0x3008), None);
    }

    #[test]
    fn a_build_id_is_found_after_other_notes_and_not_in_a_cut_one() {
        let note = |name: &[u8], kind: u32, contents: &[u8]| {
            let mut bytes = Vec::new();
            for number in [name.len(), contents.len()] {
                bytes.extend(u32::try_from(number).expect("short").to_ne_bytes());
            }
            bytes.extend(kind.to_ne_bytes());
            for part in [name, contents] {
                bytes.extend(part);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            bytes
        };
        let notes = [
            note(b"stapsdt\0", 3, b"other"),
            note(b"GNU\0", 1, b"linux"),
            note(b"GNU\0", 3, &[0xab, 0x01, 0xff]),
        ];
        let mut all = notes.concat();
        assert_eq!(id_in(&all, 4).as_deref(), Some("ab01ff"));
        all.truncate(all.len() - 2);
        assert_eq!(id_in(&all, 4), None);
        assert_eq!(id_in(&[0xff; 64], 4), None);
    }

    /// `readelf`, where there is one, says what the build id is.
    #[test]
    fn the_build_id_is_that_of_the_file() {
        let me = std::env::current_exe().expect("this program");
        let Ok(output) = Command::new("readelf").arg("-n").arg(me).output() else {
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines();
        let id = lines.find_map(|line| line.trim().strip_prefix("Build ID: "));
        assert_eq!(build_id(), id, "{text}");
    }
}
