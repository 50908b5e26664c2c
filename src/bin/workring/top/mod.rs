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
fn watch(mut terminal: DefaultTerminal, args: &Top) -> Result<(), End> {
    let mut observer = Observer::default();
    let mut state = State::new(args.filter.clone(), args.interval);
    let mut next_look = Instant::now();
    loop {
        if !state.is_paused() && Instant::now() >= next_look {
            state.show(observer.everything()?);
            next_look = Instant::now() + args.interval;
        }
        terminal.draw(|frame| draw::draw(frame, &mut state))?;
        // While paused, only keys and a new size of the terminal change the screen.
        let is_event = state.is_paused() || {
            let left = next_look.saturating_duration_since(Instant::now());
            // With no time left it would not look, and a key would never be read where a look takes long.
            event::poll(left.max(Duration::from_millis(1)))?
        };
        if is_event
            && let Event::Key(key) = event::read()?
            && state.press(key) == Reaction::Quit
        {
            return Ok(());
        }
    }
}
