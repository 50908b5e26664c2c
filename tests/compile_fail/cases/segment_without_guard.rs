//! Code in `queue` reaches the segment only through the guard, which fails in a forked child (ATTACH-3).
#![allow(warnings)]
include!("../workring.rs");

#[path = "../../../src/queue"]
mod queue {
    mod attachment;
    mod lease_count;
    mod liveness;

    mod case {
        use super::attachment::{Attachment, Entered};
        use crate::protocol::SharedState;
        use crate::segment::Segment;

        fn skip_the_guard(attachment: &Attachment) -> &Segment {
            &attachment.segment //~ E0616
        }

        fn ignore_that_the_guard_failed(attachment: &Attachment) -> &Segment {
            attachment.enter().segment() //~ E0599
        }

        fn outlive_the_attachment(attachment: Attachment) -> Entered<'static> {
            attachment.enter().unwrap() //~ E0515
        }
    }
}

fn main() {}
