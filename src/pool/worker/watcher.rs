//! The thread of a worker that listens to its parent.

use super::handshake::{Heard, hear_with};
use crate::os::link::Link;
use crate::os::parent;
use crate::pool::context::Desk;
use crate::pool::wire::messages::{FromParent, FromWorker, Level};
use crate::pool::wire::role::WATCHER;
use crate::queue::Interrupter;
use crate::sync::Ordering;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Start the thread that listens to the parent.
pub(crate) fn watch(
    link: Arc<Link>,
    parent: Option<OwnedFd>,
    desk: Arc<Desk>,
    interrupter: Interrupter,
) -> Result<JoinHandle<()>, String> {
    let listen = move || {
        loop {
            match hear_with(&link, parent.as_ref()) {
                Heard::Said(FromParent::Farewell) => return,
                Heard::Said(FromParent::Stop) => {}
                // Release, twice: pairs with the loads in `Desk`.
                Heard::Said(FromParent::Cancel) => desk.cancelled.store(true, Ordering::Release),
                Heard::Said(FromParent::Welcome(_)) | Heard::Nonsense => {
                    let said = FromWorker::Said {
                        level: Level::Warn,
                        target: "workring".to_owned(),
                        message: "a message of the parent made no sense, and was skipped"
                            .to_owned(),
                    };
                    let _ = link.send(&said.encode());
                    continue;
                }
                // The parent may have no permission to kill this process.
                Heard::Said(FromParent::End) | Heard::Nobody => parent::kill_own_group(),
            }
            desk.stopping.store(true, Ordering::Release);
            interrupter.interrupt();
        }
    };
    let builder = thread::Builder::new().name(WATCHER.to_owned());
    builder.spawn(listen).map_err(|error| error.to_string())
}
