//! The searches: all configurations with the model, with the real functions, and with both; and all mutants.

use super::configuration::{Configuration, Probe};
use super::configurations::{
    BATCHING, CELLS, CLOSING, DEAD_LETTERS, DYING, FUTURES, HUGE, MEMBERSHIP, RETURNING, SENDING,
    SLEEPING, named,
};
use super::machine::{Machine, Program};
use super::mutant_tables::{COMPILED_MUTANTS, FUTURE_MUTANTS, MODEL_MUTANTS};
use super::search::{Bounds, Report, explore};
use crate::mutants::Mutant as CompiledMutant;
use core::fmt::Debug;

fn is_full_form() -> bool {
    std::env::var_os("WORKRING_TEST_FULL").is_some_and(|value| value == "1")
}

fn model_of(configuration: &'static Configuration) -> Machine {
    Machine {
        configuration,
        program: Program::Model,
        mutant: None,
        compiled_mutant: None,
        literal: false,
        probe: Probe::RecoverAndDrain,
    }
}

/// All schedules.
fn unbounded() -> Bounds {
    Bounds {
        preemptions: None,
        progress_interval: if is_full_form() { 64 } else { 512 },
        compares: false,
    }
}

/// All schedules with at most this many pre-emptions, in the short and in the full form.
fn preempted(short: u8, full: u8) -> Bounds {
    Bounds {
        preemptions: Some(if is_full_form() { full } else { short }),
        ..unbounded()
    }
}

/// Explores these configurations, some of them in the full form only. Asserts that no rule is violated.
fn assert_correct(
    group: &'static [Configuration],
    machine: fn(Machine) -> Machine,
    bounds: Bounds,
) {
    for configuration in group
        .iter()
        .filter(|configuration| !configuration.only_in_full || is_full_form())
    {
        let machine = machine(model_of(configuration));
        let report = explore(machine, bounds);
        print(machine, &report);
        if let Some(counterexample) = report.counterexample {
            panic!(
                "{}: {}",
                configuration.name,
                counterexample.describe(machine)
            );
        }
    }
}

fn print(machine: Machine, report: &Report) {
    let Report {
        states,
        steps,
        ends,
        time,
        ..
    } = report;
    let program = match (machine.literal, machine.program) {
        (true, _) => "model and real functions",
        (false, Program::Model) => "model",
        (false, Program::Real) => "real functions",
    };
    let name = machine.configuration.name;
    println!("{program}: {name}: {states} states, {steps} steps, {ends} ends, {time:.1?}");
}

macro_rules! for_each_group {
    ($check:expr) => {
        #[test]
        fn sending() {
            $check(SENDING);
        }
        #[test]
        fn cells() {
            $check(CELLS);
        }
        #[test]
        fn dying() {
            $check(DYING);
        }
        #[test]
        fn returning() {
            $check(RETURNING);
        }
        #[test]
        fn closing() {
            $check(CLOSING);
        }
        #[test]
        fn dead_letters() {
            $check(DEAD_LETTERS);
        }
        #[test]
        fn sleeping() {
            $check(SLEEPING);
        }
        #[test]
        fn futures() {
            $check(FUTURES);
        }
        #[test]
        fn membership() {
            $check(MEMBERSHIP);
        }
        #[test]
        fn batching() {
            $check(BATCHING);
        }
        #[test]
        fn huge_blocks() {
            $check(HUGE);
        }
    };
}

/// Every state of the model keeps the rules.
mod the_model_keeps_the_rules {
    use super::*;
    for_each_group!(|group| assert_correct(group, |model| model, unbounded()));
}

/// The real functions keep the rules in every schedule with few pre-emptions.
mod the_real_functions_keep_the_rules {
    use super::*;
    fn real(model: Machine) -> Machine {
        model.with_program(Program::Real)
    }
    for_each_group!(|group| assert_correct(group, real, preempted(1, 2)));
}

/// Each access of the real functions is the one of the model.
mod the_real_functions_conform_to_the_model {
    use super::*;
    fn literal(model: Machine) -> Machine {
        Machine {
            literal: true,
            ..model
        }
    }
    for_each_group!(|group| {
        let bounds = Bounds {
            compares: true,
            ..preempted(0, 1)
        };
        assert_correct(group, literal, bounds);
    });
}

/// Returns whether a rule catches a mutant. Prints which one.
fn is_caught(mutant: impl Debug, machine: Machine, bounds: Bounds) -> bool {
    let bounds = Bounds {
        progress_interval: 32,
        ..bounds
    };
    let report = explore(machine, bounds);
    let (states, name) = (report.states, machine.configuration.name);
    match &report.counterexample {
        Some(counterexample) => println!(
            "{mutant:?}: caught after {states} states of {name}: {}",
            counterexample.violation
        ),
        None => println!("{mutant:?}: SURVIVES all {states} states of {name}"),
    }
    report.counterexample.is_some()
}

#[test]
fn each_mutant_of_the_model_is_caught() {
    let is_caught = |&&(mutant, name): &&(_, &str)| {
        let machine = Machine {
            mutant: Some(mutant),
            ..model_of(named(name))
        };
        is_caught(mutant, machine, unbounded())
    };
    let survivors: Vec<_> = MODEL_MUTANTS.iter().filter(|it| !is_caught(it)).collect();
    assert!(survivors.is_empty(), "{survivors:?}");
}

#[test]
fn each_mutant_of_futures_is_caught() {
    let is_caught = |&&(mutant, name, _): &&(_, &str, _)| {
        let machine = Machine {
            mutant: Some(mutant),
            ..model_of(named(name))
        };
        is_caught(mutant, machine, unbounded())
    };
    let survivors: Vec<_> = FUTURE_MUTANTS
        .iter()
        .filter(|&&(_, _, only_in_full)| !only_in_full || is_full_form())
        .filter(|it| !is_caught(it))
        .collect();
    assert!(survivors.is_empty(), "{survivors:?}");
}

#[test]
fn each_mutant_of_the_real_functions_is_caught() {
    let is_caught = |&&(mutant, name, preemptions): &&(_, &str, _)| {
        let machine = Machine {
            compiled_mutant: Some(mutant),
            ..model_of(named(name)).with_program(Program::Real)
        };
        is_caught(mutant, machine, preempted(preemptions, preemptions))
    };
    let survivors: Vec<_> = COMPILED_MUTANTS
        .iter()
        .filter(|it| !is_caught(it))
        .collect();
    assert!(survivors.is_empty(), "{survivors:?}");
}

#[test]
fn a_difference_between_model_and_real_functions_is_found() {
    let machine = Machine {
        literal: true,
        compiled_mutant: Some(CompiledMutant::OfferKeepsPosition),
        ..model_of(named("two senders sleep until a block is free"))
    };
    let bounds = Bounds {
        compares: true,
        ..preempted(0, 0)
    };
    let counterexample = explore(machine, bounds).counterexample;
    let violation = counterexample.expect("a difference").violation;
    assert!(violation.contains("the real function"), "{violation}");
}
