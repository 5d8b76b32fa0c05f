//! tokio's lists of waiters, recognized by their structure: each node has a waker and two
//! links, and something around it leads to the list.

use rtops_image::Image;

use super::{Party, memory::Memory, wakers::Wakers};

/// How far from a waker the pointer to what has the list is searched for, in bytes.
const AROUND: u64 = 128;
/// How far past the address in that pointer the list is, in bytes.
const BEHIND: u64 = 128;
/// How far past that address there may be another pointer to what has the list, in bytes: a
/// future that receives refers to the receiver, which has the channel.
const FURTHER: u64 = 16;
/// The largest offset of the waker and of the links in a node.
const NODE: u64 = 64;
/// The most nodes of a list.
const LONGEST: usize = 100_000;

/// A list of waiters.
#[derive(Debug)]
pub(super) struct Queue {
    /// The address of its two ends: the newest node, then the oldest.
    pub(super) list: u64,
    /// Where the object that contains it begins, as its waiters know it.
    pub(super) pointer: u64,
    /// Its nodes, oldest first.
    pub(super) nodes: Vec<u64>,
    /// The waiter of each node.
    pub(super) whose: Vec<Party>,
    /// How far into a node the waker is.
    pub(super) waker: u64,
    /// The offset of the links in a node; `None` if that can't be told.
    pub(super) links: Option<u64>,
}

/// The way from a waker to its list: the place of the pointer, relative to the waker; the
/// offset of a further pointer, if there is one; the offset of the list. It is the same for
/// all that wait in the same way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    place: u64,
    further: Option<u64>,
    list: u64,
}

/// Finds the list that the waker at this place waits in, and the way to it; `known` is tried first.
pub(super) fn queue_at(
    memory: &mut Memory<'_, impl Image>,
    wakers: &Wakers,
    at: u64,
    known: Option<Way>,
) -> Option<(Queue, Way)> {
    if let Some(way) = known
        && let Some(pointer) = pointer(memory, at.wrapping_add(way.place))
        && let Some(pointer) = further(memory, pointer, way.further)
        && let Some(queue) = queue(memory, wakers, at, (pointer, pointer + way.list))
    {
        return Some((queue, way));
    }
    let around = (at.saturating_sub(AROUND)..at + AROUND + 16).step_by(8);
    let pointers = around.filter_map(|place| Some((pointer(memory, place)?, place)));
    let mut pointers: Vec<(u64, u64)> = pointers.collect();
    // The nearest pointer before a list is to the list's own
    // object, earlier ones to what contains that.
    pointers.sort_unstable_by(|one, other| other.cmp(one));
    pointers.dedup_by_key(|(pointer, _)| *pointer);
    let hops = (0..FURTHER).step_by(8).map(Some);
    for hop in [None].into_iter().chain(hops) {
        for (pointer, place) in &pointers {
            let place = place.wrapping_sub(at);
            if !memory.allows((BEHIND / 8) as usize) {
                return None;
            }
            let Some(pointer) = further(memory, *pointer, hop) else {
                continue;
            };
            for list in (0..BEHIND).step_by(8) {
                if let Some(queue) = queue(memory, wakers, at, (pointer, pointer + list)) {
                    let further = hop;
                    return Some((
                        queue,
                        Way {
                            place,
                            further,
                            list,
                        },
                    ));
                }
            }
        }
    }
    None
}

/// Returns the address itself, or the pointer that is `hop` bytes past it.
fn further(memory: &mut Memory<'_, impl Image>, from: u64, hop: Option<u64>) -> Option<u64> {
    match hop {
        None => Some(from),
        Some(hop) => pointer(memory, from.checked_add(hop)?),
    }
}

/// Reads what may be a pointer to what has a list. A waker's
/// own leads to a task, which has all kinds of words.
fn pointer(memory: &mut Memory<'_, impl Image>, place: u64) -> Option<u64> {
    let pointer = memory.words.at(place)?;
    (memory.is_own(pointer) && !memory.is_task(pointer)).then_some(pointer)
}

/// Returns the list with its ends at `list`, if the waker waits in it.
fn queue(
    memory: &mut Memory<'_, impl Image>,
    wakers: &Wakers,
    at: u64,
    (pointer, list): (u64, u64),
) -> Option<Queue> {
    let newest = memory.words.at(list).filter(|end| memory.is_own(*end))?;
    let oldest = memory
        .words
        .at(list + 8)
        .filter(|end| memory.is_own(*end))?;
    // This rules out most pairs of words: a single node must have this waker, and two nodes
    // have wakers of their own.
    let of_newest = match newest == oldest {
        true => at..at + 1,
        false => newest..newest + NODE + 8,
    };
    let of_newest = wakers.sites.range(of_newest).map(|(site, _)| *site);
    let offsets = of_newest.filter_map(|site| site.checked_sub(newest));
    let offsets = offsets.filter(|waker| *waker <= NODE && waker.is_multiple_of(8));
    let offsets: Vec<u64> = offsets.collect();
    offsets.into_iter().find_map(|waker| {
        if !wakers.sites.contains_key(&(oldest + waker)) {
            return None;
        }
        let (nodes, waker, links) = follow(memory, wakers, list, (newest, oldest), waker)?;
        let waits = nodes.contains(&at.checked_sub(waker)?);
        let whose = nodes.iter().map(|node| wakers.sites.get(&(node + waker)));
        let whose = whose.map(Option::<&Party>::copied).collect::<Option<_>>()?;
        waits.then_some(Queue {
            list,
            pointer,
            nodes,
            whose,
            waker,
            links,
        })
    })
}

type Nodes = (Vec<u64>, u64, Option<u64>);

/// Returns the nodes from the oldest to the newest, if all their links fit.
fn follow(
    memory: &mut Memory<'_, impl Image>,
    wakers: &Wakers,
    list: u64,
    (newest, oldest): (u64, u64),
    waker: u64,
) -> Option<Nodes> {
    let offsets = (0..=NODE).step_by(8);
    let is_free = |links: &u64| links + 16 <= waker || *links >= waker + 16;
    let mut fitting = offsets.filter(is_free).filter_map(|links| {
        let nodes = nodes(memory, wakers, (newest, oldest), (waker, links))?;
        // A list is not inside one of its own nodes.
        let length = waker.max(links) + 16;
        let is_in = |node: &u64| (*node..node.saturating_add(length)).contains(&list);
        let is_inside = nodes.iter().any(is_in);
        (!is_inside).then_some((nodes, links))
    });
    let (nodes, links) = fitting.next()?;
    // In a single node, several words may be links to nothing.
    let is_sure = nodes.len() > 1 || fitting.next().is_none();
    Some((nodes, waker, is_sure.then_some(links)))
}

fn nodes(
    memory: &mut Memory<'_, impl Image>,
    wakers: &Wakers,
    (newest, oldest): (u64, u64),
    (waker, links): (u64, u64),
) -> Option<Vec<u64>> {
    let mut link = |node: u64, which: u64| {
        let place = node.checked_add(links + 8 * which)?;
        memory.allows(1).then(|| memory.words.at(place))?
    };
    if link(newest, 0)? != 0 || link(oldest, 1)? != 0 {
        return None;
    }
    let mut found = vec![oldest];
    let mut node = oldest;
    while node != newest {
        let newer = link(node, 0)?;
        let is_one = wakers.sites.contains_key(&newer.checked_add(waker)?)
            && link(newer, 1)? == node
            && found.len() < LONGEST;
        if !is_one {
            return None;
        }
        found.push(newer);
        node = newer;
    }
    Some(found)
}
