//! `stat`: one queue or one pool, in full.

use super::args::Stat;
use super::exit::End;
use super::json;
use super::observe::{Look, Observer, Seen, pool_at};
use super::output::{self, Align, Cell, Style, Table, Tone};
use super::text;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;
use workring::inspect::{Address, Peer, PeerLiveness, Pool};

pub(crate) fn run(args: &Stat) -> Result<(), End> {
    let mut observer = Observer::default();
    let style = Style::of_stdout();
    if let Some(pool) = pool_at(&args.name) {
        return run_pool(args, pool, style);
    }
    if !args.sample.is_zero() {
        observer.look(args.name.clone(), Vec::new());
        thread::sleep(args.sample);
    }
    if args.repeat.watch.is_some() && !args.repeat.json {
        output::clear()?;
    }
    loop {
        let look = observer.look(args.name.clone(), Vec::new());
        let seen = match &look.seen {
            Ok(seen) => seen,
            Err(error) => return Err(End::not_opened(&look.address, error)),
        };
        let shown = match (args.repeat.json, args.repeat.watch) {
            (false, _) => describe(&look, seen, style),
            (true, None) => json::pretty(&json::look(&look)),
            (true, Some(_)) => json::line(&json::look(&look)),
        };
        if !show(args, &shown)? {
            return Ok(());
        }
    }
}

/// Prints, and waits for the next time. Returns whether there is one.
fn show(args: &Stat, shown: &str) -> Result<bool, End> {
    match args.repeat.watch {
        None => output::print(shown)?,
        Some(_) if args.repeat.json => output::print(shown)?,
        Some(_) => output::print_again(shown)?,
    }
    if let Some(interval) = args.repeat.watch {
        thread::sleep(interval);
    }
    Ok(args.repeat.watch.is_some())
}

fn run_pool(args: &Stat, first: Pool, style: Style) -> Result<(), End> {
    if args.repeat.watch.is_some() && !args.repeat.json {
        output::clear()?;
    }
    let mut pool = Some(first);
    while let Some(found) = &pool {
        let shown = match (args.repeat.json, args.repeat.watch) {
            (false, _) => describe_pool(found, style),
            (true, None) => json::pretty(&json::pool(found)),
            (true, Some(_)) => json::line(&json::pool(found)),
        };
        if !show(args, &shown)? {
            return Ok(());
        }
        pool = pool_at(&args.name);
    }
    Err(End::NotFound(format!("{}: the pool has ended", args.name)))
}

/// The width of the names of facts.
const NAMES: usize = 13;

fn fact(style: Style, name: &str, value: &str) -> String {
    format!(
        "{} {value}\n",
        style.paint(Tone::Dim, &format!("{name:<NAMES$}"))
    )
}

/// Returns what there is to say of a queue.
pub(crate) fn describe(look: &Look, seen: &Seen, style: Style) -> String {
    let snapshot = &seen.snapshot;
    let (state, tone) = super::list::state(seen);
    let mut text = fact(style, "queue", &look.address.to_string());
    text += &fact(style, "state", &style.paint(tone, state));
    if let Some(damage) = snapshot.damage {
        let advice = format!("{damage}: make a new queue, and find out which process writes to it");
        text += &fact(style, "damage", &style.paint(Tone::Bad, &advice));
    }
    for (name, value) in facts(seen) {
        text += &fact(style, name, &value);
    }
    if !snapshot.is_settled {
        text += &fact(
            style,
            "note",
            "busy: the numbers are of slightly different moments",
        );
    }
    text.push('\n');
    text + &peers(seen).render(style)
}

/// Returns the names and values of the figures.
fn facts(seen: &Seen) -> Vec<(&'static str, String)> {
    let (snapshot, settings) = (&seen.snapshot, &seen.settings);
    let figures = &snapshot.figures;
    let limit = settings
        .memory_limit
        .map_or("no limit".to_owned(), |limit| {
            format!("limit {}", text::bytes(limit))
        });
    let rates = seen
        .rates
        .map_or("not known: one look only".to_owned(), |rates| {
            let (accepted, acknowledged) =
                (text::rate(rates.accepted), text::rate(rates.acknowledged));
            format!("{accepted}/s in, {acknowledged}/s out")
        });
    let longest = seen.longest_held().filter(|time| !time.is_zero());
    let longest = longest.map_or(String::new(), |time| {
        format!(", one of them for {} at least", text::time(time))
    });
    let letters = format!(
        "{} (at most {}), {} dropped",
        figures.dead_letters, settings.max_dead_letters, figures.dropped_letters
    );
    vec![
        (
            "depth",
            format!("{} of {}", snapshot.depth, settings.capacity),
        ),
        ("accepted", figures.accepted.to_string()),
        ("acknowledged", figures.acknowledged.to_string()),
        ("queued", figures.queued.to_string()),
        ("held", format!("{}{longest}", figures.held)),
        ("returned", figures.returned.to_string()),
        ("dead letters", letters),
        ("discarded", figures.discarded.to_string()),
        ("rates", rates),
        (
            "memory",
            format!("{}, {limit}", text::bytes(snapshot.memory as u64)),
        ),
        ("messages", kind(seen)),
        ("deliveries", format!("at most {}", settings.max_deliveries)),
        ("deaths", deaths(seen)),
    ]
}

fn kind(seen: &Seen) -> String {
    let settings = &seen.settings;
    let meaning = match &settings.schema {
        Some(schema) => format!("schema {}", text::printable(schema)),
        None => text::printable(&settings.type_name),
    };
    format!(
        "{meaning}; {}; at most {}",
        text::printable(&settings.codec),
        text::bytes(settings.max_message_len as u64)
    )
}

fn deaths(seen: &Seen) -> String {
    let snapshot = &seen.snapshot;
    let last = snapshot.deaths.last().and_then(|death| {
        let ago = death.noticed.elapsed().ok()?;
        let who = death
            .pid
            .map_or("one that had not attached".to_owned(), |pid| {
                format!("pid {pid}")
            });
        Some(format!(", the last {} ago: {who}", text::time(ago)))
    });
    format!(
        "{} recovered{}",
        snapshot.recovered,
        last.unwrap_or_default()
    )
}

fn roles(peer: &Peer) -> &'static str {
    match (peer.sends, peer.receives) {
        (true, true) => "both",
        (true, false) => "sender",
        (false, true) => "receiver",
        (false, false) => "leases",
    }
}

fn peers(seen: &Seen) -> Table {
    let mut table = Table::new(&[
        ("PID", Align::Right),
        ("STATE", Align::Left),
        ("ROLE", Align::Left),
        ("HOLDS", Align::Right),
        ("FOR", Align::Right),
        ("COMMAND", Align::Left),
    ]);
    // The longest time that each process has held something.
    let mut longest: BTreeMap<u16, Duration> = BTreeMap::new();
    for (holding, time) in seen.snapshot.holdings.iter().zip(&seen.held_for) {
        let known = longest.entry(holding.entry).or_default();
        *known = (*known).max(*time);
    }
    for peer in &seen.snapshot.peers {
        let tone = match peer.liveness {
            PeerLiveness::Live => Tone::Good,
            PeerLiveness::Dead => Tone::Bad,
            _ => Tone::Warning,
        };
        let held = longest.get(&peer.entry).filter(|time| !time.is_zero());
        table.push(vec![
            peer.pid
                .map_or("-".to_owned(), |pid| pid.to_string())
                .into(),
            Cell::toned(json::liveness(peer.liveness), tone),
            roles(peer).into(),
            text::count(peer.holds).into(),
            held.map_or(String::new(), |time| format!(">={}", text::time(*time)))
                .into(),
            text::printable(peer.command.as_deref().unwrap_or("-")).into(),
        ]);
    }
    table
}

/// Returns what there is to say of a pool.
pub(crate) fn describe_pool(pool: &Pool, style: Style) -> String {
    let queue = |address: &Option<Address>| {
        address
            .as_ref()
            .map_or("not known".to_owned(), Address::to_string)
    };
    let mut text = fact(style, "pool", &pool.address.to_string());
    let parent = pool.parent.map_or("gone".to_owned(), |pid| pid.to_string());
    text += &fact(style, "parent", &parent);
    let task_type = text::printable(pool.task_type.as_deref().unwrap_or("not known"));
    text += &fact(style, "tasks", &task_type);
    text += &fact(style, "task queue", &queue(&pool.tasks));
    text += &fact(style, "result queue", &queue(&pool.results));
    if let Some(problem) = &pool.problem {
        text += &fact(style, "problem", &style.paint(Tone::Bad, problem));
    }
    text.push('\n');
    text + &workers(pool).render(style)
}

fn workers(pool: &Pool) -> Table {
    let mut table = Table::new(&[
        ("WORKER", Align::Right),
        ("PID", Align::Right),
        ("STATE", Align::Left),
        ("TASK", Align::Right),
        ("AGE", Align::Right),
    ]);
    for worker in &pool.workers {
        let (state, tone) = match (worker.pid, worker.is_stopped, worker.task) {
            (None, _, _) => ("none", Tone::Dim),
            (_, true, _) => ("stopped", Tone::Warning),
            (_, _, Some(task)) => (task.phase, Tone::Good),
            (_, _, None) => ("idle", Tone::Plain),
        };
        let task = worker.task;
        table.push(vec![
            worker.slot.to_string().into(),
            worker
                .pid
                .map_or("-".to_owned(), |pid| pid.to_string())
                .into(),
            Cell::toned(state, tone),
            task.map_or(String::new(), |task| task.id.to_string())
                .into(),
            task.map_or(String::new(), |task| text::time(task.age))
                .into(),
        ]);
    }
    table
}
