//! Runs.

use super::configuration::{Configuration, Epilogue};
use super::configurations::CONFIGURATIONS;
use super::search::{ALL, Bounds, explore};
use super::state::{Machine, Program};

fn machine(configuration: &'static Configuration) -> Machine {
    Machine {
        configuration,
        mutant: None,
        literal: false,
        epilogue: Epilogue::Survivor,
        program: Program::Model,
    }
}

#[test]
fn every_configuration_is_exhausted() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut bad = 0;
    for configuration in CONFIGURATIONS {
        if !configuration.name.contains(&only) { continue; }
        let report = explore(machine(configuration), Bounds { states: 3_000_000, ..ALL });
        println!("{}: {} states, {} steps, {} ends, {:.1?} {}", configuration.name, report.states, report.steps, report.ends, report.time, report.exhausted);
        if let Some(wrong) = report.wrong {
            bad += 1;
            println!("{}", wrong.describe(machine(configuration)));
        }
    }
    assert_eq!(bad, 0);
}
