//! The start of a pool: its queues, its board, and the supervisor thread.

use super::builder::Builder;
use super::commands::Commands;
#[cfg(feature = "metrics")]
use super::published_timings::PublishedTimings;
use super::results::{Emissions, Results, TaskClock, TaskSpans, TaskTable, are_spans_wanted};
use super::running::RunningPool;
use super::settings::Settings;
use super::shared::Shared;
use super::shutdown::ShutdownState;
use super::staff::PublishedStaff;
use super::supervision::{Launcher, Supervisor};
use super::typed_pool::TypedPool;
use crate::codec::{Bincode, Codec};
use crate::error::StartError;
use crate::os::fork::OwnerProcess;
use crate::os::{memory, program};
use crate::pool::priority::Levels;
use crate::pool::task::Task;
use crate::pool::wire::messages::Identity;
use crate::pool::wire::result_message::{EncodedResult, EncodedResultCodec};
use crate::pool::wire::role::{has_asked, is_unclaimed_worker, report_pool_start};
use crate::pool::wire::startup::schema_of;
use crate::pool::wire::task_message::{EncodedTask, EncodedTaskCodec};
use crate::queue::Options;
use crate::segment::board::Board;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

impl<T: Task> Builder<TypedPool<T>> {
    /// Starts the workers, and blocks until all of them are ready.
    ///
    /// # Errors
    ///
    /// [`StartError`]: an option has an invalid value; a queue could not be made; the workers' program could not be
    /// started, does not call [`run_if_worker_for`](crate::pool::run_if_worker_for), or has other tasks; a worker could not
    /// be [prepared](Task::prepare_worker). All processes that were started have ended by then.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// println!("{}", pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?);
    ///
    /// let refused = TypedPool::<Square>::builder().workers(0).start();
    /// assert!(matches!(refused, Err(StartError::InvalidOption { option: "workers", .. })));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn start(self) -> Result<TypedPool<T>, StartError> {
        check_role()?;
        let identity = Identity::of::<T>();
        let pool = start(self.checked()?, identity, Location::caller())?;
        Ok(TypedPool::new(pool))
    }
}

/// Starts a pool whose workers have this identity.
pub(super) fn start(
    settings: Settings,
    identity: Identity,
    made_at: &'static Location<'static>,
) -> Result<RunningPool, StartError> {
    check_host(&settings)?;
    let launcher = make(settings, identity)?;
    let shared = Arc::clone(&launcher.shared);
    let (start_result, started) = mpsc::channel();
    let supervisor = Supervisor::new(launcher, start_result)
        .map_err(os("the supervisor could not get its descriptors"))?;
    let thread = thread::Builder::new()
        .name("workring-pool".to_owned())
        .spawn(|| supervisor.run())
        .map_err(os("the supervisor thread could not be started"))?;
    let shutdown = ShutdownState::new(thread);
    match started.recv() {
        Ok(Ok(())) => Ok(RunningPool::new(shared, shutdown, made_at)),
        Ok(Err(error)) => {
            shutdown.join();
            Err(error)
        }
        Err(mpsc::RecvError) => {
            shutdown.join();
            Err(StartError::Os {
                what: "the supervisor thread has panicked",
                source: io::Error::other("see the message of the panic"),
            })
        }
    }
}

/// Fails in a process that was started as a worker and has not become one.
pub(super) fn check_role() -> Result<(), StartError> {
    if is_unclaimed_worker() {
        report_pool_start();
        return Err(StartError::StartedAsWorker);
    }
    Ok(())
}

/// Fails where workers would be started from a program that knows nothing of this crate.
fn check_host(settings: &Settings) -> Result<(), StartError> {
    if settings.program.is_some() || has_asked() {
        return Ok(());
    }
    match program::host() {
        None => Ok(()),
        Some(host) => Err(StartError::Hosted {
            program: host.program.clone(),
            library: host.library.clone(),
        }),
    }
}

/// Makes all that a pool consists of, except processes and threads.
fn make(settings: Settings, identity: Identity) -> Result<Launcher, StartError> {
    // More entries than tasks: see RESULTS-2.
    let entries = (2 * settings.capacity).next_power_of_two();
    let schema = identity.queue_schema();
    // A task that its worker has not acknowledged becomes a dead letter, which stays until the supervisor has read
    // it: it is all that is left of the task.
    let queues = Levels::try_make(settings.has_priorities, |priority| {
        queue_options(&settings, settings.capacity, &schema_of(priority, &schema))
            .close_waits_for_leases(true)
            .max_deliveries(1)
            .max_dead_letters(settings.capacity)
            .evict_dead_letters(false)
            .channel_with::<EncodedTask, EncodedTaskCodec>()
    });
    let (tasks, workers_tasks) = queues.map_err(StartError::Queue)?.unzip();
    tasks.iter().for_each(|(_, tasks)| tasks.silence_deaths());
    let (workers_results, results) = queue_options(&settings, settings.results_capacity(), &schema)
        .channel_with::<EncodedResult, EncodedResultCodec>()
        .map_err(StartError::Queue)?;
    results.silence_deaths();
    let cells = u32::try_from(entries).unwrap_or(u32::MAX);
    let is_timed = settings.is_timed;
    let board = Board::create(settings.workers.room, cells, is_timed || are_spans_wanted());
    let board = board.map_err(|error| StartError::Os {
        what: "the board of the workers could not be made",
        source: io::Error::other(format!("{error:?}")),
    })?;
    let board = Arc::new(board);
    let states = states_file(&settings)?;
    let clock = is_timed.then(|| TaskClock::new(Arc::clone(&board)));
    let spans = TaskSpans::new(Arc::clone(&board));
    let emissions = Emissions::new(Arc::clone(&board), settings.progress);
    let commands = Commands::new().map_err(os("an eventfd could not be made"))?;
    let commands = Arc::new(commands);
    let owner = OwnerProcess::current().map_err(os("the page that detects forks is missing"))?;
    let results = Results::new(
        results,
        TaskTable::new(settings.capacity, entries, emissions, clock, spans),
        settings.max_unclaimed_results,
        Arc::clone(&commands),
        owner,
    );
    let shared = Arc::new(Shared {
        identity,
        results,
        tasks,
        board,
        states,
        settings,
        owner,
        commands,
        staff: PublishedStaff::default(),
        #[cfg(feature = "metrics")]
        published_timings: PublishedTimings::default(),
    });
    Launcher::new(shared, workers_tasks, workers_results)
        .map_err(os("the program of this process could not be found"))
}

/// Makes the file with the values from which workers build their states, if there are any.
fn states_file(settings: &Settings) -> Result<Option<OwnedFd>, StartError> {
    let given = settings.states.as_ref().ok();
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Ok(None);
    };
    let failed = |what: String| StartError::Os {
        what: "the file for the values of states could not be made",
        source: io::Error::other(what),
    };
    let encoded = Bincode::encoded_len(given).and_then(|length| {
        let mut bytes = vec![0; length];
        Bincode::encode(given, &mut bytes).map(|_| bytes)
    });
    let bytes = encoded.map_err(|error| failed(error.to_string()))?;
    let file = memory::create(bytes.len(), bytes.len());
    let file = File::from(file.map_err(|error| failed(format!("{error:?}")))?);
    file.write_all_at(&bytes, 0)
        .map_err(os("the values of states could not be written"))?;
    Ok(Some(file.into()))
}

fn os(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Os { what, source }
}

/// Returns the options that both queues have in common.
fn queue_options(settings: &Settings, capacity: usize, schema: &str) -> Options {
    // A worker must be able to report why a result could not be sent, such as a lack of memory. That takes none.
    Options::new(capacity)
        .preallocate(true)
        .max_message_len(settings.max_message_len)
        .spin(settings.spin)
        .liveness_interval(settings.liveness_interval)
        .schema(schema)
}
