//! Supervision of worker processes: one thread starts them, waits for them, ends them, and replaces them.
//!
//! | file                          | content                                                                       |
//! |-------------------------------|-------------------------------------------------------------------------------|
//! | `slot`                        | the state of one worker process                                               |
//! | `supervisor`                  | the state of the supervisor thread                                            |
//! | `run`                         | the thread's loop                                                             |
//! | `launch`                      | starting a process                                                            |
//! | `startup`                     | filling a slot; the start of the pool                                         |
//! | `messages`                    | messages of workers                                                           |
//! | `deaths`                      | reaping a worker that has died, and refilling its slot                        |
//! | `death_report`, `reporting`   | the event of a death: what it says; gathering that                            |
//! | `lost_tasks`                  | what becomes of the tasks that a dead worker had leased                       |
//! | `held_tasks`, `holding`       | tasks that are not due yet: which; what becomes of them                       |
//! | `limits`                      | time limits, memory limits, and kills of cancelled tasks                      |
//! | `overdue`                     | workers that exceed their age, or the time that they have to start or to stop |
//! | `staffing`                    | the number of workers                                                         |
//! | `rollout_list`                | the changes of the workers that are under way                                 |
//! | `rollout`                     | rolling restarts, and another number of workers                               |
//! | `outage`                      | what becomes of tasks while no worker can be started                          |
//! | `stopping`                    | the end of the pool                                                           |
//! | `captured`                    | a standard stream of a worker that is captured                                |
//! | `output`                      | what workers write, if it is captured                                         |
//! | `publication`                 | the figures for other threads                                                 |
//! | `strays`                      | reaping descendants of workers                                                |
//! | `reasons`, `watchlist`, `log` | why a worker ends; what the thread waits for; what it logs                    |

mod captured;
mod death_report;
mod deaths;
mod held_tasks;
mod holding;
mod launch;
mod limits;
mod log;
mod lost_tasks;
mod messages;
mod outage;
mod output;
mod overdue;
mod publication;
mod reasons;
mod reporting;
mod rollout;
mod rollout_list;
mod run;
mod slot;
mod staffing;
mod startup;
mod stopping;
mod strays;
mod supervisor;
mod watchlist;

pub(super) use launch::Launcher;
pub(super) use supervisor::Supervisor;
