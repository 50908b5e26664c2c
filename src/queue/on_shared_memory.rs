//! Named queues in mappings that a program has made with the crate `shared_memory`.
//!
//! A queue made here is a named queue like every other: [`open`](super::open), [`named_queues`](super::named_queues) and
//! [`remove_named`](super::remove_named) treat it as such, and a queue made by [`Options::create_named`] can be opened here.
//! `crate::os::shmem` says what that crate does, and what stays here, and why.

use super::end::End;
use super::end::sealed::{AnyAttachment, EndRole};
use super::listing::remove_leftovers;
use super::named::{attach_and_name, both_ends};
use super::named_file::{self, is_name, not_mapped, not_opened};
use super::option_checks::not_made;
use super::options::Options;
use super::{Receiver, Sender, compatibility};
use crate::codec::{Bincode, Codec};
use crate::error::{CreateError, CreateNamedError, OpenError};
use crate::os::shmem::SharedMapping;
use crate::os::staging::{self, AdoptError, Staged};
use crate::os::{budget, named};
use crate::protocol::peers::Roles;
use crate::segment::Segment;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_memory::{Shmem, ShmemConf};
use std::io;

impl Options {
    /// Returns the configuration with which the crate `shared_memory` creates a mapping for a queue of these options.
    ///
    /// It has the size that the queue needs, and a name for the time in which the queue is being made: no process opens a
    /// queue by it. If this process dies in that time, the file is removed by the next process of this user that creates,
    /// opens or lists named queues. `T` is the type of the messages. Available with the feature `shared-memory`.
    ///
    /// # Errors
    ///
    /// [`CreateError`]: an option is out of its range; the size is more than `RLIMIT_FSIZE` allows, for which `create`
    /// would get a signal; there is no `/proc`.
    ///
    /// # Examples
    ///
    /// See [`create_on`](Options::create_on).
    pub fn shmem_conf<T>(&self) -> Result<ShmemConf, CreateError> {
        let settings = self.settings::<T>("", false)?;
        let length = Segment::length_of(&settings);
        budget::check_file_size(length as u64).map_err(|error| not_made(error.into()))?;
        let os_id = staging::new_os_id().map_err(|source| CreateError::Os {
            what: "the mapping could not be given a name",
            source,
        })?;
        Ok(ShmemConf::new().os_id(os_id).size(length))
    }

    /// Creates a queue with a name in a mapping that this program has made with the crate `shared_memory`.
    ///
    /// The queue is the same as one of [`create_named`](Options::create_named), and takes no other mapping. Available with
    /// the feature `shared-memory`.
    ///
    /// | what | done by |
    /// |---|---|
    /// | making, sizing and mapping the file; unmapping it at the end | the crate `shared_memory` |
    /// | checking that the file is private to this user (mode 0600), and is the one that is mapped | this function, with a descriptor of its own |
    /// | memory for the queue: a lack of it is [`NoMemory`](CreateError::NoMemory) | this function: `create` takes none, so that a full `/dev/shm` would be a `SIGBUS` |
    /// | the name: the complete queue appears under it, in one step | this function, by `rename`: `create` gives the name to a file of no size |
    /// | removing the name | [`remove_named`](crate::queue::remove_named): the owner flag, by which dropping a mapping removes its name, is taken away |
    ///
    /// The mapping must be new: made by `create`, of the size that [`shmem_conf`](Options::shmem_conf) says, and without a
    /// file link (which would contain the name that the file had before). What was written to it is discarded. The program
    /// must not use pointers to it any more. Any `os_id` will do; only those of `shmem_conf` are removed after a crash.
    ///
    /// # Errors
    ///
    /// [`CreateNamedError`]. Then the mapping is unmapped, and its file removed if the mapping was its owner.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, Receiver, queue};
    ///
    /// let name = format!("example-shmem-{}", std::process::id());
    /// let options = Options::new(16);
    /// let shmem = options.shmem_conf::<String>()?.create()?;
    /// let (tx, rx) = options.create_on::<String>(shmem, &name)?;
    /// tx.send("in a mapping of shared_memory".to_owned())?;
    ///
    /// // In any process of this user:
    /// let shmem = queue::shmem_conf(&name).open()?;
    /// let receiver: Receiver<String> = queue::open_on(shmem)?;
    /// assert_eq!(receiver.recv()?, "in a mapping of shared_memory");
    /// # drop((tx, rx, receiver));
    /// # queue::remove_named(&name)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[allow(
        clippy::type_complexity,
        reason = "a pair of two handles, spelt out once"
    )]
    pub fn create_on<T: Serialize + DeserializeOwned>(
        &self,
        shmem: Shmem,
        name: &str,
    ) -> Result<(Sender<T>, Receiver<T>), CreateNamedError> {
        self.create_on_with::<T, Bincode>(shmem, name)
    }

    /// Creates a queue in a mapping, as [`create_on`](Options::create_on) does, for messages that `C` encodes.
    ///
    /// # Errors
    ///
    /// The same as `create_on`.
    #[allow(
        clippy::type_complexity,
        reason = "a pair of two handles, spelt out once"
    )]
    pub fn create_on_with<T, C: Codec<T>>(
        &self,
        shmem: Shmem,
        name: &str,
    ) -> Result<(Sender<T, C>, Receiver<T, C>), CreateNamedError> {
        let (mapping, was_owner) = SharedMapping::take(shmem).map_err(not_taken)?;
        // From here on, every failure removes the file.
        let staged = was_owner.then(|| Staged::new(&mapping));
        let staged = staged.ok_or(CreateNamedError::Mapping {
            what: "it was opened, or is not its file's owner",
        })?;
        if !is_name(name) {
            let name = name.to_owned();
            return Err(CreateNamedError::InvalidName { name });
        }
        let settings = self.settings::<T>(C::NAME, false)?;
        let _ = remove_leftovers();
        let file = staging::adopt(&mapping).map_err(not_adopted)?;
        let unfit = if mapping.has_link() {
            Some("it has a file link")
        } else if mapping.length() != Segment::length_of(&settings)
            || named::private_size(&file).map_err(not_taken)? != Some(mapping.length())
        {
            Some("it has another size than the queue")
        } else {
            None
        };
        if let Some(what) = unfit {
            return Err(CreateNamedError::Mapping { what });
        }
        let segment = Segment::create_on(mapping, file, settings).map_err(not_made)?;
        let attachment = attach_and_name(segment, name, |_| staged.publish(name))?;
        Ok(both_ends(attachment))
    }
}

fn not_taken(source: io::Error) -> CreateError {
    CreateError::Os {
        what: "the mapping could not be taken over",
        source,
    }
}

fn not_adopted(error: AdoptError) -> CreateNamedError {
    match error {
        AdoptError::File(named::NamedFileError::Os(source)) => not_taken(source).into(),
        AdoptError::File(named::NamedFileError::NotPrivate { .. }) => CreateNamedError::Mapping {
            what: "its file belongs to another user, or other users may open it",
        },
        AdoptError::File(_) | AdoptError::OtherFile => CreateNamedError::Mapping {
            what: "its name was removed, or given to another file",
        },
    }
}

/// Returns the configuration with which the crate `shared_memory` opens the queue of this name: `shmem_conf(name).open()`.
///
/// Available with the feature `shared-memory`. See [`open_on`].
#[must_use]
pub fn shmem_conf(name: &str) -> ShmemConf {
    ShmemConf::new().os_id(named::os_id(name))
}

/// Opens one end of a named queue in a mapping of it that this program has made with the crate `shared_memory`.
///
/// Does the same as [`open`](crate::open()), but takes over the mapping instead of making another one. The queue may have
/// been made by [`Options::create_on`] or by [`Options::create_named`]. That crate maps a file before anything of it is
/// known; nothing of the mapping is read here before the file has been checked, through a descriptor of its own. The owner
/// flag is taken away, so dropping the queue never removes its name. The program must not use pointers to the mapping any
/// more. Available with the feature `shared-memory`.
///
/// # Errors
///
/// [`OpenError`], as for [`open`](crate::open()); [`OpenError::OtherFile`] if the queue was removed and made again since it
/// was mapped.
///
/// # Examples
///
/// See [`Options::create_on`].
pub fn open_on<E: End>(shmem: Shmem) -> Result<E, OpenError> {
    open_end_on(shmem, None)
}

/// Opens one end as [`open_on`] does, of a queue that was made with this [schema](Options::schema).
///
/// # Errors
///
/// The same as [`open_on`]; also [`OpenError::Schema`] if the schemas differ.
pub fn open_on_as<E: End>(shmem: Shmem, schema: &str) -> Result<E, OpenError> {
    open_end_on(shmem, Some(schema))
}

fn open_end_on<E: End>(shmem: Shmem, schema: Option<&str>) -> Result<E, OpenError> {
    let (mapping, _) = SharedMapping::take(shmem).map_err(|source| OpenError::Os {
        what: "the mapping could not be taken over",
        source,
    })?;
    let os_id = mapping.os_id().to_owned();
    let file = staging::adopt(&mapping).map_err(|error| match error {
        AdoptError::File(error) => not_opened(error, &os_id),
        AdoptError::OtherFile => OpenError::OtherFile {
            os_id: os_id.clone(),
        },
    })?;
    named_file::lock_against_removal(&file, &os_id)?;
    let segment = Segment::attach_on(mapping, file).map_err(not_mapped)?;
    compatibility::check::<E>(&segment, schema)?;
    let EndRole(role) = E::ROLE;
    let attachment = named_file::join(segment, Roles::only(role))?;
    Ok(E::from_attachment(AnyAttachment(attachment)))
}
