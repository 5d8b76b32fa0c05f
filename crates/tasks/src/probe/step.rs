//! One more poll of some of a dump's futures, instruction by instruction.
//!
//! It shows where a future waits that registers no waker. The poll is a probe like any other, with a
//! probing waker, so that what is known of the future's wakers stays right; only that its stack is
//! not copied.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rtops_step::{Refusal, Stepper, Trace};

use super::{
    driver::{Driver, Pace, Probed, Sink, last_dump},
    session::{Stale, Verdict, Work},
    slots::StackCopy,
};

/// One after the other, as one poll of a process is stepped at a time. The patience does not run
/// while one is.
const STEPPING: Pace = Pace {
    window: 1,
    patience: Duration::from_secs(1),
};

/// What came of the futures that were to be stepped, by their places in the findings.
#[derive(Debug, Default)]
pub struct Stepped {
    /// What ran.
    pub traces: Vec<(usize, Trace)>,
    /// Those of which nothing was stepped.
    pub not_stepped: Vec<(usize, NotStepped)>,
}

/// Why a future's poll was not stepped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotStepped {
    /// It was polled, but stepping could do harm, or is not supported.
    Refused(Refusal),
    /// It was not polled.
    NotPolled,
    /// There was no time left to ask for a poll.
    NoTime,
}

/// Has the futures at these places in the findings of a dump polled once more, and stepped. What is
/// found out about them anew replaces what was found before.
///
/// Blocks as [`probe`](super::probe()) does, and not longer than the deadline. Futures are asked for
/// one after the other; each stepped poll takes some microseconds an instruction.
pub fn step(found: &mut [Probed], chosen: &[usize], deadline: Instant) -> Stepped {
    let (chosen, entries): (Vec<usize>, Vec<_>) = chosen
        .iter()
        .filter_map(|index| Some((*index, Arc::clone(&found.get(*index)?.entry))))
        .unzip();
    if chosen.is_empty() {
        return Stepped::default();
    }
    let began = Instant::now();
    let mut dump = last_dump();
    let stepper = match Stepper::new() {
        Ok(stepper) => stepper,
        Err(refusal) => {
            let refused = |index| (index, NotStepped::Refused(refusal));
            return Stepped {
                traces: Vec::new(),
                not_stepped: chosen.into_iter().map(refused).collect(),
            };
        }
    };
    let mut driver = Driver::new(entries, deadline, Stale::Kept);
    let all: Vec<usize> = (0..chosen.len()).collect();
    let work = Work::Step(stepper);
    let refusals = driver.round(&mut dump, work, STEPPING, &all, &mut NoCopies);
    drop(dump);
    let mut stepped = Stepped::default();
    for trace in driver.traces {
        let index = usize::try_from(trace.tag)
            .ok()
            .and_then(|tag| chosen.get(tag));
        stepped.traces.extend(index.map(|index| (*index, trace)));
    }
    for ((target, index), tag) in driver.targets.into_iter().zip(chosen).zip(0..) {
        let refused = refusals.iter().rfind(|(refused, _)| *refused == tag);
        let is_open = target.verdict == Verdict::Open;
        let why = match refused {
            Some((_, refusal)) => Some(NotStepped::Refused(*refusal)),
            None if is_open && target.asked => Some(NotStepped::NotPolled),
            None if is_open => Some(NotStepped::NoTime),
            // It was polled inside another one, whose trace has its poll.
            None => None,
        };
        if !stepped.traces.iter().any(|(traced, _)| *traced == index) {
            stepped.not_stepped.extend(why.map(|why| (index, why)));
        }
        if target.verdict != Verdict::Open
            && let Some(found) = found.get_mut(index)
        {
            *found = Probed {
                in_state_for: found.in_state_for,
                lost_wakers: found.lost_wakers,
                ..target.result()
            };
        }
    }
    // Stepping took some time, which is the same for all.
    for task in found {
        task.age = task.entry.age();
        task.in_state_for = match task.entry.polled_by() {
            None => task.entry.in_state_for(),
            // Perhaps only because something inside it was woken to be stepped.
            Some(_) => task.in_state_for + began.elapsed(),
        };
    }
    stepped
}

struct NoCopies;

impl Sink for NoCopies {
    fn copied(&mut self, _: &StackCopy<'_>) {}

    fn discard(&mut self, _: usize) {}
}
