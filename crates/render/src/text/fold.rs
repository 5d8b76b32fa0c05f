//! Folds await trees and stacks for a reader who knows the service: shows own frames, and
//! summarizes those between them in a line.

use rtops_report::{
    frame::{Frame, Link},
    frames::Frames,
    tree::Segment,
};
use rtops_symbols::{WaitEnd, WaitReason};

/// The most frames shown of a path without an own frame.
const FEW: usize = 3;
/// The most crates named for a run of frames.
const MAX_CRATES: usize = 3;

/// A line of a tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Item<'f> {
    /// A frame.
    Frame(&'f Frame),
    /// The frame at the end of a path, and what the path waits for.
    Leaf(&'f Frame, Vec<WaitReason>),
    /// Consecutive foreign frames.
    Run(Run<'f>),
}

/// Foreign frames.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Run<'f> {
    /// Outermost first, as far as they are known to follow one another.
    frames: Vec<&'f Frame>,
}

/// Lines that follow one another without a branch, then the branches.
#[derive(Debug, Default)]
pub(super) struct Piece<'f> {
    /// Outermost first.
    pub items: Vec<Item<'f>>,
    /// What the paths that end here wait for.
    pub waits: Vec<WaitReason>,
    /// The branches at its end.
    pub branches: Vec<Self>,
}

/// Branches that are not shown because another one has own frames.
#[derive(Debug, Default)]
pub(super) struct LeftOut<'f> {
    count: usize,
    frames: Run<'f>,
    /// The things they wait for that others have to release.
    waits: Vec<WaitReason>,
}

impl<'f> Run<'f> {
    /// Returns `… 19 frames of hyper, axum`.
    pub fn text(&self) -> String {
        let count = self.frames.len();
        match self.crates() {
            crates if crates.is_empty() => format!("… {count} frames"),
            crates => format!("… {count} frames of {}", crates.join(", ")),
        }
    }

    /// Returns the crates, outermost first.
    fn crates(&self) -> Vec<String> {
        let mut crates: Vec<&str> = Vec::new();
        for frame in &self.frames {
            let package = frame.package();
            if !package.is_empty() && !crates.contains(&package) {
                crates.push(package);
            }
        }
        let more = crates.len() > MAX_CRATES;
        let shown = crates.into_iter().take(MAX_CRATES).map(str::to_owned);
        shown.chain(more.then(|| "…".to_owned())).collect()
    }
}

impl LeftOut<'_> {
    /// Returns `… and 3 branches in hyper`; `None` if all are shown.
    pub fn text(&self) -> Option<String> {
        let branches = match self.count {
            0 => return None,
            1 => "1 branch".to_owned(),
            count => format!("{count} branches"),
        };
        let crates = self.frames.crates();
        let mut text = match crates.is_empty() {
            true => format!("… and {branches}"),
            false => format!("… and {branches} in {}", crates.join(", ")),
        };
        if !self.waits.is_empty() {
            text = format!("{text} [{}]", WaitReason::words(&self.waits));
        }
        Some(text)
    }
}

impl Piece<'_> {
    /// Adds what the paths through it wait for.
    pub fn add_waits(&self, waits: &mut Vec<WaitReason>) {
        let leaves = self.items.iter().filter_map(|item| match item {
            Item::Leaf(_, waits) => Some(waits),
            Item::Frame(_) | Item::Run(_) => None,
        });
        for wait in leaves.chain([&self.waits]).flatten() {
            if !waits.contains(wait) {
                waits.push(*wait);
            }
        }
        for branch in &self.branches {
            branch.add_waits(waits);
        }
    }
}

/// Returns all frames of a tree.
pub(super) fn whole<'f>(frames: &'f Frames, segment: &Segment) -> Piece<'f> {
    let links = frames.of_links(&segment.links);
    let branches = segment.branches.iter();
    Piece {
        items: links.map(Item::Frame).collect(),
        waits: segment.waits.clone(),
        branches: branches.map(|branch| whole(frames, branch)).collect(),
    }
}

/// Returns what to show of a group's trees; adds the rest to `left_out`.
pub(super) fn folded<'f>(
    frames: &'f Frames,
    roots: &[Segment],
    left_out: &mut LeftOut<'f>,
) -> Vec<Piece<'f>> {
    let any_own = roots.iter().any(|root| has_own(frames, root));
    let mut pieces = Vec::new();
    for root in roots {
        if any_own && !has_own(frames, root) {
            leave_out(frames, root, left_out);
        } else if any_own {
            pieces.push(fold(frames, root, false, left_out));
        } else {
            pieces.push(foreign(frames, root));
        }
    }
    pieces
}

/// Whether a tree has an own frame.
fn has_own(frames: &Frames, segment: &Segment) -> bool {
    segment.links.iter().any(|link| frames.is_own(link))
        || segment
            .branches
            .iter()
            .any(|branch| has_own(frames, branch))
}

/// Folds a tree that contains an own frame or is below one.
fn fold<'f>(
    frames: &'f Frames,
    segment: &Segment,
    is_below_own: bool,
    left_out: &mut LeftOut<'f>,
) -> Piece<'f> {
    let is_own = |link: &Link| frames.is_own(link);
    let (own, others): (Vec<&Segment>, Vec<&Segment>) = segment
        .branches
        .iter()
        .partition(|branch| has_own(frames, branch));
    let last_own = segment.links.iter().rposition(is_own);
    let mut piece = Piece {
        waits: segment.waits.clone(),
        ..Piece::default()
    };
    if own.is_empty() && (is_below_own || last_own.is_some()) {
        // What is further in is how a library waits, which the wait reason already says.
        let (head, tail) = segment.links.split_at(last_own.map_or(0, |at| at + 1));
        piece.items = items(frames, head);
        let mut inner = Inner::default();
        inner.add(frames, tail, &others);
        for wait in inner.waits {
            if !piece.waits.contains(&wait) {
                piece.waits.push(wait);
            }
        }
        let is_told = inner.longest <= 1 && !piece.waits.is_empty();
        if !is_told {
            piece.items.extend(run(inner.frames));
        }
        return piece;
    }
    piece.items = items(frames, &segment.links);
    for branch in others {
        leave_out(frames, branch, left_out);
    }
    let is_below_own = is_below_own || last_own.is_some();
    let branches = own.into_iter();
    let mut branches: Vec<Piece> = branches
        .map(|branch| fold(frames, branch, is_below_own, left_out))
        .collect();
    match branches.pop() {
        Some(only) if branches.is_empty() => {
            piece.items = joined(piece.items, only.items);
            piece.waits.extend(only.waits);
            piece.branches = only.branches;
        }
        last => {
            branches.extend(last);
            piece.branches = branches;
        }
    }
    piece
}

/// The frames further in than the innermost own frame.
#[derive(Default)]
struct Inner<'f> {
    frames: Vec<&'f Frame>,
    /// The number of frames on the longest path.
    longest: usize,
    waits: Vec<WaitReason>,
}

impl<'f> Inner<'f> {
    fn add(&mut self, frames: &'f Frames, links: &[Link], branches: &[&Segment]) {
        self.frames.extend(counted(frames, links));
        let before = counted(frames, links).count();
        let mut longest = 0;
        for branch in branches {
            let mut inner = Self::default();
            let further: Vec<&Segment> = branch.branches.iter().collect();
            inner.add(frames, &branch.links, &further);
            longest = longest.max(inner.longest);
            self.frames.extend(inner.frames);
            self.waits.extend(&branch.waits);
            self.waits.extend(inner.waits);
        }
        self.longest = before + longest;
    }
}

/// Iterates over the frames that count for a run.
fn counted<'f>(frames: &'f Frames, links: &[Link]) -> impl Iterator<Item = &'f Frame> {
    let links = links.iter().filter(|link| !frames.is_glue(link));
    links.filter_map(|link| frames.get(link.frame))
}

/// Folds a tree without an own frame: the innermost few frames, or the ends of its first few paths.
fn foreign<'f>(frames: &'f Frames, segment: &Segment) -> Piece<'f> {
    let mut all: Vec<&Frame> = Vec::new();
    let mut leaves = Vec::new();
    if segment.branches.is_empty() {
        all.extend(frames.of_links(&segment.links));
        let inner = all.split_off(all.len().saturating_sub(FEW));
        leaves.extend(inner.into_iter().map(Item::Frame));
    } else {
        ends(frames, segment, &mut all, &mut leaves);
        let hidden = leaves.split_off(leaves.len().min(FEW));
        all.extend(hidden.iter().filter_map(|item| match item {
            Item::Leaf(frame, _) => Some(*frame),
            Item::Frame(_) | Item::Run(_) => None,
        }));
    }
    Piece {
        items: run(all).into_iter().chain(leaves).collect(),
        ..Piece::default()
    }
}

/// Collects the frames at the ends of paths with a known wait, and all others.
fn ends<'f>(
    frames: &'f Frames,
    segment: &Segment,
    others: &mut Vec<&'f Frame>,
    leaves: &mut Vec<Item<'f>>,
) {
    let mut all = frames.of_links(&segment.links);
    let before = all
        .clone()
        .count()
        .saturating_sub(usize::from(!segment.waits.is_empty()));
    others.extend(all.clone().take(before));
    let leaf = all.nth(before);
    leaves.extend(leaf.map(|frame| Item::Leaf(frame, segment.waits.clone())));
    for branch in &segment.branches {
        ends(frames, branch, others, leaves);
    }
}

/// Returns own frames as they are, and the others between them as runs.
fn items<'f>(frames: &'f Frames, links: &[Link]) -> Vec<Item<'f>> {
    let mut items = Vec::new();
    let mut others = Vec::new();
    for link in links {
        let Some(frame) = frames.get(link.frame) else {
            continue;
        };
        if frame.own {
            items.extend(run(std::mem::take(&mut others)));
            items.push(Item::Frame(frame));
        } else if !frames.is_glue(link) {
            others.push(frame);
        }
    }
    items.extend(run(others));
    items
}

/// Returns a line for foreign frames; a single one is shown, since it takes no more room.
fn run(frames: Vec<&Frame>) -> Option<Item<'_>> {
    match frames.as_slice() {
        [] => None,
        [only] => Some(Item::Frame(only)),
        _ => Some(Item::Run(Run { frames })),
    }
}

/// Concatenates two lists, merging runs where they meet.
fn joined<'f>(mut outer: Vec<Item<'f>>, inner: Vec<Item<'f>>) -> Vec<Item<'f>> {
    let others = |item: &Item<'f>| match item {
        Item::Run(run) => Some(run.frames.clone()),
        Item::Frame(frame) if !frame.own => Some(vec![*frame]),
        Item::Frame(_) | Item::Leaf(..) => None,
    };
    let mut inner = inner.into_iter().peekable();
    if let Some(last) = outer.last().and_then(others)
        && let Some(first) = inner.peek().and_then(others)
    {
        outer.pop();
        inner.next();
        outer.extend(run(last.into_iter().chain(first).collect()));
    }
    outer.extend(inner);
    outer
}

/// Counts the paths of a tree that is not shown.
fn leave_out<'f>(frames: &'f Frames, segment: &Segment, left_out: &mut LeftOut<'f>) {
    left_out
        .frames
        .frames
        .extend(counted(frames, &segment.links));
    if segment.branches.is_empty() {
        left_out.count += 1;
    }
    for wait in &segment.waits {
        if wait.end() == WaitEnd::Contended && !left_out.waits.contains(wait) {
            left_out.waits.push(*wait);
        }
    }
    for branch in &segment.branches {
        leave_out(frames, branch, left_out);
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use rtops_protocol::StackId;
    use rtops_report::{
        frames::fixtures::{folded, frames},
        tree::Chain,
    };
    use rtops_symbols::WaitReason;

    use super::super::drawing::Drawing;
    use crate::style::Style;

    fn drawn(stacks: &[(&str, WaitReason)]) -> String {
        let names: Vec<&str> = stacks.iter().map(|(names, _)| *names).collect();
        let frames = folded(frames(&names));
        let chains = stacks.iter().zip(0..).map(|((_, wait), number)| Chain {
            links: frames.stack(StackId(number)).to_vec(),
            wait: Some(*wait),
            serving: None,
            approximate: false,
            incomplete: None,
            count: 1,
        });
        let chains: Vec<Chain> = chains.collect();
        let mut text = Vec::new();
        let drawing = Drawing::of_chains(&frames, &chains, None, None);
        assert!(drawing.write(&mut text, Style::PLAIN).is_ok());
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn what_others_do_between_own_frames_is_a_line() {
        let stack = "tokio::sync::mutex::Mutex::lock app::cart core::pin::poll mio::poll \
                     tokio::a app::serve tokio::b";
        assert_snapshot!(drawn(&[(stack, WaitReason::MutexLock)]), @r"
        tokio::b    src/tokio::b.rs:7:9
        app::serve  src/app::serve.rs:7:9
        … 3 frames of tokio, mio, std
        app::cart   src/app::cart.rs:7:9
        ");
    }

    #[test]
    fn where_a_library_waits_is_told_by_the_wait() {
        let select = [
            ("tokio::sleep app::run", WaitReason::Sleep),
            ("tokio::recv app::run", WaitReason::ChannelReceive),
        ];
        assert_eq!(drawn(&select), "    app::run  src/app::run.rs:7:9\n");
        let deep = [
            ("tokio::read mio::b app::run", WaitReason::Read),
            ("tokio::sleep app::run", WaitReason::Sleep),
        ];
        assert_snapshot!(drawn(&deep), @r"
        app::run  src/app::run.rs:7:9
        … 3 frames of mio, tokio
        ");
    }

    #[test]
    fn branches_of_others_go_where_one_has_own_frames() {
        let connection = [
            (
                "tokio::lock app::cart mio::handle mio::serve",
                WaitReason::MutexLock,
            ),
            ("tokio::read mio::head mio::serve", WaitReason::Read),
            ("tokio::write mio::serve", WaitReason::Write),
        ];
        assert_snapshot!(drawn(&connection), @r"
        … 2 frames of mio
        app::cart  src/app::cart.rs:7:9
        … and 2 branches in mio, tokio
        ");
        let both = [
            ("tokio::lock app::cart app::both", WaitReason::MutexLock),
            ("tokio::read app::stock app::both", WaitReason::Read),
            ("tokio::sleep mio::x app::both", WaitReason::Sleep),
            ("tokio::acquire mio::x app::both", WaitReason::RwLockRead),
        ];
        assert_snapshot!(drawn(&both), @r"
        app::both                  src/app::both.rs:7:9
        ├─ app::cart [mutex lock]  src/app::cart.rs:7:9
        └─ app::stock [I/O read]   src/app::stock.rs:7:9
        … and 2 branches in mio, tokio [rwlock read]
        ");
    }

    #[test]
    fn without_own_frames_the_innermost_few_are_shown() {
        let deep = "tokio::read mio::a mio::b mio::c mio::d";
        assert_snapshot!(drawn(&[(deep, WaitReason::Read)]), @r"
        … 2 frames of mio
        mio::b       src/mio::b.rs:7:9
        mio::a       src/mio::a.rs:7:9
        tokio::read  src/tokio::read.rs:7:9
        ");
        let several = [
            ("tokio::read mio::a mio::run", WaitReason::Read),
            ("tokio::write mio::b mio::run", WaitReason::Write),
        ];
        assert_snapshot!(drawn(&several), @r"
        … 3 frames of mio
        tokio::read [I/O read]    src/tokio::read.rs:7:9
        tokio::write [I/O write]  src/tokio::write.rs:7:9
        ");
    }
}
