//! The same work for many items, several at once.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

/// The threads that do the work.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    /// The most threads.
    pub most: usize,
    /// The stack size of each, in bytes.
    pub stack: usize,
}

/// Does the work for all items and returns the results in their order. This thread works too,
/// alone if the system gives it no others.
pub fn map<T: Send, R: Send>(
    items: Vec<T>,
    workers: Workers,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let helpers = items.len().min(workers.most).saturating_sub(1);
    let items = Mutex::new(items.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some((place, item)) = next() {
            let result = work(item);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((place, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..helpers {
            let worker = thread::Builder::new().stack_size(workers.stack);
            if worker.spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let workers = Workers {
            most: 3,
            stack: 64 << 10,
        };
        let doubled = map((0..100).collect(), workers, |number: u32| number * 2);
        assert_eq!(doubled, (0..200).step_by(2).collect::<Vec<_>>());
        assert!(map(Vec::<u32>::new(), workers, |number| number).is_empty());
    }
}
