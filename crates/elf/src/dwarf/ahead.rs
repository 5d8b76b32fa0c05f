//! Reads units in several threads.

use std::{
    num::NonZero,
    panic,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{sections::Sections, unit::Unit, units::Root};
use crate::ReadError;

/// The maximum number of threads; more would wait for the disk or for memory.
const MAX_THREADS: usize = 8;

/// The number of a unit in the list, the unit itself if it can be read, and what is wrong with it.
type Read = (usize, Option<Unit>, Option<ReadError>);

/// Reads everything in these units that does not depend on an address, with as many threads as
/// there are processors. With one processor, this thread does it alone.
pub(super) fn read(sections: &Arc<Sections>, roots: &[&Root]) -> Vec<Read> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = processors.min(MAX_THREADS).min(roots.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut read = Vec::new();
        sections.budget().spend(|| {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(root) = roots.get(number) else {
                    return;
                };
                read.push(read_one(sections, root, number));
            }
        });
        read
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            // If another thread can't be created, this one does its work.
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut read = work();
        for other in others {
            // The caller decides what a panic costs.
            read.extend(
                other
                    .join()
                    .unwrap_or_else(|panic| panic::resume_unwind(panic)),
            );
        }
        read
    })
}

fn read_one(sections: &Arc<Sections>, root: &Root, number: usize) -> Read {
    match Unit::read(Arc::clone(sections), root) {
        Ok(unit) => {
            let fault = unit.read_whole();
            (number, Some(unit), fault)
        }
        Err(fault) => (number, None, Some(fault)),
    }
}
