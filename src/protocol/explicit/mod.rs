//! The protocol, explored state by state.
mod configuration;
mod configurations;
mod ledger;
mod model;
mod mutants;
mod process;
mod real;
mod search;
mod state;
mod tests;
mod views;
mod words;
