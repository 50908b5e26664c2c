//! A `tracing` subscriber that records events, for tests. One for the whole process, which runs one test.

use parking_lot::{Condvar, Mutex};
use std::{collections::BTreeMap, fmt::Debug};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::set_global_default,
};

pub(crate) type Fields = BTreeMap<&'static str, String>;

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) fields: Fields,
}

impl Recorded {
    /// Returns a field, or an empty text.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

#[derive(Default)]
struct State {
    events: Vec<Recorded>,
    is_blocked: bool,
}

pub(crate) struct Recorder {
    state: Mutex<State>,
    changed: Condvar,
}

static RECORDER: Recorder = Recorder {
    state: Mutex::new(State {
        events: Vec::new(),
        is_blocked: false,
    }),
    changed: Condvar::new(),
};

impl Recorder {
    /// Installs the subscriber of this process.
    pub(crate) fn install() -> &'static Self {
        set_global_default(Handle).expect("the first one");
        &RECORDER
    }

    /// Makes events wait, or ends that.
    pub(crate) fn block(&self, is_blocked: bool) {
        self.state.lock().is_blocked = is_blocked;
        self.changed.notify_all();
    }

    /// Waits until the events so far satisfy a condition.
    pub(crate) fn wait_for<R>(&self, mut look: impl FnMut(&[Recorded]) -> Option<R>) -> R {
        let mut state = self.state.lock();
        loop {
            if let Some(found) = look(&state.events) {
                return found;
            }
            self.changed.wait(&mut state);
        }
    }
}

struct Reader<'a>(&'a mut Fields);

impl Visit for Reader<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

struct Handle;

impl Subscriber for Handle {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= LevelFilter::INFO
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Reader(&mut fields));
        let mut state = RECORDER.state.lock();
        while state.is_blocked {
            RECORDER.changed.wait(&mut state);
        }
        state.events.push(Recorded {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            fields,
        });
        drop(state);
        RECORDER.changed.notify_all();
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
