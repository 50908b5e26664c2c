//! A `tracing` subscriber that records events and spans, for tests. One for the whole process, which runs one test.

use parking_lot::{Condvar, Mutex};
use std::{collections::BTreeMap, fmt::Debug, sync::Arc, thread};
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

    /// Returns whether a field contains this text.
    pub(crate) fn has(&self, field: &str, part: &str) -> bool {
        self.fields
            .get(field)
            .is_some_and(|text| text.contains(part))
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
    callback: Mutex<Option<Callback>>,
}

static RECORDER: Recorder = Recorder {
    state: Mutex::new(State {
        events: Vec::new(),
        is_blocked: false,
    }),
    changed: Condvar::new(),
    callback: Mutex::new(None),
};

/// A function that the subscriber calls for each event.
type Callback = Arc<dyn Fn() + Send + Sync>;

/// The subscriber calls a function until this is dropped.
pub(crate) struct CallbackGuard;

impl Drop for CallbackGuard {
    fn drop(&mut self) {
        *RECORDER.callback.lock() = None;
    }
}

impl Recorder {
    /// Installs the subscriber of this process, for the levels down to INFO.
    pub(crate) fn install() -> &'static Self {
        Self::install_at(LevelFilter::INFO)
    }

    /// Installs the subscriber of this process.
    pub(crate) fn install_at(level: LevelFilter) -> &'static Self {
        set_global_default(Handle(level)).expect("the first one");
        &RECORDER
    }

    /// Makes the subscriber call a function for each event of a thread of the pool.
    pub(crate) fn call_in_pool(
        &self,
        callback: impl Fn() + Send + Sync + 'static,
    ) -> CallbackGuard {
        *self.callback.lock() = Some(Arc::new(callback));
        CallbackGuard
    }

    /// Makes events wait, or ends that.
    pub(crate) fn block(&self, is_blocked: bool) {
        self.state.lock().is_blocked = is_blocked;
        self.changed.notify_all();
    }

    /// Returns all events so far.
    pub(crate) fn events(&self) -> Vec<Recorded> {
        self.state.lock().events.clone()
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

    /// Waits until `count` events satisfy `matches`, and returns them.
    pub(crate) fn wait_for_events(
        &self,
        count: usize,
        matches: impl Fn(&Recorded) -> bool,
    ) -> Vec<Recorded> {
        self.wait_for(|events| {
            let such: Vec<Recorded> = events.iter().filter(|it| matches(it)).cloned().collect();
            (such.len() >= count).then_some(such)
        })
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

struct Handle(LevelFilter);

impl Subscriber for Handle {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.0
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0)
    }

    fn event(&self, event: &Event<'_>) {
        let is_of_pool = thread::current()
            .name()
            .is_some_and(|name| name.starts_with("workring-"));
        let callback = RECORDER.callback.lock().clone();
        if let Some(callback) = callback.filter(|_| is_of_pool) {
            callback();
        }
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
