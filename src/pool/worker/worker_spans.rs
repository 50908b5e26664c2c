//! The spans of a worker's own code, for the events that it sends to its parent: which span is in which, with their fields as
//! text.
//!
//! | a span     | where                     | leaves it                                             |
//! |------------|---------------------------|-------------------------------------------------------|
//! | is open    | `open`                    | its last handle is dropped, and that of its last child |
//! | is entered | also `ENTERED`, by thread | the thread leaves it                                  |
//!
//! WORKER-SPANS-1. Values are formatted without the lock: their `Debug` is code of the program, and may log.

use crate::pool::wire::messages::truncated_to;
use crate::sync::{AtomicU64, Ordering};
use core::fmt::{self, Write};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::HashMap;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};

/// The longest text about the spans around an event, in bytes.
const MAX_CONTEXT: usize = 2 << 10;
/// The longest text about the fields of one span, in bytes.
const MAX_FIELDS: usize = 1 << 10;

thread_local! {
    /// The spans that this thread is in.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

#[derive(Default)]
pub(super) struct WorkerSpans {
    last: AtomicU64,
    open: Mutex<HashMap<u64, OpenSpan>>,
}

struct OpenSpan {
    name: &'static str,
    fields: String,
    parent: Option<u64>,
    /// Its handles and its open children.
    references: usize,
}

impl WorkerSpans {
    /// Adds a span.
    pub(super) fn add(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = FieldsText::default();
        attributes.record(&mut fields);
        let parent = match attributes.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if attributes.is_contextual() => current(),
            None => None,
        };
        let id = 1 + self.last.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock();
        let parent = parent.filter(|parent| {
            let parent = open.get_mut(parent);
            parent.map(|parent| parent.references += 1).is_some()
        });
        let span = OpenSpan {
            name: attributes.metadata().name(),
            fields: fields.into_text(),
            parent,
            references: 1,
        };
        open.insert(id, span);
        Id::from_u64(id)
    }

    /// Adds values to the fields of a span.
    pub(super) fn record(&self, id: &Id, values: &Record<'_>) {
        let mut fields = FieldsText::default();
        values.record(&mut fields);
        let text = fields.into_text();
        let mut open = self.open.lock();
        if let Some(span) = open.get_mut(&id.into_u64())
            && span.fields.len() + text.len() < MAX_FIELDS
        {
            if !span.fields.is_empty() {
                span.fields.push(' ');
            }
            span.fields.push_str(&text);
        }
    }

    pub(super) fn add_handle(&self, id: &Id) {
        if let Some(span) = self.open.lock().get_mut(&id.into_u64()) {
            span.references += 1;
        }
    }

    /// Removes a handle. Returns whether it was the last one of a span that has no open children.
    pub(super) fn remove_handle(&self, id: &Id) -> bool {
        let mut open = self.open.lock();
        let mut next = Some(id.into_u64());
        let mut has_closed = false;
        while let Some(id) = next {
            let Some(span) = open.get_mut(&id) else {
                break;
            };
            span.references -= 1;
            if span.references > 0 {
                break;
            }
            has_closed = true;
            next = open.remove(&id).and_then(|span| span.parent);
        }
        has_closed
    }

    /// Returns the spans around an event, from the outermost on: `outer{a=1}:inner{b=2}`. If they are too long, the outer ones
    /// are left out.
    pub(super) fn around(&self, explicit: Option<&Id>, is_contextual: bool) -> String {
        let innermost = match explicit {
            Some(id) => Some(id.into_u64()),
            None if is_contextual => current(),
            None => None,
        };
        let mut texts = Vec::new();
        let mut length = 0;
        let open = self.open.lock();
        let mut next = innermost;
        while let Some(span) = next.and_then(|id| open.get(&id)) {
            let text = if span.fields.is_empty() {
                span.name.to_owned()
            } else {
                format!("{}{{{}}}", span.name, span.fields)
            };
            length += text.len() + 1;
            if length > MAX_CONTEXT {
                texts.push("...".to_owned());
                break;
            }
            texts.push(text);
            next = span.parent;
        }
        drop(open);
        texts.reverse();
        texts.join(":")
    }
}

pub(super) fn enter(id: &Id) {
    let _ = ENTERED.try_with(|entered| entered.borrow_mut().push(id.into_u64()));
}

pub(super) fn exit(id: &Id) {
    let id = id.into_u64();
    let _ = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        if let Some(at) = entered.iter().rposition(|it| *it == id) {
            entered.remove(at);
        }
    });
}

/// Returns the span that this thread is in.
fn current() -> Option<u64> {
    let last = ENTERED.try_with(|entered| entered.borrow().last().copied());
    last.ok().flatten()
}

/// Formats fields: `name=value`, with spaces in between. What is called `message` is apart.
#[derive(Default)]
pub(super) struct FieldsText {
    pub(super) message: String,
    pub(super) fields: String,
}

impl FieldsText {
    /// Returns the fields of a span, of which `message` is one like others.
    fn into_text(self) -> String {
        let mut text = self.fields;
        if !self.message.is_empty() {
            let _ = write!(text, " message={}", self.message);
        }
        truncated_to(text.trim_start().to_owned(), MAX_FIELDS)
    }
}

impl Visit for FieldsText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // It fails only if the value's own `Debug` fails.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name if self.fields.is_empty() => write!(self.fields, "{name}={value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tracing::subscriber::with_default;
    use tracing::{Event, Metadata, Span, Subscriber, error, info_span};

    /// Records the spans around each event.
    #[derive(Default)]
    struct Listener {
        spans: WorkerSpans,
        around: Mutex<Vec<String>>,
    }

    struct Shared(Arc<Listener>);

    impl Subscriber for Shared {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn event(&self, event: &Event<'_>) {
            let listener = &self.0;
            let around = listener.spans.around(event.parent(), event.is_contextual());
            listener.around.lock().push(around);
        }

        fn new_span(&self, attributes: &Attributes<'_>) -> Id {
            self.0.spans.add(attributes)
        }

        fn record(&self, id: &Id, values: &Record<'_>) {
            self.0.spans.record(id, values);
        }

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn enter(&self, id: &Id) {
            enter(id);
        }

        fn exit(&self, id: &Id) {
            exit(id);
        }

        fn clone_span(&self, id: &Id) -> Id {
            self.0.spans.add_handle(id);
            id.clone()
        }

        fn try_close(&self, id: Id) -> bool {
            self.0.spans.remove_handle(&id)
        }
    }

    /// Runs `act` with a listener. Returns the spans around each event; no span is open by then.
    fn listen(act: impl FnOnce()) -> Vec<String> {
        let listener = Arc::<Listener>::default();
        with_default(Shared(Arc::clone(&listener)), act);
        assert!(listener.spans.open.lock().is_empty());
        listener.around.lock().clone()
    }

    #[test]
    fn a_span_is_kept_as_long_as_one_in_it() {
        let around = listen(|| {
            let outer = info_span!("outer", a = 1, b = tracing::field::Empty);
            outer.record("b", "two");
            let inner = outer.in_scope(|| info_span!("inner"));
            drop(outer);
            error!(parent: &inner, "in both");
            let _entered = inner.enter();
            error!("in both");
            error!(parent: None, "in none");
        });
        let both = "outer{a=1 b=\"two\"}:inner";
        assert_eq!(around, [both, both, ""]);
    }

    #[test]
    fn the_text_about_many_spans_is_cut_at_the_outer_ones() {
        let around = listen(|| {
            let mut spans: Vec<Span> = Vec::new();
            for number in 0..100 {
                let text = "x".repeat(2 * MAX_FIELDS);
                let around = spans.last().and_then(Span::id);
                let text = if number % 50 == 0 {
                    text
                } else {
                    String::new()
                };
                spans.push(info_span!(parent: around, "deep", number, text));
            }
            error!(parent: spans.last().expect("a span"), "deep inside");
        });
        let [text] = around.as_slice() else {
            panic!("{around:?}");
        };
        assert!(text.starts_with("...:deep{number="), "{text}");
        assert!(text.ends_with(":deep{number=99 text=\"\"}"), "{text}");
        assert!(text.len() <= MAX_CONTEXT + 4, "{}", text.len());
    }
}
