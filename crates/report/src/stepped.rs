//! Which tasks the stepped polls of a dump tell about.
//!
//! Only a few tasks of a kind are stepped. Others of that kind are taken to wait where those do, if all
//! of those wait alike: an inference, and said to be one.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{
    FoundBy, Leaf, NotStepped, Note, SourceLocation, StringId, Task, TaskKind, TaskState,
    WakerState,
};

use crate::{
    dump::Dump,
    frames::{FrameId, Frames},
    trace,
    tree::Chain,
    unwrapped::Reason,
};

/// What the stepped polls of a dump show.
#[derive(Debug)]
pub struct Stepped<'a> {
    dump: &'a Dump,
    /// The distinct trees.
    trees: Vec<Vec<Chain>>,
    /// The tree of each task that was stepped.
    own: HashMap<u64, TreeId>,
    /// That of the stepped tasks of a kind; none where they differ.
    kinds: HashMap<Alike, Option<TreeId>>,
    refused: HashMap<u64, NotStepped>,
}

/// The number of a distinct tree.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TreeId(usize);

/// What tasks of a kind have in common.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Alike {
    kind: TaskKind,
    future_type: StringId,
    /// The functions that poll it, of a task that no wrapper tracks.
    polls: Option<(u64, u64)>,
    site: SourceLocation,
    is_proven: bool,
    leaves: Vec<Leaf>,
}

impl Alike {
    /// `None` for a task that does not wait, or of which it is not known where it has registered.
    fn of(dump: &Dump, task: &Task) -> Option<Self> {
        let unwrapped = dump.unwrapped(task.id);
        if unwrapped.is_some_and(|task| matches!(task.found_by, FoundBy::Unresolved(_))) {
            return None;
        }
        Some(Self {
            kind: task.kind,
            future_type: task.future_type,
            polls: unwrapped.map(|unwrapped| (unwrapped.poll, unwrapped.boxed_poll)),
            site: task.site,
            is_proven: task.waker == WakerState::None,
            leaves: sorted(&task.leaves),
        })
        .filter(|_| matches!(task.state, TaskState::Suspended { .. }))
    }
}

/// Without the order in which a select happened to poll its branches.
pub(crate) fn sorted(leaves: &[Leaf]) -> Vec<Leaf> {
    let mut leaves = leaves.to_vec();
    leaves.sort_unstable_by_key(|leaf| leaf.stack.0);
    leaves.dedup();
    leaves
}

impl<'a> Stepped<'a> {
    /// Looks at the traces and notes of a dump.
    pub fn of(dump: &'a Dump, frames: &Frames) -> Self {
        let mut this = Self {
            dump,
            trees: Vec::new(),
            own: HashMap::new(),
            kinds: HashMap::new(),
            refused: HashMap::new(),
        };
        let stepped: HashSet<u64> = dump.traces.iter().map(|trace| trace.task).collect();
        let tasks = dump.tasks.iter().filter(|task| stepped.contains(&task.id));
        let tasks: HashMap<u64, &Task> = tasks.map(|task| (task.id, task)).collect();
        let mut known: HashMap<Vec<Look>, TreeId> = HashMap::new();
        for trace in &dump.traces {
            let Some(task) = tasks.get(&trace.task) else {
                continue;
            };
            let chains = trace::chains(trace, frames);
            let mut look: Vec<Look> = chains.iter().map(Look::of).collect();
            look.sort_unstable();
            let tree = *known.entry(look).or_insert_with(|| {
                this.trees.push(chains);
                TreeId(this.trees.len() - 1)
            });
            this.own.insert(trace.task, tree);
            if let Some(alike) = Alike::of(this.dump, task) {
                let of_kind = this.kinds.entry(alike).or_insert(Some(tree));
                *of_kind = of_kind.filter(|of_kind| *of_kind == tree);
            }
        }
        for note in &dump.notes {
            if let Note::NotStepped(why) = note.note {
                this.refused.insert(note.task, why);
            }
        }
        this
    }

    /// Whether a poll of this task itself was stepped.
    pub fn is_stepped(&self, task: &Task) -> bool {
        self.own.contains_key(&task.id)
    }

    /// The tree of a task: its own, else that of its kind.
    pub fn tree(&self, task: &Task) -> Option<TreeId> {
        let own = self.own.get(&task.id).copied();
        own.or_else(|| *self.kinds.get(&Alike::of(self.dump, task)?)?)
    }

    /// The chains of a tree.
    pub fn chains(&self, tree: TreeId) -> &[Chain] {
        self.trees.get(tree.0).map_or(&[], Vec::as_slice)
    }

    /// Why it is not known where a task waits that no wrapper tracks.
    pub fn unresolved(&self, task: &Task) -> Option<Reason> {
        let unwrapped = self.dump.unwrapped(task.id)?;
        Reason::of(unwrapped).or_else(|| {
            let was_polled = matches!(unwrapped.found_by, FoundBy::Hook | FoundBy::Steps);
            if !was_polled || !task.leaves.is_empty() {
                return None;
            }
            if self
                .tree(task)
                .is_some_and(|tree| !self.chains(tree).is_empty())
            {
                return None;
            }
            let is_kind = Alike::of(self.dump, task).is_some_and(|of| self.kinds.contains_key(&of));
            Some(if is_kind && self.tree(task).is_none() {
                Reason::DIFFER
            } else {
                Reason::NO_WAKER
            })
        })
    }

    /// Whether it was polled in a copy, and no poll of its kind was stepped.
    fn lacks_steps(&self, task: &Task) -> bool {
        let is_hooked = self
            .dump
            .unwrapped(task.id)
            .is_some_and(|unwrapped| unwrapped.found_by == FoundBy::Hook);
        is_hooked && Alike::of(self.dump, task).is_some_and(|kind| !self.kinds.contains_key(&kind))
    }

    /// Why it is not known where a task waits that a stepped poll might have shown.
    pub fn remark(&self, task: &Task) -> Option<&'static str> {
        if let Some(tree) = self.tree(task) {
            let is_empty = self.chains(tree).is_empty() && task.leaves.is_empty();
            return is_empty.then_some("(where it waits is not known: none of its own code ran)");
        }
        let refused = self.refused.get(&task.id).copied().map(sentence);
        let refused = refused.or_else(|| Some(self.unresolved(task)?.sentence));
        let refused = refused.or_else(|| self.lacks_steps(task).then_some(NOT_STEPPED));
        refused.or_else(|| {
            let differ = self.kinds.contains_key(&Alike::of(self.dump, task)?);
            differ.then_some(if task.leaves.is_empty() {
                "(where it waits is not known: the few of its kind that were looked at differ)"
            } else {
                "(where else it waits is not known: the few of its kind that were looked at differ)"
            })
        })
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
    use rtops_protocol::{Call, End, Reply, TaskNote, Trace, TraceEnd, Visit};

    use super::*;
    use crate::{
        dump::tests::{receive, task},
        frames::tests::traced,
    };

    const CODE: [(u64, &str); 3] = [
        (1, "app::f::{async_fn#0}:10"),
        (2, "app::f::{async_fn#0}:12"),
        (3, "app::f::{async_fn#0}:13"),
    ];

    /// A task without a waker and without a stack.
    fn proven(id: u64) -> Task {
        Task {
            waker: WakerState::None,
            ..task(id, 0, &[])
        }
    }

    /// The poll of a task that came to an instruction.
    fn trace(task: u64, ip: u64) -> Reply {
        let visit = |ip| Visit { call: 0, ip };
        Reply::Trace(Trace {
            task,
            end: TraceEnd::Whole,
            calls: vec![Call { caller: 0, site: 0 }],
            visits: vec![visit(1), visit(ip)],
        })
    }

    fn dump(rest: Vec<Reply>) -> Dump {
        let other_site = Task {
            site: SourceLocation {
                line: 7,
                ..SourceLocation::default()
            },
            ..proven(4)
        };
        let woken = Task {
            waker: WakerState::Held(1),
            ..task(5, 0, &[])
        };
        let tasks = vec![proven(1), proven(2), proven(3), other_site, woken];
        let mut replies = vec![Reply::Tasks(tasks)];
        replies.extend(rest);
        replies.push(Reply::End(End { gaps: Vec::new() }));
        receive(replies).unwrap()
    }

    fn tree(stepped: &Stepped, dump: &Dump, id: u64) -> Option<TreeId> {
        stepped.tree(dump.tasks.iter().find(|task| task.id == id).unwrap())
    }

    #[test]
    fn others_of_a_kind_wait_where_those_do_that_were_stepped() {
        let dump = dump(vec![trace(1, 2), trace(2, 2)]);
        let stepped = Stepped::of(&dump, &traced(&CODE));
        let known = tree(&stepped, &dump, 1);
        assert!(known.is_some());
        assert_eq!(tree(&stepped, &dump, 2), known);
        assert_eq!(tree(&stepped, &dump, 3), known);
        assert!(stepped.is_stepped(&dump.tasks[1]) && !stepped.is_stepped(&dump.tasks[2]));
        // Those of another kind do not.
        assert_eq!(tree(&stepped, &dump, 4), None);
        assert_eq!(tree(&stepped, &dump, 5), None);
        assert_eq!(stepped.remark(&dump.tasks[2]), None);
    }

    #[test]
    fn nothing_is_said_of_others_where_those_differ_that_were_stepped() {
        let dump = dump(vec![trace(1, 2), trace(2, 3)]);
        let stepped = Stepped::of(&dump, &traced(&CODE));
        assert_ne!(tree(&stepped, &dump, 1), tree(&stepped, &dump, 2));
        assert_eq!(tree(&stepped, &dump, 3), None);
        assert!(stepped.remark(&dump.tasks[2]).unwrap().contains("differ"));
    }

    #[test]
    fn a_task_that_was_not_stepped_says_why() {
        let note = TaskNote {
            task: 4,
            note: Note::NotStepped(NotStepped::Traced),
        };
        let dump = dump(vec![trace(1, 2), Reply::Notes(vec![note])]);
        let stepped = Stepped::of(&dump, &traced(&CODE));
        assert!(stepped.remark(&dump.tasks[3]).unwrap().contains("debugger"));
        assert_eq!(stepped.remark(&dump.tasks[4]), None);
    }
}
