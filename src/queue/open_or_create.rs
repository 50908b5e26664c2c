//! Opens a named queue, or creates it if there is none.

use super::named::{both_ends, open_locked};
use super::named_file;
use super::options::Options;
use super::{Receiver, Sender, compatibility};
use crate::codec::{Bincode, Codec};
use crate::error::{CreateNamedError, OpenError, OpenOrCreateError};
use crate::protocol::peers::Roles;
use crate::segment::Settings;
use core::fmt::Debug;
use serde::Serialize;
use serde::de::DeserializeOwned;

impl Options {
    /// Opens both ends of the queue of this name, or [creates](Options::create_named) it if there is none.
    ///
    /// Of several processes that call this at the same time, one creates the queue, and all get the same. An existing queue
    /// must have the same options, [schema](Options::schema), message type and codec. The default of
    /// [`inline_len`](Options::inline_len) is not compared, since it depends on the type. Waits as
    /// [`open`](crate::open()) does.
    ///
    /// # Errors
    ///
    /// [`OpenOrCreateError`]: the queue exists and has other options; it cannot be opened; there is none and it cannot be
    /// created.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, error::OpenOrCreateError};
    ///
    /// let name = format!("example-both-{}", std::process::id());
    /// let (tx, _rx) = Options::new(16).open_or_create_named::<u32>(&name)?; // creates it
    /// let (_tx, rx) = Options::new(16).open_or_create_named::<u32>(&name)?; // opens it
    /// tx.send(7)?;
    /// assert_eq!(rx.recv()?, 7);
    ///
    /// let refused = Options::new(17).open_or_create_named::<u32>(&name);
    /// assert!(matches!(refused, Err(OpenOrCreateError::OtherOption { option: "capacity", .. })));
    /// # drop((tx, _tx, rx, _rx));
    /// # workring::queue::remove_named(&name)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[allow(
        clippy::type_complexity,
        reason = "a pair of two handles, spelt out once"
    )]
    pub fn open_or_create_named<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<(Sender<T>, Receiver<T>), OpenOrCreateError> {
        self.open_or_create_named_with::<T, Bincode>(name)
    }

    /// Opens or creates a queue, as [`open_or_create_named`](Options::open_or_create_named) does, for messages that `C`
    /// encodes.
    ///
    /// # Errors
    ///
    /// The same as `open_or_create_named`.
    #[allow(
        clippy::type_complexity,
        reason = "a pair of two handles, spelt out once"
    )]
    pub fn open_or_create_named_with<T, C: Codec<T>>(
        &self,
        name: &str,
    ) -> Result<(Sender<T, C>, Receiver<T, C>), OpenOrCreateError> {
        let settings = self
            .settings::<T>(C::NAME, false)
            .map_err(CreateNamedError::from)?;
        // Each round that ends in neither way has met a queue that another process has created or removed meanwhile.
        loop {
            match self.open_both(name, &settings) {
                Err(OpenOrCreateError::Open(OpenError::NotFound { .. })) => {}
                opened => return opened,
            }
            match self.create_named_with::<T, C>(name) {
                Err(CreateNamedError::AlreadyExists { .. }) => {}
                created => return Ok(created?),
            }
        }
    }

    /// Opens both ends of a queue that must have these settings.
    #[allow(
        clippy::type_complexity,
        reason = "a pair of two handles, spelt out once"
    )]
    fn open_both<T, C: Codec<T>>(
        &self,
        name: &str,
        ours: &Settings,
    ) -> Result<(Sender<T, C>, Receiver<T, C>), OpenOrCreateError> {
        let segment = open_locked(name)?;
        compatibility::check::<Sender<T, C>>(&segment, self.schema_name())
            .map_err(OpenError::from)?;
        // Compared before this process attaches: if it left again, it might be the last sender.
        self.compare(segment.settings(), ours)?;
        Ok(both_ends(named_file::join(segment, Roles::BOTH)?))
    }

    fn compare(&self, theirs: &Settings, ours: &Settings) -> Result<(), OpenOrCreateError> {
        let mut differing = Vec::new();
        macro_rules! compare {
            ($($option:ident: $($field:ident).+;)*) => {$(
                differing.extend(difference(
                    stringify!($option),
                    &theirs.$($field).+,
                    &ours.$($field).+,
                ));
            )*};
        }
        compare! {
            capacity: limits.capacity;
            max_deliveries: limits.max_deliveries;
            max_dead_letters: limits.max_dead_letters;
            close_waits_for_leases: limits.close_waits_for_leases;
            close_on_last_sender: limits.close_on_last_sender;
            close_on_last_receiver: limits.close_on_last_receiver;
            evict_dead_letters: evict_dead_letters;
            max_leases: max_leases;
            max_message_len: max_message_len;
            memory_limit: memory_limit;
            max_idle_memory: max_idle_memory;
            preallocate: preallocate;
            spin: spin;
            liveness_interval: liveness_interval;
        }
        if self.has_inline_len() {
            let (theirs, ours) = (&theirs.inline_len, &ours.inline_len);
            differing.extend(difference("inline_len", theirs, ours));
        }
        match differing.into_iter().next() {
            Some(error) if !mutant!(OptionsNotCompared) => Err(error),
            _ => Ok(()),
        }
    }
}

fn difference<V: PartialEq + Debug>(
    option: &'static str,
    theirs: &V,
    ours: &V,
) -> Option<OpenOrCreateError> {
    (theirs != ours).then(|| OpenOrCreateError::OtherOption {
        option,
        theirs: format!("{theirs:?}"),
        ours: format!("{ours:?}"),
    })
}
