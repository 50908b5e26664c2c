//! Events of `tracing` in a worker, sent to its parent: the worker's side of `log`.
//!
//! A worker whose parent listens to events has a subscriber that sends each of them over the link, as text. It is there
//! while the worker is prepared, and from then on, unless the preparation has installed another one for all threads.
//! Spans are not sent. What the parent would not listen to is not even put into words.

#[cfg(feature = "tracing")]
mod with_tracing {
    use crate::os::link::Link;
    use crate::pool::wire::messages::{FromWorker, Level, truncated};
    use core::fmt::{self, Write};
    use std::sync::Arc;
    use tracing::field::{Field, Visit};
    use tracing::level_filters::LevelFilter;
    use tracing::span::{Attributes, Id, Record};
    use tracing::subscriber::{set_global_default, with_default};
    use tracing::{Event, Metadata, Subscriber};

    /// Do what prepares this worker, and send events from now on.
    pub(crate) fn preparing<R>(
        link: &Arc<Link>,
        verbosity: Option<Level>,
        prepare: impl FnOnce() -> R,
    ) -> R {
        let Some(verbosity) = verbosity else {
            return prepare();
        };
        let forwarder = || Forwarder {
            link: Arc::clone(link),
            verbosity: filter(verbosity),
        };
        let prepared = with_default(forwarder(), prepare);
        // An error: it has a subscriber of its own now, and that is how it wants it.
        let _ = set_global_default(forwarder());
        prepared
    }

    fn filter(level: Level) -> LevelFilter {
        match level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }

    fn level(level: tracing::Level) -> Level {
        match level {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        }
    }

    struct Forwarder {
        link: Arc<Link>,
        verbosity: LevelFilter,
    }

    impl Subscriber for Forwarder {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= self.verbosity
        }

        fn max_level_hint(&self) -> Option<LevelFilter> {
            Some(self.verbosity)
        }

        fn event(&self, event: &Event<'_>) {
            let mut text = Text::default();
            event.record(&mut text);
            let said = FromWorker::Log {
                level: level(*event.metadata().level()),
                target: truncated(event.metadata().target().to_owned()),
                message: truncated(text.message + &text.fields),
            };
            // A parent that is slow to read holds this thread up, and misses nothing. One that has gone is the
            // watcher's business.
            let _ = self.link.send(&said.encode());
        }

        // Nothing is kept of spans, so all may have the same number.
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// An event as text: what it says, and then its fields.
    #[derive(Default)]
    struct Text {
        message: String,
        fields: String,
    }

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            // It fails only if the value's own text does.
            let _ = match field.name() {
                "message" => write!(self.message, "{value:?}"),
                name => write!(self.fields, " {name}={value:?}"),
            };
        }
    }
}

#[cfg(feature = "tracing")]
pub(crate) use with_tracing::preparing;

#[cfg(not(feature = "tracing"))]
mod without {
    use crate::os::link::Link;
    use crate::pool::wire::messages::Level;
    use std::sync::Arc;

    pub(crate) fn preparing<R>(_: &Arc<Link>, _: Option<Level>, prepare: impl FnOnce() -> R) -> R {
        prepare()
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) use without::preparing;
