//! Compares the messages of a queue with those that this process expects: schema or type, and codec.
//!
//! All ways to an end of a queue pass [`check`]: by inheritance, by name, and in a mapping. Names are all that it compares
//! today. A comparison of the structure of the types has its place there, where neither the schemas nor the names differ.

use super::end::End;
use crate::error::{InheritError, OpenError};
use crate::segment::{Schema, Segment, shortened};

/// What differs: the queue's value first, then this process's.
#[derive(Debug)]
pub(super) enum Incompatible {
    Type(String, String),
    Codec(String, String),
    Schema(Option<String>, Option<String>),
}

/// Compares a queue with the end that a process wants to have of it.
///
/// A schema stands for the type of the messages: types are compared only where neither side has a schema.
pub(super) fn check<E: End>(segment: &Segment, schema: Option<&str>) -> Result<(), Incompatible> {
    let settings = segment.settings();
    let (theirs, ours) = (&settings.schema, schema.map(Schema::new));
    if *theirs != ours && !mutant!(SchemaNotChecked) {
        let name = |schema: &Option<Schema>| Some(schema.as_ref()?.name().to_owned());
        return Err(Incompatible::Schema(name(theirs), name(&ours)));
    }
    let is_typed = theirs.is_none() && ours.is_none();
    let (theirs, ours) = (&settings.type_name, shortened(E::type_name()));
    if is_typed && theirs != ours && !mutant!(TypeNotChecked) {
        return Err(Incompatible::Type(theirs.clone(), ours.to_owned()));
    }
    let (theirs, ours) = (&settings.codec_name, shortened(E::codec_name()));
    if theirs != ours && !mutant!(CodecNotChecked) {
        return Err(Incompatible::Codec(theirs.clone(), ours.to_owned()));
    }
    Ok(())
}

impl From<Incompatible> for InheritError {
    fn from(incompatible: Incompatible) -> Self {
        match incompatible {
            Incompatible::Type(theirs, ours) => Self::Type { theirs, ours },
            Incompatible::Codec(theirs, ours) => Self::Codec { theirs, ours },
            Incompatible::Schema(theirs, ours) => Self::Schema { theirs, ours },
        }
    }
}

impl From<Incompatible> for OpenError {
    fn from(incompatible: Incompatible) -> Self {
        match incompatible {
            Incompatible::Type(theirs, ours) => Self::Type { theirs, ours },
            Incompatible::Codec(theirs, ours) => Self::Codec { theirs, ours },
            Incompatible::Schema(theirs, ours) => Self::Schema { theirs, ours },
        }
    }
}
