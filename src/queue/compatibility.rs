//! Whether a queue carries what this process expects: type, codec and schema tag.

use super::end::End;
use crate::error::{InheritError, OpenError};
use crate::segment::{Segment, shortened};

/// What differs: the queue's, and this process's.
#[derive(Debug)]
pub(super) enum Incompatible {
    Type(String, String),
    Codec(String, String),
    Schema(u64, u64),
}

/// Compare a queue with the end that it is to become.
pub(super) fn check<E: End>(segment: &Segment, schema: u64) -> Result<(), Incompatible> {
    let settings = segment.settings();
    let (theirs, ours) = (settings.type_name.clone(), shortened(E::type_name()));
    if theirs != ours && !mutant!(TypeNotChecked) {
        return Err(Incompatible::Type(theirs, ours.to_owned()));
    }
    let (theirs, ours) = (settings.codec_name.clone(), shortened(E::codec_name()));
    if theirs != ours && !mutant!(CodecNotChecked) {
        return Err(Incompatible::Codec(theirs, ours.to_owned()));
    }
    if settings.schema != schema && !mutant!(SchemaNotChecked) {
        return Err(Incompatible::Schema(settings.schema, schema));
    }
    Ok(())
}

impl From<Incompatible> for InheritError {
    fn from(misfit: Incompatible) -> Self {
        match misfit {
            Incompatible::Type(theirs, ours) => Self::Type { theirs, ours },
            Incompatible::Codec(theirs, ours) => Self::Codec { theirs, ours },
            Incompatible::Schema(theirs, ours) => Self::Schema { theirs, ours },
        }
    }
}

impl From<Incompatible> for OpenError {
    fn from(misfit: Incompatible) -> Self {
        match misfit {
            Incompatible::Type(theirs, ours) => Self::Type { theirs, ours },
            Incompatible::Codec(theirs, ours) => Self::Codec { theirs, ours },
            Incompatible::Schema(theirs, ours) => Self::Schema { theirs, ours },
        }
    }
}
