//! Which tasks the stepped polls of a dump tell about.
//!
//! Only a few tasks of a kind are stepped. Others of that kind are taken to wait where those do, if all
//! of those wait alike: an inference, and said to be one.

use std::collections::HashMap;

use rtops_protocol::{
    FoundBy, Leaf, NotStepped, Note, SourceLocation, StringId, TaskKind, TraceId,
};

use crate::{
    dump::Dump,
    frames::{FrameId, Frames},
    task::{Origin, Polls, State, Task, TaskKey},
    trace,
    tree::Chain,
    untracked::{Reason, Source},
};

/// What the stepped polls of a dump show.
#[derive(Debug)]
pub struct Stepped {
    source: Source,
    /// The distinct trees.
    trees: Vec<Tree>,
    /// The tree of each trace.
    of_trace: Vec<TreeId>,
    /// That of the stepped tasks of a kind; none where they differ.
    kinds: HashMap<Alike, Option<TreeId>>,
    refused: HashMap<TaskKey, NotStepped>,
}

/// What a stepped poll shows.
#[derive(Debug)]
struct Tree {
    chains: Vec<Chain>,
    /// What to say of a poll that was given up.
    cut: Option<&'static str>,
}

/// The number of a distinct tree.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TreeId(usize);

/// What the stepped polls show of one task.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Shown {
    /// Its own tree, else that of its kind.
    pub tree: Option<TreeId>,
    /// Why it is not known where it waits, or where else, if a stepped poll might have shown it.
    pub remark: Option<&'static str>,
    /// Why nothing but its type is known, of an untracked task.
    pub unresolved: Option<Reason>,
}

/// What tasks of a kind have in common.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Alike {
    kind: TaskKind,
    future: Future,
    is_proven: bool,
    leaves: Vec<Leaf>,
}

/// What tells futures of a kind.
#[derive(Debug, Eq, Hash, PartialEq)]
enum Future {
    Tracked(StringId, SourceLocation),
    Untracked(Polls),
}

impl Alike {
    /// `None` for a task that does not wait, or of which it is not known where it has registered.
    fn of(task: &Task) -> Option<Self> {
        let future = match &task.origin {
            Origin::Tracked(tracked) => Future::Tracked(tracked.future_type, tracked.site),
            Origin::Untracked(untracked) => match untracked.found_by {
                FoundBy::Unresolved(_) | FoundBy::Ready => return None,
                _ => Future::Untracked(untracked.polls),
            },
        };
        task.state.is_suspended().then(|| Self {
            kind: task.kind,
            future,
            is_proven: task.state == State::Never,
            leaves: sorted(&task.leaves),
        })
    }
}

/// Without the order in which a select happened to poll its branches.
pub(crate) fn sorted(leaves: &[Leaf]) -> Vec<Leaf> {
    let mut leaves = leaves.to_vec();
    leaves.sort_unstable_by_key(|leaf| leaf.stack.0);
    leaves.dedup();
    leaves
}

impl Stepped {
    /// Looks at the traces and notes of a dump.
    pub fn of(dump: &Dump, frames: &Frames) -> Self {
        let mut this = Self {
            source: Source::of(dump),
            trees: Vec::new(),
            of_trace: Vec::with_capacity(dump.traces.len()),
            kinds: HashMap::new(),
            refused: HashMap::new(),
        };
        let mut known: HashMap<(Vec<Look>, Option<&'static str>), TreeId> = HashMap::new();
        for trace in &dump.traces {
            let mut chains = trace::chains(trace, frames);
            let cut = Reason::of_trace(trace.end, this.source).map(|reason| reason.cut);
            for chain in &mut chains {
                chain.incomplete = cut.or(chain.incomplete);
            }
            let mut look: Vec<Look> = chains.iter().map(Look::of).collect();
            look.sort_unstable();
            let tree = *known.entry((look, cut)).or_insert_with(|| {
                this.trees.push(Tree { chains, cut });
                TreeId(this.trees.len() - 1)
            });
            this.of_trace.push(tree);
        }
        let lacks_own = |task: &Task| task.trace.is_none() && task.state.is_suspended();
        if dump.tasks.iter().any(lacks_own) {
            this.add_kinds(dump);
        }
        for note in &dump.notes {
            if let Note::NotStepped(why) = note.note {
                this.refused.insert(TaskKey::Tracked(note.task), why);
            }
        }
        this
    }

    fn add_kinds(&mut self, dump: &Dump) {
        for task in &dump.tasks {
            if let Some(tree) = self.own(task)
                && let Some(alike) = Alike::of(task)
            {
                let of_kind = self.kinds.entry(alike).or_insert(Some(tree));
                *of_kind = of_kind.filter(|of_kind| *of_kind == tree);
            }
        }
    }

    fn own(&self, task: &Task) -> Option<TreeId> {
        let TraceId(trace) = task.trace?;
        self.of_trace.get(usize::try_from(trace).ok()?).copied()
    }

    /// The chains of a tree.
    pub fn chains(&self, tree: TreeId) -> &[Chain] {
        self.trees.get(tree.0).map_or(&[], |tree| &tree.chains)
    }

    /// What to say where more may be missing in a tree.
    pub fn cut(&self, tree: TreeId) -> Option<&'static str> {
        self.trees.get(tree.0)?.cut
    }

    /// What is known of a task.
    pub fn of_task(&self, task: &Task) -> Shown {
        let own = self.own(task);
        let alike = if own.is_none() { Alike::of(task) } else { None };
        // Where its kind was stepped: whether all of these wait alike, and how.
        let of_kind = alike.as_ref().and_then(|alike| self.kinds.get(alike));
        let tree = own.or_else(|| *of_kind?);
        let is_empty = tree.is_none_or(|tree| self.chains(tree).is_empty());
        let is_unseen = is_empty && task.leaves.is_empty();
        let found_by = task.untracked().map(|untracked| untracked.found_by);
        let unresolved = task.untracked().and_then(|untracked| {
            Reason::of(task.state, untracked.found_by, self.source).or_else(|| {
                let was_polled = matches!(untracked.found_by, FoundBy::Hook | FoundBy::Steps)
                    && task.state.is_suspended();
                let why = match (own, of_kind) {
                    (Some(_), _) => Reason::NO_CODE,
                    (None, Some(None)) => Reason::DIFFER,
                    (None, _) => Reason::NO_WAKER,
                };
                (was_polled && is_unseen).then_some(why)
            })
        });
        let refused = || self.refused.get(&task.key).copied().map(sentence);
        let lacks_steps = found_by == Some(FoundBy::Hook) && alike.is_some();
        let remark = match (tree, of_kind) {
            (Some(_), _) => is_unseen.then_some(unresolved.unwrap_or(Reason::NO_CODE).sentence),
            (None, _) if refused().is_some() => refused(),
            (None, _) if unresolved.is_some() => unresolved.map(|reason| reason.sentence),
            (None, None) => lacks_steps.then_some(NOT_STEPPED),
            (None, Some(_)) if task.leaves.is_empty() => Some(
                "(where it waits is not known: the few of its kind that were looked at differ)",
            ),
            (None, Some(_)) => Some(
                "(where else it waits is not known: the few of its kind that were looked at differ)",
            ),
        };
        Shown {
            tree,
            remark,
            unresolved,
        }
    }
}

/// What to say of a task whose registered wakers are all that is known.
const NOT_STEPPED: &str =
    "(where it waits without a waker is not shown: no poll of its kind was stepped)";

/// What makes two chains of a trace look the same.
#[derive(Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Look(Vec<FrameId>, Option<&'static str>);

impl Look {
    fn of(chain: &Chain) -> Self {
        Self(chain.look(), chain.incomplete)
    }
}

/// What to say of a task that was to be stepped and was not.
fn sentence(why: NotStepped) -> &'static str {
    match why {
        NotStepped::Traced => {
            "(where it waits is not known: a debugger is attached, and would be disturbed)"
        }
        NotStepped::SignalBlocked => {
            "(where it waits is not known: the thread that polls it blocks SIGTRAP)"
        }
        NotStepped::HandlerReplaced => {
            "(where it waits is not known: the process handles SIGTRAP itself)"
        }
        NotStepped::NoTime => "(where it waits is not known: no time was left; raise --timeout)",
        NotStepped::NotPolled => "(where it waits is not known: it was not polled when asked)",
        NotStepped::Busy => "(where it waits is not known: another poll was looked at meanwhile)",
        NotStepped::NoMemory => "(where it waits is not known: the process has no memory for it)",
        NotStepped::System(_) => {
            "(where it waits is not known: the system refused what is needed to find out)"
        }
        _ => "(where it waits is not known: this platform gives no way to find out)",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{End, Reply, Task as Sent, TaskNote, WakerState};

    use super::*;
    use crate::{
        dump::tests::{receive, task, trace},
        frames::tests::traced,
    };

    const CODE: [(u64, &str); 3] = [
        (1, "app::f::{async_fn#0}:10"),
        (2, "app::f::{async_fn#0}:12"),
        (3, "app::f::{async_fn#0}:13"),
    ];

    /// A task without a waker and without a stack.
    fn proven(id: u64, trace: Option<u32>) -> Sent {
        Sent {
            waker: WakerState::None,
            trace: trace.map(TraceId),
            ..task(id, 0, &[])
        }
    }

    /// Tasks 1 and 2 were polled up to these instructions.
    fn dump(ips: [u64; 2], notes: Vec<TaskNote>) -> Dump {
        let other_site = Sent {
            site: SourceLocation {
                line: 7,
                ..SourceLocation::default()
            },
            ..proven(4, None)
        };
        let woken = Sent {
            waker: WakerState::Held(1),
            ..task(5, 0, &[])
        };
        let [first, second] = [proven(1, Some(0)), proven(2, Some(1))];
        let tasks = vec![first, second, proven(3, None), other_site, woken];
        let mut replies: Vec<Reply> = ips.map(trace).to_vec();
        replies.extend([Reply::Tasks(tasks), Reply::Notes(notes)]);
        replies.push(Reply::End(End { gaps: Vec::new() }));
        receive(replies).unwrap()
    }

    fn shown(dump: &Dump) -> Vec<Shown> {
        let stepped = Stepped::of(dump, &traced(&CODE));
        dump.tasks
            .iter()
            .map(|task| stepped.of_task(task))
            .collect()
    }

    #[test]
    fn others_of_a_kind_wait_where_those_do_that_were_stepped() {
        let shown = shown(&dump([2, 2], Vec::new()));
        let known = shown[0].tree;
        assert!(known.is_some());
        assert_eq!((shown[1].tree, shown[2].tree), (known, known));
        // Those of another kind do not.
        assert_eq!((shown[3].tree, shown[4].tree), (None, None));
        assert_eq!(shown[2].remark, None);
    }

    #[test]
    fn nothing_is_said_of_others_where_those_differ_that_were_stepped() {
        let shown = shown(&dump([2, 3], Vec::new()));
        assert_ne!(shown[0].tree, shown[1].tree);
        assert_eq!(shown[2].tree, None);
        assert!(shown[2].remark.unwrap().contains("differ"));
    }

    #[test]
    fn a_task_that_was_not_stepped_says_why() {
        let note = TaskNote {
            task: 4,
            note: Note::NotStepped(NotStepped::Traced),
        };
        let shown = shown(&dump([2, 2], vec![note]));
        assert!(shown[3].remark.unwrap().contains("debugger"));
        assert_eq!(shown[4].remark, None);
    }
}
