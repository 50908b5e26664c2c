//! The worker's side: this process, once it has been started as a worker.
//!
//! | thread  | waits for                                    | and                                                  |
//! |---------|----------------------------------------------|------------------------------------------------------|
//! | main    | a task                                       | runs it, sends what it gave, acknowledges it          |
//! | watcher | what the parent says; the end of the parent  | tells the main thread; or ends the process and its group |
//!
//! Main, for one task, and what a death right after each step leaves behind:
//!
//! | step                                   | left behind                                                          |
//! |----------------------------------------|----------------------------------------------------------------------|
//! | it is leased, not decoded              | a dead letter, not begun: it goes to another worker                  |
//! | `begin` on the board                   | a dead letter that was being decoded: the same, but for DEATH-3 of `deaths` |
//! | it is decoded                          | a dead letter that was running: retried or reported as crashed       |
//! | it is run                              | the same                                                             |
//! | its result is sent                     | the result; a dead letter whose outcome is known, which is dropped   |
//! | `end` on the board                     | the same                                                             |
//! | it is acknowledged                     | the result                                                           |
//!
//! It is on the board before the task's `Deserialize` is called, so that the time limit counts that, too. The user's code is
//! called within [`catch`], each piece by itself: see `docs/user-code.md`.
//!
//! Of a chunk, each task in turn is decoded, run and answered; it is acknowledged after the last one. A death in between leaves one dead letter for all
//! of them, of which some have their results, one was running, and the others were not begun.
//!
//! The end: the tasks are closed, the parent says `Stop`, or it has done enough; the main thread says `Stopping` and
//! waits for the watcher, who ends with the parent's `Farewell`. A parent that has died says nothing: then the watcher
//! ends the process.

use super::context::{Context, Desk};
use super::envelope::{
    Answer, Done, Envelope, Letter, ResultCodec, TaskCodec, Ticket, decode_task,
};
use super::forward;
use super::messages::{
    FromParent, FromWorker, Identity, LONGEST, Level, PROTOCOL, Terms, shortened,
};
use super::pace::Pace;
use super::panics::{self, catch};
use super::standing::{self, Starter, VARIABLE, WATCHER};
use super::task::Task;
use crate::codec::Raw;
use crate::error::{RecvError, SendError, with_causes};
use crate::os::link::{Link, Received};
use crate::os::poll::Poll;
use crate::os::{child, clock, spawn};
use crate::queue::{Interrupter, Receiver, Sender, borrow_fd, inherit_as, inherit_fd};
use crate::segment::board::{Board, Slot};
use crate::sync::{AtomicBool, Ordering};
use core::any::type_name;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{self, exit};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

/// The names of what a worker is given.
pub(super) const LINK: &str = "workring-link";
pub(super) const BOARD: &str = "workring-board";
pub(super) const TASKS: &str = "workring-tasks";
pub(super) const RESULTS: &str = "workring-results";

/// What a worker ends with that can't go on, as `EX_SOFTWARE` of sysexits(3).
const BROKEN: i32 = 70;

/// How far a worker has got with a task that is on the board.
pub(super) mod phase {
    /// It runs.
    pub(crate) const RUNNING: u32 = 0;
    /// It is done, and its result is being sent.
    pub(crate) const SENDING: u32 = 1;
    /// It is being decoded, and has not begun.
    pub(crate) const DECODING: u32 = 2;
}

/// Become a worker, if this process was started as one: then this call runs tasks, and never returns. In any other
/// process it returns at once.
///
/// To be called at the very start of `main` in every program that makes a pool, before threads are started or arguments
/// are looked at: workers are this program, run again. `K` is the type of the tasks; a program that has several pools
/// names all their types, as a tuple.
///
/// # Examples
///
/// See [the module](super).
pub fn run_if_worker<K: Kinds>() {
    let Ok(order) = std::env::var(VARIABLE) else {
        return;
    };
    // The variable may reach programs that a worker starts, too. The link does not.
    let Ok(link) = inherit_fd(LINK) else {
        return;
    };
    spawn::restore_name();
    standing::claim();
    let link = Arc::new(Link::from(link));
    // A parent of another version may write it in another way. It learns that this program does not fit.
    let order = standing::Assignment::parse(&order);
    let order = sealed::Order {
        wanted: order.as_ref().map_or("", |order| &order.wanted),
        slot: order.as_ref().map_or(u32::MAX, |order| order.slot),
        starter: order.as_ref().map(|order| order.starter),
        link,
    };
    if !K::serve(&order) {
        K::refuse(&order);
    }
    exit(BROKEN)
}

/// Tells the parent, once, that this process starts a pool instead of becoming a worker. Never waits.
pub(super) fn renounce() {
    static TOLD: OnceLock<()> = OnceLock::new();
    if TOLD.set(()).is_ok()
        && let Ok(link) = borrow_fd(LINK)
    {
        // A parent that can't be told finds out by this process's end.
        let _ = Link::from(link).try_send(&FromWorker::Renounced.encode());
    }
}

/// The types of tasks that a program's workers can run: one [`Task`], or a tuple of up to eight of them.
///
/// # Examples
///
/// ```
/// use workring::pool::{Context, Pool, Task, run_if_worker};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Double(u64);
///
/// impl Task for Double {
///     type Output = u64;
///     type Error = ();
///
///     fn run(self, _: &Context) -> Result<u64, ()> {
///         Ok(2 * self.0)
///     }
/// }
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Shout(String);
///
/// impl Task for Shout {
///     type Output = String;
///     type Error = ();
///
///     fn run(self, _: &Context) -> Result<String, ()> {
///         Ok(self.0.to_uppercase())
///     }
/// }
///
/// fn main() {
///     run_if_worker::<(Double, Shout)>();
///     let numbers = Pool::<Double>::builder().workers(1).start().expect("a pool");
///     let words = Pool::<Shout>::builder().workers(1).start().expect("a pool");
///     let number = numbers.submit(Double(4)).expect("open").wait().expect("an output");
///     let word = words.submit(Shout("four".to_owned())).expect("open").wait().expect("an output");
///     assert_eq!((number, word.as_str()), (8, "FOUR"));
/// }
/// ```
pub trait Kinds: sealed::Kinds {}

mod sealed {
    use super::{Link, Starter};
    use std::sync::Arc;

    /// What a worker was started for.
    #[derive(Debug)]
    pub struct Order<'a> {
        pub(super) wanted: &'a str,
        pub(super) slot: u32,
        pub(super) starter: Option<Starter>,
        pub(super) link: Arc<Link>,
    }

    pub trait Kinds {
        /// Serve, and never return; unless other tasks are wanted: false.
        fn serve(order: &Order<'_>) -> bool;
        /// Tell the parent what this program has instead, and wait until it has heard that.
        fn refuse(order: &Order<'_>);
    }
}

impl<T: Task> Kinds for T {}

impl<T: Task> sealed::Kinds for T {
    fn serve(order: &sealed::Order<'_>) -> bool {
        if order.wanted != type_name::<T>() {
            return false;
        }
        Worker::<T>::enter(order).work()
    }

    fn refuse(order: &sealed::Order<'_>) {
        let _ = greet::<T>(&order.link);
    }
}

macro_rules! kinds {
    ($first:ident $(, $other:ident)*) => {
        impl<$first: Task, $($other: Task),*> Kinds for ($first, $($other,)*) {}

        impl<$first: Task, $($other: Task),*> sealed::Kinds for ($first, $($other,)*) {
            fn serve(order: &sealed::Order<'_>) -> bool {
                <$first as sealed::Kinds>::serve(order) $(|| <$other as sealed::Kinds>::serve(order))*
            }

            fn refuse(order: &sealed::Order<'_>) {
                <$first as sealed::Kinds>::refuse(order);
            }
        }
    };
}

kinds!(A);
kinds!(A, B);
kinds!(A, B, C);
kinds!(A, B, C, D);
kinds!(A, B, C, D, E);
kinds!(A, B, C, D, E, F);
kinds!(A, B, C, D, E, F, G);
kinds!(A, B, C, D, E, F, G, H);

/// What both sides say of themselves, to see whether they fit.
pub(super) fn identity<T: Task>() -> Identity {
    Identity {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema: T::SCHEMA,
        task: type_name::<T>().to_owned(),
        output: type_name::<T::Output>().to_owned(),
        error: type_name::<T::Error>().to_owned(),
    }
}

/// Say what this process is. What the parent wants; `None`: it wants no worker any more, or not this one, which it ends.
fn greet<T: Task>(link: &Link) -> Option<Terms> {
    let pid = process::id();
    link.send(&FromWorker::Process { pid }.encode()).ok()?;
    link.send(&FromWorker::Hello(identity::<T>()).encode())
        .ok()?;
    loop {
        match hear(link) {
            Heard::Said(FromParent::Welcome(terms)) => return Some(terms),
            Heard::Nonsense => {}
            Heard::Said(_) | Heard::Nobody => return None,
        }
    }
}

/// What the parent says next.
enum Heard {
    Said(FromParent),
    Nonsense,
    /// It has ended.
    Nobody,
}

fn hear(link: &Link) -> Heard {
    hear_with(link, None)
}

/// As [`hear`], but the end of this process, the parent, is enough: somebody else may have its side of the link open.
fn hear_with(link: &Link, parent: Option<&OwnedFd>) -> Heard {
    if let Some(parent) = parent {
        let mut poll = Poll::new();
        let said = poll.readable(link.as_fd());
        poll.readable(parent.as_fd());
        if poll.wait(None).is_ok() && !poll.is_ready(said) {
            return Heard::Nobody;
        }
    }
    let mut buffer = [0; LONGEST];
    match link.recv(&mut buffer) {
        Ok(Received::Datagram(bytes)) => {
            FromParent::decode(bytes).map_or(Heard::Nonsense, Heard::Said)
        }
        Ok(Received::TooLong(_) | Received::Nothing) => Heard::Nonsense,
        Ok(Received::Closed) | Err(_) => Heard::Nobody,
    }
}

/// A worker at work.
struct Worker<T: Task> {
    link: Arc<Link>,
    terms: Terms,
    /// Tasks to be done before it stops by itself.
    left: u64,
    pace: Pace,
    tasks: Receiver<Vec<u8>, Raw>,
    results: Sender<Answer<T>, ResultCodec<T>>,
    context: Context,
    watcher: JoinHandle<()>,
}

impl<T: Task> Worker<T> {
    /// Take over what this process was given, and prepare it; it ends if that can't be done.
    fn enter(order: &sealed::Order<'_>) -> Self {
        let link = &order.link;
        panics::install(Arc::clone(link));
        let Some(terms) = greet::<T>(link) else {
            exit(0);
        };
        Self::take_over(order, terms).unwrap_or_else(|what| {
            let what = shortened(what);
            let _ = link.send(&FromWorker::Unfit { what }.encode());
            exit(BROKEN)
        })
    }

    fn take_over(order: &sealed::Order<'_>, terms: Terms) -> Result<Self, String> {
        let tasks = inherit_as(TASKS, T::SCHEMA).map_err(|error| with_causes(&error))?;
        let tasks: Receiver<Envelope<T>, TaskCodec> = tasks;
        // As bytes: they are decoded when they are on the board.
        let tasks = tasks.decoding::<Vec<u8>, Raw>();
        let results = inherit_as(RESULTS, T::SCHEMA).map_err(|error| with_causes(&error))?;
        let board = inherit_fd(BOARD).map_err(|error| with_causes(&error))?;
        let board = Board::attach(board).map_err(|refusal| format!("the board: {refusal:?}"))?;
        if board.slot(order.slot).is_none() {
            return Err(format!("the board has no slot {}", order.slot));
        }
        let desk = Arc::new(Desk {
            board,
            slot: order.slot,
            stopping: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
        });
        // Without it, it is killed with its parent, and what it has started is not.
        let parent = match order.starter.filter(|starter| starter.is_visible()) {
            Some(starter) => child::watch_starter(starter.process, starter.started),
            None => child::watch_parent(),
        };
        let parent = parent.ok();
        let (link, desk_of_watcher) = (Arc::clone(&order.link), Arc::clone(&desk));
        let watcher = watch(link, parent, desk_of_watcher, tasks.interrupter())?;
        if terms.adopts_orphans {
            child::adopt_orphans()
                .map_err(|error| format!("it can't adopt its descendants: {error}"))?;
        }
        if let Some(bytes) = terms.addresses {
            child::limit_own_addresses(bytes)
                .map_err(|error| format!("its addresses can't be limited: {error}"))?;
        }
        // The error's text is the user's code, too.
        let prepare = || T::prepare_worker().map_err(|error| error.to_string());
        match catch(|| forward::preparing(&order.link, terms.verbosity, prepare)) {
            Ok(prepared) => prepared?,
            Err(panic) => return Err(panic.to_string()),
        }
        let context = Context {
            desk,
            id: super::task::TaskId(0),
            attempt: 0,
        };
        Ok(Self {
            link: Arc::clone(&order.link),
            terms,
            left: terms.tasks.unwrap_or(u64::MAX),
            pace: Pace::default(),
            tasks,
            results,
            context,
            watcher,
        })
    }

    /// Run tasks until there are no more, or none are wanted; then end.
    fn work(mut self) -> ! {
        self.say(&FromWorker::Ready);
        while !self.context.desk.is_stopping() {
            self.pace.give_way_if(|| self.tasks.is_empty());
            match self.tasks.lease_bytes() {
                Ok(lease) => {
                    self.pace.step();
                    let tasks = self.perform(&lease);
                    lease.ack();
                    self.left = self.left.saturating_sub(tasks);
                    let spent = self.left == 0 && !mutant!(NeverRecycled);
                    if spent || self.has_grown() {
                        break;
                    }
                }
                Err(RecvError::Closed) => break,
                Err(RecvError::Interrupted) => {}
                Err(error) => self.give_up(&with_causes(&error)),
            }
        }
        self.leave()
    }

    /// Whether it has more memory in use than it may keep.
    fn has_grown(&self) -> bool {
        let limit = self.terms.resident;
        limit.is_some_and(|limit| child::own_resident().is_ok_and(|used| used > limit))
    }

    /// Runs the tasks of a message, and returns how many there were.
    fn perform(&mut self, message: &[u8]) -> u64 {
        let letter = match Letter::open(message) {
            Ok(letter) => letter,
            Err(error) => {
                // Never sent by a parent of this version: nobody waits for it.
                self.report(format!("a message without a ticket was skipped: {error}"));
                return 0;
            }
        };
        let mut count = 0;
        for (ticket, task) in letter {
            count += 1;
            if count > 1 && mutant!(ChunkTailLost) {
                continue;
            }
            match task {
                Ok(bytes) => self.perform_task(ticket, bytes),
                Err(error) => self.send(ticket, Done::Transport(error.to_string())),
            }
        }
        count
    }

    fn perform_task(&mut self, ticket: Ticket, bytes: &[u8]) {
        if self.context.desk.is_cancelled(ticket.id) {
            self.send(ticket, Done::Cancelled);
            return;
        }
        let done = self.run(bytes, ticket);
        self.line().set_phase(phase::SENDING);
        if mutant!(LineEndedBeforeAnswer) {
            self.line().end();
        }
        self.send(ticket, done);
        if self.terms.tells_tasks {
            self.say(&FromWorker::Ended { task: ticket.id.0 });
        }
        self.line().end();
    }

    fn run(&mut self, bytes: &[u8], ticket: Ticket) -> Done<T::Output, T::Error> {
        let line = self.line();
        line.set_phase(phase::DECODING);
        line.begin(ticket.id.0, clock::about_now());
        if self.terms.tells_tasks {
            self.say(&FromWorker::Began { task: ticket.id.0 });
        }
        let task = match catch(|| decode_task::<T>(bytes)) {
            Ok(Ok(task)) => task,
            Ok(Err(what)) => return Done::Transport(what),
            Err(panic) => return Done::Transport(format!("decoding the task: {panic}")),
        };
        self.line().set_phase(phase::RUNNING);
        self.context.id = ticket.id;
        self.context.attempt = ticket.attempt.into();
        let context = &self.context;
        match catch(|| task.run(context)) {
            Ok(Ok(output)) => Done::Output(output),
            Ok(Err(error)) => Done::Failed(error),
            Err(panic) => Done::Panicked(panic),
        }
    }

    /// This worker's line on the board.
    #[inline(always)]
    fn line(&self) -> &Slot {
        let desk = &*self.context.desk;
        match desk.board.slot(desk.slot) {
            Some(line) => line,
            None => self.give_up("the board has gone"),
        }
    }

    /// Sends what became of a task. One that can't be sent is told as such: each task has an outcome.
    fn send(&self, ticket: Ticket, done: Done<T::Output, T::Error>) {
        let answer = Answer { ticket, done };
        let what = match catch(|| self.results.send_ref(&answer)) {
            // Closed: the parent wants no more results.
            Ok(Ok(()) | Err(SendError::Closed(()))) => None,
            Ok(Err(error @ (SendError::Forked(()) | SendError::Corrupt { .. }))) => {
                self.give_up(&with_causes(&error))
            }
            Ok(Err(SendError::TooLarge { len, max, .. })) => Some(format!(
                "the output has {len} bytes, the largest may have {max}: raise `Builder::max_message_len`"
            )),
            Ok(Err(error)) => Some(with_causes(&error)),
            Err(panic) => Some(panic.to_string()),
        };
        if let Some(what) = what {
            let done = Done::Transport(shortened(what));
            if let Err(error) = self.results.send_ref(&Answer { ticket, done })
                && !error.is_closed()
            {
                self.give_up(&with_causes(&error));
            }
        }
        // The outcome is known: a panic of its `Drop` changes nothing any more.
        if let Err(panic) = catch(|| drop(answer)) {
            self.report(format!("dropping what task {} gave: {panic}", ticket.id));
        }
    }

    /// Lets the parent log something.
    #[cold]
    fn report(&self, what: String) {
        self.say(&FromWorker::Said {
            level: Level::Error,
            target: "workring".to_owned(),
            message: shortened(what),
        });
    }

    fn say(&self, message: &FromWorker) {
        // A parent that has gone is the watcher's business.
        let _ = self.link.send(&message.encode());
    }

    fn leave(self) -> ! {
        self.say(&FromWorker::Stopping);
        // Ends with the parent's farewell.
        let _ = self.watcher.join();
        drop((self.tasks, self.results));
        child::end_own_descendants();
        exit(0)
    }

    /// Something is wrong that this worker can do nothing about. What it has in hand goes back.
    fn give_up(&self, what: &str) -> ! {
        self.report(format!("a worker gives up: {what}"));
        exit(BROKEN)
    }
}

/// Start the thread that listens to the parent.
fn watch(
    link: Arc<Link>,
    parent: Option<OwnedFd>,
    desk: Arc<Desk>,
    interrupter: Interrupter,
) -> Result<JoinHandle<()>, String> {
    let listen = move || {
        loop {
            match hear_with(&link, parent.as_ref()) {
                Heard::Said(FromParent::Farewell) => return,
                Heard::Said(FromParent::Stop) => {}
                // Release, twice: pairs with the loads in `Desk`.
                Heard::Said(FromParent::Cancel) => desk.cancelled.store(true, Ordering::Release),
                Heard::Said(FromParent::Welcome(_)) | Heard::Nonsense => {
                    let said = FromWorker::Said {
                        level: Level::Warn,
                        target: "workring".to_owned(),
                        message: "a message of the parent made no sense, and was skipped"
                            .to_owned(),
                    };
                    let _ = link.send(&said.encode());
                    continue;
                }
                // The parent may have no permission to kill this process.
                Heard::Said(FromParent::End) | Heard::Nobody => child::end_own_group(),
            }
            desk.stopping.store(true, Ordering::Release);
            interrupter.interrupt();
        }
    };
    let builder = thread::Builder::new().name(WATCHER.to_owned());
    builder.spawn(listen).map_err(|error| error.to_string())
}
