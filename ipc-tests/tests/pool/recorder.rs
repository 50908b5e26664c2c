//! A `tracing` subscriber that records events and spans, for tests. One for the whole process, which runs one test.

use parking_lot::{Condvar, Mutex};
use std::{cell::RefCell, collections::BTreeMap, fmt::Debug, sync::Arc, thread};
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
    /// The number of the span around it.
    pub(crate) span: Option<u64>,
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

/// A span. Its number is its place in the list of all, plus one.
#[derive(Clone, Debug)]
pub(crate) struct RecordedSpan {
    pub(crate) metadata: &'static Metadata<'static>,
    pub(crate) fields: Fields,
    pub(crate) parent: Option<u64>,
    handles: usize,
}

impl RecordedSpan {
    /// Returns a field, or an empty text.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.handles == 0
    }
}

#[derive(Default)]
struct State {
    events: Vec<Recorded>,
    spans: Vec<RecordedSpan>,
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
        spans: Vec::new(),
        is_blocked: false,
    }),
    changed: Condvar::new(),
    callback: Mutex::new(None),
};

thread_local! {
    /// The spans that this thread is in.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Which method of the subscriber is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Event,
    NewSpan,
    Record,
    Close,
}

/// A function that the subscriber calls first in each of its methods.
type Callback = Arc<dyn Fn(Call) + Send + Sync>;

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

    /// Makes the subscriber call a function.
    pub(crate) fn call(&self, callback: impl Fn(Call) + Send + Sync + 'static) -> CallbackGuard {
        *self.callback.lock() = Some(Arc::new(callback));
        CallbackGuard
    }

    /// Makes the subscriber call a function for each event of a thread of the pool.
    pub(crate) fn call_in_pool(
        &self,
        callback: impl Fn() + Send + Sync + 'static,
    ) -> CallbackGuard {
        self.call(move |call| {
            let is_of_pool = thread::current()
                .name()
                .is_some_and(|name| name.starts_with("workring-"));
            if call == Call::Event && is_of_pool {
                callback();
            }
        })
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
        self.wait(|state| look(&state.events))
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

    /// Waits until the spans so far satisfy a condition.
    pub(crate) fn wait_for_spans<R>(
        &self,
        mut look: impl FnMut(&[RecordedSpan]) -> Option<R>,
    ) -> R {
        self.wait(|state| look(&state.spans))
    }

    fn wait<R>(&self, mut look: impl FnMut(&State) -> Option<R>) -> R {
        let mut state = self.state.lock();
        loop {
            if let Some(found) = look(&state) {
                return found;
            }
            self.changed.wait(&mut state);
        }
    }

    fn run_callback(&self, call: Call) {
        let callback = self.callback.lock().clone();
        if let Some(callback) = callback {
            callback(call);
        }
    }

    /// Calls `act` with a span, and wakes those that wait.
    fn change_span<R>(&self, id: &Id, act: impl FnOnce(&mut RecordedSpan) -> R) -> R {
        let mut state = self.state.lock();
        let span = state.spans.get_mut(index(id.into_u64())).expect("a span");
        let result = act(span);
        drop(state);
        self.changed.notify_all();
        result
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a number") - 1
}

/// Returns the number of the span that this thread is in.
fn current() -> Option<u64> {
    ENTERED.with_borrow(|entered| entered.last().copied())
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
        RECORDER.run_callback(Call::Event);
        let mut fields = Fields::new();
        event.record(&mut Reader(&mut fields));
        let explicit = event.parent().map(Id::into_u64);
        let span = explicit.or_else(|| current().filter(|_| event.is_contextual()));
        let mut state = RECORDER.state.lock();
        while state.is_blocked {
            RECORDER.changed.wait(&mut state);
        }
        state.events.push(Recorded {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            fields,
            span,
        });
        drop(state);
        RECORDER.changed.notify_all();
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        RECORDER.run_callback(Call::NewSpan);
        let mut fields = Fields::new();
        span.record(&mut Reader(&mut fields));
        let explicit = span.parent().map(Id::into_u64);
        let parent = explicit.or_else(|| current().filter(|_| span.is_contextual()));
        let mut state = RECORDER.state.lock();
        state.spans.push(RecordedSpan {
            metadata: span.metadata(),
            fields,
            parent,
            handles: 1,
        });
        let number = state.spans.len() as u64;
        drop(state);
        RECORDER.changed.notify_all();
        Id::from_u64(number)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        RECORDER.run_callback(Call::Record);
        let mut fields = Fields::new();
        values.record(&mut Reader(&mut fields));
        RECORDER.change_span(id, |span| span.fields.append(&mut fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        let left = ENTERED.with_borrow_mut(Vec::pop);
        assert_eq!(left, Some(id.into_u64()));
    }

    fn clone_span(&self, id: &Id) -> Id {
        RECORDER.change_span(id, |span| span.handles += 1);
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        RECORDER.run_callback(Call::Close);
        RECORDER.change_span(&id, |span| {
            span.handles -= 1;
            span.is_closed()
        })
    }
}
