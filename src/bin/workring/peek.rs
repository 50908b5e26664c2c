//! `peek`: messages, without taking them.

use super::args::Peek;
use super::exit::End;
use super::json;
use super::output;
use super::text;
use serde_json::{Value, json};
use workring::inspect::{Address, Message, Place, QueueView};

pub(crate) fn run(args: &Peek) -> Result<(), End> {
    let mut places = vec![Place::Returned, Place::Queued];
    if args.held {
        places.push(Place::Held);
    }
    if args.dead {
        places.push(Place::Dead);
    }
    let shown = Shown {
        count: args.count,
        max_bytes: args.max_bytes,
        hex: args.hex,
        json: args.json,
    };
    show(&args.name, &places, &shown)
}

/// What to show of which messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) count: usize,
    pub(crate) max_bytes: usize,
    pub(crate) hex: bool,
    pub(crate) json: bool,
}

/// Prints the messages in these places.
pub(crate) fn show(name: &Address, places: &[Place], shown: &Shown) -> Result<(), End> {
    let view = QueueView::open(name).map_err(|error| End::not_opened(name, &error))?;
    let found = view.messages(places, shown.count, shown.max_bytes);
    let found = found.map_err(|error| End::not_opened(name, &error))?;
    let settings = view.settings();
    if shown.json {
        let messages: Vec<Value> = found.iter().map(json::message).collect();
        let value = json!({
            "version": json::VERSION,
            "name": name.to_string(),
            "raw": settings.is_raw,
            "messages": messages,
        });
        output::print(&json::pretty(&value))?;
    } else {
        let as_hex = shown.hex || !settings.is_raw;
        let lines: String = found.iter().map(|message| line(message, as_hex)).collect();
        output::print(&lines)?;
    }
    if found.is_empty() {
        return Err(End::Empty(format!("{name}: there is nothing to show")));
    }
    Ok(())
}

fn line(message: &Message, as_hex: bool) -> String {
    let number = match message.in_batch {
        Some(number) => format!("{}.{number}", message.position),
        None => message.position.to_string(),
    };
    let place = match message.place {
        Place::Queued => String::new(),
        place => format!(" {}", json::place(place)),
    };
    let failed = match message.failed_deliveries {
        0 => String::new(),
        failed => format!(" failed {failed}"),
    };
    let bytes = if as_hex {
        text::hex(&message.bytes)
    } else {
        text::escaped(&message.bytes)
    };
    let rest = if message.bytes.len() < message.len {
        "…"
    } else {
        ""
    };
    format!("{number}{place}{failed} {} B: {bytes}{rest}\n", message.len)
}
