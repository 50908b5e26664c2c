//! The start of a pool.

use super::builder::Builder;
use super::commands::Commands;
use super::pool::Pool;
use super::results::Results;
use super::settings::Settings;
use super::shared::Shared;
use super::shutdown::ShutdownState;
use super::supervision::{Launcher, Supervisor};
use crate::error::StartError;
use crate::os::fork::OwnerProcess;
use crate::pool::task::Task;
use crate::pool::wire::result_message::{
    EncodedResult, EncodedResultCodec, ResultCodec, ResultMessage,
};
use crate::pool::wire::role::{is_unclaimed_worker, report_pool_start};
use crate::pool::wire::startup::queue_schema;
use crate::pool::wire::task_message::{Envelope, TaskCodec};
use crate::queue::Options;
use crate::segment::board::Board;
use std::panic::Location;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

impl<T: Task> Builder<T> {
    /// Start the workers, and wait until all of them are ready.
    ///
    /// # Errors
    ///
    /// [`StartError`]: an option makes no sense; a queue could not be made; the workers' program could not be started, has no
    /// [`run_if_worker`](crate::pool::run_if_worker), or other tasks; a worker could not be
    /// [prepared](Task::prepare_worker). Nothing is left then.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
    /// println!("{}", pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?);
    ///
    /// let refused = Pool::<Square>::builder().workers(0).start();
    /// assert!(matches!(refused, Err(StartError::InvalidOption { option: "workers", .. })));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn start(self) -> Result<Pool<T>, StartError> {
        let made_at = Location::caller();
        if is_unclaimed_worker() {
            report_pool_start();
            return Err(StartError::StartedAsWorker);
        }
        let settings = self.checked()?;
        let os = |what| move |source| StartError::Os { what, source };

        let places = (2 * settings.capacity).next_power_of_two();
        let options = options(&settings, &queue_schema::<T>());
        let tasks = options
            .clone()
            .close_waits_for_leases(true)
            .max_deliveries(1);
        // Until the supervisor has read it, a letter is all that is left of a task.
        let tasks = tasks
            .max_dead_letters(settings.capacity)
            .evict_dead_letters(false);
        let (tasks, to_do) = tasks
            .channel_with::<Envelope<T>, TaskCodec>()
            .map_err(StartError::Queue)?;
        let (done, results) = options
            .channel_with::<ResultMessage<T>, ResultCodec<T>>()
            .map_err(StartError::Queue)?;
        let cells = u32::try_from(places).unwrap_or(u32::MAX);
        let board =
            Board::create(settings.workers.max, cells).map_err(|refused| StartError::Os {
                what: "the workers' board could not be made",
                source: std::io::Error::other(format!("{refused:?}")),
            })?;
        let commands = Arc::new(Commands::new().map_err(os("no event descriptor"))?);
        let (capacity, max_unclaimed_results) = (settings.capacity, settings.max_unclaimed_results);
        let supervisor = Arc::clone(&commands);
        let origin = OwnerProcess::current().map_err(os("no page to tell a fork by"))?;
        let results = results.decoding::<EncodedResult, EncodedResultCodec>();
        let results = Results::new(
            results,
            capacity,
            places,
            max_unclaimed_results,
            supervisor,
            origin,
        );
        let shared = Arc::new(Shared {
            results,
            tasks,
            board,
            settings,
            origin,
            commands: Arc::clone(&commands),
        });

        let launcher = Launcher::new(Arc::clone(&shared), to_do, done)
            .map_err(os("this program could not be found"))?;
        let (started, has_started) = mpsc::channel();
        let supervisor = Supervisor::new(launcher, Arc::clone(&commands), started)
            .map_err(os("no descriptor to wait for workers with"))?;
        let supervise = thread::Builder::new().name("workring-pool".to_owned());
        let thread = supervise
            .spawn(|| supervisor.run())
            .map_err(os("no thread for the pool"))?;
        let shutdown = ShutdownState::new(commands, thread);
        match has_started.recv() {
            Ok(Ok(())) => Ok(Pool::new(shared, shutdown, made_at)),
            Ok(Err(error)) => {
                shutdown.join();
                Err(error)
            }
            Err(mpsc::RecvError) => {
                shutdown.join();
                Err(StartError::Os {
                    what: "the pool's thread has panicked",
                    source: std::io::Error::other("see its message"),
                })
            }
        }
    }
}

/// What both queues have in common.
fn options(settings: &Settings, schema: &str) -> Options {
    Options::new(settings.capacity)
        .max_message_len(settings.max_message_len)
        .spin(settings.spin)
        .liveness_interval(settings.liveness_interval)
        .schema(schema)
}
