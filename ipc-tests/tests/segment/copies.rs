//! What `stepkill` relies on: a copy of a queue's memory is a queue of its own. In the copy, all other processes that
//! are attached to the queue are dead, while they live on in the queue itself.

use ipc_tests::support::{LIMIT, dismiss, hand_over, sleepy};
use ipc_tests::{
    guarded,
    memfd::{self, Contents},
};
use workring::{
    Receiver, Sender,
    error::{OpenError, TryRecvError},
    test_hooks,
};

fn copy(rx: &Receiver<u32>) -> (Option<Sender<u32>>, Receiver<u32>) {
    let mut contents = Contents::default();
    contents.read(&memfd::again(test_hooks::memory(rx)));
    test_hooks::stand_in(rx, contents.to_file()).expect("a copy")
}

#[test]
fn in_a_copy_the_other_processes_are_dead() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8).channel::<u32>().expect("a queue");
        let mut holder = hand_over("victim", &[], |handoff| handoff.give("tasks", &rx));
        assert_eq!(holder.answer(), "ready");
        tx.send(1).expect("room");
        tx.send(2).expect("room");
        holder.say("lease");
        assert_eq!(holder.answer(), "leased");
        let id = holder.pid().as_raw().try_into().expect("a process id");
        let (copied_tx, copied) = copy(&rx);
        copied.report_exit(id);
        assert_eq!(copied.stats().recovered, 1);
        copied_tx
            .expect("this process has a sender")
            .send(3)
            .expect("room");
        let all: Vec<u32> = copied.try_iter().collect::<Result<_, _>>().expect("open");
        assert_eq!(all, [1, 2, 3], "the message that it held comes first");
        drop(copied);
        rx.report_exit(id);
        assert_eq!(rx.stats().recovered, 0, "it lives");
        assert_eq!(rx.try_recv().expect("a message"), 2);
        let left = rx.try_recv();
        assert!(matches!(left, Err(TryRecvError::Empty)), "{left:?}");
        dismiss(holder);
    });
}

#[test]
fn a_copy_has_a_sender_only_if_this_process_has_one() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8)
            .close_on_last_sender(false)
            .channel::<u32>()
            .expect("a queue");
        drop(tx);
        let (tx, _rx) = copy(&rx);
        assert!(tx.is_none());
    });
}

#[test]
fn the_queue_itself_is_no_copy() {
    guarded(LIMIT, || {
        let (_tx, rx) = sleepy(8).channel::<u32>().expect("a queue");
        let itself = memfd::again(test_hooks::memory(&rx));
        let refused = test_hooks::stand_in(&rx, itself.into());
        assert!(
            matches!(refused, Err(OpenError::NotAQueue { .. })),
            "{refused:?}"
        );
    });
}
