//! The parent of a pool, which is killed.

use ipc_tests::{
    jobs::Job,
    role::{Io, Role},
};
use workring::pool::TypedPool;

pub(crate) const ROLES: &[(&str, Role)] = &[("pool", pool)];

/// Starts a pool of two workers, and submits tasks that never end.
///
/// Arguments: the workers' program, and the directory in which the tasks make files.
fn pool(io: &mut Io) {
    let (program, directory): (String, String) = (io.argument(), io.argument());
    let pool = TypedPool::<Job>::builder()
        .program(program)
        .workers(2)
        .start();
    let pool = pool.expect("a pool");
    for _ in 0..2 {
        drop(
            pool.submit(Job::Meet(directory.clone().into()))
                .expect("open"),
        );
    }
    io.say("submitted");
    let _ = pool.drain().count();
}
