//! Whether a queue carries what this process expects: type, codec and schema tag.

use super::end::End;
use crate::error::{InheritError, OpenError};
use crate::mutants::{Mutant, active};
use crate::segment::{Segment, shortened};

/// What differs: the queue's, and this process's.
#[derive(Debug)]
pub(super) enum Misfit {
    Type(String, String),
    Codec(String, String),
    Schema(u64, u64),
}

/// Compare a queue with the end that it is to become.
pub(super) fn check<E: End>(segment: &Segment, schema: u64) -> Result<(), Misfit> {
    let settings = segment.settings();
    let (theirs, ours) = (settings.type_name.clone(), shortened(E::type_name()));
    if theirs != ours && !active(Mutant::TypeNotChecked) {
        return Err(Misfit::Type(theirs, ours.to_owned()));
    }
    let (theirs, ours) = (settings.codec_name.clone(), shortened(E::codec_name()));
    if theirs != ours && !active(Mutant::CodecNotChecked) {
        return Err(Misfit::Codec(theirs, ours.to_owned()));
    }
    if settings.schema != schema && !active(Mutant::SchemaNotChecked) {
        return Err(Misfit::Schema(settings.schema, schema));
    }
    Ok(())
}

impl From<Misfit> for InheritError {
    fn from(misfit: Misfit) -> Self {
        match misfit {
            Misfit::Type(theirs, ours) => Self::Type { theirs, ours },
            Misfit::Codec(theirs, ours) => Self::Codec { theirs, ours },
            Misfit::Schema(theirs, ours) => Self::Schema { theirs, ours },
        }
    }
}

impl From<Misfit> for OpenError {
    fn from(misfit: Misfit) -> Self {
        match misfit {
            Misfit::Type(theirs, ours) => Self::Type { theirs, ours },
            Misfit::Codec(theirs, ours) => Self::Codec { theirs, ours },
            Misfit::Schema(theirs, ours) => Self::Schema { theirs, ours },
        }
    }
}
