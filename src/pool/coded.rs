//! Whole tasks that are carried by a codec of their own.

use super::context::Context;
use super::parent::{Builder, TypedPool};
use super::task::Task;
use super::worker_state::States;
use crate::codec::{Codec, Coded};
use core::any::type_name;
use core::time::Duration;
use std::error::Error;

/// A task that the codec `C` carries, with its output and its error.
///
/// # Examples
///
/// A task that the default codec cannot carry, in a pool of this type (with the feature `json`):
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use serde::{Deserialize, Serialize};
/// use serde_json::{Value, json};
/// use workring::pool::{Context, Task, TypedPool, run_if_worker_for};
/// use workring::queue::{Coded, Json};
///
/// #[derive(Serialize, Deserialize)]
/// struct Merge(Value, Value);
///
/// impl Task for Merge {
///     type Output = Value;
///     type Error = String;
///
///     fn run(mut self, _: &Context) -> Result<Value, String> {
///         let into = self.0.as_object_mut().ok_or("not an object")?;
///         into.extend(self.1.as_object().cloned().ok_or("not an object")?);
///         Ok(self.0)
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     run_if_worker_for::<Coded<Merge, Json>>();
///     let pool = TypedPool::<Merge>::builder().workers(1).codec::<Json>().start()?;
///     let task = Merge(json!({ "a": 1 }), json!({ "b": 2 }));
///     let merged = pool.submit(task.into())?.wait()?;
///     assert_eq!(merged.into_inner(), json!({ "a": 1, "b": 2 }));
///     Ok(())
/// }
/// ```
impl<T, C> Task for Coded<T, C>
where
    T: Task,
    C: Codec<T> + Codec<T::Output> + Codec<T::Error>,
{
    type Output = Coded<T::Output, C>;
    type Error = Coded<T::Error, C>;

    const SCHEMA: u64 = T::SCHEMA;

    fn __shape() -> String {
        format!("{} by {}", T::__shape(), type_name::<C>())
    }

    fn run(self, context: &Context) -> Result<Self::Output, Self::Error> {
        let result = self.into_inner().run(context);
        result.map(Coded::new).map_err(Coded::new)
    }

    fn time_limit(&self) -> Option<Duration> {
        T::time_limit(self)
    }

    fn retries(&self) -> Option<u32> {
        T::retries(self)
    }

    fn prepare_worker() -> Result<(), Box<dyn Error + Send + Sync>> {
        T::prepare_worker()
    }

    fn build_states(states: &mut States) -> Result<(), Box<dyn Error + Send + Sync>> {
        T::build_states(states)
    }
}

impl<T: Task> Builder<TypedPool<T>> {
    /// Lets the codec `C` carry the tasks, their outputs and their errors, in place of the default codec. The pool is one of
    /// [`Coded<T, C>`](Coded), and so is the argument of [`run_if_worker_for`](super::run_if_worker_for) in its workers.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "postcard", doc = "```")]
    #[cfg_attr(not(feature = "postcard"), doc = "```ignore")]
    /// use serde::{Deserialize, Serialize};
    /// use workring::pool::{Context, Task, TypedPool, run_if_worker_for};
    /// use workring::queue::{Coded, Postcard};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Square(u64);
    ///
    /// impl Task for Square {
    ///     type Output = u64;
    ///     type Error = String;
    ///
    ///     fn run(self, _: &Context) -> Result<u64, String> {
    ///         Ok(self.0 * self.0)
    ///     }
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     run_if_worker_for::<Coded<Square, Postcard>>();
    ///     let pool = TypedPool::<Square>::builder().codec::<Postcard>().start()?;
    ///     assert_eq!(*pool.submit(Square(12).into())?.wait()?, 144);
    ///     Ok(())
    /// }
    /// ```
    pub fn codec<C>(self) -> Builder<TypedPool<Coded<T, C>>>
    where
        C: Codec<T> + Codec<T::Output> + Codec<T::Error>,
    {
        self.of_kind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Bincode;
    use crate::pool::failure::Failure;
    use crate::pool::worker_state::WorkerState;
    use core::any::type_name;
    use serde::{Deserialize, Serialize};

    struct Total(u64);

    impl WorkerState for Total {
        type Init = u64;

        fn build(start: u64) -> Result<Self, Failure> {
            Ok(Self(start))
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Add(u64);

    impl Task for Add {
        type Output = u64;
        type Error = Failure;

        fn run(self, context: &Context) -> Result<u64, Failure> {
            Ok(context.with_state(|total: &mut Total| total.0 + self.0))
        }

        fn build_states(states: &mut States) -> Result<(), Box<dyn Error + Send + Sync>> {
            states.build::<Total>()
        }
    }

    #[test]
    fn a_coded_task_has_the_states_of_the_task() {
        let given = (
            type_name::<Total>().to_owned(),
            7_u64.to_le_bytes().to_vec(),
        );
        let mut states = States::new(vec![given]);
        <Coded<Add, Bincode> as Task>::build_states(&mut states).expect("a number");
        let total = states.take::<Total>().expect("it is built");
        assert!(total.is_some_and(|total| total.0 == 7));
    }
}
