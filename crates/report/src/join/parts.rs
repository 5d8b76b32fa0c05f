//! Tracked futures that are parts of a task in memory: spans, or one of several in the same task.

use std::collections::{BTreeMap, HashMap, HashSet};

use rtops_protocol::{FoundBy, TaskKind, UntrackedLeaf, WakerState};

use crate::task::{MAX_NESTING, Memory, Origin, State, Task, TaskKey};

/// The most leaves that all parts get together: a message may nest spans deeply.
const MOST_LEAVES: usize = 4 << 20;

/// What the polls of tasks show about the tracked futures inside.
pub(super) struct Parts {
    /// The position of each tracked future and, for a span, the key of the future around it.
    places: HashMap<TaskKey, (usize, Option<TaskKey>)>,
    by_mark: HashMap<u64, usize>,
    /// How many tracked futures keep a waker of the task with this cell.
    wakers: HashMap<u64, u32>,
    /// Those with wakers left from earlier probes.
    probed: HashSet<usize>,
    /// Those that the agent probed, so that it reports where they wait.
    asked: HashSet<usize>,
    found: BTreeMap<usize, Part>,
    leaves: usize,
}

/// What a poll shows about one tracked future.
struct Part {
    /// What is known about the task; its leaves are those inside this part, if they are wanted.
    memory: Memory,
    /// Whether the task waits inside this part.
    is_waited_in: bool,
    /// What the task was doing.
    state: State,
    /// Whether wakers from earlier probes of the part may be left.
    has_probes: bool,
}

impl Parts {
    pub(super) fn of(tracked: &[Task]) -> Self {
        let mut this = Self {
            places: HashMap::new(),
            by_mark: HashMap::new(),
            wakers: HashMap::new(),
            probed: HashSet::new(),
            asked: HashSet::new(),
            found: BTreeMap::new(),
            leaves: 0,
        };
        for (place, task) in tracked.iter().enumerate() {
            let Some(told) = task.tracked() else { continue };
            let around = told.parent.filter(|_| task.kind == TaskKind::Span);
            this.places.insert(task.key, (place, around));
            this.by_mark.insert(told.mark, place);
            if matches!(task.waker, WakerState::Held(_)) {
                this.probed.insert(place);
            }
            if !task.leaves.is_empty() {
                this.asked.insert(place);
            }
            if let Some(cell) = told.waker_at {
                *this.wakers.entry(cell).or_default() += 1;
            }
        }
        this
    }

    /// Returns how many wakers of a task its agent keeps.
    pub(super) fn wakers_kept(&self, found: &Task) -> u32 {
        let cell = found.memory().and_then(|memory| memory.cell);
        cell.and_then(|cell| self.wakers.get(&cell).copied())
            .unwrap_or(0)
    }

    /// Adds what the poll of a task shows about the tracked futures polled in it. Each leaf
    /// goes to every future around it.
    pub(super) fn add(&mut self, found: &Task, places: &[usize]) {
        let Some(untracked) = found.untracked() else {
            return;
        };
        let mut is_all_known = true;
        for leaf in &untracked.memory.leaves {
            let mut around = TaskKey::tracked(leaf.inside);
            let mut outermost = None;
            for _ in 0..MAX_NESTING {
                let place = around.and_then(|key| self.places.get(&key));
                let Some((place, next)) = place.copied() else {
                    break;
                };
                // A future that is the whole task gets its leaves from the task.
                let wanted = places != [place] && !self.asked.contains(&place);
                self.add_leaf(place, found, wanted.then_some(leaf));
                outermost = Some(place);
                around = next;
            }
            is_all_known &= leaf.inside == 0 || outermost.is_some_and(|it| places.contains(&it));
        }
        // If a leaf can't be placed, no part can be said to have no leaf.
        if is_all_known && self.leaves < MOST_LEAVES {
            for mark in &untracked.polled {
                if let Some(place) = self.by_mark.get(mark).copied() {
                    self.part(place, found);
                }
            }
        }
    }

    fn add_leaf(&mut self, place: usize, found: &Task, wanted: Option<&UntrackedLeaf>) {
        if self.leaves == MOST_LEAVES {
            return;
        }
        self.leaves += 1;
        if let Some(part) = self.part(place, found) {
            part.is_waited_in = true;
            part.memory.leaves.extend(wanted);
        }
    }

    fn part(&mut self, place: usize, found: &Task) -> Option<&mut Part> {
        let memory = found.memory()?;
        Some(self.found.entry(place).or_insert_with(|| Part {
            memory: Memory {
                leaves: Vec::new(),
                ..*memory
            },
            is_waited_in: false,
            state: found.state,
            has_probes: self.probed.contains(&place),
        }))
    }

    /// Stores the results in the tracked tasks.
    pub(super) fn give(self, tracked: &mut [Task]) {
        for (place, part) in self.found {
            if let Some(task) = tracked.get_mut(place) {
                part.give(task);
            }
        }
    }
}

impl Part {
    fn give(self, task: &mut Task) {
        let Self {
            memory,
            is_waited_in,
            state,
            has_probes,
        } = self;
        let Origin::Tracked(told) = &mut task.origin else {
            return;
        };
        let was_whole = memory.found_by == FoundBy::Steps && state.is_suspended();
        if !is_waited_in {
            // It was polled but registered no waker, whatever wakes the task around it.
            let was_asked = told.memory.is_none() && !task.leaves.is_empty();
            if was_whole
                && !was_asked
                && !told.has_moved
                && !has_probes
                && task.state == State::Waiting
            {
                task.state = State::Never;
                task.waker = WakerState::None;
            }
            return;
        }
        // It is the whole task, or was probed.
        if told.memory.is_some() || !task.leaves.is_empty() {
            return;
        }
        let read = match state {
            State::Never => State::Waiting,
            read => read,
        };
        task.state = super::state(task.state, read, told.has_moved);
        task.leaves = memory.leaves.iter().map(|place| place.leaf).collect();
        told.memory = Some(match task.kind {
            TaskKind::Span => Memory {
                number: None,
                cell: None,
                block_on: None,
                ..memory
            },
            _ => memory,
        });
    }
}
