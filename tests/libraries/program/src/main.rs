//! Uses two libraries, and knows nothing of their pools: `main` has no special first line.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::thread;

fn main() -> Result<(), Box<dyn Error>> {
    let squares = thread::spawn(|| library_numbers::squares(&[7, 8]).expect("squares"));
    println!("twice: {}", library_words::twice("tick")?);
    println!("squares: {:?}", squares.join().expect("no panic"));
    let missing = library_words::words(Path::new("/no/such/file")).expect_err("no file");
    println!("missing: {}", missing.kind());
    Ok(())
}
