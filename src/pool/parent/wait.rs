//! Waiting for several handles at once.

use super::handle::TaskHandle;
use super::results::{TaskTable, WaitError};
use super::settings::WhenFull;
use super::shared::Shared;
use crate::error::WaitAnyError;
use crate::pool::outcome::TaskId;
use crate::pool::task::{ResultOf, Task};
use std::sync::Arc;
use std::time::Instant;

mod sealed {
    use super::{Arc, Shared, TaskId};

    /// The task of a handle, without its type.
    #[derive(Clone, Copy)]
    pub struct OfHandle<'a> {
        pub(super) shared: &'a Arc<Shared>,
        pub(super) id: TaskId,
    }

    pub trait AnyHandle {
        fn task(&self) -> OfHandle<'_>;
    }

    pub trait AnyHandles {
        fn for_each<'a>(&'a self, act: &mut dyn FnMut(OfHandle<'a>));
    }
}

use sealed::{AnyHandle, AnyHandles, OfHandle};

impl<T: Task> AnyHandle for TaskHandle<T> {
    fn task(&self) -> OfHandle<'_> {
        OfHandle {
            shared: self.shared(),
            id: self.id(),
        }
    }
}

impl<H: AnyHandle> AnyHandle for &H {
    fn task(&self) -> OfHandle<'_> {
        H::task(self)
    }
}

impl<H: AnyHandle> AnyHandles for [H] {
    fn for_each<'a>(&'a self, act: &mut dyn FnMut(OfHandle<'a>)) {
        for handle in self {
            act(handle.task());
        }
    }
}

impl<H: AnyHandle, const N: usize> AnyHandles for [H; N] {
    fn for_each<'a>(&'a self, act: &mut dyn FnMut(OfHandle<'a>)) {
        self.as_slice().for_each(act);
    }
}

impl<H: AnyHandle> AnyHandles for Vec<H> {
    fn for_each<'a>(&'a self, act: &mut dyn FnMut(OfHandle<'a>)) {
        self.as_slice().for_each(act);
    }
}

/// Several [handles](TaskHandle), or references to handles: a slice, an array or a vector of handles of one type of task; or
/// a tuple of two to eight handles of any types.
pub trait Handles: AnyHandles {}

impl<H: AnyHandles + ?Sized> Handles for H {}

/// Several [handles](TaskHandle) that [`wait_all`] consumes: an array or a vector of handles of one type of task, or a tuple
/// of two to eight handles of any types.
pub trait AllHandles: Handles + Sized {
    /// The result of each task, in the order of the handles: an array, a vector, or a tuple.
    type Results;

    /// Waits for each handle: see [`wait_all`].
    fn wait_each(self) -> Self::Results;
}

impl<T: Task, const N: usize> AllHandles for [TaskHandle<T>; N] {
    type Results = [ResultOf<T>; N];

    fn wait_each(self) -> Self::Results {
        self.map(TaskHandle::wait)
    }
}

impl<T: Task> AllHandles for Vec<TaskHandle<T>> {
    type Results = Vec<ResultOf<T>>;

    fn wait_each(self) -> Self::Results {
        self.into_iter().map(TaskHandle::wait).collect()
    }
}

/// Implements the traits for a tuple.
macro_rules! for_tuple {
    ($($handle:ident $place:tt),+) => {
        impl<$($handle: AnyHandle),+> AnyHandles for ($($handle,)+) {
            fn for_each<'a>(&'a self, act: &mut dyn FnMut(OfHandle<'a>)) {
                $(act(self.$place.task());)+
            }
        }

        impl<$($handle: Task),+> AllHandles for ($(TaskHandle<$handle>,)+) {
            type Results = ($(ResultOf<$handle>,)+);

            fn wait_each(self) -> Self::Results {
                ($(self.$place.wait(),)+)
            }
        }
    };
}

for_tuple!(A 0, B 1);
for_tuple!(A 0, B 1, C 2);
for_tuple!(A 0, B 1, C 2, D 3);
for_tuple!(A 0, B 1, C 2, D 3, E 4);
for_tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
for_tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
for_tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

/// Blocks until the outcome of any of these handles is known. Returns the index of the first such handle, for which
/// [`wait`](TaskHandle::wait) does not block then. No outcome is taken.
///
/// The handles may have different types, but must be of one pool. Each time outcomes arrive, all of them are looked at: for
/// hundreds of tasks a [group](crate::pool::TypedPool::group) costs less.
///
/// # Errors
///
/// [`WaitAnyError`], if there are no handles, or they are of several pools.
///
/// # Examples
///
/// ```
#[doc = include_str!("../example.in")]
/// let pool = TypedPool::<Nap>::builder().workers(2).start()?;
/// let mut naps = vec![pool.submit(Nap(HOUR))?, pool.submit(Nap(Duration::ZERO))?];
/// let first = wait_any(&naps)?;
/// assert_eq!(first, 1);
/// naps.swap_remove(first).wait()?; // does not block
/// # naps.pop().expect("one").cancel();
/// # Ok(())
/// # }
/// ```
pub fn wait_any<H: Handles + ?Sized>(handles: &H) -> Result<usize, WaitAnyError> {
    wait_any_until(handles, None)
}

/// Blocks until the outcome of any of these handles is known, as [`wait_any`] does, but not beyond `deadline`.
///
/// # Errors
///
/// [`WaitAnyError`]: no outcome was known by then; or as for [`wait_any`].
///
/// # Examples
///
/// ```
#[doc = include_str!("../example.in")]
/// use workring::error::WaitAnyError;
///
/// let pool = TypedPool::<Nap>::builder().workers(1).start()?;
/// let naps = [pool.submit(Nap(HOUR))?.cancel_on_drop(), pool.submit(Nap(HOUR))?.cancel_on_drop()];
/// let deadline = Instant::now() + Duration::from_millis(5);
/// assert_eq!(wait_any_deadline(&naps, deadline), Err(WaitAnyError::TimedOut));
/// # Ok(())
/// # }
/// ```
pub fn wait_any_deadline<H: Handles + ?Sized>(
    handles: &H,
    deadline: Instant,
) -> Result<usize, WaitAnyError> {
    wait_any_until(handles, Some(deadline))
}

fn wait_any_until<H: Handles + ?Sized>(
    handles: &H,
    deadline: Option<Instant>,
) -> Result<usize, WaitAnyError> {
    let mut ids = Vec::new();
    let mut pool: Option<&Arc<Shared>> = None;
    let mut is_one_pool = true;
    handles.for_each(&mut |task| {
        is_one_pool &= Arc::ptr_eq(pool.get_or_insert(task.shared), task.shared);
        expect_no_reader(task);
        ids.push(task.id);
    });
    let shared = pool.ok_or(WaitAnyError::Empty)?;
    if !is_one_pool {
        return Err(WaitAnyError::DifferentPools);
    }
    let find = |tasks: &mut TaskTable| ids.iter().position(|&id| tasks.get_mut(id).is_none());
    match shared.results.wait_until(deadline, find) {
        Ok(index) => Ok(index),
        Err(WaitError::TimedOut) => Err(WaitAnyError::TimedOut),
        // `wait` reports why at once, for each of them.
        Err(_) => Ok(0),
    }
}

/// Blocks until the outcomes of all these handles are known, and returns the results, in the order of the handles. Each has
/// the type of its own task. The handles may be of several pools.
///
/// # Examples
///
/// Of one type of task, a vector; of several, a tuple:
///
/// ```
#[doc = include_str!("../registered.in")]
/// let pool = Pool::start(2)?;
/// let handles = (1..=3).map(|n| pool.submit(square::new(n))).collect::<Result<Vec<_>, _>>()?;
/// let squares = wait_all(handles).into_iter().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(squares, [1, 4, 9]);
///
/// let (number, text) = wait_all((pool.submit(square::new(12))?, pool.submit(shout::new("x".to_owned()))?));
/// assert_eq!((number?, text?), (144, "X".to_owned()));
/// # Ok(())
/// # }
/// ```
pub fn wait_all<H: AllHandles>(handles: H) -> H::Results {
    handles.for_each(&mut |task| expect_no_reader(task));
    handles.wait_each()
}

/// Blocks until the outcomes of all these handles are known, as [`wait_all`] does, but not beyond `deadline`.
///
/// # Errors
///
/// The handles, if not all outcomes are known by then. [`TaskHandle::is_finished`] says which are.
///
/// # Examples
///
/// ```
#[doc = include_str!("../example.in")]
/// let pool = TypedPool::<Nap>::builder().workers(2).start()?;
/// let naps = [pool.submit(Nap(HOUR))?, pool.submit(Nap(Duration::ZERO))?];
/// let deadline = Instant::now() + Duration::from_secs(1);
/// let [long, short] = wait_all_deadline(naps, deadline).expect_err("one is long");
/// assert!(!long.is_finished() && short.is_finished());
/// # long.cancel();
/// # Ok(())
/// # }
/// ```
pub fn wait_all_deadline<H: AllHandles>(handles: H, deadline: Instant) -> Result<H::Results, H> {
    handles.for_each(&mut |task| expect_no_reader(task));
    let mut is_late = false;
    handles.for_each(&mut |task| {
        // Once one is late, there is nothing to wait for.
        is_late = is_late || !is_finished_by(task, deadline);
    });
    if is_late {
        Err(handles)
    } else {
        Ok(handles.wait_each())
    }
}

/// Waits until the outcome of a task is known, or the deadline passes. Returns whether waiting for it would not block.
fn is_finished_by(task: OfHandle<'_>, deadline: Instant) -> bool {
    let is_known = |tasks: &mut TaskTable| tasks.get_mut(task.id).is_none().then_some(());
    let waited = task.shared.results.wait_until(Some(deadline), is_known);
    !matches!(waited, Err(WaitError::TimedOut))
}

/// Records that the caller waits for the outcome of a task, and so reads none of its values.
fn expect_no_reader(task: OfHandle<'_>) {
    if task.shared.settings.progress.when_full == WhenFull::Wait {
        task.shared.results.stop_waiting_for_reader(task.id);
    }
}
