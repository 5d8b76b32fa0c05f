//! What an agent reports about the heap of its process.

use rtops_protocol::{Allocator, Counted, HeapWalk, Hello, Memory, Reply, Request, Trimmed};

use crate::{error::Error, find::target::Target};

/// More allocators, figures, notes or sizes than any agent has.
const MOST: usize = 256;

/// Names an answer that makes no sense.
const NONSENSE: &str = "an answer without figures, or with too many";

/// Asks for what is known now. The greeting does not tell agents that are too old from those that
/// have this switched off, but both say so when asked.
///
/// # Errors
/// If there is no agent, or it does not answer this.
pub fn memory(target: &Target, walk: HeapWalk) -> Result<(Hello, Memory), Error> {
    let mut session = target.open()?;
    let figures = |reply| match reply {
        Reply::Memory(memory) => Some(memory),
        _ => None,
    };
    let memory = target.ask(&mut session, &Request::Memory(walk), figures, NONSENSE)?;
    if is_bounded(&memory) {
        Ok((session.hello, memory))
    } else {
        Err(target.nonsense(NONSENSE))
    }
}

/// Makes the process return memory.
///
/// # Errors
/// If there is no agent, or it does not do this.
pub fn trim(target: &Target) -> Result<(Hello, Trimmed), Error> {
    let mut session = target.open()?;
    let figures = |reply| match reply {
        Reply::Trimmed(trimmed) => Some(trimmed),
        _ => None,
    };
    let trimmed = target.ask(&mut session, &Request::Trim, figures, NONSENSE)?;
    let is_sane =
        is_bounded(&trimmed.before) && is_bounded(&trimmed.after) && trimmed.calls.len() <= MOST;
    if is_sane {
        Ok((session.hello, trimmed))
    } else {
        Err(target.nonsense(NONSENSE))
    }
}

fn is_bounded(memory: &Memory) -> bool {
    let lengths = |allocator: &Allocator| [allocator.figures.len(), allocator.notes.len()];
    let counted = memory.counted.as_ref();
    memory.allocators.len() <= MOST
        && memory
            .allocators
            .iter()
            .flat_map(lengths)
            .all(|length| length <= MOST)
        && counted.is_none_or(|counted| counted.classes.len() <= MOST)
}

/// The sums over all heaps of a process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sums {
    /// Bytes obtained from the system.
    pub held: Option<u64>,
    /// Bytes in blocks in use.
    pub in_use: Option<u64>,
    /// Bytes that are free but kept.
    pub kept: Option<u64>,
}

impl Sums {
    /// Adds up what the allocators report. An agent names the allocator of the service's own code
    /// first, so what was counted stands in for what that one does not report.
    pub fn of(memory: &Memory) -> Self {
        let counted = memory.counted.as_ref().map(Counted::live_bytes);
        let heaps = memory
            .allocators
            .iter()
            .enumerate()
            .map(|(number, allocator)| {
                let counted = counted.filter(|_| number == 0);
                let rest = || Some(allocator.held?.saturating_sub(counted?));
                Self {
                    held: allocator.held,
                    in_use: allocator.in_use.or(counted),
                    kept: allocator.kept.or_else(rest),
                }
            });
        let heaps: Vec<Self> = heaps.filter(|heap| *heap != Self::default()).collect();
        let total = |of: fn(&Self) -> Option<u64>| {
            let sum = |sum: u64, heap| Some(sum.saturating_add(of(heap)?));
            let sum = heaps.iter().try_fold(0, sum);
            sum.filter(|_| !heaps.is_empty())
        };
        Self {
            held: total(|heap| heap.held),
            in_use: total(|heap| heap.in_use),
            kept: total(|heap| heap.kept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator(held: Option<u64>, in_use: Option<u64>, kept: Option<u64>) -> Allocator {
        Allocator {
            name: "malloc".to_owned(),
            held,
            in_use,
            kept,
            figures: Vec::new(),
            notes: Vec::new(),
            took_ns: 0,
        }
    }

    fn sums(allocators: Vec<Allocator>, counted: Option<u64>) -> [Option<u64>; 3] {
        let class = |live_bytes| rtops_protocol::SizeClass {
            live_bytes,
            ..Default::default()
        };
        let counted = counted.map(|bytes| Counted {
            classes: vec![class(bytes)],
            ..Counted::default()
        });
        let Sums { held, in_use, kept } = Sums::of(&Memory {
            clock_ns: 0,
            allocators,
            counted,
        });
        [held, in_use, kept]
    }

    #[test]
    fn heaps_are_added_up() {
        let whole = || allocator(Some(10), Some(7), Some(3));
        let holds = || allocator(Some(50), None, None);
        let silent = || allocator(None, None, None);
        assert_eq!(
            sums(vec![whole(), whole()], None),
            [Some(20), Some(14), Some(6)]
        );
        assert_eq!(sums(vec![holds(), whole()], None), [Some(60), None, None]);
        assert_eq!(
            sums(vec![whole(), silent()], Some(99)),
            [Some(10), Some(7), Some(3)]
        );
        assert_eq!(sums(vec![], None), [None; 3]);
    }

    #[test]
    fn what_was_counted_stands_in_for_what_the_first_does_not_say() {
        let whole = allocator(Some(10), Some(7), Some(3));
        let holds = allocator(Some(50), None, None);
        let silent = allocator(None, None, None);
        assert_eq!(
            sums(vec![holds, whole], Some(40)),
            [Some(60), Some(47), Some(13)]
        );
        assert_eq!(sums(vec![silent], Some(40)), [None, Some(40), None]);
    }
}
