//! What `top` shows, and what keys change about that.
//!
//! | view   | key                | next                                                     |
//! |--------|--------------------|----------------------------------------------------------|
//! | list   | Enter              | detail of the queue that is selected                     |
//! | list   | /                  | filter: what is typed is the new filter                  |
//! | filter | Enter, Esc         | list, with the new filter or the one before              |
//! | detail | Esc, Enter, q      | list                                                     |
//! | list   | q, Esc             | the end                                                  |
//! | any    | Ctrl-C             | the end                                                  |

use crate::observe::{Everything, Look};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::widgets::TableState;
use std::cmp::Ordering;
use std::time::Duration;
use workring::inspect::Address;

/// What the queues are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Name,
    Depth,
    Held,
    Dead,
    Memory,
    In,
    Out,
}

/// Which part of `top` has the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum View {
    List,
    /// What is typed, and the filter before.
    Filter(String),
    Detail(Address),
}

/// What the caller does after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    Go,
    Quit,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) all: Everything,
    pub(super) view: View,
    pub(super) filter: String,
    pub(super) sort: Sort,
    pub(super) is_reversed: bool,
    pub(super) selected: TableState,
    pub(super) interval: Duration,
    is_paused: bool,
}

impl State {
    pub(crate) fn new(filter: String, interval: Duration) -> Self {
        Self {
            all: Everything::default(),
            view: View::List,
            filter,
            sort: Sort::Name,
            is_reversed: false,
            selected: TableState::default().with_selected(0),
            interval,
            is_paused: false,
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Takes a new look at everything.
    pub(crate) fn show(&mut self, all: Everything) {
        let selected = self.selected_address();
        self.all = all;
        self.select(selected.as_ref());
    }

    /// Returns the queues that the filter lets through, in order.
    pub(super) fn listed(&self) -> Vec<&Look> {
        let wanted = match &self.view {
            View::Filter(typed) => typed,
            _ => &self.filter,
        };
        let mut looks: Vec<&Look> = self
            .all
            .queues
            .iter()
            .filter(|look| matches(look, wanted))
            .collect();
        // Stable, so that queues with equal numbers stay in order of their names.
        looks.sort_by(|one, other| self.compare(one, other));
        if self.is_reversed {
            looks.reverse();
        }
        looks
    }

    fn compare(&self, one: &Look, other: &Look) -> Ordering {
        let number = |look: &Look| -> f64 {
            let Ok(seen) = &look.seen else { return -1.0 };
            let (snapshot, figures) = (&seen.snapshot, &seen.snapshot.figures);
            match self.sort {
                Sort::Name => 0.0,
                Sort::Depth => as_float(snapshot.depth),
                Sort::Held => as_float(figures.held),
                Sort::Dead => as_float(figures.dead_letters),
                Sort::Memory => as_float(snapshot.memory as u64),
                Sort::In => seen.rates.map_or(0.0, |rates| rates.accepted),
                Sort::Out => seen.rates.map_or(0.0, |rates| rates.acknowledged),
            }
        };
        let by_number = number(other).total_cmp(&number(one));
        by_number.then_with(|| one.address.cmp(&other.address))
    }

    pub(super) fn selected_address(&self) -> Option<Address> {
        let listed = self.listed();
        let selected = self.selected.selected()?;
        Some(listed.get(selected)?.address.clone())
    }

    /// Selects a queue, if it is listed; otherwise one that is.
    fn select(&mut self, address: Option<&Address>) {
        let listed = self.listed();
        let place = listed
            .iter()
            .position(|look| Some(&look.address) == address);
        let last = listed.len().saturating_sub(1);
        let place = place.unwrap_or_else(|| self.selected.selected().unwrap_or(0).min(last));
        self.selected.select(Some(place));
    }

    fn move_by(&mut self, rows: isize) {
        let last = self.listed().len().saturating_sub(1);
        let place = self
            .selected
            .selected()
            .unwrap_or(0)
            .saturating_add_signed(rows);
        self.selected.select(Some(place.min(last)));
    }

    /// Does what a key means in the present view.
    pub(crate) fn press(&mut self, key: KeyEvent) -> Reaction {
        if key.kind == KeyEventKind::Release {
            return Reaction::Go;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Reaction::Quit;
        }
        // A terminal sends Esc and a key soon after it as it sends the key with Alt.
        if key.modifiers.contains(KeyModifiers::ALT) && self.view != View::List {
            self.press(KeyCode::Esc.into());
        }
        match self.view.clone() {
            View::List => self.press_in_list(key.code),
            View::Filter(typed) => {
                self.press_in_filter(key.code, typed);
                Reaction::Go
            }
            View::Detail(_) => {
                match key.code {
                    KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => self.view = View::List,
                    KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
                    _ => {}
                }
                Reaction::Go
            }
        }
    }

    fn press_in_list(&mut self, key: KeyCode) -> Reaction {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Reaction::Quit,
            KeyCode::Char('/') => self.view = View::Filter(String::new()),
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('r') => self.reorder(|state| state.is_reversed = !state.is_reversed),
            KeyCode::Enter => {
                if let Some(address) = self.selected_address() {
                    self.view = View::Detail(address);
                }
            }
            KeyCode::Up | KeyCode::Char('k') => self.move_by(-1),
            KeyCode::Down | KeyCode::Char('j') => self.move_by(1),
            KeyCode::PageUp => self.move_by(-10),
            KeyCode::PageDown => self.move_by(10),
            KeyCode::Home => self.move_by(isize::MIN),
            KeyCode::End => self.move_by(isize::MAX),
            KeyCode::Char(letter) => {
                let sort = match letter {
                    'n' => Sort::Name,
                    'd' => Sort::Depth,
                    'h' => Sort::Held,
                    'x' => Sort::Dead,
                    'm' => Sort::Memory,
                    'i' => Sort::In,
                    'o' => Sort::Out,
                    _ => return Reaction::Go,
                };
                self.reorder(|state| state.sort = sort);
            }
            _ => {}
        }
        Reaction::Go
    }

    /// Changes the order, and keeps the same queue selected.
    fn reorder(&mut self, change: impl FnOnce(&mut Self)) {
        let selected = self.selected_address();
        change(self);
        self.select(selected.as_ref());
    }

    fn press_in_filter(&mut self, key: KeyCode, mut typed: String) {
        match key {
            KeyCode::Esc => self.view = View::List,
            KeyCode::Enter => {
                self.filter = typed;
                self.view = View::List;
                self.selected.select(Some(0));
            }
            KeyCode::Backspace => {
                typed.pop();
                self.view = View::Filter(typed);
            }
            KeyCode::Char(c) if !c.is_control() => {
                typed.push(c);
                self.view = View::Filter(typed);
            }
            _ => {}
        }
    }
}

/// Returns whether a queue has a text in its name, its type or its schema.
fn matches(look: &Look, wanted: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(&wanted.to_lowercase());
    has(&look.address.to_string())
        || look.seen.as_ref().is_ok_and(|seen| {
            has(&seen.settings.type_name) || seen.settings.schema.as_deref().is_some_and(has)
        })
}

#[allow(clippy::cast_precision_loss, reason = "only compared")]
fn as_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use workring::error::OpenError;

    fn state_with(names: &[&str]) -> State {
        let look = |name: &&str| Look {
            address: Address::Named((*name).to_owned()),
            processes: Vec::new(),
            seen: Err(OpenError::Closed),
        };
        let mut state = State::new(String::new(), Duration::from_secs(1));
        state.show(Everything {
            queues: names.iter().map(look).collect(),
            pools: Vec::new(),
        });
        state
    }

    fn type_keys(state: &mut State, keys: &[KeyCode]) -> Reaction {
        let mut reaction = Reaction::Go;
        for key in keys {
            reaction = state.press(KeyEvent::new(*key, KeyModifiers::NONE));
        }
        reaction
    }

    fn names(state: &State) -> Vec<String> {
        state
            .listed()
            .iter()
            .map(|look| look.address.to_string())
            .collect()
    }

    #[test]
    fn the_filter_applies_while_it_is_typed_and_is_taken_back_by_esc() {
        let mut state = state_with(&["mail", "jobs", "mail-dead"]);
        type_keys(
            &mut state,
            &[KeyCode::Char('/'), KeyCode::Char('M'), KeyCode::Char('a')],
        );
        assert_eq!(names(&state), ["mail", "mail-dead"]);
        type_keys(&mut state, &[KeyCode::Esc]);
        assert_eq!(names(&state), ["jobs", "mail", "mail-dead"]);
        type_keys(
            &mut state,
            &[KeyCode::Char('/'), KeyCode::Char('j'), KeyCode::Enter],
        );
        assert_eq!(names(&state), ["jobs"]);
    }

    #[test]
    fn a_key_soon_after_esc_is_not_lost() {
        let mut state = state_with(&["mail", "jobs"]);
        type_keys(&mut state, &[KeyCode::Enter]);
        assert!(matches!(state.view, View::Detail(_)));
        state.press(KeyEvent::new(KeyCode::Char('/'), KeyModifiers::ALT));
        type_keys(&mut state, &[KeyCode::Char('m')]);
        assert_eq!(state.view, View::Filter("m".to_owned()));
    }

    #[test]
    fn the_same_queue_stays_selected_when_the_order_changes() {
        let mut state = state_with(&["a", "b", "c"]);
        type_keys(&mut state, &[KeyCode::Down]);
        assert_eq!(state.selected_address(), Some(Address::Named("b".into())));
        type_keys(&mut state, &[KeyCode::Up, KeyCode::Char('r')]);
        assert_eq!(state.selected_address(), Some(Address::Named("a".into())));
        assert_eq!(names(&state), ["c", "b", "a"]);
        type_keys(&mut state, &[KeyCode::Enter]);
        assert_eq!(state.view, View::Detail(Address::Named("a".into())));
        assert_eq!(type_keys(&mut state, &[KeyCode::Char('q')]), Reaction::Go);
        assert_eq!(type_keys(&mut state, &[KeyCode::Char('q')]), Reaction::Quit);
    }
}
