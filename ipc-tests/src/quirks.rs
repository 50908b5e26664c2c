//! Tasks whose own code misbehaves where a pool calls it: `Serialize`, `Deserialize`, `Drop`, `time_limit`.
//!
//! They show what happens if the code that a user gives a pool panics, hangs, or uses the pool. A [`Quirk`] is such a
//! task, and a [`Tricky`] is such a value. What a [`Misbehaviour`] does depends on the process. In a worker it panics,
//! hangs or aborts. In the process of the test it calls a [`Hook`], a closure of the test, which may panic, wait for
//! the test, or use the pool.

use crate::jobs::{Job, prepare};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    collections::HashMap,
    env,
    error::Error,
    mem, process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use workring::pool::{Context, Task};

/// Whether this process is a worker. `Panics`, `Hangs` and `Aborts` take effect only there.
static IS_WORKER: AtomicBool = AtomicBool::new(false);
/// The closures of the hooks of this process, by the id of the hook.
static HOOKS: Mutex<Option<HashMap<u64, Arc<Call>>>> = Mutex::new(None);
/// The id of the next hook.
static NEXT: AtomicU64 = AtomicU64::new(0);

type Call = dyn Fn() + Send + Sync;

/// Marks this process as a worker: `Panics`, `Hangs` and `Aborts` take effect only there.
pub fn become_worker() {
    IS_WORKER.store(true, Ordering::Relaxed);
}

/// What a piece of user code does, when it is called, besides what it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Misbehaviour {
    /// It behaves normally.
    #[default]
    Nothing,
    /// In a worker: panics.
    Panics,
    /// In a worker: never returns.
    Hangs,
    /// In a worker: aborts the process.
    Aborts,
    /// In the process of the test: calls this hook.
    CallsHook(u64),
}

impl Misbehaviour {
    /// Does what the value says, in this process.
    pub fn take_effect(self) {
        if let Self::CallsHook(id) = self {
            let hooks = HOOKS.lock().unwrap_or_else(PoisonError::into_inner);
            let hook = hooks.as_ref().and_then(|hooks| hooks.get(&id).cloned());
            drop(hooks);
            if let Some(hook) = hook {
                hook();
            }
        }
        if !IS_WORKER.load(Ordering::Relaxed) {
            return;
        }
        match self {
            Self::Nothing | Self::CallsHook(_) => {}
            Self::Panics => panic!("a misbehaviour"),
            Self::Hangs => loop {
                thread::park();
            },
            Self::Aborts => process::abort(),
        }
    }
}

/// A closure of a test that runs where user code is called in its process.
#[derive(Debug)]
pub struct Hook(u64);

impl Hook {
    /// Registers `call`, which [`Hook::misbehaviour`] calls until the hook is dropped.
    #[must_use]
    pub fn new(call: impl Fn() + Send + Sync + 'static) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut hooks = HOOKS.lock().unwrap_or_else(PoisonError::into_inner);
        hooks
            .get_or_insert_with(HashMap::new)
            .insert(id, Arc::new(call));
        Self(id)
    }

    /// Returns a misbehaviour that calls this hook.
    #[must_use]
    pub const fn misbehaviour(&self) -> Misbehaviour {
        Misbehaviour::CallsHook(self.0)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let mut hooks = HOOKS.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = hooks.as_mut().and_then(|hooks| hooks.remove(&self.0));
        drop(hooks);
        drop(gone);
    }
}

/// A wrapper whose `Serialize`, `Deserialize` and `Drop` can misbehave.
#[derive(Debug)]
pub struct Tricky<V> {
    value: V,
    on_encode: Misbehaviour,
    on_decode: Misbehaviour,
    on_drop: Misbehaviour,
}

impl<V> Tricky<V> {
    /// Returns a value that behaves normally.
    pub const fn new(value: V) -> Self {
        Self {
            value,
            on_encode: Misbehaviour::Nothing,
            on_decode: Misbehaviour::Nothing,
            on_drop: Misbehaviour::Nothing,
        }
    }

    /// Makes `Serialize` misbehave.
    #[must_use]
    pub fn on_encode(mut self, what: Misbehaviour) -> Self {
        self.on_encode = what;
        self
    }

    /// Makes `Deserialize` misbehave.
    #[must_use]
    pub fn on_decode(mut self, what: Misbehaviour) -> Self {
        self.on_decode = what;
        self
    }

    /// Makes `Drop` misbehave, in every process that has a copy.
    #[must_use]
    pub fn on_drop(mut self, what: Misbehaviour) -> Self {
        self.on_drop = what;
        self
    }

    /// Returns the wrapped value.
    pub const fn get(&self) -> &V {
        &self.value
    }
}

impl<V: Serialize> Serialize for Tricky<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.on_encode.take_effect();
        (&self.value, self.on_encode, self.on_decode, self.on_drop).serialize(serializer)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Tricky<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (value, on_encode, on_decode, on_drop) = Deserialize::deserialize(deserializer)?;
        Misbehaviour::take_effect(on_decode);
        Ok(Self {
            value,
            on_encode,
            on_decode,
            on_drop,
        })
    }
}

impl<V> Drop for Tricky<V> {
    fn drop(&mut self) {
        // During unwinding, a second panic would abort the process.
        if !thread::panicking() {
            mem::take(&mut self.on_drop).take_effect();
        }
    }
}

/// What a [`Quirk`] does when it runs.
#[derive(Debug, Serialize, Deserialize)]
pub enum Work {
    /// Returns this output.
    Give(Tricky<u64>),
    /// Returns this error.
    Fail(Tricky<u64>),
    /// Carries these bytes, and returns their number.
    Weigh(Vec<u8>),
    /// Returns the process id of its worker.
    Pid,
    /// Runs this job. Returns 0: as the output, or as the error if the job fails.
    Job(Job),
}

/// A task whose code can misbehave.
#[derive(Debug, Serialize, Deserialize)]
pub struct Quirk {
    work: Tricky<Option<Work>>,
    limit: Option<Duration>,
    on_time_limit: Misbehaviour,
}

impl Quirk {
    /// Returns a task that behaves normally, apart from its work.
    #[must_use]
    pub const fn new(work: Work) -> Self {
        Self::tricky(Tricky::new(Some(work)))
    }

    /// Returns a task with this work, whose value may misbehave: it is part of the encoded task.
    #[must_use]
    pub const fn tricky(work: Tricky<Option<Work>>) -> Self {
        Self {
            work,
            limit: None,
            on_time_limit: Misbehaviour::Nothing,
        }
    }

    /// Returns a task that outputs `number`.
    #[must_use]
    pub const fn give(number: u64) -> Self {
        Self::new(Work::Give(Tricky::new(number)))
    }

    /// Sets `Task::time_limit`.
    #[must_use]
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Makes `Task::time_limit` misbehave.
    #[must_use]
    pub const fn on_time_limit(mut self, what: Misbehaviour) -> Self {
        self.on_time_limit = what;
        self
    }
}

impl Task for Quirk {
    type Output = Tricky<u64>;
    type Error = Tricky<u64>;

    fn run(mut self, context: &Context) -> Result<Tricky<u64>, Tricky<u64>> {
        match self.work.value.take().expect("it runs once") {
            Work::Give(output) => Ok(output),
            Work::Fail(error) => Err(error),
            Work::Weigh(bytes) => Ok(Tricky::new(bytes.len() as u64)),
            Work::Pid => Ok(Tricky::new(process::id().into())),
            Work::Job(job) => match job.run(context) {
                Ok(_) => Ok(Tricky::new(0)),
                Err(_) => Err(Tricky::new(0)),
            },
        }
    }

    fn time_limit(&self) -> Option<Duration> {
        self.on_time_limit.take_effect();
        self.limit
    }

    fn prepare_worker() -> Result<(), Box<dyn Error + Send + Sync>> {
        prepare(&env::var(crate::jobs::PREPARE).unwrap_or_default())
    }
}

/// A recursive value of any depth.
#[derive(Debug, Serialize, Deserialize)]
pub struct Nest(Option<Box<Nest>>);

impl Nest {
    /// Returns a value of this depth.
    #[must_use]
    pub fn deep(depth: u32) -> Self {
        (0..depth).fold(Self(None), |inner, _| Self(Some(Box::new(inner))))
    }

    /// Returns the number of levels.
    #[must_use]
    pub fn depth(&self) -> u32 {
        let nests = std::iter::successors(Some(self), |nest| nest.0.as_deref());
        nests.skip(1).fold(0, |count, _| count + 1)
    }
}

impl Drop for Nest {
    /// Drops iteratively, so that the stack does not overflow.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut nest) = next {
            next = nest.0.take();
        }
    }
}

/// A nested task with a nested output.
#[derive(Debug, Serialize, Deserialize)]
pub struct Deep {
    /// The levels of the task.
    pub task: Nest,
    /// The levels of its output.
    pub output: u32,
}

impl Task for Deep {
    type Output = Nest;
    type Error = ();

    fn run(self, _: &Context) -> Result<Nest, ()> {
        Ok(Nest::deep(self.output))
    }
}
