//! The boundaries of an operation, and the quickest way to each.
//!
//! A step costs about as much as to halt at an address. So a process is not stepped through all that comes before its
//! boundary: it runs to an instruction shortly before that it has not done often so far, and is stepped from there.

use std::collections::{BTreeMap, BTreeSet};

/// Up to this many instructions, every boundary is tried.
const EXHAUSTIVE: usize = 5_000;

/// The address of every instruction of an operation, in the order in which they are done.
pub(crate) struct Survey {
    /// For a step in which it sleeps, [`ASLEEP`](Self::ASLEEP).
    addresses: Vec<u64>,
    /// How often, up to and with this step, its address was come to after the start.
    visits: Vec<u64>,
}

/// How to come to a boundary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Route {
    /// First to come to this address so often.
    pub(crate) leap: Option<Leap>,
    /// Then so many steps.
    pub(crate) steps: u64,
    /// So many instructions in all.
    pub(crate) boundary: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Leap {
    pub(crate) address: u64,
    pub(crate) visits: u64,
}

impl Route {
    /// Step by step.
    pub(crate) const fn on_foot(steps: u64) -> Self {
        Self {
            leap: None,
            steps,
            boundary: steps,
        }
    }
}

impl Survey {
    pub(crate) const ASLEEP: u64 = 0;

    pub(crate) fn new(addresses: Vec<u64>) -> Self {
        let mut so_far: BTreeMap<u64, u64> = BTreeMap::new();
        let mut visit = |(step, &address): (usize, &u64)| {
            let count = so_far.entry(address).or_default();
            // It is at its first instruction already when it starts.
            *count += u64::from(step > 0);
            *count
        };
        let visits = addresses.iter().enumerate().map(&mut visit).collect();
        Self { addresses, visits }
    }

    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether not every boundary is tried.
    pub(crate) fn is_long(&self) -> bool {
        self.len() > EXHAUSTIVE
    }

    /// The way to the moment after so many instructions.
    pub(crate) fn route(&self, boundary: u64) -> Route {
        let mut best = Route::on_foot(boundary);
        let mut cost = boundary;
        for step in (1..=boundary).rev() {
            let steps = boundary - step;
            if steps >= cost {
                break;
            }
            let Some((address, visits)) = self.come_to(step) else {
                continue;
            };
            if visits + steps < cost {
                cost = visits + steps;
                let leap = Some(Leap { address, visits });
                best = Route {
                    leap,
                    steps,
                    boundary,
                };
            }
        }
        best
    }

    /// The address of a step, and how often it was come to by then, unless it slept.
    fn come_to(&self, step: u64) -> Option<(u64, u64)> {
        let step = usize::try_from(step).ok()?;
        let address = *self.addresses.get(step)?;
        let visits = *self.visits.get(step)?;
        (address != Self::ASLEEP).then_some((address, visits))
    }

    /// Before the first instruction and after each, up to a limit; of longer operations, before the first two and the
    /// last visit of each address, and at the end.
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

    /// Where a process is that takes this route.
    fn follow(addresses: &[u64], route: Route) -> u64 {
        let start = route.leap.map_or(0, |leap| {
            let steps = (0..).zip(addresses).skip(1);
            let mut visits = steps.filter(|(_, address)| **address == leap.address);
            let last = usize::try_from(leap.visits).expect("a few") - 1;
            visits.nth(last).expect("so many visits").0
        });
        start + route.steps
    }

    #[test]
    fn every_route_leads_to_its_boundary() {
        // A loop in a loop, what comes before and after, and a sleep.
        let mut addresses = vec![1, 2, 1];
        for _ in 0..5 {
            addresses.push(10);
            addresses.extend([11, 12, 13].repeat(4));
        }
        addresses.extend([20, Survey::ASLEEP, 1, 10]);
        let survey = Survey::new(addresses.clone());
        for boundary in survey.boundaries() {
            let route = survey.route(boundary);
            assert_eq!(follow(&addresses, route), boundary, "{route:?}");
            let cost = route.steps + route.leap.map_or(0, |leap| leap.visits);
            assert!(cost <= 17, "{boundary}: {route:?}");
        }
    }

    #[test]
    fn of_a_long_operation_the_first_two_and_the_last_visits_are_boundaries() {
        let mut addresses = vec![1; EXHAUSTIVE];
        addresses.push(2);
        let boundaries = Survey::new(addresses).boundaries();
        assert_eq!(boundaries, [0, 1, 4_999, 5_000, 5_001]);
    }
}
