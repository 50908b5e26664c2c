//! The field of the guard is private, so only the check for a fork makes one (ATTACH-3).
#![allow(warnings)]
include!("../workring.rs");

#[path = "../../../src/queue"]
mod queue {
    mod attachment;
    mod lease_count;
    mod liveness;

    mod case {
        use super::attachment::{Attachment, Entered};

        fn write_a_literal(attachment: &Attachment) -> Entered<'_> {
            Entered { attachment } //~ E0451
        }
    }
}

fn main() {}
