//! Finds out whether the known owners of something are all of them: it is gone once they are all
//! dropped.
//!
//! Counting each owner's references is not enough for something inside another shared thing. The
//! waiters of a barrier, for example, are in a channel that belongs to the barrier.

use std::time::Instant;

use super::{
    Party, Thing, What,
    trial::{BUDGET, Dropped, Tried, place_of},
};
use crate::{
    Inventory,
    machine::Machine,
    poll::{Ended, Poller},
    polls::Polls,
};

/// The most futures that are dropped together.
const MOST: usize = 16;

/// Completes what is known about the things that have no known holder.
pub(super) fn complete(
    polls: &Polls<'_>,
    inventory: &Inventory,
    things: &[Thing],
    until: Option<Instant>,
    tried: &mut [Tried],
) {
    let mut poller = None;
    for (thing, tried) in things.iter().zip(tried) {
        let is_held = tried.holders.iter().any(|holder| thing.lets_go(holder));
        let is_one = matches!(thing.what, What::Queue(_)) && thing.having.len() <= MOST;
        if is_held || tried.has_all_references || !is_one {
            continue;
        }
        let poller = poller.get_or_insert_with(|| polls.on(polls.interpreter()));
        let is_late = until.is_some_and(|until| Instant::now() >= until);
        if is_late || poller.recorder.count > BUDGET {
            return;
        }
        let Some(arc) = thing.arc else { continue };
        let futures = thing.having.iter();
        let (threads, tasks): (Vec<&Party>, Vec<&Party>) =
            futures.partition(|party| matches!(party, Party::BlockOn { .. }));
        let mut dropped = tasks;
        let mut is_gone = are_gone(poller, polls, inventory, arc, &dropped);
        if !is_gone && threads.len() == 1 {
            dropped.extend(threads);
            is_gone = are_gone(poller, polls, inventory, arc, &dropped);
        }
        if !is_gone {
            continue;
        }
        tried.has_all_references = true;
        // Whoever it takes to have it gone has it, though maybe inside of something else.
        for party in dropped.iter().filter(|it| !thing.waiters.contains(it)) {
            let others: Vec<&Party> = dropped.iter().copied().filter(|it| it != party).collect();
            let has_it = !are_gone(poller, polls, inventory, arc, &others);
            let references = tried.references.entry(**party).or_default();
            *references = (*references).max(u64::from(has_it));
        }
    }
}

/// Returns whether no reference to an `Arc` is left once these are dropped.
fn are_gone<M: Machine>(
    poller: &mut Poller<'_, M>,
    polls: &Polls<'_>,
    inventory: &Inventory,
    arc: u64,
    parties: &[&Party],
) -> bool {
    let dropped = parties
        .iter()
        .map(|party| dropped(poller, polls, inventory, **party));
    let Some(dropped) = dropped.collect::<Option<Vec<_>>>() else {
        return false;
    };
    // An extra reference, so that it is not freed.
    let counted = poller.word(arc).and_then(|count| count.checked_add(1));
    let mut is_gone = counted.is_some_and(|count| poller.set_word(arc, count).is_some());
    for one in dropped {
        is_gone = is_gone && one.drop(poller, 0).0 == Ended::Pending;
    }
    is_gone = is_gone && [arc, arc + 8].map(|at| poller.word(at)) == [Some(1); 2];
    poller.revert();
    is_gone
}

/// Returns how a waiting party is dropped; `None` if it can't be.
fn dropped<'a, M: Machine>(
    poller: &mut Poller<'_, M>,
    polls: &Polls<'a>,
    inventory: &Inventory,
    party: Party,
) -> Option<Dropped<'a>> {
    match party {
        Party::Task { cell } => {
            let place = place_of(polls, inventory, cell);
            place.and_then(|(place, is_running)| (!is_running).then_some(Dropped::Task(place)))
        }
        Party::BlockOn { tid } => {
            let thread = polls.parked().iter().find(|thread| thread.tid == tid)?;
            Some(Dropped::BlockOn(thread, poller.poll_call(thread)?))
        }
        Party::Thread { .. } => None,
    }
}
