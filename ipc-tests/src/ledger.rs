//! Records of what processes did, which survive when their writer is killed right after.
//!
//! A [`Ledger`] is a plain file outside any shared segment. An [`Entry`] is one `write(2)` of 16 bytes to a file that
//! was opened for appending; [`Books`] compare what was sent with what was received.
//!
//! LEDGER-1. What `note` wrote before a SIGKILL is there: it is in the page cache, not in the process.
//! LEDGER-2. An entry is there whole or not at all. The kernel gives up a write for a signal only between pages, and as
//!     all entries have the same length, a power of two, none crosses from one page to the next.
//! LEDGER-3. A process killed between a deed and its note leaves the deed in doubt: note the intent before and the
//!     outcome after, and enter what has only an intent by [`Books::perhaps_sent`] or [`Books::perhaps_received`].

use std::{
    collections::BTreeMap,
    env,
    fmt::{self, Debug, Display, Write as _},
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    process,
};

const LENGTH: usize = 16;
const MARK: [u8; 7] = *b"ledger\n";

/// A directory for one test, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes a directory that did not exist before.
    ///
    /// # Errors
    ///
    /// The errors of creating a directory.
    pub fn new() -> io::Result<Self> {
        Self::new_in(env::temp_dir())
    }

    /// Makes a directory that did not exist before in the directory `parent`.
    ///
    /// # Errors
    ///
    /// The errors of creating a directory.
    pub fn new_in(parent: impl AsRef<Path>) -> io::Result<Self> {
        for number in 0_u64.. {
            let path = parent
                .as_ref()
                .join(format!("workring-test-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                result => return result.map(|()| Self(path)),
            }
        }
        unreachable!("2^64 directories")
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Display for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0.display(), f)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{self} is left behind: {error}");
        }
    }
}

/// One record of a ledger. The test defines what kind and number mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// What was done.
    pub kind: u8,
    /// To which message, say.
    pub number: u64,
}

/// A file to note entries in. Several processes and threads may note in the same one.
#[derive(Debug)]
pub struct Ledger(File);

impl Ledger {
    /// Opens the ledger of this name, and makes it first if need be.
    ///
    /// # Errors
    ///
    /// The errors of opening a file.
    pub fn create(directory: impl AsRef<Path>, name: &str) -> io::Result<Self> {
        let path = directory.as_ref().join(name);
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map(Self)
    }

    /// Appends an entry, which is on record when this returns (LEDGER-1). Panics if the disk is full.
    pub fn note(&self, kind: u8, number: u64) {
        let mut head = [kind; 8];
        head.split_at_mut(1).1.copy_from_slice(&MARK);
        let record = [head, number.to_le_bytes()];
        let written = loop {
            match (&self.0).write(record.as_flattened()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result.expect("write to a ledger"),
            }
        };
        assert_eq!(
            written, LENGTH,
            "a ledger was written in part: is the disk full?"
        );
    }

    /// All entries of the ledger of this name, in the order of writing. Panics if one is torn (LEDGER-2).
    ///
    /// # Errors
    ///
    /// The errors of reading a file.
    pub fn read(directory: impl AsRef<Path>, name: &str) -> io::Result<Vec<Entry>> {
        let bytes = fs::read(directory.as_ref().join(name))?;
        let (records, torn) = bytes.as_chunks::<LENGTH>();
        assert!(torn.is_empty(), "ledger {name} ends in a torn entry");
        let entries = records
            .iter()
            .map(|record| match record.as_chunks::<8>().0 {
                [[kind, mark @ ..], number] if *mark == MARK => Entry {
                    kind: *kind,
                    number: u64::from_le_bytes(*number),
                },
                _ => panic!("ledger {name} contains a torn entry: {record:?}"),
            });
        Ok(entries.collect())
    }
}

/// Counts for each item how often it was sent and how often received, as far as that is known.
#[derive(Clone, Debug)]
pub struct Books<T> {
    accounts: BTreeMap<T, Account>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    sent: u64,
    perhaps_sent: u64,
    received: u64,
    perhaps_received: u64,
}

impl Account {
    fn is_lost(self) -> bool {
        self.received + self.perhaps_received < self.sent
    }

    fn is_surplus(self) -> bool {
        self.sent + self.perhaps_sent < self.received
    }
}

impl<T: Ord + Debug> Books<T> {
    /// Empty books.
    #[must_use]
    pub fn new() -> Self {
        Self {
            accounts: BTreeMap::new(),
        }
    }

    /// The item was accepted once.
    pub fn sent(&mut self, item: T) {
        self.accounts.entry(item).or_default().sent += 1;
    }

    /// The sender was killed before it could note the outcome.
    pub fn perhaps_sent(&mut self, item: T) {
        self.accounts.entry(item).or_default().perhaps_sent += 1;
    }

    /// The item was received once.
    pub fn received(&mut self, item: T) {
        self.accounts.entry(item).or_default().received += 1;
    }

    /// The receiver was killed before it could note the outcome.
    pub fn perhaps_received(&mut self, item: T) {
        self.accounts.entry(item).or_default().perhaps_received += 1;
    }

    /// Panics, with what was lost and what is surplus, unless all that was sent was received as often as sent.
    pub fn assert_balanced(&self) {
        let difference = self.difference();
        assert!(
            difference.is_empty(),
            "the books do not balance:{difference}"
        );
    }

    /// Returns what does not add up, in words; empty if everything does.
    #[must_use]
    pub fn difference(&self) -> String {
        let mut text = String::new();
        self.list(&mut text, "lost", Account::is_lost);
        self.list(
            &mut text,
            "received too often or never sent",
            Account::is_surplus,
        );
        text
    }

    fn list(&self, text: &mut String, what: &str, is_wrong: fn(Account) -> bool) {
        const SHOWN: usize = 10;
        let wrong = || {
            self.accounts
                .iter()
                .filter(|(_, account)| is_wrong(**account))
        };
        let count = wrong().count();
        if count > 0 {
            let _ = write!(text, "\n  {count} of {} {what}:", self.accounts.len());
        }
        for (item, account) in wrong().take(SHOWN) {
            let _ = write!(text, "\n    {item:?}: {account:?}");
        }
        if count > SHOWN {
            let _ = write!(text, "\n    and {} more", count - SHOWN);
        }
    }
}

impl<T: Ord + Debug> Default for Books<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guarded;
    use std::{thread, time::Duration};

    const LIMIT: Duration = Duration::from_mins(1);

    #[test]
    fn a_ledger_of_several_threads_holds_every_entry() {
        guarded(LIMIT, || {
            let scratch = Scratch::new().expect("scratch");
            thread::scope(|scope| {
                for kind in 0..4 {
                    let ledger = Ledger::create(scratch.path(), "all").expect("create");
                    scope.spawn(move || (0..500).for_each(|number| ledger.note(kind, number)));
                }
            });
            let mut entries = Ledger::read(scratch.path(), "all").expect("read");
            for kind in 0..4 {
                let own = entries.iter().filter(|entry| entry.kind == kind);
                assert!(
                    own.map(|entry| entry.number).eq(0..500),
                    "entries keep their order"
                );
            }
            entries.dedup();
            assert_eq!(entries.len(), 2000);
        });
    }

    #[test]
    fn a_torn_entry_is_not_read_as_a_whole_one() {
        guarded(LIMIT, || {
            let scratch = Scratch::new().expect("scratch");
            Ledger::create(scratch.path(), "torn")
                .expect("create")
                .note(1, u64::MAX);
            let path = scratch.path().join("torn");
            let whole = fs::read(&path).expect("read");
            let (start, rest) = whole.split_at(6);
            for torn in [
                start.to_vec(),
                [rest, start].concat(),
                [start, &whole, rest].concat(),
            ] {
                fs::write(&path, torn).expect("write");
                let reading = std::panic::catch_unwind(|| Ledger::read(scratch.path(), "torn"));
                assert!(reading.is_err());
            }
        });
    }

    #[test]
    fn a_scratch_directory_is_removed() {
        guarded(LIMIT, || {
            let (one, two) = (Scratch::new().expect("one"), Scratch::new().expect("two"));
            Ledger::create(one.path(), "x").expect("create").note(0, 0);
            let (first, second) = (one.path().to_owned(), two.path().to_owned());
            assert!(first.exists() && second.exists() && first != second);
            drop((one, two));
            assert!(!first.exists() && !second.exists());
        });
    }

    #[test]
    fn books_name_what_is_lost_and_what_is_surplus() {
        let mut books = Books::new();
        for number in 0..100 {
            books.sent(number);
            books.received(number);
        }
        books.assert_balanced();
        books.sent(7);
        books.received(8);
        books.received(1000);
        let text = books.difference();
        assert!(
            text.contains("1 of 101 lost:\n    7: Account { sent: 2,"),
            "{text}"
        );
        assert!(
            text.contains("2 of 101 received too often or never sent:\n    8:"),
            "{text}"
        );
    }

    #[test]
    fn what_is_in_doubt_balances_both_ways_but_only_once() {
        let mut books = Books::new();
        books.perhaps_sent('a');
        books.sent('b');
        books.perhaps_received('b');
        books.assert_balanced();
        books.received('a');
        books.received('b');
        books.assert_balanced();
        books.received('a');
        assert!(books.difference().contains("'a'"));
        assert!(!books.difference().contains("'b'"));
    }
}
