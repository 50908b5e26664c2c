//! Priorities of tasks: the levels, and in which order a worker looks at their queues.
//!
//! A pool with [priorities](crate::pool::Builder::priorities) has a queue for each level. A worker that is free looks at the
//! queues in the order of its [`Turn`], and takes the first task that it finds.
//!
//! | turn, modulo [`TURNS`] | first    | then                      |
//! |------------------------|----------|---------------------------|
//! | 4                      | `Normal` | `High`, `Low`             |
//! | 9                      | `Low`    | `High`, `Normal`          |
//! | any other              | `High`   | `Normal`, `Low`           |
//!
//! PRIORITY-1. Each message that a worker takes is one turn. So of [`TURNS`] messages that it takes while all levels have
//!     some, eight are of `High` and one is of each other level: no level starves.
//! PRIORITY-2. The first turn of a worker is drawn at random. So this holds on average also where each worker takes only a few
//!     messages, because it is recycled, or dies.

use core::hash::{BuildHasher, Hasher};
use std::hash::RandomState;

/// How urgent a task is. In a pool with [priorities](crate::pool::Builder::priorities), free workers take tasks of a higher level
/// first.
///
/// Lower levels do not starve: while tasks of all levels are queued, one of ten that a worker takes is [`Low`](Self::Low), one
/// [`Normal`](Self::Normal), and eight are [`High`](Self::High). Tasks of the same level are started in the order in which
/// they were submitted. A task that runs is not interrupted.
///
/// # Examples
///
/// See [`TypedPool::task`](crate::pool::TypedPool::task).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After all others, such as work that can wait for a quiet hour.
    Low,
    /// That of tasks for which nothing is said.
    #[default]
    Normal,
    /// Before all others, such as work that someone waits for.
    High,
}

/// After this many messages, a worker's order of looking repeats.
const TURNS: u32 = 10;

/// A worker's place in the table above.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn(u32);

impl Turn {
    /// Returns a turn drawn at random (PRIORITY-2).
    pub(crate) fn random() -> Self {
        // The standard library seeds each `RandomState` differently.
        let drawn = RandomState::new().build_hasher().finish() % u64::from(TURNS);
        Self(u32::try_from(drawn).unwrap_or(0))
    }

    /// Returns the order in which to look at the queues.
    pub(crate) fn order(self) -> [Priority; 3] {
        match self.0 % TURNS {
            _ if mutant!(LowLevelsStarve) => [Priority::High, Priority::Normal, Priority::Low],
            4 => [Priority::Normal, Priority::High, Priority::Low],
            9 => [Priority::Low, Priority::High, Priority::Normal],
            _ => [Priority::High, Priority::Normal, Priority::Low],
        }
    }

    /// Goes on to the next turn.
    pub(crate) const fn advance(&mut self) {
        self.0 = (self.0 + 1) % TURNS;
    }
}

/// Something that a pool has for each level: a queue, or an end of one. A pool without priorities has only that of
/// [`Priority::Normal`].
#[derive(Debug)]
pub(crate) struct Levels<Q> {
    pub(crate) normal: Q,
    others: Option<Others<Q>>,
}

#[derive(Debug)]
struct Others<Q> {
    low: Q,
    high: Q,
}

impl<Q> Levels<Q> {
    /// Makes what a pool needs: `make` is called for each of its levels.
    pub(crate) fn try_make<E>(
        has_priorities: bool,
        mut make: impl FnMut(Priority) -> Result<Q, E>,
    ) -> Result<Self, E> {
        let normal = make(Priority::Normal)?;
        let others = if has_priorities {
            Some(Others {
                low: make(Priority::Low)?,
                high: make(Priority::High)?,
            })
        } else {
            None
        };
        Ok(Self { normal, others })
    }

    /// Puts the parts together. Without both other levels there are no priorities.
    pub(crate) fn from_parts(normal: Q, low: Option<Q>, high: Option<Q>) -> Self {
        let others = low.zip(high).map(|(low, high)| Others { low, high });
        Self { normal, others }
    }

    pub(crate) const fn has_priorities(&self) -> bool {
        self.others.is_some()
    }

    /// Returns that of a level; `None` if the pool has no priorities.
    pub(crate) fn of(&self, priority: Priority) -> Option<&Q> {
        match priority {
            Priority::Normal => Some(&self.normal),
            Priority::Low => self.others.as_ref().map(|others| &others.low),
            Priority::High => self.others.as_ref().map(|others| &others.high),
        }
    }

    /// Returns all of them, the highest level first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Priority, &Q)> {
        [Priority::High, Priority::Normal, Priority::Low]
            .into_iter()
            .filter_map(|priority| Some((priority, self.of(priority)?)))
    }
}

impl<A, B> Levels<(A, B)> {
    /// Separates the two parts.
    pub(crate) fn unzip(self) -> (Levels<A>, Levels<B>) {
        let (normal, other) = self.normal;
        let (low, high) = self.others.map(|it| (it.low, it.high)).unzip();
        let ((low, other_low), (high, other_high)) = (low.unzip(), high.unzip());
        (
            Levels::from_parts(normal, low, high),
            Levels::from_parts(other, other_low, other_high),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_turns_in_a_row_begin_with_each_level_as_often_as_the_table_says() {
        let mut turn = Turn::random();
        let mut firsts = Vec::new();
        for _ in 0..TURNS {
            let mut order = turn.order();
            firsts.extend(order.first().copied());
            order.sort();
            assert_eq!(order, [Priority::Low, Priority::Normal, Priority::High]);
            turn.advance();
        }
        let count = |level| firsts.iter().filter(|&&first| first == level).count();
        assert_eq!(
            [Priority::Low, Priority::Normal, Priority::High].map(count),
            [1, 1, 8]
        );
    }

    #[test]
    fn a_pool_without_priorities_has_one_level() {
        let one: Levels<Priority> = Levels::try_make(false, Ok::<_, ()>).expect("never fails");
        assert!(!one.has_priorities());
        assert_eq!(one.of(Priority::High), None);
        assert_eq!(one.iter().count(), 1);
        let three: Levels<Priority> = Levels::try_make(true, Ok::<_, ()>).expect("never fails");
        assert!(three.iter().all(|(priority, &made)| priority == made));
        assert_eq!(three.iter().count(), 3);
    }
}
