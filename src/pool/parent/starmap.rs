//! Tasks made of tuples of arguments.

use core::fmt;
use core::iter::FusedIterator;

/// A function that makes a value, such as a task, of the arguments in a tuple of one to eight: each closure and function with as
/// many parameters, such as the `new` of a `#[workring::task]`.
pub trait MakeFrom<A> {
    /// What it makes.
    type Made;

    /// Calls the function with these arguments.
    fn make_from(&mut self, arguments: A) -> Self::Made;
}

/// Implements the trait for functions of as many parameters.
macro_rules! for_parameters {
    ($($argument:ident $value:ident),+) => {
        impl<F, M, $($argument),+> MakeFrom<($($argument,)+)> for F
        where
            F: FnMut($($argument),+) -> M,
        {
            type Made = M;

            #[inline]
            fn make_from(&mut self, ($($value,)+): ($($argument,)+)) -> M {
                self($($value),+)
            }
        }
    };
}

for_parameters!(A a);
for_parameters!(A a, B b);
for_parameters!(A a, B b, C c);
for_parameters!(A a, B b, C c, D d);
for_parameters!(A a, B b, C c, D d, E e);
for_parameters!(A a, B b, C c, D d, E e, G g);
for_parameters!(A a, B b, C c, D d, E e, G g, H h);
for_parameters!(A a, B b, C c, D d, E e, G g, H h, I i);

/// The tasks that a function makes of the tuples of an iterator: the source of the map that
/// [`TypedPool::starmap`](crate::pool::TypedPool::starmap) returns.
#[must_use = "iterators do nothing unless consumed"]
pub struct Starmap<F, I> {
    make: F,
    arguments: I,
}

impl<F, I> Starmap<F, I> {
    pub(super) const fn new(make: F, arguments: I) -> Self {
        Self { make, arguments }
    }
}

impl<F: MakeFrom<I::Item>, I: Iterator> Iterator for Starmap<F, I> {
    type Item = F::Made;

    #[inline]
    fn next(&mut self) -> Option<F::Made> {
        let arguments = self.arguments.next()?;
        Some(self.make.make_from(arguments))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.arguments.size_hint()
    }
}

impl<F: MakeFrom<I::Item>, I: FusedIterator> FusedIterator for Starmap<F, I> {}

impl<F, I> fmt::Debug for Starmap<F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starmap").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_any_number_of_parameters_gets_the_tuple() {
        let mut calls = 0;
        let one = Starmap::new(
            |n: u8| {
                calls += 1;
                n
            },
            [(3,), (4,)].into_iter(),
        );
        assert_eq!(one.size_hint(), (2, Some(2)));
        assert_eq!(one.collect::<Vec<_>>(), [3, 4]);
        assert_eq!(calls, 2);
        let eight = |one: u8, two: &str, three, four, five, six, seven: u8, eight: char| {
            format!("{one}{two}{three}{four}{five}{six}{seven}{eight}")
        };
        let tuples = [(1, "x", 2_u8, 3_u8, 4_u8, 5_u8, 6, 'y')];
        let made = Starmap::new(eight, tuples.into_iter()).collect::<Vec<_>>();
        assert_eq!(made, ["1x23456y"]);
    }
}
