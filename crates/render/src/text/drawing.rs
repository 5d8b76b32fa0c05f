//! Draws frames below the line of their task or thread, outermost first, as a
//! list or as a tree with branches.

use std::io::{self, Write};

use rtops_report::{
    escape::escape,
    format,
    frame::{Frame, FrameKind, Link},
    frames::Frames,
    tree::{self, Chain, MAX_BRANCHES, Segment},
};
use rtops_symbols::WaitReason;

use super::fold::{self, Item, LeftOut, Piece};
use crate::{
    bars::Bars,
    style::{Paint, Style},
    wrap,
};

const INDENT: &str = "    ";
/// Between a frame and its place.
const GAP: &str = "  ";
/// The most places of children that are named.
const MAX_PLACES: usize = 4;
/// The most functions in a recursion that is shown as one, and the fewest repetitions.
const LONGEST_CIRCLE: usize = 8;
const FEWEST_TIMES: usize = 4;
/// The prefix of a line of source code.
const SOURCE: &str = "  > ";
/// The most columns of such a line, with its prefix.
const MAX_SOURCE: usize = 160;
/// Places are aligned in a column, except for names longer than this.
const MAX_ALIGNED: usize = 64;

/// The lines below a heading.
#[derive(Debug, Default)]
pub struct Drawing {
    lines: Vec<Line>,
}

/// Returns what the paths that are shown wait for.
pub fn waits(frames: &Frames, chains: &[Chain]) -> Vec<WaitReason> {
    let mut waits = Vec::new();
    let roots = tree::merge(chains);
    for piece in fold::folded(frames, &roots, &mut LeftOut::default()) {
        piece.add_waits(&mut waits);
    }
    waits
}

/// Says how many children of a container wait at which places, if several of them wait alike.
fn children(frames: &Frames, chains: &[Chain]) -> Option<Line> {
    if chains.iter().all(|chain| chain.count == 1) {
        return None;
    }
    let mut places: Vec<(usize, String)> = Vec::new();
    // The container of the children has its own waker.
    let is_around = |outer: &Chain| {
        let inner = chains.iter().map(Chain::look);
        let outer = outer.look();
        inner
            .into_iter()
            .any(|inner| inner != outer && inner.ends_with(&outer))
    };
    for chain in chains.iter().filter(|chain| !is_around(chain)) {
        let place = frames.own_place(&chain.links).unwrap_or_default();
        match places.iter_mut().find(|(_, known)| *known == place) {
            Some((count, _)) => *count += chain.count,
            None => places.push((chain.count, place)),
        }
    }
    places.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let all: usize = places.iter().map(|(count, _)| count).sum();
    let all = match chains.iter().any(|chain| chain.incomplete.is_some()) {
        true => format!("at least {all} children"),
        false => format!("{all} children"),
    };
    if places.iter().all(|(_, place)| place.is_empty()) {
        return Some(Line::of_text(all));
    }
    let mut parts: Vec<String> = places
        .iter()
        .take(MAX_PLACES)
        .map(|(count, place)| match place.as_str() {
            "" => format!("{count} elsewhere"),
            place => format!("{count} at {}", escape(place)),
        })
        .collect();
    if places.len() > MAX_PLACES {
        parts.push("…".to_owned());
    }
    let text = format!("{all}: {}", parts.join(", "));
    Some(Line::of_text(text))
}

/// Returns how many of the first items repeat, and how often they occur: a recursion through a few
/// functions. Returns one item, once, if there is none, and `None` at the end.
fn repetition(items: &[Item]) -> Option<(usize, usize)> {
    let times = |length: usize| {
        let (first, rest) = items.split_at_checked(length)?;
        let parts = rest.chunks(length);
        Some(1 + parts.take_while(|part| *part == first).count())
    };
    let repeated = (1..=LONGEST_CIRCLE).find_map(|length| {
        let times = times(length)?;
        (times >= FEWEST_TIMES).then_some((length, times))
    });
    let one = || (!items.is_empty()).then_some((1, 1));
    repeated.or_else(one)
}

/// A line of source code to show below its frame.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The frame.
    pub frame: &'a Frame,
    /// The text of the line.
    pub text: &'a str,
}

#[derive(Debug)]
struct Line {
    text: String,
    /// Shown in a column to the right of the text, or below it.
    aside: Option<String>,
    /// The bars of the tree that continue in a line below.
    below: String,
    kind: Kind,
}

/// How a line that is too long is handled, and its colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Kept whole.
    Code,
    /// Kept whole, but in a faint colour.
    Run,
    /// Continued below.
    Prose,
    /// Cut.
    Source,
}

impl Line {
    fn of_text(text: String) -> Self {
        Self {
            text,
            aside: None,
            below: String::new(),
            kind: Kind::Prose,
        }
    }

    /// Returns the widths of its text and of what is shown beside it.
    fn widths(&self) -> Option<(usize, usize)> {
        Some((length(&self.text), length(self.aside.as_deref()?)))
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

impl Drawing {
    /// Draws one chain as a list and several as a tree. `blocked` is what the thread
    /// of a running task waits for.
    pub fn of_chains(
        frames: &Frames,
        chains: &[Chain],
        blocked: Option<WaitReason>,
        source: Option<Source>,
    ) -> Self {
        let mut drawing = Self::default();
        let mut roots = tree::merge(chains);
        for root in &mut roots {
            root.waits.extend(blocked);
        }
        let mut left_out = LeftOut::default();
        drawing.pieces(frames, &roots, source, &mut left_out);
        drawing.lines.extend(left_out.text().map(Line::of_text));
        if chains.len() > MAX_BRANCHES {
            drawing.remark(format!("({} more branches)", chains.len() - MAX_BRANCHES));
        }
        drawing.lines.extend(children(frames, chains));
        drawing
    }

    /// Draws the stack of a thread with its wait reason.
    pub fn of_links(
        frames: &Frames,
        links: &[Link],
        wait: Option<WaitReason>,
        source: Option<Source>,
    ) -> Self {
        let mut drawing = Self::default();
        let root = Segment {
            links: links.iter().rev().copied().collect(),
            waits: wait.into_iter().collect(),
            branches: Vec::new(),
        };
        drawing.pieces(frames, &[root], source, &mut LeftOut::default());
        drawing
    }

    /// Adds trees; a single one without branches becomes a list.
    fn pieces<'f>(
        &mut self,
        frames: &'f Frames,
        roots: &[Segment],
        source: Option<Source>,
        left_out: &mut LeftOut<'f>,
    ) {
        let mut source = source;
        let pieces: Vec<Piece> = match frames.is_folded() {
            true => fold::folded(frames, roots, left_out),
            false => roots.iter().map(|root| fold::whole(frames, root)).collect(),
        };
        // The heading already says what all of it waits for.
        if let [only] = pieces.as_slice()
            && only.branches.is_empty()
        {
            self.items(&only.items, &Bars::default(), &[], &mut source);
            return;
        }
        for piece in &pieces {
            self.piece(piece, &Bars::default(), &mut source);
        }
    }

    /// Adds a line of prose.
    pub fn remark(&mut self, text: String) {
        self.lines.push(Line::of_text(text));
    }

    /// Adds a line after these bars, with text in a column beside it; `below` are
    /// the bars that continue below.
    pub fn line(&mut self, before: &str, text: &str, aside: Option<String>, below: &str) {
        self.lines.push(Line {
            text: format!("{before}{text}"),
            aside,
            below: below.to_owned(),
            kind: Kind::Code,
        });
    }

    /// Writes all lines. Places are aligned in a column. If a line is too long for that, its place
    /// follows directly or goes below, because links that the terminal wraps can't be clicked.
    pub fn write(&self, writer: &mut impl Write, style: Style) -> io::Result<()> {
        let column = self.column(style);
        let room = style
            .width
            .map_or(usize::MAX, |width| width.saturating_sub(INDENT.len()));
        for line in &self.lines {
            let (Some((text, behind)), Some(aside)) = (line.widths(), &line.aside) else {
                line.write_alone(writer, style, room)?;
                continue;
            };
            let aside = style.place(aside);
            if text.max(column) + GAP.len() + behind <= room {
                writeln!(writer, "{INDENT}{:column$}{GAP}{aside}", line.text)?;
            } else if text + GAP.len() + behind <= room {
                writeln!(writer, "{INDENT}{}{GAP}{aside}", line.text)?;
            } else {
                writeln!(writer, "{INDENT}{}", line.text)?;
                writeln!(writer, "{INDENT}{}{INDENT}{aside}", line.below)?;
            }
        }
        Ok(())
    }

    /// Returns the column of the places, chosen so that most lines leave room for it.
    fn column(&self, style: Style) -> usize {
        let width = style.width.unwrap_or(usize::MAX);
        let room = width.saturating_sub(INDENT.len() + GAP.len());
        let widths = self.lines.iter().filter_map(Line::widths);
        let fitting = widths.filter(|(text, aside)| text + aside <= room);
        let (column, widest) = fitting.fold((0, 0), |(column, widest), (text, aside)| {
            let column = if text <= MAX_ALIGNED {
                column.max(text)
            } else {
                column
            };
            (column, widest.max(aside))
        });
        column.min(room.saturating_sub(widest))
    }

    /// Draws a piece and its branches.
    fn piece(&mut self, piece: &Piece, bars: &Bars, source: &mut Option<Source>) {
        self.items(&piece.items, bars, &piece.waits, source);
        let branches = &piece.branches;
        for (left, inner) in (0..branches.len()).rev().zip(branches) {
            self.piece(inner, &bars.child(left == 0), source);
        }
    }

    /// Adds items one below the other, repeated ones only once; the last one shows the wait.
    fn items(
        &mut self,
        items: &[Item],
        bars: &Bars,
        waits: &[WaitReason],
        source: &mut Option<Source>,
    ) {
        let mut rest = items;
        while let Some((length, times)) = repetition(rest) {
            let (shown, behind) = rest.split_at(length);
            let is_last = behind.len() == length * (times - 1);
            for (index, item) in shown.iter().enumerate() {
                let before = if rest.len() == items.len() && index == 0 {
                    &bars.before
                } else {
                    &bars.below
                };
                let waits = if is_last && index + 1 == length {
                    waits
                } else {
                    &[]
                };
                self.item(item, (before, &bars.below), waits, source);
            }
            if times > 1 {
                let what = match length {
                    1 => "this frame".to_owned(),
                    length => format!("these {length} frames"),
                };
                let text = format!("… {what} {} more", format::count(times - 1, "time"));
                self.line(&bars.below, &text, None, &bars.below);
            }
            rest = behind.get(length * (times - 1)..).unwrap_or_default();
        }
    }

    /// Adds an item after the first bars, and what is below it after the second ones.
    fn item(
        &mut self,
        item: &Item,
        (before, below): (&str, &str),
        waits: &[WaitReason],
        source: &mut Option<Source>,
    ) {
        let waits = match item {
            Item::Leaf(_, waits) => waits,
            Item::Frame(_) | Item::Run(_) => waits,
        };
        let (mut text, place, kind) = match item {
            Item::Run(run) => (escape(&run.text()).into_owned(), None, Kind::Run),
            Item::Frame(frame) | Item::Leaf(frame, _) => {
                let name = escape(&frame.name);
                let text = match frame.kind {
                    FrameKind::Code => name.into_owned(),
                    FrameKind::Span => format!("span \"{name}\""),
                };
                (text, frame.place.as_ref(), Kind::Code)
            }
        };
        if !waits.is_empty() {
            text = format!("{text} [{}]", WaitReason::words(waits));
        }
        let line = |text, aside, kind| Line {
            text,
            aside,
            below: below.to_owned(),
            kind,
        };
        let aside = place.map(|place| escape(&place.to_string()).into_owned());
        self.lines
            .push(line(format!("{before}{text}"), aside, kind));
        let is_there =
            |source: &&mut Source| matches!(item, Item::Frame(frame) if *frame == source.frame);
        if source.as_mut().filter(is_there).is_some()
            && let Some(Source { text, .. }) = source.take()
        {
            let text = format!("{below}{SOURCE}{}", escape(text));
            self.lines.push(line(text, None, Kind::Source));
        }
    }
}

impl Line {
    /// Writes a line that has nothing beside it.
    fn write_alone(&self, writer: &mut impl Write, style: Style, room: usize) -> io::Result<()> {
        let text = self.text.as_str();
        match self.kind {
            Kind::Prose => {
                let others = format!("{INDENT}{INDENT}");
                wrap::write(writer, style, (INDENT, &others), &[(None, text)])
            }
            Kind::Source => {
                let text = cut(text, room.min(MAX_SOURCE));
                writeln!(writer, "{INDENT}{}", style.paint(Paint::Faint, text))
            }
            Kind::Run => writeln!(writer, "{INDENT}{}", style.paint(Paint::Faint, text)),
            Kind::Code => writeln!(writer, "{INDENT}{text}"),
        }
    }
}

/// Cuts a text to this many columns.
fn cut(text: &str, room: usize) -> String {
    match text.char_indices().nth(room.saturating_sub(1)) {
        Some((at, _)) if length(text) > room => {
            format!("{}…", text.get(..at).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rtops_protocol::StackId;

    use super::*;
    use rtops_report::frames::fixtures::frames;

    fn drawn(stacks: &[(&str, WaitReason)]) -> String {
        drawn_in(Style::PLAIN, stacks)
    }

    fn drawn_in(style: Style, stacks: &[(&str, WaitReason)]) -> String {
        let names: Vec<&str> = stacks.iter().map(|(names, _)| *names).collect();
        let frames = frames(&names);
        let chains: Vec<Chain> = stacks
            .iter()
            .zip(0..)
            .map(|((_, wait), number)| Chain {
                links: frames.stack(StackId(number)).to_vec(),
                wait: Some(*wait),
                serving: None,
                approximate: false,
                incomplete: None,
                count: 1,
            })
            .collect();
        let mut text = Vec::new();
        let drawing = Drawing::of_chains(&frames, &chains, None, None);
        assert!(drawing.write(&mut text, style).is_ok());
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn one_chain_is_a_list_from_the_root() {
        insta::assert_snapshot!(drawn(&[("recv next_request serve", WaitReason::ChannelReceive)]), @r"
        serve         src/serve.rs:7:9
        next_request  src/next_request.rs:7:9
        recv          src/recv.rs:7:9
        ");
    }

    #[test]
    fn several_chains_are_a_tree_from_the_root() {
        let drawn = drawn(&[
            ("recv pump both run", WaitReason::ChannelReceive),
            ("sleep both run", WaitReason::Sleep),
            ("read copy both run", WaitReason::Read),
        ]);
        insta::assert_snapshot!(drawn, @r"
        run                        src/run.rs:7:9
        both                       src/both.rs:7:9
        ├─ pump                    src/pump.rs:7:9
        │  recv [channel receive]  src/recv.rs:7:9
        ├─ sleep [sleep]           src/sleep.rs:7:9
        └─ copy                    src/copy.rs:7:9
           read [I/O read]         src/read.rs:7:9
        ");
    }

    #[test]
    fn a_line_that_is_too_long_has_its_place_below() {
        let mut narrow = Style::PLAIN;
        narrow.width = Some(30);
        let stacks = [
            ("recv pump run", WaitReason::ChannelReceive),
            ("sleep run", WaitReason::Sleep),
        ];
        insta::assert_snapshot!(drawn_in(narrow, &stacks), @r"
        run      src/run.rs:7:9
        ├─ pump  src/pump.rs:7:9
        │  recv [channel receive]
        │      src/recv.rs:7:9
        └─ sleep [sleep]
               src/sleep.rs:7:9
        ");
    }

    #[test]
    fn a_recursion_is_shown_once() {
        let deep = ["walk"; 12].join(" ");
        let through = ["visit child"; 5].join(" ");
        let stack = format!("read {deep} enter {through} main");
        insta::assert_snapshot!(drawn(&[(stack.as_str(), WaitReason::Read)]), @r"
        main   src/main.rs:7:9
        child  src/child.rs:7:9
        visit  src/visit.rs:7:9
        … these 2 frames 4 times more
        enter  src/enter.rs:7:9
        walk   src/walk.rs:7:9
        … this frame 11 times more
        read   src/read.rs:7:9
        ");
        let few = ["walk"; 3].join(" ");
        assert!(!drawn(&[(few.as_str(), WaitReason::Read)]).contains('…'));
    }

    #[test]
    fn a_chain_inside_another_is_no_branch() {
        let drawn = drawn(&[
            ("recv run", WaitReason::ChannelReceive),
            ("run", WaitReason::Timeout),
        ]);
        insta::assert_snapshot!(drawn, @r"
        run   src/run.rs:7:9
        recv  src/recv.rs:7:9
        ");
    }

    #[test]
    fn children_are_counted_by_their_places_where_they_have_any() {
        let counted = |frames: &Frames, ways: &[&[Link]]| {
            let chains = ways.iter().map(|links| Chain {
                links: links.to_vec(),
                wait: None,
                serving: None,
                approximate: false,
                incomplete: None,
                count: 2,
            });
            children(frames, &chains.collect::<Vec<_>>()).map(|line| line.text)
        };
        let frames =
            rtops_report::frames::fixtures::with_code(frames(&["recv run"]), &[(1, "app::bare")]);
        let placed = frames.stack(StackId(0));
        let bare = frames.at(1).iter().map(|frame| Link {
            frame: *frame,
            address: 1,
        });
        let bare: Vec<Link> = bare.collect();
        let known = "4 children: 2 at src/recv.rs:7, 2 elsewhere";
        assert_eq!(counted(&frames, &[placed, &bare]).as_deref(), Some(known));
        assert_eq!(counted(&frames, &[&bare]).as_deref(), Some("2 children"));
    }
}
