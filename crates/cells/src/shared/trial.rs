//! Tries what becomes of a thing when the future of a party
//! that has it is dropped, in the interpreter.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use rtops_image::Thread;

use super::{Party, Thing, What, queues::Queue, together};
use crate::{
    Inventory, State,
    machine::Machine,
    poll::{Ended, Poller, unwind::PollCall},
    polls::Polls,
    words,
};

/// The most instructions of all trials together, and the total beyond which tasks that
/// share nothing are not tried.
pub(super) const BUDGET: u64 = 4_000_000;
const BUDGET_ALONE: u64 = 1_000_000;
/// How many parties that have a thing are tried.
const MOST_EACH: usize = 64;
/// How many words of a node are copied, and how many bytes before it the copy begins.
pub(super) const NODE_WORDS: usize = 24;
const NODE_BEFORE: u64 = 64;
/// More permits than a lock or semaphore that anybody waits for has.
const MOST_PERMITS: u64 = u32::MAX as u64;

/// What is known of a thing after the trials.
#[derive(Clone, Debug, Default)]
pub(super) struct Tried {
    /// The parties without which the first waiter goes on.
    pub(super) holders: BTreeSet<Party>,
    /// The number of references of each party that was tried to the end.
    pub(super) references: BTreeMap<Party, u64>,
    /// Whether these are all references that are counted.
    pub(super) has_all_references: bool,
    /// Whether all waiters that were tried left it with their futures; `None` if none was tried.
    pub(super) is_left: Option<bool>,
    /// Of a place for a waker that only one task is known to have:
    /// whether the task waits there and nowhere else.
    pub(super) is_awaited: bool,
}

/// Tries the parties that have something, until the time is up.
pub(super) fn of(
    polls: &Polls<'_>,
    inventory: &Inventory,
    things: &[Thing],
    until: Option<Instant>,
) -> Vec<Tried> {
    let mut tried = vec![Tried::default(); things.len()];
    let mut poller = Poller::as_it_is(polls.interpreter(), polls);
    let begin = poller.recorder.count;
    for (is_alone, header, indices) in who(things) {
        let is_late = until.is_some_and(|until| Instant::now() >= until);
        let budget = if is_alone { BUDGET_ALONE } else { BUDGET };
        if is_late || poller.recorder.count - begin > budget {
            break;
        }
        let Some((place, is_running)) = place_of(polls, inventory, header) else {
            continue;
        };
        let of_it: Vec<(usize, &Thing)> = indices
            .iter()
            .filter_map(|index| Some((*index, things.get(*index)?)))
            .collect();
        for (index, seen) in try_one(&mut poller, Dropped::Task(place), &of_it) {
            if let Some(tried) = tried.get_mut(index) {
                tried.add(Party::Task { cell: header }, &seen, is_running);
            }
        }
    }
    try_threads(polls, things, until, &mut tried);
    for (tried, thing) in tried.iter_mut().zip(things) {
        let counts = thing.arc.and_then(|arc| {
            // A weak reference may become a strong one. All strong ones
            // together count as one weak one.
            let weak = poller.word(arc + 8)?;
            Some(poller.word(arc)?).filter(|_| weak == 1)
        });
        let found: u64 = tried.references.values().sum();
        tried.has_all_references = counts.is_some_and(|all| all == found);
        let is_late = until.is_some_and(|until| Instant::now() >= until);
        if !is_late && poller.recorder.count - begin <= BUDGET {
            tried.is_awaited = is_awaited(&mut poller, polls, inventory, thing, tried);
        }
    }
    together::complete(polls, inventory, things, until, &mut tried);
    tried
}

/// Tries the futures inside `block_on`, for things that no task is known to hold.
fn try_threads(polls: &Polls<'_>, things: &[Thing], until: Option<Instant>, tried: &mut [Tried]) {
    // A thread that was not woken would go back to waiting at once.
    let mut woken = None;
    for thread in polls.parked() {
        let party = Party::BlockOn { tid: thread.tid };
        let is_open = |(index, thing): &(usize, &Thing)| {
            let tried = tried.get(*index).into_iter();
            let is_known = tried
                .flat_map(|tried| &tried.holders)
                .any(|holder| thing.lets_go(holder));
            thing.having.contains(&party) && (!is_known || thing.waiters.contains(&party))
        };
        let of_it = things.iter().enumerate().filter(is_open);
        let of_it: Vec<(usize, &Thing)> = of_it.take(MOST_EACH).collect();
        let is_late = until.is_some_and(|until| Instant::now() >= until);
        if of_it.is_empty() {
            continue;
        }
        let poller = woken.get_or_insert_with(|| polls.on(polls.interpreter()));
        if is_late || poller.recorder.count > BUDGET {
            return;
        }
        let Some(poll) = poller.poll_call(thread) else {
            continue;
        };
        for (index, seen) in try_one(poller, Dropped::BlockOn(thread, poll), &of_it) {
            if let Some(tried) = tried.get_mut(index) {
                tried.add(party, &seen, false);
            }
        }
    }
}

/// Returns the position of a task, and whether it runs; `None` for one that has no future.
pub(super) fn place_of(
    polls: &Polls<'_>,
    inventory: &Inventory,
    header: u64,
) -> Option<(usize, bool)> {
    let cells = &polls.cells;
    let place = cells.binary_search_by_key(&header, |cell| cell.candidate.header);
    let place = place.ok()?;
    match inventory.tasks.get(place)?.state {
        State::Idle | State::Woken => Some((place, false)),
        State::Running { .. } => Some((place, true)),
        _ => None,
    }
}

/// Whether a task waits at a place for a waker to which nobody else has a reference. The memory
/// of others may still have words that lead to the place, from when it was something else.
fn is_awaited<M: Machine>(
    poller: &mut Poller<'_, M>,
    polls: &Polls<'_>,
    inventory: &Inventory,
    thing: &Thing,
    tried: &Tried,
) -> bool {
    let (What::Slot(at), [waiter]) = (&thing.what, thing.waiters.as_slice()) else {
        return false;
    };
    let has_none = |party: &Party| match tried.references.get(party) {
        Some(count) => *count == 0,
        None => tried.has_all_references,
    };
    let is_alone = thing
        .having
        .iter()
        .all(|party| party == waiter || has_none(party));
    let Party::Task { cell } = waiter else {
        return false;
    };
    let place = place_of(polls, inventory, *cell).filter(|_| is_alone);
    place.is_some_and(|(place, is_running)| !is_running && poller.waits_at(place, *at))
}

impl Tried {
    /// Adds what was seen of a party. The memory of a running task
    /// shows its future as of the last poll.
    fn add(&mut self, party: Party, seen: &Seen, is_running: bool) {
        if let Some(leaves) = seen.leaves.filter(|_| !is_running) {
            self.is_left = Some(self.is_left.unwrap_or(true) && leaves);
        }
        if seen.goes_on && !is_running {
            self.holders.insert(party);
        }
        if let Some(references) = seen.references.filter(|count| *count > 0 || !is_running) {
            self.references.insert(party, references);
        }
    }
}

/// Returns the tasks to be tried, each with the things that it
/// has; those that share one with another come first.
fn who(things: &[Thing]) -> Vec<(bool, u64, Vec<usize>)> {
    let mut all: BTreeMap<u64, (bool, Vec<usize>)> = BTreeMap::new();
    for (index, thing) in things.iter().enumerate() {
        let is_alone = thing.having.len() < 2;
        let mut parties: Vec<&Party> = thing.having.iter().collect();
        parties.sort_by_key(|party| thing.waiters.contains(party));
        for party in parties.into_iter().take(MOST_EACH) {
            if let Party::Task { cell } = party {
                let (are_alone, indices) = all.entry(*cell).or_insert((true, Vec::new()));
                *are_alone &= is_alone;
                indices.push(index);
            }
        }
    }
    let all = all.into_iter();
    let mut all: Vec<_> = all
        .map(|(header, (is_alone, indices))| (is_alone, header, indices))
        .collect();
    all.sort_unstable();
    all
}

/// What is dropped.
#[derive(Clone, Copy)]
pub(super) enum Dropped<'a> {
    /// The future of the task at this position.
    Task(usize),
    /// The future inside a thread's `block_on`, and the call that polls it.
    BlockOn(&'a Thread, PollCall),
}

impl Dropped<'_> {
    /// Drops it, with scratch memory of this number. Returns how that ended and which tasks it woke.
    pub(super) fn drop<M: Machine>(
        self,
        poller: &mut Poller<'_, M>,
        scratch: usize,
    ) -> (Ended, Vec<u64>) {
        match self {
            Self::Task(place) => poller.drop_future(place),
            Self::BlockOn(thread, poll) => match poller.scratch(scratch, NODE_WORDS) {
                Some(exception) => poller.unwind_future(thread, poll, exception),
                None => (Ended::Ready, Vec::new()),
            },
        }
    }

    fn party<M: Machine>(self, poller: &Poller<'_, M>) -> Party {
        match self {
            Self::Task(place) => Party::Task {
                cell: poller.header(place),
            },
            Self::BlockOn(thread, _) => Party::BlockOn { tid: thread.tid },
        }
    }
}

/// The offset in a node of the number of permits that its waiter still lacks.
type Lacking = u64;

/// What became of a thing.
struct Seen {
    /// Whether the task no longer waits in the list; `None` if it did not wait in one.
    leaves: Option<bool>,
    /// Whether the first waiter goes on.
    goes_on: bool,
    /// Where its node counts the permits that it still lacks, if it lacks fewer now.
    lacking: Option<Lacking>,
    /// How many references were dropped, if the future was dropped to the end.
    references: Option<u64>,
    /// Whether it was.
    is_whole: bool,
}

/// A thing before a future is dropped.
struct Before<'a> {
    thing: &'a Thing,
    /// A node added to its list, and the words of it that change when its waiter goes on.
    decoy: Option<(u64, Vec<u64>)>,
    slot: Option<[u64; 2]>,
    lock: Option<u8>,
    references: Option<u64>,
}

/// Drops a future and returns what became of the things, without permits that were only set aside
/// for it.
fn try_one<M: Machine>(
    poller: &mut Poller<'_, M>,
    what: Dropped<'_>,
    things: &[(usize, &Thing)],
) -> Vec<(usize, Seen)> {
    let mut all = drop_one(poller, what, things, None);
    for ((index, seen), (_, thing)) in all.iter_mut().zip(things) {
        seen.goes_on = seen.goes_on && has_more(poller, what, (*index, thing), seen);
    }
    all
}

/// Returns whether a waiter whose future released permits held more than those that were set aside
/// for it in the queue, as they are for a writer that waits for the last readers.
fn has_more<M: Machine>(
    poller: &mut Poller<'_, M>,
    what: Dropped<'_>,
    thing: (usize, &Thing),
    seen: &Seen,
) -> bool {
    let What::Queue(queue) = &thing.1.what else {
        return true;
    };
    let waits = what.party(poller);
    let own = queue.nodes.iter().zip(&queue.whose);
    let own = own.filter(|(_, whose)| **whose == waits);
    let own = own.filter_map(|(node, _)| Some(node + seen.lacking?));
    for lacks in own.collect::<Vec<u64>>() {
        let Some(left) = poller.word(lacks) else {
            continue;
        };
        // The number that it asked for is nearby. With a larger one, the drop would panic.
        let around = (lacks.saturating_sub(NODE_BEFORE)..lacks + NODE_BEFORE * 2).step_by(8);
        let asked = around.filter_map(|at| poller.word(at));
        let mut asked: Vec<u64> = asked
            .filter(|word| *word > left && *word <= MOST_PERMITS)
            .collect();
        asked.sort_unstable();
        asked.dedup();
        for asked in asked.into_iter().rev() {
            let nothing_aside = Some((lacks, asked));
            let again = drop_one(poller, what, &[thing], nothing_aside);
            if let Some((_, again)) = again.first().filter(|(_, again)| again.is_whole) {
                return again.goes_on;
            }
        }
    }
    true
}

/// Drops a future and returns what became of the things. A word may be changed before that.
fn drop_one<M: Machine>(
    poller: &mut Poller<'_, M>,
    what: Dropped<'_>,
    things: &[(usize, &Thing)],
    changed: Option<(u64, u64)>,
) -> Vec<(usize, Seen)> {
    let mut before = Vec::new();
    for (number, (index, thing)) in things.iter().enumerate() {
        before.push((*index, prepare(poller, thing, number)));
    }
    if let Some((at, word)) = changed {
        // If it can't be written, the drop shows the same as without it.
        let _same = poller.set_word(at, word);
    }
    let (ended, woken) = what.drop(poller, things.len());
    let party = what.party(poller);
    let is_whole = ended == Ended::Pending;
    let seen = before.into_iter().map(|(index, before)| {
        let after = before.thing.arc.and_then(|arc| poller.word(arc));
        let references = before.references.zip(after);
        let references = references.and_then(|(before, after)| before.checked_sub(after));
        let goes_on = goes_on(poller, &before, &woken, references);
        let references = references.filter(|_| is_whole);
        let leaves = leaves(poller, before.thing, party).filter(|_| is_whole);
        let seen = Seen {
            leaves,
            goes_on,
            lacking: lacking(poller, &before),
            references,
            is_whole,
        };
        (index, seen)
    });
    let seen = seen.collect();
    poller.revert();
    seen
}

/// Whether a task is gone from the ends of the list that it waited in.
fn leaves<M: Machine>(poller: &mut Poller<'_, M>, thing: &Thing, party: Party) -> Option<bool> {
    let What::Queue(queue) = &thing.what else {
        return None;
    };
    let is_waiter = thing.waiters.contains(&party);
    let ends = [poller.word(queue.list)?, poller.word(queue.list + 8)?];
    // In a list of several nodes, other waiters' nodes stay.
    let is_gone = queue.nodes.len() > 1 || !queue.nodes.iter().any(|node| ends.contains(node));
    is_waiter.then_some(is_gone)
}

fn prepare<'a, M: Machine>(
    poller: &mut Poller<'_, M>,
    thing: &'a Thing,
    number: usize,
) -> Before<'a> {
    // Dropping the last reference would free it.
    let references = thing.arc.and_then(|arc| {
        let counted = poller.word(arc)?.checked_add(1)?;
        poller.set_word(arc, counted)?;
        Some(counted)
    });
    let mut before = Before {
        thing,
        decoy: None,
        slot: None,
        lock: None,
        references,
    };
    match &thing.what {
        What::Queue(queue) => before.decoy = add_decoy(poller, queue, number),
        What::Slot(at) => before.slot = slot(poller, *at),
        What::Lock(lock) => before.lock = byte(poller, *lock),
    }
    before
}

fn goes_on<M: Machine>(
    poller: &mut Poller<'_, M>,
    before: &Before<'_>,
    woken: &[u64],
    references: Option<u64>,
) -> bool {
    match &before.thing.what {
        What::Queue(queue) => before.decoy.as_ref().is_some_and(|(decoy, words)| {
            decoy_words(poller, queue, *decoy).as_ref() != Some(words)
        }),
        What::Slot(at) => {
            let waits = before.thing.waiters.iter().any(|party| match party {
                Party::Task { cell } => woken.contains(cell),
                _ => false,
            });
            slot(poller, *at) != before.slot || waits && references.is_some_and(|count| count > 0)
        }
        What::Lock(lock) => byte(poller, *lock) != before.lock,
    }
}

/// Returns the offset of a number in the decoy that is smaller than before.
fn lacking<M: Machine>(poller: &mut Poller<'_, M>, before: &Before<'_>) -> Option<Lacking> {
    let (What::Queue(queue), Some((decoy, words))) = (&before.thing.what, &before.decoy) else {
        return None;
    };
    let places = decoy_places(queue, *decoy)?;
    let mut numbers = places.zip(words);
    numbers.find_map(|(at, before)| {
        let is_less = *before <= MOST_PERMITS && poller.word(at)? < *before;
        is_less.then(|| at.wrapping_sub(*decoy))
    })
}

/// Puts one more node into a list, behind which there is nobody: a copy of the one that was first.
fn add_decoy<M: Machine>(
    poller: &mut Poller<'_, M>,
    queue: &Queue,
    number: usize,
) -> Option<(u64, Vec<u64>)> {
    let links = queue.links?;
    let first = *queue.nodes.first()?;
    let from = first.checked_sub(NODE_BEFORE)?;
    let to = poller.scratch(number, NODE_WORDS)?;
    for offset in (0..NODE_WORDS as u64 * 8).step_by(8) {
        // Words that can't be read are past the node.
        let word = poller.word(from + offset).unwrap_or(0);
        poller.set_word(to + offset, word)?;
    }
    let decoy = to + NODE_BEFORE;
    poller.set_word(decoy + links, first)?;
    poller.set_word(decoy + links + 8, 0)?;
    poller.set_word(first + links + 8, decoy)?;
    poller.set_word(queue.list + 8, decoy)?;
    let words = decoy_words(poller, queue, decoy)?;
    Some((decoy, words))
}

/// Returns the addresses of the words in and around a node, without its links.
fn decoy_places(queue: &Queue, decoy: u64) -> Option<impl Iterator<Item = u64>> {
    let links = queue.links?;
    let begin = decoy - NODE_BEFORE;
    let places = (begin..begin + NODE_WORDS as u64 * 8).step_by(8);
    Some(places.filter(move |at| !(decoy + links..decoy + links + 16).contains(at)))
}

/// Returns these words.
fn decoy_words<M: Machine>(
    poller: &mut Poller<'_, M>,
    queue: &Queue,
    decoy: u64,
) -> Option<Vec<u64>> {
    decoy_places(queue, decoy)?.try_fold(Vec::new(), |mut words, at| {
        words.push(poller.word(at)?);
        Some(words)
    })
}

fn slot<M: Machine>(poller: &mut Poller<'_, M>, at: u64) -> Option<[u64; 2]> {
    Some([poller.word(at)?, poller.word(at + 8)?])
}

fn byte<M: Machine>(poller: &mut Poller<'_, M>, at: u64) -> Option<u8> {
    words::byte(poller.word(at & !7)?, at)
}
