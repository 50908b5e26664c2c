//! Hand-off: gives an end of a queue to a child process.
//!
//! The parent makes a *ticket* for the child. A ticket is an entry in the queue's table of peers that counts as present
//! from that moment on, and a lock on that entry, held through an open file description which only the child inherits.
//! So the parent can drop its own end at once without closing the queue, and the lock of a child that dies early is
//! released by the kernel, as that of any other process is.
//!
//! | file       | contents                                                                         |
//! |------------|----------------------------------------------------------------------------------|
//! | `give`     | the parent: makes tickets, starts the child, takes back tickets that are not used |
//! | `manifest` | the environment variable that lists what the child was given                     |
//! | `inherit`  | the child: takes over what the variable lists                                    |
//!
//! With the feature `rendezvous`, a ticket also goes through a socket, to a process that is no child: `super::rendezvous`.
//!
//! Other descriptors can be given in the same way: the link between a pool and its worker is one.

mod give;
mod inherit;
mod manifest;
#[cfg(test)]
mod tests;

pub use give::Handoff;
#[cfg(feature = "rendezvous")]
pub(in crate::queue) use give::no_ticket;
#[cfg(feature = "rendezvous")]
pub(in crate::queue) use inherit::{attach, redeem};
pub(crate) use inherit::{borrow_fd, inherit_fd, inherit_silent};
pub use inherit::{inherit, inherit_as};
#[cfg(feature = "rendezvous")]
pub(in crate::queue) use manifest::role_name;
