//! What polls in the interpreter show about tasks.

use std::collections::{HashMap, HashSet};

use rtops_protocol::{FoundBy, Leaf, Trace, TraceId};

use crate::{
    dump::Dump,
    frame::FrameId,
    frames::Frames,
    remarks::{self, Reason, Source},
    task::{State, Task},
    trace::{self, Whose},
    tree::Chain,
};

/// What the stepped polls of a dump show.
#[derive(Debug)]
pub struct Stepped {
    source: Source,
    is_image: bool,
    /// The distinct trees.
    trees: Vec<Tree>,
    /// The tree of each trace, whole and for a tracked task.
    of_trace: Vec<OfTrace>,
}

/// The trees of one trace.
#[derive(Clone, Copy, Debug)]
struct OfTrace {
    whole: TreeId,
    /// The same for a tracked task: only what is inside its outermost tracked future.
    tracked: TreeId,
}

/// What a stepped poll shows.
#[derive(Debug)]
struct Tree {
    chains: Vec<Chain>,
    /// What to say about a poll that was given up.
    cut: Option<&'static str>,
}

/// The number of a distinct tree.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TreeId(usize);

/// What the stepped polls show about one task.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Shown {
    /// Its tree.
    pub tree: Option<TreeId>,
    /// Why it is not known where the task waits, or where else it waits.
    pub remark: Option<&'static str>,
    /// The same in short, for a task of which only the type is known.
    pub unresolved: Option<Reason>,
}

/// Returns leaves without the order in which a select happened to poll its branches.
pub(crate) fn sorted(leaves: &[Leaf]) -> Vec<Leaf> {
    let mut leaves = leaves.to_vec();
    leaves.sort_unstable_by_key(|leaf| leaf.stack.0);
    leaves.dedup();
    leaves
}

impl Stepped {
    /// Builds the trees of the traces of a dump.
    pub fn of(dump: &Dump, frames: &Frames) -> Self {
        let mut this = Self {
            source: Source::of(dump),
            is_image: dump.is_image(),
            trees: Vec::new(),
            of_trace: Vec::with_capacity(dump.traces.len()),
        };
        let mut known: HashMap<(Vec<Look>, Option<&'static str>), TreeId> = HashMap::new();
        let tracked = dump.tasks.iter().filter(|task| task.tracked().is_some());
        let tracked: HashSet<TraceId> = tracked.filter_map(|task| task.trace).collect();
        let mut tree = |trace: &Trace, whose| {
            let mut chains = trace::chains(trace, frames, whose);
            let cut = Reason::of_trace(trace.end, this.source).map(|reason| reason.cut);
            for chain in &mut chains {
                chain.incomplete = cut.or(chain.incomplete);
            }
            let mut look: Vec<Look> = chains.iter().map(Look::of).collect();
            look.sort_unstable();
            *known.entry((look, cut)).or_insert_with(|| {
                this.trees.push(Tree { chains, cut });
                TreeId(this.trees.len() - 1)
            })
        };
        let of_trace = dump.traces.iter().zip(0..).map(|(trace, number)| {
            let whole = tree(trace, Whose::Tokios);
            let tracked = match tracked.contains(&TraceId(number)) {
                true => tree(trace, Whose::Tracked),
                false => whole,
            };
            OfTrace { whole, tracked }
        });
        this.of_trace = of_trace.collect();
        this
    }

    /// Returns the chains of a tree.
    pub fn chains(&self, tree: TreeId) -> &[Chain] {
        self.trees.get(tree.0).map_or(&[], |tree| &tree.chains)
    }

    /// Returns what to say about a tree that may be incomplete.
    pub fn cut(&self, tree: TreeId) -> Option<&'static str> {
        self.trees.get(tree.0)?.cut
    }

    /// Returns what is known about a task.
    pub fn of_task(&self, task: &Task) -> Shown {
        let tree = task.trace.and_then(|TraceId(trace)| {
            let trace = usize::try_from(trace).ok()?;
            let of_trace = self.of_trace.get(trace)?;
            Some(match task.tracked() {
                Some(_) => of_trace.tracked,
                None => of_trace.whole,
            })
        });
        let is_unseen =
            task.leaves.is_empty() && tree.is_none_or(|tree| self.chains(tree).is_empty());
        let found_by = task.found_by();
        let unresolved = found_by.and_then(|found_by| {
            Reason::of(task.state, found_by, self.source).or_else(|| {
                let was_polled = found_by == FoundBy::Steps && task.state.is_suspended();
                (was_polled && is_unseen).then_some(Reason::NO_CODE)
            })
        });
        let remark = match (tree, unresolved) {
            (Some(_), unresolved) if is_unseen => {
                Some(unresolved.unwrap_or(Reason::NO_CODE).sentence)
            }
            (Some(_), _) => None,
            (None, Some(reason)) => Some(reason.sentence),
            (None, None) if is_unseen => self.unseen(task),
            (None, None) => None,
        };
        Shown {
            tree,
            remark,
            unresolved,
        }
    }

    /// Returns what to say about a tracked task that no stack and no poll shows.
    fn unseen(&self, task: &Task) -> Option<&'static str> {
        match task.state {
            State::Running { .. } if task.has_moved() => Some(remarks::POLLED_SINCE),
            State::Never if self.is_image => Some(remarks::NEVER_SOMEWHERE),
            State::Never => Some(remarks::NEVER_UNSEEN),
            _ => None,
        }
    }
}

/// What makes two chains of a trace look the same.
#[derive(Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Look(Vec<FrameId>, Option<&'static str>);

impl Look {
    fn of(chain: &Chain) -> Self {
        Self(chain.look(), chain.incomplete)
    }
}
