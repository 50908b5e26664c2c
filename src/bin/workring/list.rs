//! `ls`: all queues and pools, one line each.

use super::args::Ls;
use super::exit::End;
use super::json;
use super::observe::{Everything, Look, Observer, Seen};
use super::output::{self, Align, Cell, Style, Table, Tone};
use super::text;
use std::thread;
use std::time::Duration;
use workring::inspect::{Address, PeerLiveness, Pool, State};

/// How long `--rates` looks.
const SAMPLE: Duration = Duration::from_millis(200);

pub(crate) fn run(args: &Ls) -> Result<(), End> {
    let mut observer = Observer::default();
    if args.rates {
        observer.everything()?;
        thread::sleep(SAMPLE);
    }
    let style = Style::of_stdout();
    if args.repeat.watch.is_some() && !args.repeat.json {
        super::output::clear()?;
    }
    loop {
        let all = observer.everything()?;
        let shown = if !args.repeat.json {
            table(&all, style)
        } else if args.repeat.watch.is_some() {
            json::line(&json::everything(&all))
        } else {
            json::pretty(&json::everything(&all))
        };
        match args.repeat.watch {
            None => return Ok(output::print(&shown)?),
            Some(_) if args.repeat.json => output::print(&shown)?,
            Some(_) => output::print_again(&shown)?,
        }
        thread::sleep(args.repeat.watch.unwrap_or_default());
    }
}

/// Returns the tables of queues and pools.
pub(crate) fn table(all: &Everything, style: Style) -> String {
    let has_rates = all
        .queues
        .iter()
        .any(|look| look.seen.as_ref().is_ok_and(|seen| seen.rates.is_some()));
    let mut text = if all.queues.is_empty() {
        style.paint(Tone::Dim, "no queues") + "\n"
    } else {
        queues(&all.queues, has_rates).render(style)
    };
    if !all.pools.is_empty() {
        text.push('\n');
        text.push_str(&pools(&all.pools).render(style));
    }
    text
}

fn queues(looks: &[Look], has_rates: bool) -> Table {
    let (accepted, acknowledged) = if has_rates {
        ("IN/s", "OUT/s")
    } else {
        ("IN", "OUT")
    };
    let mut table = Table::new(&[
        ("QUEUE", Align::Left),
        ("STATE", Align::Left),
        ("DEPTH", Align::Right),
        ("HELD", Align::Right),
        ("RET", Align::Right),
        ("DEAD", Align::Right),
        ("MEMORY", Align::Right),
        ("PROC", Align::Right),
        (accepted, Align::Right),
        (acknowledged, Align::Right),
    ]);
    for look in looks {
        table.push(row(look, has_rates));
    }
    table
}

/// Returns the state of a queue, in at most seven letters.
pub(crate) fn state(seen: &Seen) -> (&'static str, Tone) {
    match seen.snapshot.state {
        _ if seen.snapshot.damage.is_some() => ("damaged", Tone::Bad),
        State::Open => ("open", Tone::Good),
        State::Closed => ("closed", Tone::Warning),
        State::Ended => ("ended", Tone::Dim),
        State::Cancelled => ("cancel", Tone::Warning),
        _ => ("?", Tone::Bad),
    }
}

fn row(look: &Look, has_rates: bool) -> Vec<Cell> {
    let name = Cell::from(look.address.to_string());
    let seen = match &look.seen {
        Ok(seen) => seen,
        Err(error) => return vec![name, Cell::toned(json::problem(error), Tone::Warning)],
    };
    let (snapshot, figures) = (&seen.snapshot, &seen.snapshot.figures);
    let (state, tone) = state(seen);
    let depth = format!("{}/{}", text::count(snapshot.depth), seen.settings.capacity);
    let is_full = snapshot.depth >= u64::from(seen.settings.capacity);
    let alarm = |number: u64, tone| {
        Cell::toned(
            text::count(number),
            if number > 0 { tone } else { Tone::Plain },
        )
    };
    let needs_care = snapshot
        .peers
        .iter()
        .any(|peer| !matches!(peer.liveness, PeerLiveness::Live | PeerLiveness::Invited));
    let (accepted, acknowledged) = match seen.rates {
        Some(rates) => (text::rate(rates.accepted), text::rate(rates.acknowledged)),
        None if has_rates => (String::new(), String::new()),
        None => (
            text::count(figures.accepted),
            text::count(figures.acknowledged),
        ),
    };
    vec![
        name,
        Cell::toned(state, tone),
        Cell::toned(depth, if is_full { Tone::Warning } else { Tone::Plain }),
        Cell::from(text::count(figures.held)),
        alarm(figures.returned, Tone::Warning),
        alarm(figures.dead_letters, Tone::Bad),
        Cell::from(text::short_bytes(snapshot.memory as u64)),
        Cell::toned(
            snapshot.peers.len().to_string(),
            if needs_care {
                Tone::Warning
            } else {
                Tone::Plain
            },
        ),
        accepted.into(),
        acknowledged.into(),
    ]
}

fn pools(pools: &[Pool]) -> Table {
    let mut table = Table::new(&[
        ("POOL", Align::Left),
        ("PARENT", Align::Right),
        ("WORKERS", Align::Right),
        ("BUSY", Align::Right),
        ("LONGEST", Align::Right),
        ("TASKS IN", Align::Left),
        ("TYPE", Align::Left),
    ]);
    for pool in pools {
        let name = Cell::from(pool.address.to_string());
        if let Some(problem) = &pool.problem {
            table.push(vec![name, Cell::toned(problem.clone(), Tone::Warning)]);
            continue;
        }
        let live = pool.workers.iter().filter(|worker| worker.pid.is_some());
        let tasks = pool.workers.iter().filter_map(|worker| worker.task);
        let longest = tasks.clone().map(|task| task.age).max();
        table.push(vec![
            name,
            pool.parent
                .map_or("gone".to_owned(), |pid| pid.to_string())
                .into(),
            format!("{}/{}", live.count(), pool.workers.len()).into(),
            tasks.count().to_string().into(),
            longest.map_or("-".to_owned(), text::time).into(),
            pool.tasks
                .as_ref()
                .map_or("-".to_owned(), Address::to_string)
                .into(),
            text::printable(pool.task_type.as_deref().unwrap_or("-")).into(),
        ]);
    }
    table
}
