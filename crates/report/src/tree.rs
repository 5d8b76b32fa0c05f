//! Merges the stacks of one task into its await tree.

use std::cmp::Ordering;

use rtops_symbols::{Serving, WaitReason};
use serde::Serialize;

use crate::{
    frame::{FrameId, Link},
    frames::Frames,
    words,
};

/// The most branches of a tree; if a task joins more, it is said that there are more.
pub const MAX_BRANCHES: usize = 100;

/// One path from the root of a task to where it waits.
#[derive(Clone, Debug, Serialize)]
pub struct Chain {
    /// Innermost first.
    #[serde(skip)]
    pub links: Vec<Link>,
    /// What the task waits for at the end of the path.
    #[serde(serialize_with = "words::serialize_wait")]
    pub wait: Option<WaitReason>,
    /// Whether the wait reason rests on function names alone, as without debug info.
    pub approximate: bool,
    /// What is done for a request there, if this is a server's task.
    #[serde(skip)]
    pub serving: Option<Serving>,
    /// What to say if the chain does not reach the root.
    pub incomplete: Option<&'static str>,
    /// How many branches look like this; a container may have many equal children.
    pub count: usize,
}

impl Chain {
    /// Creates a chain that counts as one branch.
    pub(crate) const fn new(
        links: Vec<Link>,
        wait: Option<WaitReason>,
        incomplete: Option<&'static str>,
    ) -> Self {
        Self {
            links,
            wait,
            approximate: false,
            serving: None,
            incomplete,
            count: 1,
        }
    }

    /// Creates a chain that waits at the innermost of `all` frames, which need not be shown.
    pub(crate) fn waiting(
        frames: &Frames,
        all: &[Link],
        links: Vec<Link>,
        incomplete: Option<&'static str>,
    ) -> Self {
        let wait = frames.task_wait(all);
        Self {
            serving: frames.serving(all),
            approximate: wait.is_some() && !frames.have_places(all),
            ..Self::new(links, wait, incomplete)
        }
    }

    /// Adds what an equal-looking chain knows; the more specific wait reason is kept.
    pub(crate) fn join(&mut self, other: &Self) {
        let rank = |wait: Option<WaitReason>| match wait {
            None => 0,
            Some(wait) if wait.is_aside(false) => 1,
            Some(wait) if wait.is_aside(true) => 2,
            Some(_) => 3,
        };
        match rank(self.wait).cmp(&rank(other.wait)) {
            Ordering::Less => {
                self.wait = other.wait;
                self.approximate = other.approximate;
                self.serving = other.serving;
            }
            Ordering::Equal => self.serving = self.serving.or(other.serving),
            Ordering::Greater => {}
        }
    }

    /// Returns what makes two chains look the same.
    pub fn look(&self) -> Vec<FrameId> {
        self.links.iter().map(|link| link.frame).collect()
    }
}

/// Frames that follow one another without a branch, then the branches.
#[derive(Debug)]
pub struct Segment {
    /// Outermost first.
    pub links: Vec<Link>,
    /// What the paths that end in this segment wait for.
    pub waits: Vec<WaitReason>,
    /// The branches at its end.
    pub branches: Vec<Self>,
}

/// Merges chains at their common roots. Chains without a common root become separate trees.
///
/// The depth of the result is bounded by the number of chains, [`MAX_BRANCHES`] at most.
pub fn merge(chains: &[Chain]) -> Vec<Segment> {
    let ways = chains
        .iter()
        .take(MAX_BRANCHES)
        .map(|chain| Way {
            links: chain.links.iter().rev().copied().collect(),
            wait: chain.wait,
        })
        .collect();
    branches(ways)
}

struct Way {
    /// Outermost first.
    links: Vec<Link>,
    wait: Option<WaitReason>,
}

/// Returns one segment for each distinct first frame, in order of first appearance.
fn branches(ways: Vec<Way>) -> Vec<Segment> {
    let mut branches: Vec<(FrameId, Vec<Way>)> = Vec::new();
    for way in ways {
        let Some(first) = way.links.first().map(|link| link.frame) else {
            continue;
        };
        match branches.iter_mut().find(|(frame, _)| *frame == first) {
            Some((_, together)) => together.push(way),
            None => branches.push((first, vec![way])),
        }
    }
    branches
        .into_iter()
        .map(|(_, ways)| segment(ways))
        .collect()
}

fn segment(mut ways: Vec<Way>) -> Segment {
    let common = common_length(&ways);
    let mut links = Vec::new();
    let mut waits = Vec::new();
    for way in &mut ways {
        let rest = way.links.split_off(common);
        let head = std::mem::replace(&mut way.links, rest);
        if links.is_empty() {
            links = head;
        }
        if way.links.is_empty()
            && let Some(wait) = way.wait
            && !waits.contains(&wait)
        {
            waits.push(wait);
        }
    }
    let mut branches = branches(ways);
    // A path that ends inside another is not a fork.
    if branches.len() == 1
        && let Some(only) = branches.pop()
    {
        links.extend(only.links);
        waits.retain(|wait| !only.waits.contains(wait));
        waits.extend(only.waits);
        branches = only.branches;
    }
    Segment {
        links,
        waits,
        branches,
    }
}

/// Returns how many leading frames all paths have in common.
fn common_length(ways: &[Way]) -> usize {
    let Some((first, others)) = ways.split_first() else {
        return 0;
    };
    let same = |other: &Way| {
        let pairs = first.links.iter().zip(&other.links);
        pairs.take_while(|(a, b)| a.frame == b.frame).count()
    };
    others.iter().map(same).min().unwrap_or(first.links.len())
}

#[cfg(test)]
mod tests {
    use rtops_protocol::StackId;

    use super::*;
    use crate::frames::{Frames, fixtures::frames};

    fn chains(frames: &Frames, count: u32) -> Vec<Chain> {
        let stacks = (0..count).map(StackId);
        stacks
            .map(|stack| Chain {
                links: frames.stack(stack).to_vec(),
                wait: Some(WaitReason::Sleep),
                serving: None,
                approximate: false,
                incomplete: None,
                count: 1,
            })
            .collect()
    }

    /// Draws segments as `root mid(left right)`: frames from the root inwards,
    /// branches in parentheses.
    fn drawn(frames: &Frames, segments: &[Segment]) -> String {
        let parts = segments.iter().map(|segment| {
            let names = segment
                .links
                .iter()
                .filter_map(|link| frames.get(link.frame));
            let names: Vec<&str> = names.map(|frame| frame.name.as_str()).collect();
            if segment.branches.is_empty() {
                names.join(" ")
            } else {
                format!("{}({})", names.join(" "), drawn(frames, &segment.branches))
            }
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    fn merged(stacks: &[&str]) -> String {
        let frames = frames(stacks);
        let count = u32::try_from(stacks.len()).unwrap_or(u32::MAX);
        drawn(&frames, &merge(&chains(&frames, count)))
    }

    #[test]
    fn chains_meet_at_their_common_root() {
        assert_eq!(merged(&["a b root"]), "root b a");
        assert_eq!(merged(&["a run root", "b run root"]), "root run(a, b)");
        assert_eq!(merged(&["a x run", "c run", "b x run"]), "run(x(a, b), c)");
        assert_eq!(merged(&["a b", "c d"]), "b a, d c");
    }

    #[test]
    fn a_chain_that_ends_inside_another_adds_no_branch() {
        let frames = frames(&["a run root", "run root"]);
        let tree = merge(&chains(&frames, 2));
        assert_eq!(drawn(&frames, &tree), "root run a");
        assert_eq!(
            tree.first().map(|root| root.waits.clone()),
            Some(vec![WaitReason::Sleep])
        );
    }

    #[test]
    fn empty_chains_make_no_tree() {
        assert!(merge(&[]).is_empty());
    }

    #[test]
    fn a_staircase_of_branches_stays_shallow() {
        let names: Vec<String> = (0..500)
            .map(|depth| {
                let stairs = (0..depth).rev().map(|step| format!("s{step} "));
                format!("leaf{depth} {}root", stairs.collect::<String>())
            })
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let frames = frames(&names);
        let mut tree = merge(&chains(&frames, 500));
        let mut depth = 0;
        while let Some(segment) = tree.pop() {
            tree = segment.branches;
            depth += 1;
        }
        assert!(depth <= MAX_BRANCHES + 1);
    }
}
