//! The chains of a task: from each place where it waits or runs to its root.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{Leaf, TaskKind, Thread, UntrackedLeaf};
use rtops_symbols::{FrameClass, WaitReason};

use crate::{
    dump::{Dump, leaf_of},
    frame::{FrameId, FrameKind, Link, Mark},
    frames::Frames,
    remarks::{self, Reason},
    spans::{Spans, is_inner_part},
    stepped::Stepped,
    task::{State, Task, Untracked},
    tree::Chain,
    untracked::{self, Own},
};

/// Turns leaves into chains, each distinct stack once.
#[derive(Debug)]
pub struct Chains<'a> {
    dump: &'a Dump,
    frames: &'a Frames,
    /// The stacks of threads, for the tasks that run on them.
    threads: HashMap<i32, Leaf>,
    chains: HashMap<Leaf, Chain>,
    stepped: Stepped,
}

impl<'a> Chains<'a> {
    /// Creates chains for a dump and indexes its threads.
    pub fn new(dump: &'a Dump, frames: &'a Frames) -> Self {
        let leaf = |thread: &Thread| Some((thread.tid, leaf_of(thread)?));
        Self {
            dump,
            frames,
            threads: dump.threads.iter().filter_map(leaf).collect(),
            chains: HashMap::new(),
            stepped: Stepped::of(dump, frames),
        }
    }

    /// Returns what the stepped polls show.
    pub fn stepped(&self) -> &Stepped {
        &self.stepped
    }

    /// Returns the distinct chains of a task in source order: where it registered wakers, and where
    /// a stepped poll shows that it waits without registering.
    pub fn of_task(&mut self, task: &Task, spans: &Spans) -> Vec<Chain> {
        self.found(task, spans).0
    }

    /// Returns the same, and whether a stepped poll shows more than the copied stacks of the task.
    pub fn found(&mut self, task: &Task, spans: &Spans) -> (Vec<Chain>, bool) {
        match (task.untracked(), task.state) {
            (Some(untracked), State::Running { .. } | State::Submitted) => {
                let leaves = task.leaves.iter().take(1);
                let chains = leaves.map(|leaf| self.part_of_polled(*leaf, untracked));
                return (chains.collect(), false);
            }
            // The stacks of threads are older than the task's poll.
            (None, State::Running { .. }) if task.has_moved() => return (Vec::new(), false),
            (None, State::Running { tid: Some(tid) }) => {
                let depth = spans.polls_around(task, tid);
                return (
                    self.part_of_running(tid, depth).into_iter().collect(),
                    false,
                );
            }
            _ => {}
        }
        // A task that is about to resume is not at the places where its poll registers.
        let leaves = match task.state {
            State::Woken | State::Ready => &[],
            _ => task.leaves.as_slice(),
        };
        // The index of each place's chain, and how many children of a container were seen there.
        let mut seen: HashMap<Vec<FrameId>, (usize, usize)> = HashMap::new();
        let mut joined: HashSet<usize> = HashSet::new();
        let mut chains: Vec<Chain> = Vec::new();
        let mut open = OpenSpans::of(spans.inside(task.key));
        let mut read = task
            .memory()
            .map_or(&[][..], |memory| &memory.leaves)
            .iter();
        for leaf in leaves {
            let read = read.find(|read| read.leaf == *leaf);
            let chain = match (read, task.tracked()) {
                (Some(read), Some(_)) => match self.part_of_tracked(task, read, spans) {
                    Some(chain) => chain,
                    None => continue,
                },
                (Some(_), None) => self.whole(*leaf, &[]),
                (None, _) => {
                    let marks = open.take(self.dump, self.frames, *leaf);
                    self.whole(*leaf, &marks)
                }
            };
            if task.kind == TaskKind::BlockOn && self.is_executors(&chain) {
                continue;
            }
            // Each child of a container has its own waker, and so has each task of a set.
            let awaits = read.is_some_and(|read| read.awaits.is_some());
            let is_child = awaits || self.frames.is_child(self.frames.stack(leaf.stack));
            let (index, children) = seen.entry(chain.look()).or_insert((chains.len(), 0));
            *children += usize::from(is_child);
            if awaits {
                joined.insert(*index);
            }
            match chains.get_mut(*index) {
                // One wait may register twice.
                Some(first) => {
                    first.join(&chain);
                    first.count = first.count.max(*children);
                }
                None => chains.push(chain),
            }
        }
        let copied = chains.len();
        if let Some(tree) = self.stepped.of_task(task).tree {
            for chain in self.stepped.chains(tree) {
                let known = chains.iter_mut().take(copied).enumerate();
                let mut known = known.filter(|(_, known)| self.covers(known, chain));
                match (known.next(), known.next()) {
                    // A set polls one task at a time, and once more after all of them.
                    (Some((index, _)), None) if joined.contains(&index) => {}
                    // Children that wait alike share a stack, but were polled one by one.
                    (Some((_, known)), None) => known.count = known.count.max(chain.count),
                    // They differ in spans, which a poll does not show.
                    (Some(_), Some(_)) => {}
                    (None, _) => chains.push(chain.clone()),
                }
            }
            // These were registered before the poll was given up.
            for chain in chains.iter_mut().take(copied) {
                chain.incomplete = chain.incomplete.or(self.stepped.cut(tree));
            }
        }
        let has_more = chains.len() > copied;
        self.leave_out_containers(&mut chains);
        // A select polls its branches in random order, so the source order is used.
        chains.sort_by_cached_key(|chain| self.places(chain));
        (chains, has_more)
    }

    /// Returns the part of a leaf in memory that is inside the outermost tracked future, as
    /// [`Stepped`] does for polls, with the spans around it; `None` if there is none.
    fn part_of_tracked(&self, task: &Task, read: &UntrackedLeaf, spans: &Spans) -> Option<Chain> {
        let frames = self.frames;
        let links = frames.stack(read.leaf.stack);
        let polls = frames.tracked_polls(links);
        let own = match polls.first() {
            Some(outermost) => links.get(..*outermost)?,
            None if read.inside == 0 => return None,
            // Without names, only the agent's word is left.
            None => links,
        };
        let spans = spans.around(read.inside, task.key);
        let inner = polls.iter().rev().zip(spans);
        let marks = inner.filter_map(|(length, span)| {
            Some(Mark {
                length: *length,
                frame: frames.span(span)?,
            })
        });
        let shown = frames.visible(own, &marks.collect::<Vec<_>>());
        let cut = remarks::incomplete(read.leaf.end);
        Some(Chain::waiting(frames, links, shown, cut))
    }

    /// Leaves out the registrations of containers of futures: they keep the children polled, and
    /// are no waits besides those of the children.
    fn leave_out_containers(&self, chains: &mut Vec<Chain>) {
        let around = |outer: &Chain| chains.iter().any(|inner| self.is_around(outer, inner));
        let keep: Vec<bool> = chains
            .iter()
            .map(|chain| !is_container(chain) || !around(chain))
            .collect();
        let mut keep = keep.into_iter();
        chains.retain(|_| keep.next().unwrap_or(true));
    }

    /// Whether `container` is the registration of the container around `child`. A container polls
    /// its children at other lines than the one where it registers.
    fn is_around(&self, container: &Chain, child: &Chain) -> bool {
        let frame = |link: &Link| self.frames.get(link.frame);
        let function = |link: &Link| frame(link).map(|frame| &frame.function);
        // Splits off the container's own frames, if they are shown.
        let split = |chain: &'_ Chain| {
            let is_its = |link| frame(link).is_some_and(|frame| frame.known.is_container());
            chain.links.iter().position(is_its)
        };
        let outside = |chain: &Chain| chain.links.len() - split(chain).map_or(0, |at| at + 1);
        if is_container(child) && outside(child) <= outside(container) {
            return false;
        }
        let own = split(container).and_then(|at| container.links.get(at));
        let mut outer = container.links.iter().rev().take(outside(container));
        let mut inner = child.links.iter().rev();
        outer.all(|link| inner.next().is_some_and(|other| other.frame == link.frame))
            && own.is_none_or(|own| inner.next().and_then(function) == function(own))
            && inner.next().is_some()
    }

    /// Whether an executor itself waits there, as a `LocalSet` does for its own
    /// tasks inside `block_on`.
    fn is_executors(&self, chain: &Chain) -> bool {
        let mut functions = chain.links.iter().filter_map(|link| {
            let frame = self.frames.get(link.frame)?;
            Some(frame.known.class())
        });
        functions.all(|class| matches!(class, FrameClass::Executor | FrameClass::Std))
    }

    /// Whether a copied chain is the same wait as a stepped one. Their innermost frames have
    /// different lines: where the task registered its waker, and where its poll ended. Frames that
    /// poll the task may be missing from one of them if they made a tail call.
    fn covers(&self, copied: &Chain, stepped: &Chain) -> bool {
        let function = |link: &Link| self.frames.get(link.frame).map(|frame| &frame.function);
        let is_code = |link: &&Link| {
            let frame = self.frames.get(link.frame);
            frame.is_some_and(|frame| frame.kind == FrameKind::Code)
        };
        let polls_task = |link: &&Link| {
            let frame = self.frames.get(link.frame);
            frame.is_some_and(|frame| {
                matches!(frame.known.class(), FrameClass::Executor | FrameClass::Std)
            })
        };
        let copied = copied.links.iter().filter(is_code).rev();
        let mut copied = copied.skip_while(polls_task);
        let Some((innermost, outer)) = stepped.links.split_first() else {
            return true;
        };
        let mut outer = outer.iter().rev().skip_while(polls_task);
        outer.all(|link| copied.next().is_some_and(|other| other.frame == link.frame))
            && copied.next().and_then(function) == function(innermost)
    }

    /// Returns the places in the source of a chain's frames, outermost first.
    fn places(&self, chain: &Chain) -> Vec<Option<(&str, u32, Option<u32>)>> {
        let frames = chain.links.iter().rev();
        frames
            .map(|link| {
                let place = self.frames.get(link.frame)?.place.as_ref()?;
                Some((place.file.as_str(), place.line, place.column))
            })
            .collect()
    }

    /// Returns the chain of a whole leaf, with these spans in it.
    fn whole(&mut self, leaf: Leaf, marks: &[Mark]) -> Chain {
        let frames = self.frames;
        let build = || {
            let links = frames.stack(leaf.stack);
            let shown = frames.visible(links, marks);
            Chain::waiting(frames, links, shown, remarks::incomplete(leaf.end))
        };
        if marks.is_empty() {
            self.chains.entry(leaf).or_insert_with(build).clone()
        } else {
            build()
        }
    }

    /// Returns the part of a thread's stack that belongs to the poll of a task, which is itself
    /// inside `depth` other tracked polls.
    fn part_of_running(&self, tid: i32, depth: usize) -> Option<Chain> {
        let leaf = self.threads.get(&tid)?;
        let links = self.frames.stack(leaf.stack);
        let polls = self.frames.tracked_polls(links);
        let cut = polls.get(depth).or(polls.last()).copied();
        let own = links.get(..cut.unwrap_or(links.len())).unwrap_or(links);
        let incomplete = cut.is_none().then(|| remarks::incomplete(leaf.end));
        Some(Chain::new(
            self.frames.visible(own, &[]),
            None,
            incomplete.flatten(),
        ))
    }

    /// Returns the part of a thread's stack that belongs to the poll of an untracked task.
    fn part_of_polled(&self, leaf: Leaf, untracked: &Untracked) -> Chain {
        let links = self.frames.stack(leaf.stack);
        let future = self.frames.future(untracked.polls);
        let entry = future.map_or(0, |future| future.entry);
        let (own, incomplete) = match untracked::own_part(self.frames, leaf, entry) {
            Own::Innermost(length) => (links.get(..length).unwrap_or(links), None),
            Own::NoPoll => {
                let cut = remarks::incomplete(leaf.end);
                (links, cut.or(Some(remarks::WHOLE_THREAD)))
            }
            Own::Several => (&[][..], Some(Reason::SEVERAL_POLLS.sentence)),
        };
        Chain::new(self.frames.visible(own, &[]), None, incomplete)
    }
}

/// Whether a chain is the registration of a container of futures itself.
fn is_container(chain: &Chain) -> bool {
    chain.wait == Some(WaitReason::FuturesContainer)
}

/// The leaves of the spans inside a task that are not matched with a leaf of the task yet.
///
/// A span's leaf is the inner part of one of its task's leaves. If several spans have
/// equal leaves, as for the branches of a join of equal calls, each leaf goes to one of
/// them; it makes no difference which.
struct OpenSpans<'a>(Vec<(&'a Task, Leaf)>);

impl<'a> OpenSpans<'a> {
    fn of(spans: &[&'a Task]) -> Self {
        let leaves = spans
            .iter()
            .flat_map(|span| span.leaves.iter().map(|leaf| (*span, *leaf)));
        Self(leaves.collect())
    }

    /// Returns the spans around a leaf of the task, one for each length of their part of the stack.
    fn take(&mut self, dump: &Dump, frames: &Frames, leaf: Leaf) -> Vec<Mark> {
        let mut marks: Vec<Mark> = Vec::new();
        self.0.retain(|(span, inner)| {
            let length = frames.stack(inner.stack).len();
            let taken = marks.iter().any(|mark| mark.length == length);
            if taken || !is_inner_part(dump.stack(inner.stack), dump.stack(leaf.stack)) {
                return true;
            }
            marks.extend(frames.span(span).map(|frame| Mark { length, frame }));
            false
        });
        marks
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{Reply, Stacks, Task as Sent, TaskKind, TaskState};

    use super::*;
    use crate::{
        dump::fixtures::{end, on, receive, task, thread},
        frames::fixtures::{folded, frames, frames_with_spans},
    };

    const TID: i32 = 7;

    fn running(id: u64, parent: u64, kind: TaskKind) -> Sent {
        Sent {
            parent,
            kind,
            state: TaskState::Running {
                since_ns: 1,
                tid: TID,
            },
            ..task(id, 0, &[])
        }
    }

    #[test]
    fn equal_branches_of_a_join_are_told_apart_by_their_spans() {
        let span = |id, name| Sent {
            parent: 1,
            kind: TaskKind::Span,
            ..task(id, name, &[1])
        };
        let dump = receive(vec![
            Reply::Strings(rtops_protocol::Strings(
                ["price", "stock"].map(str::to_owned).to_vec(),
            )),
            Reply::Stacks(Stacks(vec![vec![1, 2, 3], vec![1, 2]])),
            Reply::Tasks(vec![task(1, 0, &[0, 0]), span(2, 1), span(3, 2)]),
            end(),
        ])
        .unwrap();
        let frames = frames_with_spans(&["recv call join", "recv call"], &dump);
        let spans = Spans::of(&dump);
        let mut all = Chains::new(&dump, &frames);
        let chains = all.of_task(dump.tasks.first().unwrap(), &spans);
        let names = chains.iter().map(|chain| {
            let links = chain.links.iter();
            let names = links.map(|link| frames.get(link.frame).unwrap().name.as_str());
            names.collect::<Vec<_>>().join(" ")
        });
        assert_eq!(
            names.collect::<Vec<_>>(),
            ["recv call price join", "recv call stock join"]
        );
    }

    #[test]
    fn children_of_a_container_show_their_waits_and_it_shows_none() {
        const CLONE: &str = "futures_util::stream::futures_unordered::task::clone_arc_raw";
        const NEXT: &str =
            "futures_util::stream::futures_unordered::FuturesUnordered::poll_next serve";
        let sleep = format!("{CLONE} tokio::time::sleep::poll nap {NEXT}");
        let notify = format!("{CLONE} tokio::sync::notify::poll_notified {NEXT}");
        // The other container, inside a child, has no waiting children.
        let inner = format!(
            "{CLONE} {}",
            NEXT.replace("serve", &format!("inner {NEXT}"))
        );
        let container = format!("tokio::runtime::task::waker::clone_waker {NEXT}");
        let dump = receive(vec![
            Reply::Stacks(Stacks(vec![vec![1], vec![2], vec![3], vec![4]])),
            Reply::Tasks(vec![
                task(1, 0, &[3, 0, 1, 0]),
                task(2, 0, &[3]),
                task(3, 0, &[3, 2]),
            ]),
            end(),
        ])
        .unwrap();
        let frames = frames(&[&sleep, &notify, &inner, &container]);
        let spans = Spans::of(&dump);
        let mut all = Chains::new(&dump, &frames);
        let waits = dump.tasks.iter().map(|task| {
            let chains = all.of_task(task, &spans).into_iter();
            let mut waits: Vec<_> = chains
                .map(|chain| (chain.wait.unwrap(), chain.count))
                .collect();
            waits.sort_unstable();
            waits
        });
        use WaitReason as W;
        assert_eq!(
            waits.collect::<Vec<_>>(),
            [
                vec![(W::Notify, 1), (W::Sleep, 2)],
                vec![(W::FuturesContainer, 1)],
                vec![(W::FuturesContainer, 1)],
            ]
        );
    }

    #[test]
    fn a_container_at_the_place_of_its_children_is_none_of_them() {
        const OWN: &str = "tokio::runtime::task::waker::clone_waker";
        const CHILD: &str = "futures_util::stream::futures_unordered::task::clone_arc_raw";
        let recv = |waker| format!("{waker} tokio::sync::mpsc::recv serve");
        let stacks = [OWN, CHILD].map(recv);
        let count = |leaves: &[u32]| {
            let dump = receive(vec![
                Reply::Stacks(Stacks(vec![vec![1], vec![2]])),
                Reply::Tasks(vec![task(1, 0, leaves)]),
                end(),
            ])
            .unwrap();
            let frames = folded(frames(&stacks.each_ref().map(String::as_str)));
            let mut all = Chains::new(&dump, &frames);
            let chains = all.of_task(dump.tasks.first().unwrap(), &Spans::of(&dump));
            let [chain] = chains.as_slice() else {
                panic!("{chains:?}");
            };
            assert_eq!(chain.links.len(), 2);
            chain.count
        };
        let (own, child) = (0, 1);
        assert_eq!(count(&[own]), 1);
        // One wait may register twice.
        assert_eq!(count(&[own, own]), 1);
        assert_eq!(count(&[child]), 1);
        assert_eq!(count(&[own, child]), 1);
        for leaves in [
            [own, child, child, child],
            [child, child, own, child],
            [child, child, child, own],
        ] {
            assert_eq!(count(&leaves), 3, "{leaves:?}");
        }
    }

    #[test]
    fn a_running_task_shows_its_part_of_the_threads_stack() {
        let poll = "rtops_tasks::Tracked::poll rtops_tasks::poll";
        let stack = format!("spin branch {poll} select serve {poll} worker start_thread");
        let thread = Thread {
            state: Some('R'),
            syscall: None,
            ..thread(TID, Some("worker"), on(0))
        };
        let dump = receive(vec![
            Reply::Stacks(Stacks(vec![vec![1]])),
            Reply::Tasks(vec![
                running(1, 0, TaskKind::Task),
                running(2, 1, TaskKind::Span),
            ]),
            Reply::Threads(vec![thread]),
            end(),
        ])
        .unwrap();
        let frames = frames(&[&stack]);
        let spans = Spans::of(&dump);
        let mut chains = Chains::new(&dump, &frames);
        let mut shown = |task: &Task| {
            let chain = chains.of_task(task, &spans).pop().unwrap();
            let names = chain
                .links
                .iter()
                .map(|link| frames.get(link.frame).unwrap());
            names
                .map(|frame| frame.name.clone())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let [outer, span] = dump.tasks.as_slice() else {
            panic!("{dump:?}")
        };
        assert_eq!(shown(outer), format!("spin branch {poll} select serve"));
        assert_eq!(shown(span), "spin branch");
    }
}
