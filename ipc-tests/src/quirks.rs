//! Tasks whose own code misbehaves where a pool calls it: `Serialize`, `Deserialize`, `Drop`, `time_limit`.
//!
//! What a [`Whim`] does depends on the process. In a worker it panics, hangs or aborts. In the process of the test it calls a
//! [`Hook`], a closure of the test, which may panic, wait for the test, or use the pool.

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

/// Whether this process is a worker, in which whims act by themselves.
static ACTS: AtomicBool = AtomicBool::new(false);
static HOOKS: Mutex<Option<HashMap<u64, Arc<Call>>>> = Mutex::new(None);
static NEXT: AtomicU64 = AtomicU64::new(0);

type Call = dyn Fn() + Send + Sync;

/// Declares this process a worker, in which whims act by themselves.
pub fn act() {
    ACTS.store(true, Ordering::Relaxed);
}

/// What a piece of user code does when it is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whim {
    /// Nothing unusual.
    #[default]
    None,
    /// In a worker: panics.
    Panics,
    /// In a worker: never returns.
    Hangs,
    /// In a worker: aborts the process.
    Aborts,
    /// In the process of the test: calls this hook.
    Calls(u64),
}

impl Whim {
    /// Acts.
    pub fn act(self) {
        if let Self::Calls(id) = self {
            let hooks = HOOKS.lock().unwrap_or_else(PoisonError::into_inner);
            let hook = hooks.as_ref().and_then(|hooks| hooks.get(&id).cloned());
            drop(hooks);
            if let Some(hook) = hook {
                hook();
            }
        }
        if !ACTS.load(Ordering::Relaxed) {
            return;
        }
        match self {
            Self::None | Self::Calls(_) => {}
            Self::Panics => panic!("a whim"),
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
    /// Until the hook is dropped, its whims call `call`.
    #[must_use]
    pub fn new(call: impl Fn() + Send + Sync + 'static) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut hooks = HOOKS.lock().unwrap_or_else(PoisonError::into_inner);
        hooks
            .get_or_insert_with(HashMap::new)
            .insert(id, Arc::new(call));
        Self(id)
    }

    /// Returns a whim that calls this hook.
    #[must_use]
    pub const fn whim(&self) -> Whim {
        Whim::Calls(self.0)
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

/// A value whose code has whims.
#[derive(Debug)]
pub struct Tricky<V> {
    value: V,
    encode: Whim,
    decode: Whim,
    drop: Whim,
}

impl<V> Tricky<V> {
    /// Without any.
    pub const fn new(value: V) -> Self {
        Self {
            value,
            encode: Whim::None,
            decode: Whim::None,
            drop: Whim::None,
        }
    }

    /// Its `Serialize` has this whim.
    #[must_use]
    pub fn encode(mut self, whim: Whim) -> Self {
        self.encode = whim;
        self
    }

    /// Its `Deserialize` has this whim.
    #[must_use]
    pub fn decode(mut self, whim: Whim) -> Self {
        self.decode = whim;
        self
    }

    /// Its `Drop` has this whim, also in all other processes that decode it.
    #[must_use]
    pub fn drop(mut self, whim: Whim) -> Self {
        self.drop = whim;
        self
    }

    /// The value.
    pub const fn get(&self) -> &V {
        &self.value
    }
}

impl<V: Serialize> Serialize for Tricky<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.encode.act();
        (&self.value, self.encode, self.decode, self.drop).serialize(serializer)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Tricky<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (value, encode, decode, drop) = Deserialize::deserialize(deserializer)?;
        Whim::act(decode);
        Ok(Self {
            value,
            encode,
            decode,
            drop,
        })
    }
}

impl<V> Drop for Tricky<V> {
    fn drop(&mut self) {
        // Of a value that is dropped while a panic unwinds, a second one would end the process.
        if !thread::panicking() {
            mem::take(&mut self.drop).act();
        }
    }
}

/// What a [`Quirk`] does when it runs.
#[derive(Debug, Serialize, Deserialize)]
pub enum Work {
    /// Gives this.
    Give(Tricky<u64>),
    /// Fails with this.
    Fail(Tricky<u64>),
    /// Takes room, and gives how much.
    Weigh(Vec<u8>),
    /// Gives the process id of its worker.
    Pid,
    /// Does as that job, and gives 0.
    Job(Job),
}

/// A task with whims.
#[derive(Debug, Serialize, Deserialize)]
pub struct Quirk {
    work: Tricky<Option<Work>>,
    limit: Option<Duration>,
    limits: Whim,
}

impl Quirk {
    /// Without any, but for those of its work.
    #[must_use]
    pub const fn new(work: Work) -> Self {
        Self::tricky(Tricky::new(Some(work)))
    }

    /// With those of `work`.
    #[must_use]
    pub const fn tricky(work: Tricky<Option<Work>>) -> Self {
        Self {
            work,
            limit: None,
            limits: Whim::None,
        }
    }

    /// Gives this number.
    #[must_use]
    pub const fn give(number: u64) -> Self {
        Self::new(Work::Give(Tricky::new(number)))
    }

    /// Has this limit of its own.
    #[must_use]
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// `time_limit` has this whim.
    #[must_use]
    pub const fn limits(mut self, whim: Whim) -> Self {
        self.limits = whim;
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
        self.limits.act();
        self.limit
    }

    fn prepare_worker() -> Result<(), Box<dyn Error + Send + Sync>> {
        prepare(&env::var(crate::jobs::PREPARE).unwrap_or_default())
    }
}

/// A value that contains itself, to any depth.
#[derive(Debug, Serialize, Deserialize)]
pub struct Nest(Option<Box<Nest>>);

impl Nest {
    /// Makes a value with this many levels.
    #[must_use]
    pub fn deep(times: u32) -> Self {
        (0..times).fold(Self(None), |inner, _| Self(Some(Box::new(inner))))
    }

    /// Returns the number of levels.
    #[must_use]
    pub fn depth(&self) -> u32 {
        let nests = std::iter::successors(Some(self), |nest| nest.0.as_deref());
        nests.skip(1).fold(0, |count, _| count + 1)
    }
}

impl Drop for Nest {
    /// Level by level, so that dropping does not overflow the stack.
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
