//! What an outcome carries besides the result: the caller's tag, and the task itself.

use core::any::Any;
use core::fmt;
use std::sync::{Mutex, PoisonError};

/// A caller's mark on a task, which the [outcome](super::Outcome::tag) always carries: a number, or a text. Given by
/// [`Submission::tag`](super::Submission::tag), or for all tasks of a map by [`Map::tag`](super::Map::tag).
///
/// It stays in this process: workers do not get it.
///
/// # Examples
///
/// ```
/// use workring::pool::Tag;
///
/// assert_eq!(Tag::from(7).number(), Some(7));
/// assert_eq!(Tag::from("order 7").text(), Some("order 7"));
/// assert_eq!(Tag::from("order 7").to_string(), "order 7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Tag {
    /// A number: of a request, or of an entry of the caller's own table.
    Number(u64),
    /// A text.
    Text(String),
}

impl Tag {
    /// Returns the number; `None` if the tag is a text.
    #[must_use]
    pub const fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) => None,
        }
    }

    /// Returns the text; `None` if the tag is a number.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Number(_) => None,
            Self::Text(text) => Some(text),
        }
    }
}

impl From<u64> for Tag {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Tag {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Tag {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What the outcome of a task will carry. In a box of its own, so that outcomes without it are not larger for it.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    tag: Option<Tag>,
    task: KeptTask,
}

/// A task that this process keeps, whatever its type. It is behind a lock only so that threads can share outcomes: a task need
/// not be `Sync`.
#[derive(Default)]
pub(crate) struct KeptTask(Mutex<Option<Box<dyn Any + Send>>>);

impl Carried {
    pub(crate) fn of_tag(tag: Tag) -> Self {
        Self {
            tag: Some(tag),
            task: KeptTask::default(),
        }
    }

    pub(crate) fn set_tag(&mut self, tag: Tag) {
        self.tag = Some(tag);
    }

    pub(crate) fn keep(&mut self, task: KeptTask) {
        self.task = task;
    }

    /// Takes the task, if there is one of this type.
    pub(crate) fn take_task<T: 'static>(&mut self) -> Option<T> {
        self.task.take()
    }

    /// Drops the task, which runs the program's code. Returns what is left, if anything is.
    pub(crate) fn without_task(mut self: Box<Self>) -> Option<Box<Self>> {
        self.task = KeptTask::default();
        self.tag.is_some().then_some(self)
    }

    pub(crate) fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }
}

impl KeptTask {
    pub(crate) fn new<T: Send + 'static>(task: T) -> Self {
        Self(Mutex::new(Some(Box::new(task))))
    }

    fn take<T: 'static>(&mut self) -> Option<T> {
        let kept = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        match kept.take()?.downcast::<T>() {
            Ok(task) => Some(*task),
            Err(other) => {
                *kept = Some(other);
                None
            }
        }
    }
}

impl fmt::Debug for KeptTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptTask")
    }
}
