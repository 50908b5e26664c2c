//! Standard output: tables that fit the terminal, and colours where they are wanted.

use std::io::{self, IsTerminal, Write};

/// The width of a table that is not printed to a terminal.
const WIDTH: usize = 80;

/// How standard output wants its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    has_colour: bool,
    /// The width of the terminal; `None`: lines may be as long as they need.
    width: Option<usize>,
}

/// What a text is, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Heading,
    Good,
    Warning,
    Bad,
    Dim,
}

impl Style {
    /// Returns the style of this process's standard output. Colours only on a terminal, and not if the variable
    /// `NO_COLOR` is set (<https://no-color.org>).
    pub(crate) fn of_stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let refuses_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let size = ratatui::crossterm::terminal::size;
        Self {
            has_colour: is_terminal && !refuses_colour,
            width: is_terminal
                .then(|| size().map_or(WIDTH, |(columns, _)| usize::from(columns).max(40))),
        }
    }

    /// Returns a style without colours, for a screen of this width.
    pub(crate) fn without_colour(width: usize) -> Self {
        Self {
            has_colour: false,
            width: Some(width),
        }
    }

    /// Returns text in its colour.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.has_colour => "",
            Tone::Plain => "",
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
        };
        if code.is_empty() || text.is_empty() {
            text.to_owned()
        } else {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        }
    }
}

/// Prints a text to standard output at once.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Clears standard output for [`print_again`], if it is a terminal.
pub(crate) fn clear() -> io::Result<()> {
    if io::stdout().is_terminal() {
        print("\u{1b}[2J")?;
    }
    Ok(())
}

/// Prints a text over the one before, if standard output is a terminal.
pub(crate) fn print_again(text: &str) -> io::Result<()> {
    if io::stdout().is_terminal() {
        // To the top left corner; the rest of each line, and of the screen, is erased.
        let erased = text.replace('\n', "\u{1b}[K\n");
        return print(&format!("\u{1b}[H{erased}\u{1b}[J"));
    }
    print(&format!("{text}\n"))
}

/// One cell of a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            tone: Tone::Plain,
        }
    }
}

impl Cell {
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

/// How a column is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table. The first column is shortened if the terminal is too narrow; a row with fewer cells than columns has a text
/// of any length in its last one.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(headings: &[(&'static str, Align)]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Returns the lines of the table.
    pub(crate) fn render(&self, style: Style) -> String {
        let mut widths: Vec<usize> = self.headings.iter().map(|(text, _)| text.len()).collect();
        for row in &self.rows {
            let is_whole = row.len() == widths.len();
            let counted = row.len() - usize::from(!is_whole);
            for (width, cell) in widths.iter_mut().zip(row.iter().take(counted)) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let all: usize = widths.iter().sum::<usize>() + widths.len().saturating_sub(1);
        if let (Some(limit), Some(first)) = (style.width, widths.first_mut()) {
            *first = first.saturating_sub(all.saturating_sub(limit)).max(8);
        }
        let heading = |&(text, _): &(&str, Align)| Cell::toned(text, Tone::Heading);
        let headings: Vec<Cell> = self.headings.iter().map(heading).collect();
        let mut text = self.line(style, &widths, &headings);
        for row in &self.rows {
            text.push_str(&self.line(style, &widths, row));
        }
        text
    }

    fn line(&self, style: Style, widths: &[usize], row: &[Cell]) -> String {
        let mut line = String::new();
        let mut used = 0;
        for (number, cell) in row.iter().enumerate() {
            let is_last = number + 1 == row.len();
            let align = self
                .headings
                .get(number)
                .map_or(Align::Left, |heading| heading.1);
            let width = widths.get(number).copied().unwrap_or(0);
            let room = match style.width {
                Some(limit) if is_last => limit.saturating_sub(used),
                Some(_) if number == 0 => width,
                _ => usize::MAX,
            };
            let text = super::text::shortened(&cell.text, room);
            let padding = " ".repeat(width.saturating_sub(text.chars().count()));
            used += width.max(text.chars().count()) + 1;
            let painted = style.paint(cell.tone, &text);
            match align {
                Align::Right => line.extend([padding, painted]),
                Align::Left => line.extend([painted, padding]),
            }
            if !is_last {
                line.push(' ');
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}
