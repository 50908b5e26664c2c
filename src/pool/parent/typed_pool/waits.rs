//! Groups and scopes, and waits for all tasks of a pool.

use super::super::drain::Drain;
#[cfg(feature = "async")]
use super::super::futures::JoinFuture;
use super::super::group::Group;
use super::super::results::Home;
use super::TypedPool;
use crate::error::JoinTimeout;
use crate::pool::task::Task;
use core::time::Duration;
use std::time::Instant;

impl<T: Task> TypedPool<T> {
    /// Returns an iterator over the outcomes of all tasks whose handles were dropped, as [`drain`](TypedPool::drain) does,
    /// for a consumer that runs as long as the pool: it blocks while no such task is in flight, too, and ends when the pool
    /// [is shut down](TypedPool::shutdown) and all of them were returned. Several threads can share the outcomes, with
    /// drains, too: each goes to one of them.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let sum = std::thread::scope(|scope| {
    ///     let consumer = scope.spawn(|| pool.outcomes().filter_map(|outcome| outcome.result.ok()).sum::<u64>());
    ///     for n in 0..10 {
    ///         pool.submit(Square(n)).expect("open");
    ///     }
    ///     pool.shutdown(Shutdown::Drain, Duration::from_secs(10)).expect("its process");
    ///     consumer.join().expect("no panic")
    /// });
    /// assert_eq!(sum, 285);
    /// # Ok(())
    /// # }
    /// ```
    pub fn outcomes(&self) -> Drain<'_, T> {
        Drain::new(self.pool.unclaimed().until_shutdown())
    }

    /// Blocks until no task is in flight: each that was submitted has its outcome. Takes no outcome, so that handles and
    /// [`drain`](TypedPool::drain) have theirs afterwards. Tasks that other threads submit meanwhile count as well. In a forked
    /// child of the pool's process it returns at once.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let handles = [pool.submit(Square(3))?, pool.submit(Square(4))?];
    /// pool.join();
    /// assert!(handles.iter().all(|handle| handle.is_finished()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn join(&self) {
        // Without a deadline it never fails.
        let _ = self.pool.shared().join(Home::Pool, None);
    }

    /// Blocks until no task is in flight, as [`join`](TypedPool::join) does, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`JoinTimeout`]: some are by then.
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinTimeout> {
        let deadline = Instant::now().checked_add(timeout);
        self.pool.shared().join(Home::Pool, deadline)
    }

    /// Blocks until no task is in flight, as [`join`](TypedPool::join) does, but not beyond `deadline`.
    ///
    /// # Errors
    ///
    /// [`JoinTimeout`]: some are by then.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Nap>::builder().start()?;
    /// let nap = pool.submit(Nap(HOUR))?;
    /// let late = pool.join_deadline(Instant::now() + Duration::from_millis(5)).unwrap_err();
    /// assert_eq!(late.in_flight, 1);
    /// nap.cancel();
    /// pool.join();
    /// # Ok(())
    /// # }
    /// ```
    pub fn join_deadline(&self, deadline: Instant) -> Result<(), JoinTimeout> {
        self.pool.shared().join(Home::Pool, Some(deadline))
    }

    /// Waits until no task is in flight, as [`join`](TypedPool::join) does, for async callers. Needs the feature `async`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// # ::futures::executor::block_on(async {
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let handles = [pool.submit(Square(3))?, pool.submit(Square(4))?];
    /// pool.join_async().await;
    /// assert!(handles.iter().all(|handle| handle.is_finished()));
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    #[cfg(feature = "async")]
    pub fn join_async(&self) -> JoinFuture<'_> {
        JoinFuture::new(self.pool.shared(), Home::Pool)
    }

    /// Returns a group: tasks that are submitted to it have their outcomes there, and not in the pool's
    /// [`drain`](TypedPool::drain). See [`Group`].
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Nap>::builder().workers(1).start()?;
    /// let group = pool.group();
    /// group.submit(Nap(HOUR))?;
    /// group.submit(Nap(HOUR))?;
    /// group.cancel();
    /// assert_eq!(group.drain().filter(|outcome| outcome.result.is_err()).count(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "dropping the group cancels its tasks"]
    pub fn group(&self) -> Group<T> {
        Group::new(self.pool.shared())
    }

    /// Calls `act` with a [group](Group), and returns what it returns, once all tasks that were submitted to the group have
    /// their outcomes: those with handles and detached ones, too, and also when `act` panics. So no task of the scope outlives
    /// it.
    ///
    /// Inside, `act` takes outcomes from the handles or from [`Group::drain`]. A handle may leave the scope, and does not
    /// block then. Outcomes that are taken by neither are discarded. To give up early, [cancel](Group::cancel) the group.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let sum = pool.scope(|scope| {
    ///     let (three, four) = (scope.submit(Square(3))?, scope.submit(Square(4))?);
    ///     Ok::<_, Box<dyn std::error::Error>>(three.wait()? + four.wait()?)
    /// })?;
    /// assert_eq!(sum, 25);
    /// # Ok(())
    /// # }
    /// ```
    pub fn scope<R>(&self, act: impl FnOnce(&Group<T>) -> R) -> R {
        Group::scope(self.pool.shared(), act)
    }
}
