//! System calls. Only this module calls the operating system; only it and `segment` contain `unsafe` code.
//!
//! | file                        | kernel facility                                                                  |
//! |-----------------------------|----------------------------------------------------------------------------------|
//! | [`clock`], [`cpu`]          | clocks; prefetch, number of processors, yield                                    |
//! | [`futex`], [`poll`]         | sleeping on a word; waiting for descriptors                                      |
//! | [`wait_many`]               | sleeping on several words                                                        |
//! | [`readiness`]               | waiting for descriptors in the background, all in one thread                     |
//! | [`descriptor`], [`locks`]   | descriptor numbers and flags; byte-range locks                                   |
//! | [`memory`], [`named`]       | sealed memfds and mappings; files in `/dev/shm`                                  |
//! | `shmem`, [`staging`]        | mappings of the crate `shared_memory`; files in `/dev/shm` that are being made   |
//! | [`budget`]                  | memory limits: cgroups, `/proc/meminfo`, `RLIMIT_FSIZE`, `RLIMIT_AS`             |
//! | [`fork`]                    | telling a forked child from its parent                                           |
//! | [`link`], [`pipe`]          | socket pairs; pipes that are read without waiting                                |
//! | `local_socket`, `directory` | sockets with names, and descriptors sent through them; where their names are     |
//! | [`procfs`], [`pidfd`]       | other processes: `/proc`; pidfds, `waitid`                                       |
//! | [`identity`], [`liveness`]  | identifying a process across reuse of ids; deciding whether it is dead           |
//! | [`spawn`], [`inherit`]      | starting a program; what it inherits                                             |
//! | `signals`, `constructor`, `stack_overflow` | for a worker that begins before `main`: signal dispositions; the macro for that; a report |
//! | [`mark`], [`environment`]   | how a process recognises later how it was started                                |
//! | [`program`]                 | which program a process runs, and which build of it                              |
//! | [`child`]                   | handle of a child process, with its group and descendants                        |
//! | [`group`], `tree`           | process groups; killing all descendants                                          |
//! | [`open_files`], [`facilities`] | for the command line: files that other processes have open; what this machine has |
//! | [`parent`], [`subreaper`]   | the child's side: noticing its parent's end, killing itself; adopting orphans    |
//! | [`memory_use`]              | resident memory of a process, limit of its address space                         |
//! | [`process_limits`]          | niceness, processors and resource limits of a child                              |
#![allow(
    unsafe_code,
    reason = "system calls and processor hints; each block states its reason"
)]

pub(crate) mod budget;
pub(crate) mod child;
pub(crate) mod clock;
mod constructor;
pub(crate) mod cpu;
pub(crate) mod descriptor;
#[cfg(feature = "rendezvous")]
pub(crate) mod directory;
pub(crate) mod environment;
#[cfg(feature = "cli")]
pub(crate) mod facilities;
pub(crate) mod fork;
pub(crate) mod futex;
mod group;
pub(crate) mod identity;
pub(crate) mod inherit;
pub(crate) mod link;
pub(crate) mod liveness;
#[cfg(feature = "rendezvous")]
pub(crate) mod local_socket;
pub(crate) mod locks;
pub(crate) mod mark;
pub(crate) mod membarrier;
pub(crate) mod memory;
pub(crate) mod memory_use;
pub(crate) mod named;
#[cfg(feature = "cli")]
pub(crate) mod open_files;
pub(crate) mod parent;
pub(crate) mod pidfd;
pub(crate) mod pipe;
pub(crate) mod poll;
pub(crate) mod process_limits;
pub(crate) mod procfs;
pub(crate) mod program;
pub(crate) mod readiness;
#[cfg(feature = "shared-memory")]
pub(crate) mod shmem;
#[cfg(feature = "macros")]
pub(crate) mod signals;
pub(crate) mod spawn;
#[cfg(feature = "macros")]
pub(crate) mod stack_overflow;
pub(crate) mod staging;
pub(crate) mod subreaper;
mod tree;
pub(crate) mod wait_many;
