//! `top`: queues and pools, live.
//!
//! | file      | what                                             |
//! |-----------|--------------------------------------------------|
//! | [`state`] | what is shown, and what keys change about that   |
//! | [`draw`]  | the screen                                       |
//!
//! TOP-1. The terminal is put back when the command ends: by a key, by SIGINT, SIGTERM or SIGHUP, by an error, or by a
//!        panic. Only SIGKILL leaves it as it is; `reset` puts it back then.

mod draw;
mod state;

use super::args::Top;
use super::exit::End;
use super::observe::Observer;
use super::signals;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use state::{Reaction, State};
use std::io::{self, IsTerminal};
use std::process;
use std::time::{Duration, Instant};

/// How long to wait for a key that has come already: with no time at all, crossterm does not look.
const SOON: Duration = Duration::from_millis(1);

pub(crate) fn run(args: &Top) -> Result<(), End> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(End::Failed(
            "top needs a terminal: `workring ls --watch` prints to a pipe".to_owned(),
        ));
    }
    let terminal = ratatui::try_init()?;
    // Nothing is held that would have to be given back (TOP-1).
    signals::catch(|signal| {
        ratatui::restore();
        process::exit(128 + signal);
    })?;
    let end = watch(terminal, args);
    ratatui::restore();
    end
}

/// Shows the queues until a key ends it.
///
/// All keys that have come are dealt with before the next look, which may take long where there are many queues. For
/// the same reason a look is followed by a pause that is at least as long.
fn watch(mut terminal: DefaultTerminal, args: &Top) -> Result<(), End> {
    let mut observer = Observer::default();
    let mut state = State::new(args.filter.clone(), args.interval);
    let mut next_look = Instant::now();
    loop {
        let begin = Instant::now();
        if !state.is_paused() && begin >= next_look {
            state.show(observer.everything()?);
            let end = Instant::now();
            next_look = (begin + args.interval).max(end + (end - begin));
        }
        terminal.draw(|frame| draw::draw(frame, &mut state))?;
        // While paused, only keys and a new size of the terminal change the screen.
        let mut is_event = state.is_paused() || {
            let left = next_look.saturating_duration_since(Instant::now());
            event::poll(left.max(SOON))?
        };
        while is_event {
            if let Event::Key(key) = event::read()?
                && state.press(key) == Reaction::Quit
            {
                return Ok(());
            }
            is_event = event::poll(SOON)?;
        }
    }
}
