//! What is run: all configurations by the model, by the real functions, and by both; and the model with its mutants.

use super::configuration::{Configuration, Epilogue};
use super::configurations::{
    BATCHING, CLOSING, DYING, LETTERS, RETURNING, SENDING, SIDES, SLEEPING, named,
};
use super::mutants::{FLAWS, MUTANTS};
use super::search::{Bounds, Report, explore};
use super::state::{Machine, Program};
use crate::mutants::Mutant as Flaw;
use core::fmt::Debug;

fn in_full() -> bool {
    std::env::var_os("WORKRING_TEST_FULL").is_some_and(|value| value == "1")
}

fn machine(configuration: &'static Configuration) -> Machine {
    Machine {
        configuration,
        mutant: None,
        flaw: None,
        literal: false,
        epilogue: Epilogue::Survivor,
        program: Program::Model,
    }
}

/// All states; fewer of them with everybody stopped in a short run.
fn all() -> Bounds {
    Bounds {
        preemptions: None,
        standstill: if in_full() { 64 } else { 512 },
        compares: false,
    }
}

/// Every schedule with so many pre-emptions at the most.
fn preempted(short: u8, full: u8) -> Bounds {
    Bounds {
        preemptions: Some(if in_full() { full } else { short }),
        ..all()
    }
}

/// Explore these configurations, the long ones in a full run only. Nothing may be wrong.
fn assert_right(group: &'static [Configuration], machine: fn(Machine) -> Machine, bounds: Bounds) {
    for configuration in group.iter().filter(|it| !it.long || in_full()) {
        let machine = machine(self::machine(configuration));
        let report = explore(machine, bounds);
        tell(machine, &report);
        if let Some(wrong) = report.wrong {
            panic!("{}: {}", configuration.name, wrong.describe(machine));
        }
    }
}

fn tell(machine: Machine, report: &Report) {
    let Report {
        states,
        steps,
        ends,
        time,
        ..
    } = report;
    let how = match (machine.literal, machine.program) {
        (true, _) => "model and real functions",
        (false, Program::Model) => "model",
        (false, Program::Real) => "real functions",
    };
    let name = machine.configuration.name;
    println!("{how}: {name}: {states} states, {steps} steps, {ends} ends, {time:.1?}");
}

macro_rules! for_each_group {
    ($check:expr) => {
        #[test]
        fn sending() {
            $check(SENDING);
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
        fn letters() {
            $check(LETTERS);
        }
        #[test]
        fn sleeping() {
            $check(SLEEPING);
        }
        #[test]
        fn sides() {
            $check(SIDES);
        }
        #[test]
        fn batching() {
            $check(BATCHING);
        }
    };
}

/// Every state of the model is right.
mod the_model {
    use super::*;
    for_each_group!(|group| assert_right(group, |model| model, all()));
}

/// The real functions are right in every schedule with few pre-emptions.
mod the_real_functions {
    use super::*;
    fn real(model: Machine) -> Machine {
        model.of(Program::Real)
    }
    for_each_group!(|group| assert_right(group, real, preempted(1, 2)));
}

/// Conformance: the accesses of the real functions are those of the model, one by one.
mod the_model_is_of_the_real_functions {
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
        assert_right(group, literal, bounds);
    });
}

/// Whether something was wrong with a mutant, which is said.
fn is_caught(mutant: impl Debug, machine: Machine, bounds: Bounds) -> bool {
    let bounds = Bounds {
        standstill: 128,
        ..bounds
    };
    let report = explore(machine, bounds);
    let (states, name) = (report.states, machine.configuration.name);
    let what = report.wrong.map(|wrong| wrong.what);
    match &what {
        Some(what) => println!("{mutant:?}: caught after {states} states of {name}: {what}"),
        None => println!("{mutant:?}: SURVIVES all {states} states of {name}"),
    }
    what.is_some()
}

#[test]
fn no_mutant_of_the_model_survives() {
    let is_caught = |&&(mutant, name): &&(_, &str)| {
        let machine = Machine {
            mutant: Some(mutant),
            ..machine(named(name))
        };
        is_caught(mutant, machine, all())
    };
    let survivors: Vec<_> = MUTANTS.iter().filter(|it| !is_caught(it)).collect();
    assert!(survivors.is_empty(), "{survivors:?}");
}

/// Of the real functions, in schedules with few pre-emptions.
#[test]
fn no_mutant_of_the_real_functions_survives() {
    let is_caught = |&&(flaw, name, preemptions): &&(_, &str, _)| {
        let machine = Machine {
            flaw: Some(flaw),
            ..machine(named(name)).of(Program::Real)
        };
        is_caught(flaw, machine, preempted(preemptions, preemptions))
    };
    let survivors: Vec<_> = FLAWS.iter().filter(|it| !is_caught(it)).collect();
    assert!(survivors.is_empty(), "{survivors:?}");
}

/// A program that does not do what the model does is told from it.
#[test]
fn a_difference_is_seen() {
    let machine = Machine {
        literal: true,
        flaw: Some(Flaw::SkipClear),
        ..machine(named("two sleep for a block"))
    };
    let bounds = Bounds {
        compares: true,
        ..preempted(0, 0)
    };
    let wrong = explore(machine, bounds).wrong.expect("a difference");
    assert!(wrong.what.contains("the real one"), "{}", wrong.what);
}
