//! Addresses: named ends of queues as values that can be sent.

use super::end::End;
use super::end::sealed::EndRole;
use super::named::{open, open_as};
use crate::error::OpenError;
use crate::protocol::peers::Role;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// The address of one end of a named queue: a serde value with which another process opens that end.
///
/// So a message can say where the answer goes. `E` is the end that [`open`](Address::open) returns: a
/// [`Sender`](crate::Sender) or a [`Receiver`](crate::Receiver), with the type of the messages. The value consists of the
/// name, the [schema](crate::Options::schema) and the role. The address of a sender cannot be decoded as that of a receiver;
/// the types of the messages are compared with those of the queue when it is opened.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use workring::{Options, Sender, queue::Address};
///
/// #[derive(Serialize, Deserialize)]
/// struct Job {
///     number: u32,
///     reply_to: Address<Sender<u32>>,
/// }
///
/// let replies = Options::new(4).mailbox::<u32>()?;
/// let (jobs, worker) = workring::channel::<Job>(4)?;
/// jobs.send(Job { number: 7, reply_to: replies.address() })?;
///
/// // In another process:
/// let job = worker.recv()?;
/// job.reply_to.open()?.send(2 * job.number)?;
///
/// assert_eq!(replies.recv()?, 14);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Address<E> {
    name: String,
    schema: Option<String>,
    end: PhantomData<fn() -> E>,
}

impl<E: End> Address<E> {
    /// Creates the address of an end of the queue of this name. The queue need not exist yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Receiver, error::OpenError, queue::Address};
    ///
    /// let address = Address::<Receiver<u32>>::new("no-such-queue");
    /// assert!(matches!(address.open(), Err(OpenError::NotFound { .. })));
    /// ```
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::from_parts(name.to_owned(), None)
    }

    /// Sets the [schema](crate::Options::schema) that the queue must have. By default it must have none.
    #[must_use]
    pub fn schema(self, schema: &str) -> Self {
        Self::from_parts(self.name, Some(schema.to_owned()))
    }

    pub(super) fn from_parts(name: String, schema: Option<String>) -> Self {
        Self {
            name,
            schema,
            end: PhantomData,
        }
    }

    /// Returns the name of the queue.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens the end, as [`open`](crate::open()) does, or [`open_as`] if the address has a schema.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. For the address of a [mailbox](crate::queue::Mailbox), [`NotFound`](OpenError::NotFound) and
    /// [`Closed`](OpenError::Closed) mean that its process has ended or has dropped it.
    pub fn open(&self) -> Result<E, OpenError> {
        match &self.schema {
            Some(schema) => open_as(&self.name, schema),
            None => open(&self.name),
        }
    }

    /// The role as it is encoded.
    const ROLE: u8 = {
        let EndRole(role) = E::ROLE;
        match role {
            Role::Sender => 0,
            Role::Receiver => 1,
        }
    };
}

/// Encodes a tuple: the role (0 for a sender, 1 for a receiver), the name, the schema.
impl<E: End> Serialize for Address<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Self::ROLE, &self.name, &self.schema).serialize(serializer)
    }
}

impl<'de, E: End> Deserialize<'de> for Address<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (role, name, schema) = <(u8, String, Option<String>)>::deserialize(deserializer)?;
        if role == Self::ROLE {
            Ok(Self::from_parts(name, schema))
        } else {
            Err(D::Error::custom("it is the address of the other end"))
        }
    }
}

impl<E> Clone for Address<E> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            schema: self.schema.clone(),
            end: PhantomData,
        }
    }
}

impl<E> PartialEq for Address<E> {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.schema) == (&other.name, &other.schema)
    }
}

impl<E> Eq for Address<E> {}

impl<E> Hash for Address<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, &self.schema).hash(state);
    }
}

impl<E> fmt::Debug for Address<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("name", &self.name)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Bincode, Codec};
    use crate::queue::{Receiver, Sender};

    fn decoded<T, U>(value: &T) -> Result<U, crate::error::DecodeError>
    where
        T: Serialize + serde::de::DeserializeOwned,
        U: Serialize + serde::de::DeserializeOwned,
    {
        let mut bytes = [0; 256];
        let length = Bincode::encode(value, &mut bytes).expect("room");
        Bincode::decode(bytes.get(..length).expect("its length"))
    }

    #[test]
    fn an_address_is_decoded_as_that_of_the_same_end_only() {
        let address = Address::<Sender<u32>>::new("jobs").schema("job.v1");
        let same: Address<Sender<u32>> = decoded(&address).expect("the same end");
        assert_eq!(same, address);
        let other = decoded::<_, Address<Receiver<u32>>>(&address);
        assert!(other.is_err(), "{other:?}");
    }
}
