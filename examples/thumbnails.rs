//! Makes small copies of many images, with a progress bar. Ctrl-C ends it at once.
//!
//!     cargo run --release --example thumbnails -- FILE...
//!
//! Shows errors that reach the caller by `?`, the outcomes of a map in their order, and a clean end by a signal. An image is a
//! byte for its width, and then a byte for each pixel, row by row. The copy of `x.image` is `x.thumb`.

use indicatif::ProgressBar;
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, thread};
use workring::pool::{Failure, Pool, Shutdown};

workring::auto_worker!();

/// Makes a copy of an image with one of `factor` pixels in each direction. Returns its width and height.
#[workring::task]
fn thumbnail(path: PathBuf, factor: usize) -> Result<(u8, usize), Failure> {
    let image = fs::read(&path)?;
    let missing = || Failure::new("the image has no complete row");
    let (&width, pixels) = image.split_first().ok_or_else(missing)?;
    if width == 0 || !pixels.len().is_multiple_of(width.into()) {
        return Err(missing());
    }
    let small_width = u8::try_from(usize::from(width).div_ceil(factor))?;
    let rows = pixels.chunks(width.into()).step_by(factor);
    let height = rows.len();
    let mut small = vec![small_width];
    small.extend(rows.flat_map(|row| row.iter().step_by(factor)));
    fs::write(path.with_extension("thumb"), &small)?;
    Ok((small_width, height))
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let pool = Pool::builder().start()?;
    let bar = ProgressBar::new(paths.len() as u64);
    let mut signals = Signals::new([SIGINT])?;
    let listening = signals.handle();
    let is_interrupted = thread::scope(|scope| {
        let interrupted = scope.spawn(|| {
            let signal = signals.forever().next();
            signal.map(|_| pool.shutdown(Shutdown::Cancel, Duration::ZERO))
        });
        let tasks = paths.iter().map(|path| thumbnail::new(path.clone(), 8));
        for (path, outcome) in paths.iter().zip(pool.map(tasks)) {
            bar.inc(1);
            match outcome.result {
                Ok((width, height)) => println!("{}: {width} x {height}", path.display()),
                Err(error) => println!("{}: {error}", path.display()),
            }
        }
        listening.close();
        interrupted.join().is_ok_and(|report| report.is_some())
    });
    println!(
        "{}",
        pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?
    );
    Ok(ExitCode::from(if is_interrupted { 130 } else { 0 }))
}
