//! `gc`: named queues that no process uses any more, and what makers of queues have left that were killed.

use super::args::Gc;
use super::exit::End;
use super::json;
use super::output;
use super::steer::remove_one;
use super::text;
use serde_json::{Value, json};
use std::time::Duration;
use workring::error::OpenError;
use workring::inspect::{
    Address, PeerLiveness, QueueView, Staged, named, remove_leftover, staged, unused_for,
};

/// What becomes of a queue, or of a file that was to become one.
struct Judged {
    name: String,
    /// Whether its maker has not completed it.
    is_incomplete: bool,
    idle: Duration,
    /// Why the queue stays; `None`: it goes.
    kept: Option<String>,
}

pub(crate) fn run(args: &Gc) -> Result<(), End> {
    let mut judged: Vec<Judged> = named()?
        .into_iter()
        .filter_map(|name| judge(name, args))
        .collect();
    judged.extend(staged()?.into_iter().map(judge_staged));
    if !args.dry_run {
        for queue in judged.iter_mut().filter(|queue| queue.kept.is_none()) {
            queue.kept = remove(queue).err();
        }
    }
    let shown = if args.json {
        let queues: Vec<Value> = judged.iter().map(as_json).collect();
        json::pretty(&json!({
            "version": json::VERSION,
            "dry_run": args.dry_run,
            "queues": queues,
        }))
    } else {
        judged
            .iter()
            .map(|queue| line(queue, args.dry_run))
            .collect()
    };
    Ok(output::print(&shown)?)
}

/// Removes a queue or a leftover. The error says why it stays.
fn remove(queue: &Judged) -> Result<(), String> {
    if queue.is_incomplete {
        let is_gone = remove_leftover(&queue.name);
        return is_gone
            .then_some(())
            .ok_or_else(|| "it cannot be removed".to_owned());
    }
    remove_one(&queue.name, false).map_err(|error| match error {
        End::Refused(text) | End::Failed(text) | End::NotFound(text) => text,
        other => format!("{other:?}"),
    })
}

/// Returns whether a file that has not become a queue can go: at any age, if its maker has ended.
fn judge_staged(file: Staged) -> Judged {
    let kept = (!file.is_leftover).then(|| "its maker may be alive and complete it".to_owned());
    Judged {
        idle: unused_for(&file.name),
        name: file.name,
        is_incomplete: true,
        kept,
    }
}

/// Returns whether a queue can go; `None`: it is gone already.
fn judge(name: String, args: &Gc) -> Option<Judged> {
    let address = Address::Named(name.clone());
    let (idle, kept) = match QueueView::open(&address) {
        Err(OpenError::NotFound { .. }) => return None,
        // A file that is no queue, or one of a maker that was killed, can go like a queue.
        Err(OpenError::NotAQueue { .. }) => (unused_for(&name), None),
        Err(error) => (unused_for(&name), Some(json::problem(&error))),
        Ok(view) => {
            let snapshot = view.snapshot();
            let is_used = |liveness| liveness != PeerLiveness::Dead;
            let users = snapshot
                .peers
                .iter()
                .filter(|peer| is_used(peer.liveness))
                .count();
            let figures = &snapshot.figures;
            let messages = figures.queued + figures.held + figures.returned;
            let kept = if users > 0 {
                Some(format!("{users} processes use it"))
            } else if messages + figures.dead_letters > 0 && !args.with_messages {
                Some(format!(
                    "it has {messages} messages and {} dead letters: --with-messages removes it",
                    figures.dead_letters
                ))
            } else {
                None
            };
            let idle = unused_for(&name);
            (snapshot.idle.map_or(idle, |swept| swept.min(idle)), kept)
        }
    };
    let young = (idle < args.older_than).then(|| {
        format!(
            "it was used {} ago, less than {}",
            text::time(idle),
            text::time(args.older_than)
        )
    });
    Some(Judged {
        name,
        is_incomplete: false,
        idle,
        kept: kept.or(young),
    })
}

fn line(queue: &Judged, dry_run: bool) -> String {
    let name = &queue.name;
    let why = if queue.is_incomplete {
        "its maker ended before it was complete".to_owned()
    } else {
        format!("unused for {}", text::time(queue.idle))
    };
    match &queue.kept {
        Some(reason) => format!("kept     {name}: {reason}\n"),
        None if dry_run => format!("would go {name}: {why}\n"),
        None => format!("removed  {name}: {why}\n"),
    }
}

fn as_json(queue: &Judged) -> Value {
    json!({
        "name": queue.name,
        "incomplete": queue.is_incomplete,
        "unused_for": json::seconds(queue.idle),
        "removed": queue.kept.is_none(),
        "kept_because": queue.kept,
    })
}
