//! Where one stepped poll shows that its task waits.
//!
//! The instructions of a trace, with the functions that are inlined at each, make a tree of the
//! functions that ran, and of where each called the next. Of that tree the polls count: the innermost
//! of them are what the task waits for. The body of an async fn waits at one await, the last one that
//! it came to; what is written by hand may wait for all that it polls.

use std::collections::HashMap;

use rtops_protocol::{LeafEnd, Trace, TraceEnd};
use rtops_symbols::{FrameClass, Polls, classify, polls};

use crate::{
    dump,
    frames::{FrameId, Frames, Link},
    tree::{Chain, MAX_BRANCHES},
};

/// Deeper than the calls and inlined functions of any poll.
const MAX_DEPTH: usize = 2_000;

/// The distinct ways from where the task waits to its root.
pub fn chains(trace: &Trace, frames: &Frames) -> Vec<Chain> {
    let tree = Tree::build(trace, frames);
    let end = match trace.end {
        TraceEnd::Whole => None,
        TraceEnd::TooLong => Some("(more may be missing: the poll took too many steps)"),
        _ => Some("(more may be missing: the poll did what can't be stepped through)"),
    };
    let mut chains: Vec<Chain> = Vec::new();
    for leaf in tree.leaves() {
        let Way {
            links,
            lacks_line,
            lacks_root,
        } = tree.way(leaf);
        let no_line = lacks_line.then_some(
            "(await not resolved: the code of the innermost function that ran has no line)",
        );
        let no_root = lacks_root
            .then(|| dump::incomplete(LeafEnd::Truncated))
            .flatten();
        let chain = Chain {
            links: frames.visible(&links, &[]),
            wait: frames.task_wait(&links),
            incomplete: end.or(no_root).or(no_line),
        };
        let is_known = chains.iter().any(|known| known.look() == chain.look());
        if !is_known && !chain.links.is_empty() {
            chains.push(chain);
        }
    }
    chains
}

/// The functions that ran.
struct Tree<'a> {
    frames: &'a Frames,
    /// Callers come before those that they call.
    nodes: Vec<Node>,
}

/// A function that ran, called or inlined.
struct Node {
    polls: Option<Polls>,
    class: FrameClass,
    /// Who called it, and where that is in the caller.
    caller: Option<(usize, Link)>,
    depth: usize,
    /// What ran of the function itself, in the order in which it last did.
    own: Vec<Link>,
    /// When it, or what it called, last ran.
    last: usize,
    /// The nearest polls below that are worth something.
    polled: Vec<usize>,
    /// The last function of the user's that it called, and that is no poll.
    users: Option<usize>,
    /// What is polled in it.
    leads_to: Worth,
}

/// What a poll can be to a reader.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Worth {
    /// A part of an executor, such as its budget.
    Nothing,
    /// A library's way to wait.
    Wait,
    /// A future of the user's.
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

/// Where an instruction is in the tree.
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
                // Called from where nothing is known: its place in the tree is not known either.
                Some(None) => continue,
            };
            builder.call(number, site, &visits);
        }
        builder.tree.sum_up();
        builder.tree
    }

    /// Passes what is known of nodes on to their callers.
    fn sum_up(&mut self) {
        for index in (0..self.nodes.len()).rev() {
            let Some(node) = self.nodes.get_mut(index) else {
                return;
            };
            if node.polls.is_some() {
                node.leads_to = node.leads_to.max(Worth::of(node.class));
            }
            let (last, leads_to) = (node.last, node.leads_to);
            let users = match node.class {
                FrameClass::User if node.polls.is_none() => Some(index),
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
            caller.last = caller.last.max(last);
            caller.leads_to = caller.leads_to.max(leads_to);
            // The last one is the first that this loop comes to.
            caller.users = caller.users.or(users);
            // The shorter list is copied, lest a deep tree takes the square of its size.
            if caller.polled.len() < below.len() {
                std::mem::swap(&mut caller.polled, &mut below);
            }
            caller.polled.append(&mut below);
        }
    }

    /// The innermost polls that the task may wait in.
    fn leaves(&self) -> Vec<usize> {
        let mut leaves = Vec::new();
        let mut open = vec![0];
        while let Some(index) = open.pop() {
            let Some(node) = self.nodes.get(index) else {
                continue;
            };
            let last = || {
                let last = |index: &&usize| self.nodes.get(**index).map(|node| node.last);
                node.polled.iter().max_by_key(last).copied()
            };
            // What a library polls to do one thing is one wait, if it leads to nothing of the user's.
            let is_one = node.polls == Some(Polls::AsyncBody) || node.leads_to != Worth::Users;
            match last() {
                None => leaves.push(self.users_part(index)),
                Some(last) if is_one => open.push(last),
                Some(_) => open.extend(&node.polled),
            }
            if leaves.len() == MAX_BRANCHES {
                break;
            }
        }
        leaves
    }

    /// A future made of a closure waits in the closure.
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
        match node.waits_at(self.frames) {
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
        // What polled the task.
        let is_agent = |link: &Link| {
            let frame = self.frames.get(link.frame);
            frame.is_some_and(|frame| classify(&frame.function) == FrameClass::Agent)
        };
        while way.links.pop_if(|link| is_agent(link)).is_some() {}
        way
    }
}

/// The frames from a leaf outwards.
struct Way {
    links: Vec<Link>,
    /// It is not known where in the leaf the task waits.
    lacks_line: bool,
    /// It is cut off before the root.
    lacks_root: bool,
}

impl Node {
    /// Where in this function a task waits that polled nothing below it: the last line that ran. An
    /// async body jumps to its await from its first line, which tells nothing.
    fn waits_at(&self, frames: &Frames) -> Option<Link> {
        let place = |link: &Link| {
            frames
                .get(link.frame)
                .and_then(|frame| frame.place.as_ref())
        };
        let first = match self.polls {
            Some(Polls::AsyncBody) => self.own.first().and_then(place).map(|place| place.line),
            _ => None,
        };
        let mut latest = self.own.iter().rev();
        latest
            .find(|link| place(link).is_some_and(|place| Some(place.line) != first))
            .copied()
    }
}

struct Builder<'a> {
    tree: Tree<'a>,
    /// Inlined functions by their caller, the place there, and their names.
    inlined: HashMap<(usize, FrameId, &'a str), usize>,
    /// By the number of the call and the address.
    places: HashMap<(u32, u64), Place>,
    /// Whether there is debug info, so that closures are told from the bodies of async fns.
    has_lines: bool,
}

impl<'a> Builder<'a> {
    /// Adds what ran in a call that was made at `site`.
    fn call(&mut self, number: u32, site: Option<Place>, visits: &[(usize, u64)]) {
        let frames = self.tree.frames;
        // A tail call goes on in another function: that is called by the one that jumped there.
        let mut functions: Vec<(&str, usize)> = Vec::new();
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
            let Some(function) = self.function(*outermost) else {
                continue;
            };
            let known = functions.iter().rfind(|(known, _)| *known == function);
            let mut node = match known {
                Some((_, node)) => *node,
                None => {
                    let node = self.add(function, before);
                    functions.push((function, node));
                    node
                }
            };
            let mut outer = *outermost;
            for frame in inner.iter().rev() {
                let Some(function) = self.function(*frame) else {
                    break;
                };
                let key = (node, outer, function);
                node = match self.inlined.get(&key) {
                    Some(known) => *known,
                    None => {
                        let link = link(outer);
                        let new = self.add(function, Some(Place { node, link }));
                        self.inlined.insert(key, new);
                        new
                    }
                };
                outer = *frame;
            }
            let place = Place {
                node,
                link: link(outer),
            };
            self.places.insert((number, *ip), place);
            before = Some(place);
            if let Some(node) = self.tree.nodes.get_mut(node) {
                node.own.push(place.link);
                node.last = *order;
            }
        }
    }

    fn function(&self, frame: FrameId) -> Option<&'a str> {
        let frames: &'a Frames = self.tree.frames;
        frames.get(frame).map(|frame| frame.function.as_str())
    }

    fn add(&mut self, function: &'a str, caller: Option<Place>) -> usize {
        let caller = caller.map(|place| (place.node, place.link));
        let above = caller.and_then(|(caller, _)| self.tree.nodes.get(caller));
        let depth = above.map_or(0, |caller| caller.depth + 1);
        self.tree.nodes.push(Node {
            polls: polls(function).filter(|polls| *polls != Polls::Unclear || !self.has_lines),
            class: classify(function),
            caller: caller.filter(|_| depth < MAX_DEPTH),
            depth,
            own: Vec::new(),
            last: 0,
            polled: Vec::new(),
            users: None,
            leads_to: Worth::Nothing,
        });
        self.tree.nodes.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use rtops_protocol::{Call, Visit};

    use super::*;
    use crate::frames::tests::traced;

    /// `function:line` for each frame of each chain, innermost first, and what is missing.
    fn shown(trace: &Trace, frames: &Frames) -> Vec<(String, bool)> {
        let chains = chains(trace, frames);
        let text = chains.iter().map(|chain| {
            let frames = chain.links.iter().filter_map(|link| frames.get(link.frame));
            let frames = frames.map(|frame| match &frame.place {
                Some(place) => format!("{}:{}", frame.name, place.line),
                None => frame.name.clone(),
            });
            let text: Vec<String> = frames.collect();
            (text.join(" "), chain.incomplete.is_some())
        });
        text.collect()
    }

    /// A trace of one call of the code, in order; `calls` are `(caller, site)` of more.
    fn trace(visits: &[(u32, u64)], calls: &[(u32, u64)]) -> Trace {
        let calls = [(0, 0)].iter().chain(calls);
        Trace {
            task: 1,
            end: TraceEnd::Whole,
            calls: calls
                .map(|(caller, site)| Call {
                    caller: *caller,
                    site: *site,
                })
                .collect(),
            visits: visits
                .iter()
                .map(|(call, ip)| Visit {
                    call: *call,
                    ip: *ip,
                })
                .collect(),
        }
    }

    fn in_one_call(code: &[(u64, &str)]) -> Vec<(String, bool)> {
        let visits: Vec<(u32, u64)> = code.iter().map(|(ip, _)| (0, *ip)).collect();
        shown(&trace(&visits, &[]), &traced(code))
    }

    fn whole(chain: &str) -> (String, bool) {
        (chain.to_owned(), false)
    }

    #[test]
    fn inlined_async_fns_show_the_line_of_each_await() {
        let chains = in_one_call(&[
            (1, "rtops_step::step:1"),
            (2, "app::outer::{async_fn#0}:10 rtops_step::step:2"),
            (
                3,
                "app::inner::{async_fn#0}:20 app::outer::{async_fn#0}:12 rtops_step::step:2",
            ),
            (
                4,
                "app::inner::{async_fn#0}:23 app::outer::{async_fn#0}:12 rtops_step::step:2",
            ),
            (5, "rtops_step::step:3"),
        ]);
        assert_eq!(chains, [whole("app::inner:23 app::outer:12")]);
    }

    #[test]
    fn the_first_line_of_an_async_fn_is_never_shown_as_its_await() {
        let chains = in_one_call(&[
            (1, "app::outer::{async_fn#0}:10"),
            (2, "app::inner::{async_fn#0}:20 app::outer::{async_fn#0}:12"),
            (3, "app::inner::{async_fn#0}:20 app::outer::{async_fn#0}:12"),
        ]);
        assert_eq!(chains, [("app::inner app::outer:12".to_owned(), true)]);
    }

    #[test]
    fn an_async_fn_waits_at_the_last_await_that_it_came_to() {
        let chains = in_one_call(&[
            (1, "app::outer::{async_fn#0}:10"),
            (2, "app::Ready::poll:30 app::outer::{async_fn#0}:12"),
            (3, "app::Lost::poll:40 app::outer::{async_fn#0}:13"),
        ]);
        assert_eq!(chains, [whole("app::Lost::poll:40 app::outer:13")]);
    }

    #[test]
    fn what_is_written_by_hand_waits_for_all_that_it_polls() {
        let chains = in_one_call(&[
            (1, "app::outer::{async_fn#0}:10"),
            (
                2,
                "tokio::task::coop::poll_proceed:5 app::Both::poll:50 app::outer::{async_fn#0}:12",
            ),
            (
                3,
                "app::left::{async_fn#0}:60 app::Both::poll:51 app::outer::{async_fn#0}:12",
            ),
            (
                4,
                "app::left::{async_fn#0}:61 app::Both::poll:51 app::outer::{async_fn#0}:12",
            ),
            (
                5,
                "app::Lost::poll:40 app::Both::poll:52 app::outer::{async_fn#0}:12",
            ),
        ]);
        let mut chains: Vec<_> = chains.into_iter().collect();
        chains.sort();
        let both = [
            whole("app::Lost::poll:40 app::Both::poll:52 app::outer:12"),
            whole("app::left:61 app::Both::poll:51 app::outer:12"),
        ];
        assert_eq!(chains, both);
    }

    #[test]
    fn a_library_is_one_wait_unless_it_polls_the_users() {
        let chains = in_one_call(&[
            (1, "app::outer::{async_fn#0}:10"),
            (2, "tokio::time::Sleep::poll:5 app::outer::{async_fn#0}:12"),
            (
                3,
                "tokio::time::Entry::poll_a:6 tokio::time::Sleep::poll:7 app::outer::{async_fn#0}:12",
            ),
            (
                4,
                "tokio::time::Entry::poll_b:6 tokio::time::Sleep::poll:8 app::outer::{async_fn#0}:12",
            ),
        ]);
        assert_eq!(chains, [whole("tokio::time::Sleep::poll:8 app::outer:12")]);
    }

    #[test]
    fn a_future_of_a_closure_waits_in_the_closure() {
        let chains = in_one_call(&[
            (1, "app::outer::{async_fn#0}:10"),
            (
                2,
                "core::future::poll_fn::PollFn::poll:5 app::outer::{async_fn#0}:12",
            ),
            (
                3,
                "app::outer::{async_fn#0}::{closure#0}:14 core::future::poll_fn::PollFn::poll:6 app::outer::{async_fn#0}:12",
            ),
        ]);
        assert_eq!(chains, [whole("app::outer::{closure}:14 app::outer:12")]);
    }

    #[test]
    fn calls_and_tail_calls_are_followed() {
        let code = [
            (1, "rtops_step::step:1"),
            (10, "app::outer::{async_fn#0}:10"),
            (11, "app::outer::{async_fn#0}:12"),
            (20, "app::Wrapper::poll:20"),
            (30, "app::inner::{async_fn#0}:30"),
            (31, "app::inner::{async_fn#0}:31"),
        ];
        // The wrapper jumps to what it wraps.
        let visits = [(0, 1), (1, 10), (1, 11), (2, 20), (2, 30), (2, 31)];
        let trace = trace(&visits, &[(0, 1), (1, 11)]);
        let chains = shown(&trace, &traced(&code));
        assert_eq!(
            chains,
            [whole("app::inner:31 app::Wrapper::poll:20 app::outer:12")]
        );
    }

    #[test]
    fn a_trace_that_was_cut_says_so() {
        let code = [
            (1, "app::outer::{async_fn#0}:10"),
            (2, "app::outer::{async_fn#0}:12"),
        ];
        let mut trace = trace(&[(0, 1), (0, 2)], &[]);
        for end in [TraceEnd::TooLong, TraceEnd::Unsafe] {
            trace.end = end;
            let chains = shown(&trace, &traced(&code));
            assert_eq!(chains, [("app::outer:12".to_owned(), true)]);
        }
    }

    #[test]
    fn a_trace_out_of_nowhere_shows_nothing_or_ends() {
        let code = [
            (1, "app::outer::{async_fn#0}:10"),
            (2, "app::outer::{async_fn#0}:12"),
        ];
        let frames = traced(&code);
        assert_eq!(shown(&trace(&[], &[]), &frames), []);
        assert_eq!(shown(&trace(&[(0, 99), (1, 1)], &[(0, 98)]), &frames), []);
        // Each call is made by the one before.
        let calls: Vec<(u32, u64)> = (0..60_000).map(|caller| (caller, 1)).collect();
        let visits: Vec<(u32, u64)> = (0..=60_000).map(|call| (call, 1)).collect();
        let chains = shown(&trace(&visits, &calls), &frames);
        assert_eq!(chains.len(), 1);
        assert!(chains.iter().all(|(_, incomplete)| *incomplete));
    }
}
