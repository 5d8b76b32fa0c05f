//! Processes as a tree: which started which. /proc is not read at a single moment, so parents may
//! be missing or even be children of their children; each process still has one place.

use std::collections::HashMap;

use rtops_render::bars::Bars;
use rtops_types::Pid;

/// How deep a tree is drawn. Deeper processes are printed below the last level, with a mark.
const MAX_DRAWN: usize = 40;

/// A process in a tree.
pub trait Branch {
    /// Returns its PID.
    fn pid(&self) -> Pid;
    /// Returns the PID of the process that started it, or adopted it.
    fn ppid(&self) -> Pid;
}

/// Which part of a tree is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    All,
    /// This process and what is below it.
    Below(Pid),
}

/// A process and its place in the tree.
#[derive(Debug)]
pub struct Placed<T> {
    pub process: T,
    /// How many processes are above it.
    pub depth: usize,
    /// The lines drawn in front of it.
    pub bars: String,
}

/// Returns the processes in tree order, siblings by PID. Branches without a process that is `kept`
/// are left out; the root of a part stays.
pub fn grow<T: Branch>(processes: Vec<T>, part: Part, kept: impl Fn(&T) -> bool) -> Vec<Placed<T>> {
    let mut processes = processes;
    processes.sort_by_key(Branch::pid);
    let tree = Tree::of(&processes, part, kept);
    let order = tree.order();
    let mut slots: Vec<Option<T>> = processes.into_iter().map(Some).collect();
    let placed = order.into_iter().filter_map(|place| {
        Some(Placed {
            process: slots.get_mut(place.index)?.take()?,
            depth: place.depth,
            bars: place.bars.before,
        })
    });
    placed.collect()
}

/// Processes by their index.
struct Tree {
    roots: Vec<usize>,
    children: Vec<Vec<usize>>,
    is_kept: Vec<bool>,
    /// Whether processes that no root leads to have a place.
    has_loops: bool,
}

struct Place {
    index: usize,
    depth: usize,
    bars: Bars,
}

impl Tree {
    fn of<T: Branch>(processes: &[T], part: Part, kept: impl Fn(&T) -> bool) -> Self {
        let index = processes.iter().map(Branch::pid).zip(0..);
        let index: HashMap<Pid, usize> = index.collect();
        let parents: Vec<Option<usize>> = processes
            .iter()
            .map(|process| index.get(&process.ppid()).copied())
            .zip(0..)
            .map(|(parent, own)| parent.filter(|parent| *parent != own))
            .collect();
        let mut children = vec![Vec::new(); processes.len()];
        for (own, parent) in parents.iter().enumerate() {
            if let Some(siblings) = parent.and_then(|parent| children.get_mut(parent)) {
                siblings.push(own);
            }
        }
        let mut is_kept = vec![false; processes.len()];
        for (own, _) in processes
            .iter()
            .enumerate()
            .filter(|(_, process)| kept(process))
        {
            keep(own, &parents, &mut is_kept);
        }
        let roots = match part {
            Part::All => {
                let own = parents.iter().enumerate();
                own.filter(|(_, parent)| parent.is_none())
                    .map(|(own, _)| own)
                    .collect()
            }
            Part::Below(pid) => {
                let root = index.get(&pid).copied();
                if let Some(is_kept) = root.and_then(|root| is_kept.get_mut(root)) {
                    *is_kept = true;
                }
                root.into_iter().collect()
            }
        };
        Self {
            roots,
            children,
            is_kept,
            has_loops: part == Part::All,
        }
    }

    /// Returns all processes that are kept, each once.
    fn order(&self) -> Vec<Place> {
        let mut seen = vec![false; self.children.len()];
        let mut order = Vec::new();
        for root in &self.roots {
            self.walk(*root, &mut seen, &mut order);
        }
        if self.has_loops {
            for index in 0..self.children.len() {
                self.walk(index, &mut seen, &mut order);
            }
        }
        order
    }

    fn walk(&self, root: usize, seen: &mut [bool], order: &mut Vec<Place>) {
        let mut first = |index: usize| {
            let is_kept = self.is_kept.get(index).is_some_and(|is_kept| *is_kept);
            let seen = seen.get_mut(index).filter(|_| is_kept);
            seen.is_some_and(|seen| !std::mem::replace(seen, true))
        };
        if !first(root) {
            return;
        }
        let mut waiting = vec![Place {
            index: root,
            depth: 0,
            bars: Bars::default(),
        }];
        while let Some(place) = waiting.pop() {
            let children = self.children.get(place.index).into_iter().flatten();
            let children: Vec<usize> = children.copied().filter(|child| first(*child)).collect();
            let last = children.last().copied();
            let below = children.into_iter().rev();
            waiting.extend(below.map(|child| place.child(child, Some(child) == last)));
            order.push(place);
        }
    }
}

impl Place {
    fn child(&self, index: usize, is_last: bool) -> Self {
        let depth = self.depth + 1;
        if depth > MAX_DRAWN {
            return Self {
                index,
                depth,
                bars: Bars {
                    before: format!("{}… ", self.bars.below),
                    below: self.bars.below.clone(),
                },
            };
        }
        Self {
            index,
            depth,
            bars: self.bars.child(is_last),
        }
    }
}

/// Keeps a process and its ancestors.
fn keep(own: usize, parents: &[Option<usize>], is_kept: &mut [bool]) {
    let mut next = Some(own);
    while let Some(own) = next {
        match is_kept.get_mut(own) {
            Some(is_kept) if !*is_kept => *is_kept = true,
            _ => return,
        }
        next = parents.get(own).copied().flatten();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PID, parent, and whether it is kept.
    type Process = (i32, i32, bool);

    impl Branch for Process {
        fn pid(&self) -> Pid {
            Pid::new(self.0)
        }

        fn ppid(&self) -> Pid {
            Pid::new(self.1)
        }
    }

    fn drawn(processes: &[Process], part: Part) -> Vec<String> {
        let placed = grow(processes.to_vec(), part, |process| process.2);
        let line = |placed: &Placed<Process>| format!("{}{}", placed.bars, placed.process.0);
        placed.iter().map(line).collect()
    }

    #[test]
    fn branches_lead_to_what_is_kept() {
        let processes = [
            (1, 0, false),
            (5, 1, false),
            (6, 5, true),
            (7, 5, false),
            (8, 6, true),
            (9, 1, true),
            (10, 1, false),
            (20, 77, true),
        ];
        let all = ["1", "├─ 5", "│  └─ 6", "│     └─ 8", "└─ 9", "20"];
        assert_eq!(drawn(&processes, Part::All), all);
        assert_eq!(
            drawn(&processes, Part::Below(Pid::new(5))),
            ["5", "└─ 6", "   └─ 8"]
        );
        assert_eq!(drawn(&processes, Part::Below(Pid::new(7))), ["7"]);
        assert!(drawn(&processes, Part::Below(Pid::new(99))).is_empty());
    }

    #[test]
    fn circles_and_own_parents_end() {
        let processes = [(1, 1, true), (2, 3, true), (3, 2, true), (4, 3, true)];
        let all = ["1", "2", "└─ 3", "   └─ 4"];
        assert_eq!(drawn(&processes, Part::All), all);
        let below = ["3", "├─ 2", "└─ 4"];
        assert_eq!(drawn(&processes, Part::Below(Pid::new(3))), below);
    }

    #[test]
    fn a_chain_of_any_depth_is_drawn_in_bounds() {
        let chain: Vec<Process> = (1..100_000)
            .map(|pid| (pid, pid - 1, pid == 99_999))
            .collect();
        let lines = drawn(&chain, Part::All);
        assert_eq!(lines.len(), chain.len());
        assert!(
            lines
                .iter()
                .all(|line| line.chars().count() < 3 * MAX_DRAWN + 10)
        );
        assert!(lines.last().is_some_and(|line| line.ends_with("… 99999")));
    }
}
