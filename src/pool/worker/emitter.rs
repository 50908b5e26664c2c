//! Sending what a task emits, in its worker.
//!
//! Values travel in the queue of results, which has room for some of each worker beyond the results. They never take the room
//! of a result: a task that has as many values in the queue waits (see [`EmissionFlow`]). If no thread of the parent receives
//! at that moment, its supervisor does, when the worker asks it to. So a task waits for the parent only as long as that takes,
//! unless it is to wait for the reader.

use crate::error::{EmitError, SendTimeoutError};
use crate::os::link::Link;
use crate::pool::context::{Emit, EncodedValue};
use crate::pool::outcome::TaskId;
use crate::pool::wire::emission::{EmissionCodec, EmissionHead, EmissionMessage};
use crate::pool::wire::messages::FromWorker;
use crate::pool::wire::result_message::{EncodedResult, EncodedResultCodec};
use crate::queue::Sender;
use crate::segment::board::{EmissionFlow, EmissionLimits, NextEmission};
use core::fmt;
use core::time::Duration;
use parking_lot::Mutex;
use std::sync::Arc;

/// The longest sleep before a task looks again whether it may emit. It is woken when it may.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// How long a task waits for memory for a value before it asks the parent again to receive.
const MEMORY_WAIT: Duration = Duration::from_millis(5);

/// Sends the values of one task after the other.
pub(super) struct Emitter {
    worker: u16,
    limits: EmissionLimits,
    link: Arc<Link>,
    results: Sender<EncodedResult, EncodedResultCodec>,
    count: Mutex<Count>,
}

struct Count {
    /// The attempt that has emitted last, and how many values.
    attempt: (TaskId, u32),
    index: u64,
    /// The number of the last value that was sent.
    sent: u32,
}

impl Emitter {
    /// Makes the emitter of a worker that has emitted nothing.
    pub(super) fn new(
        worker: u16,
        limits: EmissionLimits,
        link: Arc<Link>,
        results: Sender<EncodedResult, EncodedResultCodec>,
        flow: &EmissionFlow,
    ) -> Self {
        Self {
            worker,
            limits,
            link,
            results,
            count: Mutex::new(Count {
                attempt: (TaskId::NONE, 0),
                index: 0,
                sent: flow.received(),
            }),
        }
    }

    fn wait_until_permitted(
        &self,
        flow: &EmissionFlow,
        next: NextEmission,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), EmitError> {
        let permits = || flow.permits(next, self.limits);
        while !permits() {
            self.ask_to_receive();
            flow.sleep_unless(LONGEST_SLEEP, || permits() || is_cancelled());
            if is_cancelled() && !permits() {
                return Err(EmitError::Cancelled);
            }
        }
        Ok(())
    }

    /// Sends a message. If there is no memory for it, waits until there is.
    fn send(
        &self,
        message: &EmissionMessage<'_>,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), EmitError> {
        let mut timeout = Duration::ZERO;
        loop {
            let sent = self
                .results
                .send_ref_timeout::<_, EmissionCodec>(message, timeout);
            return match sent {
                // Closed: the pool has ended, and needs no more values.
                Ok(()) | Err(SendTimeoutError::Closed(())) => Ok(()),
                Err(SendTimeoutError::Timeout(()) | SendTimeoutError::Interrupted(())) => {
                    if is_cancelled() {
                        return Err(EmitError::Cancelled);
                    }
                    self.ask_to_receive();
                    timeout = MEMORY_WAIT;
                    continue;
                }
                Err(SendTimeoutError::Forked(())) => Err(EmitError::Forked),
                Err(SendTimeoutError::TooLarge { len, max, .. }) => {
                    Err(EmitError::TooLarge { len, max })
                }
                Err(SendTimeoutError::NoMemory {
                    limit,
                    wanted,
                    available,
                    ..
                }) => Err(EmitError::NoMemory {
                    limit,
                    wanted,
                    available,
                }),
                Err(SendTimeoutError::Encode { source, .. }) => Err(EmitError::Encode { source }),
                Err(SendTimeoutError::Corrupt { what, .. }) => Err(EmitError::Corrupt { what }),
            };
        }
    }

    /// Makes the parent receive, if none of its threads does.
    #[cold]
    fn ask_to_receive(&self) {
        // The watcher deals with a parent that has ended.
        let _ = self.link.send(&FromWorker::EmissionWaits.encode());
    }
}

impl Emit for Emitter {
    fn emit(
        &self,
        flow: &EmissionFlow,
        value: EncodedValue<'_>,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), EmitError> {
        let mut count = self.count.lock();
        let attempt = (value.task, value.attempt);
        if count.attempt != attempt {
            count.attempt = attempt;
            count.index = 0;
        }
        let next = NextEmission {
            task: value.task.0,
            index: count.index,
            sent: count.sent,
        };
        self.wait_until_permitted(flow, next, is_cancelled)?;
        let message = EmissionMessage {
            head: EmissionHead {
                worker: self.worker,
                attempt: u16::try_from(value.attempt).unwrap_or(u16::MAX),
                number: count.sent.wrapping_add(1),
                index: count.index,
            },
            task: value.task,
            type_name: value.type_name,
            value: value.bytes,
        };
        self.send(&message, is_cancelled)?;
        count.sent = count.sent.wrapping_add(1);
        count.index += 1;
        Ok(())
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("worker", &self.worker)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
