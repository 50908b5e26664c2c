//! The boundaries of an operation, and the quickest way to each.
//!
//! A single step costs about as much as a breakpoint that is hit. So a process is not stepped through everything before
//! its boundary: it runs to a breakpoint shortly before the boundary, at an instruction that was seldom executed so
//! far, and is stepped from there.

use std::collections::{BTreeMap, BTreeSet};

/// Operations of up to this many instructions are tried at every boundary.
const MAX_EXHAUSTIVE: usize = 5_000;

/// The address of every instruction of an operation, in the order of execution.
pub(crate) struct Trace {
    /// For a step in which the process sleeps: [`ASLEEP`](Self::ASLEEP).
    addresses: Vec<u64>,
    /// For each step: how often its address was reached since the start, up to and including this step.
    visits: Vec<u64>,
}

/// How to reach a boundary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    /// Where to run first.
    pub(crate) breakpoint: Option<Breakpoint>,
    /// How many single steps to do then.
    pub(crate) steps: u64,
    /// The number of instructions in all.
    pub(crate) boundary: u64,
}

/// An address, and how often it has to be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breakpoint {
    pub(crate) address: u64,
    pub(crate) visits: u64,
}

impl Path {
    /// Returns the path that consists of single steps only.
    pub(crate) const fn of_steps(steps: u64) -> Self {
        Self {
            breakpoint: None,
            steps,
            boundary: steps,
        }
    }
}

impl Trace {
    pub(crate) const ASLEEP: u64 = 0;

    pub(crate) fn new(addresses: Vec<u64>) -> Self {
        let mut so_far: BTreeMap<u64, u64> = BTreeMap::new();
        let mut visit = |(step, &address): (usize, &u64)| {
            let count = so_far.entry(address).or_default();
            // At the start it is at its first instruction already, and does not stop there again.
            *count += u64::from(step > 0);
            *count
        };
        let visits = addresses.iter().enumerate().map(&mut visit).collect();
        Self { addresses, visits }
    }

    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether only some boundaries are tried.
    pub(crate) fn is_long(&self) -> bool {
        self.len() > MAX_EXHAUSTIVE
    }

    /// Returns the quickest path to the moment after this many instructions.
    pub(crate) fn path_to(&self, boundary: u64) -> Path {
        let mut best = Path::of_steps(boundary);
        let mut cost = boundary;
        for step in (1..=boundary).rev() {
            let steps = boundary - step;
            if steps >= cost {
                break;
            }
            let Some(breakpoint) = self.breakpoint_at(step) else {
                continue;
            };
            if breakpoint.visits + steps < cost {
                cost = breakpoint.visits + steps;
                best = Path {
                    breakpoint: Some(breakpoint),
                    steps,
                    boundary,
                };
            }
        }
        best
    }

    /// Returns the breakpoint that is hit for the last time at this step, unless the process sleeps in it.
    fn breakpoint_at(&self, step: u64) -> Option<Breakpoint> {
        let step = usize::try_from(step).ok()?;
        let address = *self.addresses.get(step)?;
        let visits = *self.visits.get(step)?;
        (address != Self::ASLEEP).then_some(Breakpoint { address, visits })
    }

    /// Returns the boundaries to try: before the first instruction and after each. In a long operation: before the
    /// first two visits and the last visit of each address, and at the end.
    pub(crate) fn boundaries(&self) -> Vec<u64> {
        let end = self.len() as u64;
        if !self.is_long() {
            return (0..=end).collect();
        }
        let mut visits: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (step, &address) in (0..).zip(&self.addresses) {
            let known = visits.entry(address).or_default();
            if known.len() == 3 {
                known.pop();
            }
            known.push(step);
        }
        let chosen: BTreeSet<u64> = visits.into_values().flatten().chain([end]).collect();
        chosen.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the boundary that a process reaches on this path.
    fn follow(addresses: &[u64], path: Path) -> u64 {
        let start = path.breakpoint.map_or(0, |breakpoint| {
            let steps = (0..).zip(addresses).skip(1);
            let mut visits = steps.filter(|(_, address)| **address == breakpoint.address);
            let last = usize::try_from(breakpoint.visits).expect("a few") - 1;
            visits.nth(last).expect("this many visits").0
        });
        start + path.steps
    }

    #[test]
    fn every_path_leads_to_its_boundary_in_few_steps() {
        // Some instructions, a loop in a loop, a sleep, and instructions that were visited before.
        let mut addresses = vec![1, 2, 1];
        for _ in 0..5 {
            addresses.push(10);
            addresses.extend([11, 12, 13].repeat(4));
        }
        addresses.extend([20, Trace::ASLEEP, 1, 10]);
        let trace = Trace::new(addresses.clone());
        for boundary in trace.boundaries() {
            let path = trace.path_to(boundary);
            assert_eq!(follow(&addresses, path), boundary, "{path:?}");
            let visits = path.breakpoint.map_or(0, |breakpoint| breakpoint.visits);
            assert!(path.steps + visits <= 17, "{boundary}: {path:?}");
        }
    }

    #[test]
    fn the_first_two_and_the_last_visit_of_an_address_are_boundaries_of_a_long_operation() {
        let mut addresses = vec![1; MAX_EXHAUSTIVE];
        addresses.push(2);
        let boundaries = Trace::new(addresses).boundaries();
        assert_eq!(boundaries, [0, 1, 4_999, 5_000, 5_001]);
    }
}
