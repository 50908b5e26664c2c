//! Sends `tracing` events of a worker to its parent.
//!
//! If the parent has a subscriber, the worker gets one that sends each event over the link, as text. It is active
//! from the preparation of the worker on, unless the preparation installs another global subscriber. Spans are not
//! sent. Events below the parent's level are not formatted.

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

    /// Runs the preparation of this worker, and sends events from now on.
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
        // On an error the preparation has installed a subscriber of its own, which stays.
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
            let log = FromWorker::Log {
                level: level(*event.metadata().level()),
                target: truncated(event.metadata().target().to_owned()),
                message: truncated(text.message + &text.fields),
            };
            // A slow parent blocks this thread, so no event is lost. The watcher deals with a parent that has ended.
            let _ = self.link.send(&log.encode());
        }

        // No state is kept for spans, so all of them can have the same id.
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// Formats an event: its message, then its fields.
    #[derive(Default)]
    struct Text {
        message: String,
        fields: String,
    }

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            // It fails only if the value's own `Debug` fails.
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
