//! Futures, a stream and a sink for queues. Needs the feature `async`.
//!
//! They work with any runtime, and need none of its features: one thread of this process, the *reactor*, sleeps for all
//! pending futures, and wakes the tasks. It is started by the first future that has to wait, and ends with the last
//! [`Sender`] and [`Receiver`] of the queues that futures have waited for. It sleeps for up to 127 queues, or sides of
//! queues; for each further 127 there is one more thread.
//!
//! | method                                                        | dropping it before it has completed               |
//! |---------------------------------------------------------------|---------------------------------------------------|
//! | [`Receiver::recv_async`], [`Receiver::recv_many_async`]       | takes no message                                  |
//! | [`Receiver::lease_async`], [`Receiver::lease_bytes_async`]    | takes no message                                  |
//! | [`Receiver::stream`], [`Receiver::into_stream`]               | takes no message that it has not returned         |
//! | [`Sender::send_async`]                                        | drops the message, which is not sent              |
//! | [`Sender::send_many_async`]                                   | drops the messages that are not accepted yet      |
//! | [`Sender::sink`], [`Sender::into_sink`]                       | drops the message that it holds, if any           |
//! | [`Sender::reserve_async`]                                     | reserves nothing                                  |
//! | [`Reservation::commit_async`](super::Reservation::commit_async) | leaves the message in the reservation           |
//!
//! A future that is dropped takes no wake-up away from another one, in this process or another. But a future that was woken
//! and is neither polled nor dropped keeps its wake-up, as in all of async Rust: another receiver then finds the message
//! only with its own next wake-up, or after the [liveness interval](crate::Options::liveness_interval).
//!
//! A future never blocks its thread. Where [spinning](crate::Options::spin) is on and messages come in runs, a future that
//! finds none pauses for at most about five microseconds and looks again, before it is pending: the run after it then costs
//! less than single wake-ups. Tasks of the same thread run that much later. Single messages cause no pause.
//!
//! In a forked child a future completes with the error `Forked`.
//!
//! [`Sender`]: crate::Sender
//! [`Sender::send_async`]: crate::Sender::send_async
//! [`Sender::send_many_async`]: crate::Sender::send_many_async
//! [`Sender::sink`]: crate::Sender::sink
//! [`Sender::into_sink`]: crate::Sender::into_sink
//! [`Sender::reserve_async`]: crate::Sender::reserve_async
//! [`Receiver`]: crate::Receiver
//! [`Receiver::recv_async`]: crate::Receiver::recv_async
//! [`Receiver::recv_many_async`]: crate::Receiver::recv_many_async
//! [`Receiver::lease_async`]: crate::Receiver::lease_async
//! [`Receiver::lease_bytes_async`]: crate::Receiver::lease_bytes_async
//! [`Receiver::stream`]: crate::Receiver::stream
//! [`Receiver::into_stream`]: crate::Receiver::into_stream

mod lease;
mod line;
mod recv;
mod recv_many;
mod reserve;
mod send;
mod send_many;
mod sink;
mod source;
mod stream;
mod waiting;

pub use lease::{LeaseBytesFuture, LeaseFuture};
pub(crate) use line::LinePlace;
pub use recv::RecvFuture;
pub use recv_many::RecvManyFuture;
pub use reserve::{CommitFuture, ReserveFuture};
pub use send::SendFuture;
pub use send_many::SendManyFuture;
pub use sink::SendSink;
pub use stream::RecvStream;
