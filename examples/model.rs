//! A model that each worker loads once, and that completes texts word by word.
//!
//!     cargo run --release --example model -- README.md "the" "a worker"
//!
//! Shows state that a worker builds from an argument of its parent, and what a task emits while it runs: each word arrives as
//! soon as it is found. The model knows which word has last followed on which.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::{env, fs, io};
use workring::pool::{Context, Failure, Pool, WorkerState};

workring::auto_worker!();

struct Model(HashMap<String, String>);

impl WorkerState for Model {
    type Init = PathBuf;

    fn build(path: PathBuf) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)?;
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        eprintln!("a worker has loaded {} words", words.len());
        let followers = words.iter().skip(1).cloned();
        Ok(Self(words.iter().cloned().zip(followers).collect()))
    }
}

/// Returns the words that complete a text, and emits each of them as soon as it is found.
#[workring::task]
fn complete(context: &Context, model: &mut Model, text: String) -> Result<String, Failure> {
    let mut words = vec![text.split(' ').next_back().unwrap_or_default().to_owned()];
    while let (Some(last), true) = (words.last(), words.len() < 9) {
        let unknown = || Failure::new(format!("the model does not know what follows on `{last}`"));
        let next = model.0.get(last).ok_or_else(unknown)?.clone();
        context.emit(next.clone())?;
        words.push(next);
    }
    Ok(words.join(" "))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let text = PathBuf::from(arguments.next().ok_or("the first argument is a text")?);
    let pool = Pool::builder().workers(2).init::<Model>(text).start()?;
    let tasks = arguments.map(|text| pool.submit(complete::new(text)));
    for completion in tasks.collect::<Result<Vec<_>, _>>()? {
        for word in completion.progress::<String>() {
            print!("{} ... ", word?.value);
            io::stdout().flush()?;
        }
        match completion.wait() {
            Ok(text) => println!("{text}"),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}
