//! Both sides see one board, and a file that is no board is refused with a reason.

use super::entry::Running;
use super::*;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;

fn board(workers: u32, tasks: u32) -> Board {
    Board::create(workers, tasks, false).expect("a board")
}

/// The same board, as another process would see it.
fn other_side(board: &Board) -> Result<Board, AttachError> {
    Board::attach(board.as_fd().try_clone_to_owned().expect("a descriptor"))
}

fn entry(board: &Board, number: u32) -> &WorkerEntry {
    board.entry(number).expect("an entry")
}

#[test]
fn an_entry_is_reset_for_the_next_worker() {
    let board = board(1, 8);
    let entry = entry(&board, 0);
    entry.begin(3, 9);
    entry.set_phase(1);
    entry.reset();
    assert_eq!((entry.running(), entry.phase()), (None, 0));
}

#[test]
fn both_sides_see_the_same_board() {
    let parent = board(3, 100);
    let worker = other_side(&parent).expect("a board");
    assert_eq!(worker.size, parent.size);
    assert_eq!((parent.size.workers, parent.size.cells), (3, 128));
    entry(&worker, 2).begin(7, 1000);
    entry(&worker, 2).set_phase(5);
    let (task, started) = (7, 1000);
    let running = Some(Running { task, started });
    assert_eq!(entry(&parent, 2).running(), running);
    assert_eq!(entry(&parent, 2).phase(), 5);
    assert_eq!(entry(&parent, 1).running(), None);
    parent.cancel(7, 2);
    assert_eq!(worker.cancel_reason(7), Some(2));
    assert!(worker.is_cancelled(7) && !worker.is_cancelled(8));
    drop(worker);
    assert_eq!(
        entry(&parent, 2).running(),
        running,
        "the board outlives its writer"
    );
    entry(&parent, 2).reset();
    assert_eq!(
        (entry(&parent, 2).running(), entry(&parent, 2).phase()),
        (None, 0)
    );
}

#[test]
fn an_entry_that_does_not_exist_is_none() {
    let board = board(2, 0);
    assert!(board.entry(1).is_some());
    assert!(board.entry(2).is_none() && board.entry(u32::MAX).is_none());
}

#[test]
fn entries_and_cells_do_not_overlap() {
    let board = board(4, 64);
    for number in 0..4 {
        entry(&board, number).begin(u64::from(number), u64::from(number) + 100);
        entry(&board, number).set_phase(number);
    }
    (0..64).for_each(|task| board.cancel(1000 + task, 3));
    for number in 0..4 {
        let (task, started) = (u64::from(number), u64::from(number) + 100);
        assert_eq!(
            entry(&board, number).running(),
            Some(Running { task, started })
        );
        assert_eq!(entry(&board, number).phase(), number);
    }
    assert!((0..64).all(|task| board.is_cancelled(1000 + task)));
    let header = header(&board.mapping);
    assert_eq!(header.workers.load(Ordering::Relaxed), 4);
}

#[test]
fn a_task_that_shares_a_cell_with_a_cancelled_one_is_not_cancelled() {
    let board = board(1, 16);
    for task in [0, 5, NUMBER - 1] {
        assert!(!board.is_cancelled(task), "{task}");
        board.cancel(task, 1);
        assert!(board.is_cancelled(task), "{task}");
        assert!(!board.is_cancelled(task ^ 16), "{task}");
    }
    board.cancel(5 + 16, 0);
    assert!(board.is_cancelled(5 + 16) && !board.is_cancelled(5));
}

#[test]
fn a_running_task_is_seen_with_its_own_start_or_a_later_one() {
    const TASKS: u64 = 20_000;
    let board = board(1, 1);
    thread::scope(|scope| {
        scope.spawn(|| {
            for task in 0..TASKS {
                entry(&board, 0).begin(task, task);
                if task % 3 == 0 {
                    entry(&board, 0).end();
                }
            }
            entry(&board, 0).begin(TASKS, TASKS);
        });
        let mut last = 0;
        while last < TASKS {
            if let Some(Running { task, started }) = entry(&board, 0).running() {
                assert!(task >= last, "{task} after {last}");
                assert!(started == task || started == task + 1, "{task}: {started}");
                last = task;
            }
        }
    });
}

#[test]
fn a_file_that_is_no_board_is_refused() {
    let error_after_writing = |offset, value: u64| {
        let board = board(2, 16);
        let file = File::from(board.as_fd().try_clone_to_owned().expect("a descriptor"));
        file.write_all_at(&value.to_ne_bytes(), offset)
            .expect("write");
        match other_side(&board).expect_err("a file that is no board") {
            AttachError::NotABoard(what) => what.to_owned(),
            AttachError::Version { theirs, ours } => format!("{theirs}, not {ours}"),
            AttachError::Memory(refused) => panic!("{refused:?}"),
        }
    };
    assert!(error_after_writing(0, 1).contains("mark"));
    assert_eq!(error_after_writing(8, 77), "77, not 4");
    assert!(error_after_writing(16, 3).contains("fit"));
    assert!(error_after_writing(16, 0).contains("range"));
    assert!(error_after_writing(16, u64::MAX).contains("range"));
    assert!(error_after_writing(24, 32).contains("fit"));
    assert!(
        error_after_writing(24, 17).contains("range"),
        "not a power of two"
    );
    assert!(error_after_writing(24, 1 << 63).contains("range"));
    assert!(
        error_after_writing(32, 1).contains("fit"),
        "no room for times"
    );
    assert!(error_after_writing(32, 2).contains("range"));
    let open = File::open("/dev/null").expect("a file");
    assert!(matches!(
        Board::attach(open.into()),
        Err(AttachError::NotABoard(_))
    ));
    let short = memory::create(32, 32).expect("a memfd");
    assert!(matches!(
        Board::attach(short),
        Err(AttachError::NotABoard(_))
    ));
}

#[test]
fn a_size_out_of_range_is_an_error() {
    assert!(matches!(
        Board::create(0, 1, false),
        Err(MemoryError::Os(_))
    ));
    assert!(matches!(
        Board::create(1, u32::MAX, false),
        Err(MemoryError::Os(_))
    ));
    assert_eq!(board(1, 0).size.cells, CELLS_PER_LINE);
}
