//! Python's `concurrent.futures.ProcessPoolExecutor`.

use std::process::Command;
use std::sync::Once;

/// Prints how many millions of tasks it has done a second, after its workers have been started and warmed up.
const SCRIPT: &str = r"
import sys, time
from concurrent.futures import ProcessPoolExecutor

def no_op(task):
    return task

if __name__ == '__main__':
    workers, chunk, tasks = map(int, sys.argv[1:])
    with ProcessPoolExecutor(workers) as pool:
        source = lambda count: (number.to_bytes(64, 'little') for number in range(count))
        for _ in pool.map(no_op, source(1000), chunksize=chunk):
            pass
        began = time.perf_counter()
        total = sum(int.from_bytes(task, 'little') for task in pool.map(no_op, source(tasks), chunksize=chunk))
        took = time.perf_counter() - began
        assert total == tasks * (tasks - 1) // 2
        print(tasks / took / 1e6)
";

/// Millions of tasks a second; `None` where there is no Python.
pub(crate) fn run(workers: usize, chunk: usize) -> Option<f64> {
    static SAID: Once = Once::new();
    let tasks = if chunk == 1 { 5_000 } else { 100_000 };
    let arguments = [workers, chunk, tasks].map(|argument| argument.to_string());
    let output = Command::new("python3")
        .args(["-c", SCRIPT])
        .args(arguments)
        .output();
    let figure = output.as_ref().ok().and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().ok()
    });
    if figure.is_none() {
        SAID.call_once(|| println!("# Python is left out: {output:?}"));
    }
    figure
}
