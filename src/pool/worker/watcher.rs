//! The thread of a worker that receives its parent's messages.

use super::handshake::{FromLink, receive_watching};
use crate::os::link::Link;
use crate::os::parent;
use crate::pool::context::WorkerShared;
use crate::pool::wire::messages::{FromParent, FromWorker, Level, LogRecord};
use crate::pool::wire::role::WATCHER;
use crate::queue::Interrupter;
use crate::sync::Ordering;
use parking_lot::Mutex;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

/// What ends the wait of the main thread.
///
/// The thread that adds an interrupter looks afterwards whether the worker is to stop, and the watcher says that it is to stop
/// before it uses them. Since both hold the lock, either the wait is interrupted, or it does not begin.
#[derive(Clone)]
pub(super) struct Interrupters(Arc<Mutex<Vec<Interrupter>>>);

impl Interrupters {
    pub(super) fn new(interrupter: Interrupter) -> Self {
        Self(Arc::new(Mutex::new(vec![interrupter])))
    }

    pub(super) fn add(&self, interrupter: Interrupter) {
        self.0.lock().push(interrupter);
    }

    fn interrupt(&self) {
        for interrupter in &*self.0.lock() {
            interrupter.interrupt();
        }
    }
}

/// Starts the thread that receives the parent's messages. Returns when it runs: a program that a task starts may look for
/// the thread's name (ROLE-2).
pub(crate) fn watch(
    link: Arc<Link>,
    parent: Option<OwnedFd>,
    state: Arc<WorkerShared>,
    interrupters: Interrupters,
) -> Result<JoinHandle<()>, String> {
    let (has_name, named) = mpsc::channel::<()>();
    let listen = move || {
        drop(has_name);
        loop {
            match receive_watching(&link, parent.as_ref()) {
                FromLink::Message(FromParent::Farewell) => return,
                FromLink::Message(FromParent::Stop) => {}
                FromLink::Message(FromParent::Cancel) => state.cancel_all(),
                FromLink::Message(FromParent::Welcome(_)) | FromLink::Invalid => {
                    let what = "a malformed message of the parent was skipped".to_owned();
                    let warning = LogRecord::of_crate(Level::Warn, what);
                    let _ = link.send(&FromWorker::Log(warning).encode());
                    continue;
                }
                // The parent may not be permitted to kill this process.
                FromLink::Message(FromParent::EndGroup) | FromLink::Closed => {
                    parent::kill_own_group()
                }
            }
            // Release: pairs with the load in `WorkerShared`.
            state.stopping.store(true, Ordering::Release);
            interrupters.interrupt();
        }
    };
    let builder = thread::Builder::new().name(WATCHER.to_owned());
    let thread = builder.spawn(listen).map_err(|error| error.to_string())?;
    // Ends when the thread drops its side.
    let _ = named.recv();
    Ok(thread)
}
