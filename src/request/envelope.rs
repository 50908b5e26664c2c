//! The messages between requesters and responders, as the codec sees them: tuples.

use crate::queue::{Address, Sender};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde::ser::{Serialize, Serializer};

/// A request with what is needed to answer it.
pub(super) struct Envelope<Req, Resp: Serialize + DeserializeOwned> {
    /// The number of the request, counted by its requester.
    pub(super) id: u64,
    /// When the requester gives up: nanoseconds of `CLOCK_MONOTONIC`, which processes of one machine share.
    pub(super) deadline: u64,
    pub(super) reply_to: Address<Sender<Reply<Resp>>>,
    pub(super) request: Req,
}

/// The outcome of a request.
pub(super) struct Reply<Resp> {
    /// The number of the request.
    pub(super) id: u64,
    pub(super) outcome: Result<Resp, Refusal>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This many responders had the request, and died or dropped it.
    Abandoned(u32),
    /// The answer could not be sent, for this reason.
    NotSent(String),
}

impl<Req: Serialize, Resp: Serialize + DeserializeOwned> Serialize for Envelope<Req, Resp> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            id,
            deadline,
            reply_to,
            request,
        } = self;
        (id, deadline, reply_to, request).serialize(serializer)
    }
}

impl<'de, Req: Deserialize<'de>, Resp: Serialize + DeserializeOwned> Deserialize<'de>
    for Envelope<Req, Resp>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, deadline, reply_to, request) = Deserialize::deserialize(deserializer)?;
        Ok(Self {
            id,
            deadline,
            reply_to,
            request,
        })
    }
}

impl<Resp: Serialize> Serialize for Reply<Resp> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let outcome = self.outcome.as_ref().map_err(|refusal| match refusal {
            Refusal::Abandoned(deliveries) => (*deliveries, ""),
            Refusal::NotSent(what) => (0, what.as_str()),
        });
        (self.id, outcome).serialize(serializer)
    }
}

impl<'de, Resp: Deserialize<'de>> Deserialize<'de> for Reply<Resp> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Outcome<Resp> = Result<Resp, (u32, String)>;
        let (id, outcome) = <(u64, Outcome<Resp>)>::deserialize(deserializer)?;
        let outcome = outcome.map_err(|(deliveries, what)| match deliveries {
            0 => Refusal::NotSent(what),
            deliveries => Refusal::Abandoned(deliveries),
        });
        Ok(Self { id, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Bincode, Codec};

    #[test]
    fn every_outcome_is_decoded_as_it_was_encoded() {
        let refusals = [
            Refusal::Abandoned(2),
            Refusal::NotSent("too large".to_owned()),
        ];
        for outcome in [Ok(7)].into_iter().chain(refusals.map(Err)) {
            let reply = Reply::<u32> { id: 1, outcome };
            let mut bytes = [0; 64];
            let length = Bincode::encode(&reply, &mut bytes).expect("room");
            let read: Reply<u32> =
                Bincode::decode(bytes.get(..length).expect("its length")).expect("a reply");
            assert_eq!((read.id, read.outcome), (1, reply.outcome));
        }
    }
}
