//! State that a worker keeps from one task to the next.
//!
//! | state of one type | meaning                                                   | next                                          |
//! |-------------------|-----------------------------------------------------------|-----------------------------------------------|
//! | absent            | the pool has no value for it, or it is not built yet      | built                                         |
//! | built             | no task uses it                                           | in use                                        |
//! | in use            | taken out for a task                                      | built; dropped, if a panic unwinds that use   |
//! | dropped           | it may have been left half changed                        | built, after the task or when it is used next |

use super::failure::Failure;
use crate::codec::{Bincode, Codec};
use core::any::{Any, TypeId, type_name};
use core::fmt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::error::Error;

/// State of a worker: a model, a connection, a cache. Built once in each worker, from a value that the parent gives to
/// [`Builder::init`](super::Builder::init), and lent to each task that takes it.
///
/// A function with `#[workring::task]` takes it as `&mut S`, after the `&Context` if there is one. Each type of state has its
/// own place, so those of several libraries do not meet.
///
/// If a task panics while it uses the state, the state is dropped, and built again before it is used again.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use workring::pool::{Failure, Pool, WorkerState};
///
/// workring::auto_worker!();
///
/// #[derive(Serialize, Deserialize)]
/// struct ModelPath(String);
///
/// struct Model {
///     words: Vec<String>,
/// }
///
/// impl WorkerState for Model {
///     type Init = ModelPath;
///
///     fn build(ModelPath(path): ModelPath) -> Result<Self, Failure> {
///         let text = std::fs::read_to_string(path)?;
///         Ok(Self { words: text.split_whitespace().map(str::to_owned).collect() })
///     }
/// }
///
/// #[workring::task]
/// fn occurrences(model: &mut Model, word: String) -> usize {
///     model.words.iter().filter(|known| **known == word).count()
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let path = ModelPath("/proc/self/status".to_owned());
///     let pool = Pool::builder().workers(1).init::<Model>(path).start()?;
///     assert_eq!(pool.submit(occurrences::new("Name:".to_owned()))?.wait()?, 1);
///     Ok(())
/// }
/// ```
pub trait WorkerState: Sized + Send + 'static {
    /// What the parent gives.
    type Init: Serialize + DeserializeOwned;

    /// Builds the state, in a worker, before its first task.
    ///
    /// # Errors
    ///
    /// Any error ends the worker. Then [`Builder::start`](super::Builder::start) fails with its text. In a pool that has
    /// started already, the worker is started again after a delay.
    fn build(init: Self::Init) -> Result<Self, Failure>;
}

/// A value from which workers build a state: the name of the type of the state, and the value, encoded.
pub(super) type GivenInit = (String, Vec<u8>);

/// The states of one worker. Given to [`Task::build_states`](super::Task::build_states).
#[derive(Default)]
pub struct States {
    given: Vec<GivenInit>,
    states: HashMap<TypeId, State>,
}

/// A state that has been built.
enum State {
    Built(Box<dyn Any + Send>),
    InUse,
    Dropped,
}

impl States {
    pub(super) fn new(given: Vec<GivenInit>) -> Self {
        Self {
            given,
            states: HashMap::new(),
        }
    }

    /// Builds the state of type `S`, if it is not built and the pool has a value for it.
    ///
    /// # Errors
    ///
    /// The error of [`WorkerState::build`], or of decoding the value.
    pub fn build<S: WorkerState>(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let name = type_name::<S>();
        let is_there = match self.states.get(&TypeId::of::<S>()) {
            Some(State::Built(_) | State::InUse) => true,
            Some(State::Dropped) | None => false,
        };
        let given = self.given.iter().find(|(of, _)| of == name);
        let Some((_, bytes)) = given.filter(|_| !is_there) else {
            return Ok(());
        };
        let init = <Bincode as Codec<S::Init>>::decode(bytes)
            .map_err(|error| format!("the value for `{name}` can't be decoded: {error}"))?;
        let state = S::build(init).map_err(|failure| failure.to_string())?;
        self.put(Box::new(state));
        Ok(())
    }

    /// Takes a state out, for a task. Builds it again first if a panic has dropped it. `None`: there is none, or it is in use.
    pub(super) fn take<S: WorkerState>(
        &mut self,
    ) -> Result<Option<Box<S>>, Box<dyn Error + Send + Sync>> {
        let id = TypeId::of::<S>();
        if matches!(self.states.get(&id), Some(State::Dropped)) {
            self.build::<S>()?;
        }
        let state = self.states.get_mut(&id);
        Ok(
            match state.map(|state| core::mem::replace(state, State::InUse)) {
                Some(State::Built(state)) => state.downcast().ok(),
                Some(State::InUse | State::Dropped) | None => None,
            },
        )
    }

    /// Puts back a state that was taken.
    pub(super) fn put<S: WorkerState>(&mut self, state: Box<S>) {
        self.states.insert(TypeId::of::<S>(), State::Built(state));
    }

    /// Notes that a state that was taken is dropped.
    pub(super) fn note_dropped<S: WorkerState>(&mut self) {
        self.states.insert(TypeId::of::<S>(), State::Dropped);
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.given.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}
