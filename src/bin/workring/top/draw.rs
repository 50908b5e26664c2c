//! The screen of `top`.

use super::state::{Sort, State, View};
use crate::observe::{Look, Seen};
use crate::output::{Style as Plain, Tone};
use crate::{json, list, stat, text};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use workring::inspect::{Address, Pool};

const KEYS: &str = "q quit  Enter detail  / filter  p pause  r reverse  sort: n d h x m i o";
const KEYS_OF_DETAIL: &str = "Esc back  p pause";

/// Returns a style, which has a colour unless the variable `NO_COLOR` is set.
fn style(tone: Tone) -> Style {
    let coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let colour = |colour| {
        if coloured {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    };
    match tone {
        Tone::Plain => Style::new(),
        Tone::Heading => Style::new().add_modifier(Modifier::BOLD),
        Tone::Dim => Style::new().add_modifier(Modifier::DIM),
        Tone::Good => colour(Color::Green),
        Tone::Warning => colour(Color::Yellow),
        Tone::Bad => colour(Color::Red),
    }
}

pub(crate) fn draw(frame: &mut Frame, state: &mut State) {
    let pools = match state.all.pools.len() {
        0 => 0,
        count => u16::try_from(count + 2).unwrap_or(u16::MAX),
    };
    let most = frame.area().height / 2;
    let [head, body, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(pools.min(most)),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(headline(state), head);
    match state.view.clone() {
        View::Detail(address) => {
            let area = Rect {
                height: body.height + below.height,
                ..body
            };
            frame.render_widget(detail(state, &address, area.width), area);
            frame.render_widget(Line::styled(KEYS_OF_DETAIL, style(Tone::Dim)), foot);
        }
        view => {
            let table = queues(state);
            frame.render_stateful_widget(table, body, &mut state.selected);
            frame.render_widget(pool_table(&state.all.pools), below);
            let foot_line = match view {
                View::Filter(typed) => Line::raw(format!("filter: {}_", text::printable(&typed))),
                _ => Line::styled(KEYS, style(Tone::Dim)),
            };
            frame.render_widget(foot_line, foot);
        }
    }
}

fn headline(state: &State) -> Line<'static> {
    let rates = state
        .all
        .queues
        .iter()
        .filter_map(|look| look.seen.as_ref().ok()?.rates);
    let (accepted, acknowledged) = rates.fold((0.0, 0.0), |(accepted, acknowledged), rates| {
        (accepted + rates.accepted, acknowledged + rates.acknowledged)
    });
    let filter = match state.filter.as_str() {
        "" => String::new(),
        filter => format!("  filter: {}", text::printable(filter)),
    };
    // First, so that a narrow terminal does not cut it off.
    let pause = if state.is_paused() { " PAUSED" } else { "" };
    Line::styled(
        format!(
            "workring{pause}  queues: {}  pools: {}  in: {}/s  out: {}/s  every {}{filter}",
            state.all.queues.len(),
            state.all.pools.len(),
            text::rate(accepted),
            text::rate(acknowledged),
            text::time(state.interval),
        ),
        style(Tone::Heading),
    )
}

/// Returns the heading of a column, marked if the queues are sorted by it.
fn heading(state: &State, name: &'static str, sort: Option<Sort>) -> Cell<'static> {
    let is_sorted = sort == Some(state.sort);
    let mark = match (is_sorted, state.is_reversed) {
        (false, _) => "",
        (true, false) => "v",
        (true, true) => "^",
    };
    Cell::from(format!("{name}{mark}")).style(style(Tone::Heading))
}

fn queues(state: &State) -> Table<'static> {
    let rows: Vec<Row> = state.listed().into_iter().map(row).collect();
    let widths = [
        Constraint::Min(12),
        Constraint::Length(7),
        Constraint::Length(11),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(6),
        Constraint::Length(4),
        Constraint::Length(6),
        Constraint::Length(6),
    ];
    let header = Row::new([
        heading(state, "QUEUE", Some(Sort::Name)),
        heading(state, "STATE", None),
        heading(state, "DEPTH", Some(Sort::Depth)),
        heading(state, "HELD", Some(Sort::Held)),
        heading(state, "FOR", None),
        heading(state, "DEAD", Some(Sort::Dead)),
        heading(state, "MEM", Some(Sort::Memory)),
        heading(state, "PROC", None),
        heading(state, "IN/s", Some(Sort::In)),
        heading(state, "OUT/s", Some(Sort::Out)),
    ]);
    Table::new(rows, widths)
        .header(header)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
}

fn row(look: &Look) -> Row<'static> {
    let name = Cell::from(look.address.to_string());
    let seen: &Seen = match &look.seen {
        Ok(seen) => seen,
        Err(error) => {
            let problem = Cell::from(json::problem(error)).style(style(Tone::Warning));
            return Row::new([name, problem]);
        }
    };
    let (snapshot, figures) = (&seen.snapshot, &seen.snapshot.figures);
    let (word, tone) = list::state(seen);
    let held_for = seen.longest_held().filter(|time| !time.is_zero());
    let rate = |of: fn(&crate::observe::Rates) -> f64| {
        seen.rates
            .map_or("-".to_owned(), |rates| text::rate(of(&rates)))
    };
    let dead = if figures.dead_letters > 0 {
        Tone::Bad
    } else {
        Tone::Plain
    };
    Row::new([
        name,
        Cell::from(word).style(style(tone)),
        Cell::from(format!(
            "{}/{}",
            text::count(snapshot.depth),
            seen.settings.capacity
        )),
        Cell::from(text::count(figures.held)),
        Cell::from(held_for.map_or(String::new(), text::time)),
        Cell::from(text::count(figures.dead_letters)).style(style(dead)),
        Cell::from(text::short_bytes(snapshot.memory as u64)),
        Cell::from(snapshot.peers.len().to_string()),
        Cell::from(rate(|rates| rates.accepted)),
        Cell::from(rate(|rates| rates.acknowledged)),
    ])
}

fn pool_table(pools: &[Pool]) -> Table<'static> {
    let rows = pools.iter().map(|pool| {
        let parent = pool.parent.map_or("gone".to_owned(), |pid| pid.to_string());
        if let Some(problem) = &pool.problem {
            let unknown = ["-"; 4].map(Cell::from);
            return Row::new(
                [pool.address.to_string().into(), parent.into()]
                    .into_iter()
                    .chain(unknown)
                    .chain([Cell::from(problem.clone()).style(style(Tone::Warning))]),
            );
        }
        let tasks = pool.workers.iter().filter_map(|worker| worker.task);
        let longest = tasks.clone().map(|task| task.age).max();
        let live = pool.workers.iter().filter(|worker| worker.pid.is_some());
        Row::new([
            pool.address.to_string(),
            parent,
            format!("{}/{}", live.count(), pool.workers.len()),
            tasks.count().to_string(),
            longest.map_or("-".to_owned(), text::time),
            pool.tasks
                .as_ref()
                .map_or("-".to_owned(), Address::to_string),
            text::printable(pool.task_type.as_deref().unwrap_or("-")),
        ])
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Length(12),
        Constraint::Fill(2),
    ];
    let names = [
        "POOL", "PARENT", "WORKERS", "BUSY", "LONGEST", "TASKS IN", "TYPE",
    ];
    let header = Row::new(names.map(|name| Cell::from(name).style(style(Tone::Heading))));
    // The blank line before it sets the table apart from the queues.
    Table::new(rows, widths).header(header.top_margin(1))
}

fn detail(state: &State, address: &Address, width: u16) -> Paragraph<'static> {
    let look = state
        .all
        .queues
        .iter()
        .find(|look| look.address == *address);
    let text = match look.map(|look| (look, &look.seen)) {
        None => format!("{address} is gone"),
        Some((_, Err(error))) => format!("{address}: {}", json::problem(error)),
        Some((look, Ok(seen))) => stat::describe(look, seen, Plain::without_colour(width.into())),
    };
    Paragraph::new(text)
}
