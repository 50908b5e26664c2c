//! Options for seeing what a pool does.

use super::options::Builder;

impl<P> Builder<P> {
    /// Sets whether the pool measures how long tasks wait and run, for [`PoolStats::timings`](crate::pool::PoolStats::timings).
    /// By default it does not.
    ///
    /// Each task then takes a precise look at the clock when it is submitted, started and ended, and its place on the pool's board,
    /// another 128 bytes of memory for each task of the [capacity](Builder::capacity). Without the option, it costs nothing.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Nap>::builder().timings(true).start()?;
    /// pool.submit(Nap(Duration::from_millis(20)))?.wait()?;
    /// let timings = pool.stats().timings.expect("it was asked for");
    /// assert!(timings.running.max() >= Some(Duration::from_millis(20)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn timings(mut self, measure: bool) -> Self {
        self.settings.is_timed = measure;
        self
    }

    /// Sets the name of the pool in its [metrics](crate::pool#metrics): the label `pool`. By default "default". Programs with
    /// several pools give each its own. Needs the feature `metrics`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().name("squares").start()?;
    /// pool.publish_metrics();
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "metrics")]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }
}
