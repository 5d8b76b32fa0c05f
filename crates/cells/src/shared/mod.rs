//! Finds what tasks and threads wait for, and who else has it.
//!
//! A task that waits for something of tokio's has left a waker with it: in a node of the
//! list of a lock, semaphore or channel, or in a place that is part of a channel. So the
//! wakers in memory lead to everything that is waited for. Memory also shows who else has
//! it: futures, and the boxes that only these lead to. But memory keeps what was dropped or
//! moved away, too. So each candidate is tried: its future is dropped in the interpreter,
//! and if it holds the thing, a count of references goes down, or the first waiter goes on.

mod locks;
mod memory;
mod queues;
mod together;
mod trial;
mod wakers;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
    time::Instant,
};

use rtops_image::{Image, Tid};

use self::{memory::Memory, queues::Queue, wakers::Wakers};
use crate::{Inventory, State, places::Places, polls::Polls, stacks::Stacks};

/// The most things that are searched for in the memory of tasks.
const MOST_FOUND: usize = 20_000;
/// With more tasks than this, boxes are not searched.
const MOST_THOROUGH: usize = 10_000;
/// How many wakers in the same place of the same type of task are tried for being in a list.
const MOST_TRIES: u32 = 16;
/// The most parties recorded for one thing.
const MOST_PARTIES: usize = 4096;
/// The size of the lines of memory by which things are looked up, in bytes.
const LINE: u64 = 64;
/// How far past the start of a thing a pointer may lead into it, in bytes.
const EXTENT: u64 = 64;
/// How far before the word with its state a lock may begin, in bytes.
const LOCK: u64 = 16;

/// Something that tasks or threads wait for, and who else has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shared {
    /// Its address.
    pub address: u64,
    /// What it is.
    pub kind: SharedKind,
    /// Who waits for it, oldest first if that is known.
    pub waiters: Vec<Party>,
    /// Who else has it in memory. A waiter that has it once more, besides the place where it
    /// waits, is one of them. Not everyone here still has it.
    pub others: Vec<Party>,
    /// Which of all these hold it: with a holder's future dropped, the first waiter goes on.
    pub holders: Vec<Party>,
    /// Whether nobody else has it: these parties have all references to it that are counted.
    pub is_complete: bool,
}

/// The kind of a thing that tasks or threads wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SharedKind {
    /// A list of waiters, as in tokio's locks, semaphores and channels.
    Queue,
    /// A place for one waker, as at the receiving end of a channel.
    Slot,
    /// A lock that threads wait for.
    Lock,
}

/// A task or thread that has something in memory.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Party {
    /// A task.
    Task {
        /// The address of its cell.
        cell: u64,
    },
    /// The future that a thread inside `block_on` polls itself.
    BlockOn {
        /// The thread's id in the image.
        tid: Tid,
    },
    /// A thread.
    Thread {
        /// The thread's id in the image.
        tid: Tid,
    },
}

/// Something that is waited for.
struct Thing {
    what: What,
    /// The addresses that lead to it.
    extent: Range<u64>,
    /// The address of the counts of the `Arc` that contains it.
    arc: Option<u64>,
    waiters: Vec<Party>,
    /// Who has its address in memory, including the waiters.
    having: BTreeSet<Party>,
}

impl Thing {
    /// Returns whether a waiter could go on because of this party. A task that waits in a slot can't
    /// wake itself.
    fn lets_go(&self, party: &Party) -> bool {
        !matches!(self.what, What::Slot(_)) || !self.waiters.contains(party)
    }
}

enum What {
    Queue(Queue),
    /// The address of a place for a waker.
    Slot(u64),
    /// The address of the state of a lock.
    Lock(u64),
}

/// Finds what tasks and threads wait for.
pub(crate) fn find<I: Image>(
    image: &I,
    polls: &Polls<'_>,
    places: &Places,
    stacks: &Stacks,
    inventory: &Inventory,
    until: Option<Instant>,
) -> Vec<Shared> {
    let memory = Memory::of(image, places, &polls.cells);
    let threads = || image.threads().iter().enumerate();
    let resumed: HashSet<Tid> = inventory.resumed.iter().map(|one| one.tid).collect();
    let resumed = threads().filter(|(_, thread)| resumed.contains(&thread.tid));
    let mut finder = Finder {
        memory,
        stacks,
        resumed: resumed.map(|(index, thread)| (index, thread.tid)).collect(),
        is_thorough: polls.cells.len() <= MOST_THOROUGH,
    };
    let wakers = Wakers::of(&mut finder.memory, &polls.sites, stacks, &finder.resumed);
    let mut things = finder.locks(image, inventory);
    things.extend(finder.things(&wakers));
    things.truncate(MOST_FOUND);
    if things.is_empty() {
        return Vec::new();
    }
    finder.who_has(&mut things, &wakers, image, inventory);
    let tried = trial::of(polls, inventory, &things, until);
    let things = things.into_iter().zip(tried);
    let shared = things.filter_map(|(thing, tried)| finder.shared(thing, &tried));
    shared.collect()
}

struct Finder<'a, I: Image> {
    memory: Memory<'a, I>,
    stacks: &'a Stacks,
    /// The threads inside `block_on` that polled their future, with their positions in the image.
    resumed: Vec<(usize, Tid)>,
    /// Whether boxes are searched, too.
    is_thorough: bool,
}

impl<I: Image> Finder<'_, I> {
    /// Finds everything that wakers were left with.
    fn things(&mut self, wakers: &Wakers) -> Vec<Thing> {
        let mut found = Vec::new();
        let mut listed: HashSet<u64> = HashSet::new();
        let mut forms: HashMap<(u64, u64), (u32, Option<queues::Way>)> = HashMap::new();
        for (at, whose) in &wakers.sites {
            if listed.contains(at) {
                continue;
            }
            let (tries, known) = forms.entry(self.form(*at, *whose)).or_default();
            if *tries < MOST_TRIES {
                if let Some((queue, way)) = queues::queue_at(&mut self.memory, wakers, *at, *known)
                {
                    (*tries, *known) = (0, Some(way));
                    listed.extend(queue.nodes.iter().map(|node| node + queue.waker));
                    found.extend(self.queue(queue, wakers));
                    continue;
                }
                *tries += 1;
            }
            found.extend(self.slot(*at, *whose, wakers));
        }
        found
    }

    /// Returns a key that is the same for alike places of wakers.
    fn form(&self, at: u64, whose: Party) -> (u64, u64) {
        let Party::Task { cell } = whose else {
            return (0, at);
        };
        let poll = self.memory.task_at(cell);
        let poll = poll.map_or(0, |cell| cell.candidate.vtable.poll);
        let is_inside = self.memory.task_at(at).is_some();
        (poll, if is_inside { at.wrapping_sub(cell) } else { 0 })
    }

    fn queue(&mut self, queue: Queue, wakers: &Wakers) -> Option<Thing> {
        let mut seen = HashSet::new();
        let waiters = queue.whose.iter().copied();
        let waiters: Vec<Party> = waiters.filter(|party| seen.insert(*party)).collect();
        // What lies on a stack no task can wait for, and calls that have returned leave all kinds of words there.
        let is_inside = |party: &Party| matches!(party, Party::BlockOn { .. });
        if self.memory.places.stacks.contains(queue.list) && !waiters.iter().all(is_inside) {
            return None;
        }
        let extent = queue.pointer..queue.list + EXTENT;
        let place = queue.list..queue.list + 16;
        let first = waiters.iter().take(4).copied();
        let arc = first
            .filter_map(|party| self.arc(place.clone(), party, wakers))
            .max();
        Some(Thing {
            extent: arc.map_or(extent.start, |arc| arc + memory::COUNTS)..extent.end,
            what: What::Queue(queue),
            arc,
            waiters,
            having: BTreeSet::new(),
        })
    }

    /// Returns the place of a waker, if it is part of an `Arc` that the waiting task has.
    fn slot(&mut self, at: u64, whose: Party, wakers: &Wakers) -> Option<Thing> {
        if self.memory.places.stacks.contains(at) || self.memory.task_at(at).is_some() {
            return None;
        }
        let arc = self.arc(at..at + 16, whose, wakers)?;
        Some(Thing {
            what: What::Slot(at),
            extent: arc + memory::COUNTS..at + EXTENT,
            arc: Some(arc),
            waiters: vec![whose],
            having: BTreeSet::new(),
        })
    }

    /// Finds the `Arc` that contains a place, among the pointers of the party that waits for it.
    fn arc(&mut self, place: Range<u64>, whose: Party, wakers: &Wakers) -> Option<u64> {
        let mut near = Vec::new();
        let mut keep = |word: u64| {
            if word < place.start && place.start - word <= 4096 {
                near.push(word);
            }
        };
        match whose {
            Party::Task { cell } => {
                let cell = self.memory.task_at(cell).copied()?;
                let nodes = wakers.nodes.get(&whose).cloned().unwrap_or_default();
                let roots = nodes.into_iter().chain([Memory::<I>::future(&cell)]);
                self.memory.walk(roots, self.is_thorough, keep);
            }
            Party::BlockOn { tid } | Party::Thread { tid } => {
                let index = self.resumed.iter().find(|(_, one)| *one == tid)?.0;
                self.stacks.held_by(index).for_each(&mut keep);
            }
        }
        self.memory.arc_around(place, near.into_iter())
    }

    /// Finds the locks that threads wait for.
    fn locks(&mut self, image: &I, inventory: &Inventory) -> Vec<Thing> {
        let resumed: HashSet<Tid> = inventory.resumed.iter().map(|one| one.tid).collect();
        let mut found: BTreeMap<u64, Vec<Party>> = BTreeMap::new();
        for thread in image.threads() {
            if resumed.contains(&thread.tid) {
                continue;
            }
            for lock in locks::candidates(&mut self.memory, thread) {
                let waits = Party::Thread { tid: thread.tid };
                found.entry(lock).or_default().push(waits);
            }
        }
        let locks = found.into_iter().map(|(lock, waiters)| {
            let aligned = lock & !7;
            let arcs = [aligned.saturating_sub(16), aligned.saturating_sub(24)];
            let arc = self
                .memory
                .arc_around(aligned..aligned + 8, arcs.into_iter());
            Thing {
                what: What::Lock(lock),
                extent: arc.map_or(lock - LOCK, |arc| arc + memory::COUNTS)..lock + 1,
                arc,
                waiters,
                having: BTreeSet::new(),
            }
        });
        locks.collect()
    }

    /// Searches the memory of all tasks and threads for the addresses of all things.
    fn who_has(&mut self, things: &mut [Thing], wakers: &Wakers, image: &I, inventory: &Inventory) {
        let lines = Lines::of(things);
        for cell in self.memory.cells {
            let party = Party::Task {
                cell: cell.candidate.header,
            };
            let nodes = wakers.nodes.get(&party).cloned().unwrap_or_default();
            let roots = nodes.into_iter().chain([Memory::<I>::future(cell)]);
            self.memory.walk(roots, self.is_thorough, |word| {
                lines.note(things, word, party);
            });
        }
        self.which_threads_have(things, &lines, image, inventory);
    }

    fn which_threads_have(
        &self,
        things: &mut [Thing],
        lines: &Lines,
        image: &I,
        inventory: &Inventory,
    ) {
        let is_lock = |thing: &&Thing| matches!(thing.what, What::Lock(_));
        let locks = things.iter().filter(is_lock);
        let blocked: HashSet<Party> = locks.flat_map(|lock| lock.waiters.clone()).collect();
        let locks = things.iter().take_while(is_lock).count();
        let runs: HashSet<Tid> = inventory
            .tasks
            .iter()
            .filter_map(|task| match task.state {
                State::Running { tid } | State::Blocking { tid } => tid,
                _ => None,
            })
            .collect();
        for (index, thread) in image.threads().iter().enumerate() {
            let tid = thread.tid;
            let registers = &thread.registers;
            let is_parked = crate::answers::is_park(registers.orig_rax, registers.rsi);
            let thread = Party::Thread { tid };
            let (party, things) = match self.resumed.iter().any(|(at, _)| *at == index) {
                true => (Party::BlockOn { tid }, &mut *things),
                // A thread that waits for a lock may hold another one.
                false if blocked.contains(&thread) => {
                    (thread, things.get_mut(..locks).unwrap_or_default())
                }
                // An idle worker has leftovers on its stack.
                false if is_parked || runs.contains(&tid) => continue,
                false => (thread, &mut *things),
            };
            for word in self.stacks.held_by(index) {
                lines.note(things, word, party);
            }
        }
    }

    /// Returns what is reported of a thing; `None` if only a single task is known to have it.
    fn shared(&self, thing: Thing, tried: &trial::Tried) -> Option<Shared> {
        let (kind, address) = match &thing.what {
            What::Queue(queue) => (SharedKind::Queue, queue.list),
            What::Slot(at) => (SharedKind::Slot, *at),
            What::Lock(lock) => (SharedKind::Lock, *lock),
        };
        // A list of one node may be something else that looks like a list.
        let is_doubtful = match &thing.what {
            What::Queue(queue) => queue.nodes.len() == 1 && tried.is_left != Some(true),
            _ => false,
        };
        let is_of_a_task = |party: &Party| matches!(party, Party::Task { .. });
        if is_doubtful && thing.waiters.iter().all(is_of_a_task) {
            return None;
        }
        let inside = self.memory.task_at(address).map(|cell| Party::Task {
            cell: cell.candidate.header,
        });
        let is_complete = inside.is_some() || tried.has_all_references;
        let holds = |party: &&Party| tried.holders.contains(party) && thing.lets_go(party);
        let is_other = |party: &&Party| {
            let references = tried.references.get(party).copied();
            match references {
                _ if holds(party) => true,
                _ if thing.waiters.contains(party) => references.is_some_and(|count| count > 1),
                Some(0) => false,
                None if tried.has_all_references => false,
                _ => true,
            }
        };
        let others: Vec<Party> = thing.having.iter().filter(is_other).copied().collect();
        let is_told = match kind {
            // Something inside a task's own future that only this task waits for concerns nobody else.
            SharedKind::Queue => {
                thing.waiters.len() > 1 || !others.is_empty() || tried.has_all_references
            }
            // Executors inside of tasks, and the agent, have places for wakers that concern nobody else; a task
            // that has both ends of a channel waits at such a place.
            SharedKind::Slot => {
                let mut others = others.iter();
                let has_both_ends = tried.is_awaited && others.len() > 0;
                others.any(|other| !thing.waiters.contains(other)) || has_both_ends
            }
            SharedKind::Lock => !others.is_empty(),
        };
        let holders = tried.holders.iter().filter(holds).copied().collect();
        is_told.then_some(Shared {
            address,
            kind,
            waiters: thing.waiters,
            others,
            holders,
            is_complete,
        })
    }
}

/// The things that a word may lead to, by its line of memory.
struct Lines(HashMap<u64, Vec<usize>>);

impl Lines {
    fn of(things: &[Thing]) -> Self {
        let mut lines: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, thing) in things.iter().enumerate() {
            let arc = thing.arc.map(|arc| arc / LINE);
            let own = thing.extent.start / LINE..=(thing.extent.end - 1) / LINE;
            for line in own.chain(arc) {
                let line = lines.entry(line).or_default();
                if line.last() != Some(&index) {
                    line.push(index);
                }
            }
        }
        Self(lines)
    }

    fn note(&self, things: &mut [Thing], word: u64, party: Party) {
        for index in self.0.get(&(word / LINE)).into_iter().flatten() {
            let Some(thing) = things.get_mut(*index) else {
                continue;
            };
            let has = thing.arc == Some(word) || thing.extent.contains(&word);
            if has && thing.having.len() < MOST_PARTIES {
                thing.having.insert(party);
            }
        }
    }
}
