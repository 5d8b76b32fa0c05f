//! Finds where a task waits from one stepped poll.
//!
//! The instructions of a trace and the functions inlined at each make a tree of the functions that
//! ran and of where each called the next. Only the polls in that tree count: the task waits for the
//! innermost ones. The body of an async fn waits at a single await, the last one it reached; a
//! handwritten future may wait for everything it polls. For a task that was woken, or could be, the
//! first await counts instead, because it resumes there.

use std::collections::HashMap;

use rtops_protocol::{LeafEnd, Trace, TraceOrder};
use rtops_symbols::{FrameClass, Polls};

use crate::{
    frame::{Frame, FrameId, Link},
    frames::Frames,
    remarks,
    tree::Chain,
};

/// Deeper than the calls and inlined functions of any poll.
const MAX_DEPTH: usize = 2_000;

/// The most branches of one poll that are followed, counting equal ones.
const MAX_LEAVES: usize = 10_000;

/// Which part of a poll belongs to a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// All of it.
    Tokios,
    /// What is inside the outermost tracked future.
    Tracked,
}

/// Returns the distinct paths from where the task waits to its root.
pub fn chains(trace: &Trace, frames: &Frames, whose: Whose) -> Vec<Chain> {
    let tree = Tree::build(trace, frames);
    let mut chains: Vec<Chain> = Vec::new();
    for leaf in tree.leaves() {
        let Way {
            mut links,
            lacks_line,
            mut lacks_root,
        } = tree.way(leaf);
        if whose == Whose::Tracked {
            let Some(outermost) = frames.tracked_polls(&links).first().copied() else {
                continue;
            };
            links.truncate(outermost);
            lacks_root = false;
        }
        let no_line = lacks_line.then_some(remarks::NO_LINE);
        let no_root = lacks_root
            .then(|| remarks::incomplete(LeafEnd::Truncated))
            .flatten();
        let shown = frames.visible(&links, &[]);
        let chain = Chain::waiting(frames, &links, shown, no_root.or(no_line));
        let look = chain.look();
        match chains.iter_mut().find(|known| known.look() == look) {
            Some(known) => known.count += 1,
            None if chain.links.is_empty() => {}
            None => chains.push(chain),
        }
    }
    chains
}

/// Returns the function of the outermost poll in user or library code, or else of class `left`.
pub fn root<'a>(trace: &Trace, frames: &'a Frames, left: FrameClass) -> Option<&'a str> {
    let tree = Tree::build(trace, frames);
    let of = |classes: &[FrameClass]| {
        let mut nodes = tree.nodes.iter();
        nodes.find(|node| node.polls.is_some() && classes.contains(&node.class))
    };
    let root = of(&[FrameClass::User, FrameClass::Leaf]);
    Some(root.or_else(|| of(&[left]))?.function)
}

/// Returns the body of the future of this type and the place where it begins, if known.
pub fn body<'a>(
    trace: &Trace,
    frames: &'a Frames,
    future: &str,
) -> Option<(&'a str, Option<&'a rtops_symbols::Place>)> {
    let tree = Tree::build(trace, frames);
    let mut nodes = tree.nodes.iter();
    let body = nodes.find(|node| rtops_symbols::is_body(future, node.function))?;
    let first = body.own.first().and_then(|link| frames.get(link.frame));
    Some((body.function, first.and_then(|frame| frame.place.as_ref())))
}

/// The functions that ran.
struct Tree<'a> {
    frames: &'a Frames,
    order: TraceOrder,
    /// Callers come before the functions they call.
    nodes: Vec<Node<'a>>,
}

/// A function that ran, called or inlined.
struct Node<'a> {
    function: &'a str,
    polls: Option<Polls>,
    class: FrameClass,
    /// The caller's node, and the place of the call in it.
    caller: Option<(usize, Link)>,
    depth: usize,
    /// The instructions of the function itself that ran, in the order in which each last ran.
    own: Vec<Link>,
    /// How close this function or one it called is to where the task waits or resumes: when it last
    /// ran, or when it first ran, counted backwards.
    near: usize,
    /// The nearest polls below that are worth showing.
    polled: Vec<usize>,
    /// The nearest user function that it called and that is not a poll.
    users: Option<usize>,
    /// The greatest worth among the polls in it.
    leads_to: Worth,
}

/// What a poll can be worth to a reader.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Worth {
    /// A part of an executor, such as its budget.
    Nothing,
    /// A library's primitive to wait on.
    Wait,
    /// A user's future.
    Users,
}

impl Worth {
    const fn of(class: FrameClass) -> Self {
        match class {
            FrameClass::Executor | FrameClass::Agent => Self::Nothing,
            FrameClass::Std | FrameClass::Leaf => Self::Wait,
            FrameClass::User => Self::Users,
        }
    }
}

/// The place of an instruction in the tree.
#[derive(Clone, Copy)]
struct Place {
    node: usize,
    link: Link,
}

impl<'a> Tree<'a> {
    fn build(trace: &Trace, frames: &'a Frames) -> Self {
        let mut visits: Vec<Vec<(usize, u64)>> = vec![Vec::new(); trace.calls.len()];
        for (order, visit) in trace.visits.iter().enumerate() {
            let call = usize::try_from(visit.call).ok();
            if let Some(visits) = call.and_then(|call| visits.get_mut(call)) {
                visits.push((order, visit.ip));
            }
        }
        let mut builder = Builder {
            tree: Self {
                frames,
                order: trace.order,
                nodes: Vec::new(),
            },
            inlined: HashMap::new(),
            places: HashMap::new(),
            has_lines: trace.visits.iter().any(|visit| {
                let mut frames_here = frames.at(visit.ip).iter();
                frames_here.any(|frame| frames.get(*frame).is_some_and(|f| f.place.is_some()))
            }),
        };
        for ((call, visits), number) in trace.calls.iter().zip(visits).zip(0..) {
            let site = (number != 0).then(|| builder.places.get(&(call.caller, call.site)));
            let site = match site {
                None => None,
                Some(Some(site)) => Some(*site),
                // The caller's place in the tree is unknown, so this call's is, too.
                Some(None) => continue,
            };
            builder.call(number, site, &visits);
        }
        builder.tree.sum_up();
        builder.tree
    }

    /// Propagates what is known about nodes to their callers.
    fn sum_up(&mut self) {
        for index in (0..self.nodes.len()).rev() {
            let Some(node) = self.nodes.get_mut(index) else {
                return;
            };
            if node.polls.is_some() {
                node.leads_to = node.leads_to.max(Worth::of(node.class));
            }
            let (near, leads_to) = (node.near, node.leads_to);
            // Functions of the C library have no path.
            let is_rust = node.function.contains("::");
            let users = match node.class {
                FrameClass::User if node.polls.is_none() && is_rust => Some(index),
                FrameClass::Std if node.polls.is_none() => node.users,
                _ => None,
            };
            let Some((caller, _)) = node.caller else {
                continue;
            };
            let mut below = match node.polls {
                Some(_) if leads_to == Worth::Nothing => Vec::new(),
                Some(_) => vec![index],
                None => std::mem::take(&mut node.polled),
            };
            let Some(caller) = self.nodes.get_mut(caller) else {
                continue;
            };
            caller.near = caller.near.max(near);
            caller.leads_to = caller.leads_to.max(leads_to);
            // This loop visits the last one first.
            caller.users = match self.order {
                TraceOrder::LastRun => caller.users.or(users),
                TraceOrder::FirstRun => users.or(caller.users),
            };
            // Moves the shorter list, or a deep tree would take quadratic time.
            if caller.polled.len() < below.len() {
                std::mem::swap(&mut caller.polled, &mut below);
            }
            caller.polled.append(&mut below);
        }
    }

    /// Returns the innermost polls that the task may wait in.
    fn leaves(&self) -> Vec<usize> {
        let mut leaves = Vec::new();
        let mut open = vec![0];
        while let Some(index) = open.pop() {
            let Some(node) = self.nodes.get(index) else {
                continue;
            };
            let nearest = || {
                let near = |index: &&usize| self.nodes.get(**index).map(|node| node.near);
                node.polled.iter().max_by_key(near).copied()
            };
            // What a library polls to do one thing is one wait, unless it leads to a user's future.
            let is_one = node.polls == Some(Polls::AsyncBody) || node.leads_to != Worth::Users;
            match nearest() {
                None => leaves.push(self.users_part(index)),
                Some(nearest) if is_one => open.push(nearest),
                Some(_) => open.extend(&node.polled),
            }
            if leaves.len() == MAX_LEAVES {
                break;
            }
        }
        leaves
    }

    /// Returns the closure that a leaf made of one calls, because the task waits
    /// in there; or else the leaf.
    fn users_part(&self, leaf: usize) -> usize {
        let node = self.nodes.get(leaf);
        let users = node.filter(|node| node.class == FrameClass::Std);
        users.and_then(|node| node.users).unwrap_or(leaf)
    }

    fn way(&self, leaf: usize) -> Way {
        let mut way = Way {
            links: Vec::new(),
            lacks_line: false,
            lacks_root: false,
        };
        let Some(node) = self.nodes.get(leaf) else {
            return way;
        };
        match node.stands_at(self.frames, self.order) {
            Some(link) => way.links.push(link),
            None => {
                way.lacks_line = true;
                way.links.extend(node.own.first().map(|own| Link {
                    frame: self.frames.without_place(own.frame),
                    address: own.address,
                }));
            }
        }
        let mut at = leaf;
        while let Some((caller, link)) = self.nodes.get(at).and_then(|node| node.caller) {
            way.links.push(link);
            at = caller;
        }
        way.lacks_root = at != 0;
        // Drops the agent's frames that polled the task.
        let is_agent = |link: &Link| {
            let frame = self.frames.get(link.frame);
            frame.is_some_and(|frame| frame.known.class() == FrameClass::Agent)
        };
        while way.links.pop_if(|link| is_agent(link)).is_some() {}
        way
    }
}

/// The frames from a leaf outwards.
struct Way {
    links: Vec<Link>,
    /// Whether it is unknown where in the leaf the task waits.
    lacks_line: bool,
    /// Whether it is cut off before the root.
    lacks_root: bool,
}

impl Node<'_> {
    /// Returns the place in this function where a task waits that polled nothing below it:
    /// the last line that ran, or the first one. An async body jumps to its await from its
    /// first line, so that one is skipped.
    fn stands_at(&self, frames: &Frames, order: TraceOrder) -> Option<Link> {
        let line = |link: &Link| Some(frames.get(link.frame)?.place.as_ref()?.line);
        let first = match self.polls {
            Some(Polls::AsyncBody) => self.own.first().and_then(line),
            _ => None,
        };
        let tells = |link: &&Link| line(link).is_some_and(|line| Some(line) != first);
        let link = match order {
            TraceOrder::LastRun => self.own.iter().rfind(tells),
            TraceOrder::FirstRun => self.own.iter().find(tells),
        };
        link.copied()
    }
}

struct Builder<'a> {
    tree: Tree<'a>,
    /// Inlined functions by caller, place in it, and name.
    inlined: HashMap<(usize, FrameId, &'a str), usize>,
    /// Places by the number of the call and the address.
    places: HashMap<(u32, u64), Place>,
    /// Whether there is debug info, with which closures can be told from the bodies of async fns.
    has_lines: bool,
}

impl<'a> Builder<'a> {
    /// Adds the instructions of a call that was made at `site`.
    fn call(&mut self, number: u32, site: Option<Place>, visits: &[(usize, u64)]) {
        let frames = self.tree.frames;
        // A tail call continues in another function; it counts as called by the
        // one that jumped to it.
        let mut functions: HashMap<&str, usize> = HashMap::new();
        let mut before = site;
        for (order, ip) in visits {
            let at = frames.at(*ip);
            let link = |frame: FrameId| Link {
                frame,
                address: *ip,
            };
            let Some((outermost, inner)) = at.split_last() else {
                continue;
            };
            let Some(frame) = self.frame(*outermost) else {
                continue;
            };
            // A function called by a PLT stub or a stripped library counts as
            // called by that one's caller.
            if let Some(place) = before.filter(|_| frame.is_nameless()) {
                self.places.insert((number, *ip), place);
                continue;
            }
            let mut node = match functions.get(frame.function.as_str()) {
                Some(node) => *node,
                None => {
                    let node = self.add(frame, before);
                    functions.insert(&frame.function, node);
                    node
                }
            };
            let mut outer = *outermost;
            for id in inner.iter().rev() {
                let Some(frame) = self.frame(*id).filter(|frame| !self.is_bare(frame)) else {
                    break;
                };
                let key = (node, outer, frame.function.as_str());
                node = match self.inlined.get(&key) {
                    Some(known) => *known,
                    None => {
                        let link = link(outer);
                        let new = self.add(frame, Some(Place { node, link }));
                        self.inlined.insert(key, new);
                        new
                    }
                };
                outer = *id;
            }
            let place = Place {
                node,
                link: link(outer),
            };
            self.places.insert((number, *ip), place);
            before = Some(place);
            if let Some(node) = self.tree.nodes.get_mut(node) {
                node.own.push(place.link);
                let near = match self.tree.order {
                    TraceOrder::LastRun => *order,
                    TraceOrder::FirstRun => usize::MAX - order,
                };
                node.near = node.near.max(near);
            }
        }
    }

    /// Whether this is an inlined function with neither a path nor a line. With line tables only,
    /// that happens at instructions of line 0; other instructions of the same function have both.
    fn is_bare(&self, frame: &Frame) -> bool {
        let has_path = |function: &str| {
            let path = function.split_once('<').map_or(function, |(path, _)| path);
            path.is_empty() || path.contains("::")
        };
        self.has_lines && frame.place.is_none() && !has_path(&frame.function)
    }

    fn frame(&self, id: FrameId) -> Option<&'a Frame> {
        let frames: &'a Frames = self.tree.frames;
        frames.get(id)
    }

    fn add(&mut self, frame: &'a Frame, caller: Option<Place>) -> usize {
        let above = caller.and_then(|place| self.tree.nodes.get(place.node));
        let depth = above.map_or(0, |caller| caller.depth + 1);
        let polls = frame.known.polls();
        self.tree.nodes.push(Node {
            function: &frame.function,
            polls: polls.filter(|polls| *polls != Polls::Unclear || !self.has_lines),
            class: frame.known.class(),
            caller: caller
                .filter(|_| depth < MAX_DEPTH)
                .map(|place| (place.node, place.link)),
            depth,
            own: Vec::new(),
            near: 0,
            polled: Vec::new(),
            users: None,
            leads_to: Worth::Nothing,
        });
        self.tree.nodes.len() - 1
    }
}

#[cfg(test)]
mod tests;
