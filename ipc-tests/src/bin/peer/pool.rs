//! A parent of workers, to be killed.

use ipc_tests::{
    jobs::Job,
    role::{Io, Role},
};
use workring::pool::Pool;

pub(crate) const ROLES: &[(&str, Role)] = &[("pool", pool)];

/// Starts a pool of two, and submits tasks that never end: its arguments are the workers' program and the place to meet.
fn pool(io: &mut Io) {
    let (program, place): (String, String) = (io.argument(), io.argument());
    let pool = Pool::<Job>::builder().program(program).workers(2).start();
    let pool = pool.expect("a pool");
    for _ in 0..2 {
        drop(pool.submit(Job::Meet(place.clone().into())).expect("open"));
    }
    io.say("submitted");
    let _ = pool.drain().count();
}
