//! Runs.

use super::configuration::{Configuration, Epilogue};
use super::configurations::CONFIGURATIONS;
use super::mutants::ALL_MUTANTS;
use super::search::{ALL, Bounds, Report, explore};
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

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn show(machine: Machine, report: &Report) -> bool {
    println!("{}: {} states, {} steps, {} ends, {:.1?} {}", machine.configuration.name, report.states, report.steps, report.ends, report.time, report.exhausted);
    if let Some(wrong) = &report.wrong {
        println!("{}", wrong.describe(machine));
    }
    report.wrong.is_none()
}

fn chosen() -> impl Iterator<Item = &'static Configuration> {
    let only = std::env::var("ONLY").unwrap_or_default();
    CONFIGURATIONS.iter().filter(move |c| c.name.contains(&only))
}

#[test]
fn every_configuration_is_exhausted() {
    let mut ok = true;
    for configuration in chosen() {
        ok &= show(machine(configuration), &explore(machine(configuration), Bounds { states: number("STATES", 300_000), ..ALL }));
    }
    assert!(ok);
}

#[test]
fn real_ones() {
    let mut ok = true;
    for configuration in chosen() {
        let m = machine(configuration).of(Program::Real);
        ok &= show(m, &explore(m, Bounds { states: number("STATES", 300_000), preemptions: Some(number("PRE", 2) as u8), ..ALL }));
    }
    assert!(ok);
}

#[test]
fn conformance() {
    let mut ok = true;
    for configuration in chosen() {
        let m = Machine { literal: true, ..machine(configuration) };
        ok &= show(m, &explore(m, Bounds { states: number("STATES", 300_000), preemptions: Some(number("PRE", 1) as u8), compares: true, ..ALL }));
    }
    assert!(ok);
}

#[test]
fn mutants() {
    let only = std::env::var("MUTANT").unwrap_or_default();
    for &mutant in ALL_MUTANTS {
        let name = format!("{mutant:?}");
        if !name.contains(&only) { continue; }
        let mut found = Vec::new();
        for states in [3_000, 20_000, 150_000] {
            for configuration in chosen() {
                let m = Machine { mutant: Some(mutant), ..machine(configuration) };
                let r = explore(m, Bounds { states, standstill: 16, ..ALL });
                if let Some(wrong) = r.wrong {
                    found.push((r.steps, configuration.name, wrong.what));
                }
            }
            if !found.is_empty() { break; }
        }
        found.sort();
        println!("{name}: {}", if found.is_empty() { "SURVIVES" } else {""});
        for (steps, name, what) in found.iter().take(3) {
            println!("      {steps} {name}: {what}");
        }
    }
}
