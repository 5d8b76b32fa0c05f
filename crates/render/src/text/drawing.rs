//! Frames under the line of their task or thread, the outermost first: a list, or a tree where it branches.

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
/// How many places of children are named.
const MAX_PLACES: usize = 4;
/// Through how many functions a recursion may go to be shown as one, and how often it must have.
const LONGEST_CIRCLE: usize = 8;
const FEWEST_TIMES: usize = 4;
/// What stands before a line of the source.
const SOURCE: &str = "  > ";
/// The most columns of such a line, with what stands before it.
const MAX_SOURCE: usize = 160;
/// Places are put into one column, unless a name is longer than this.
const MAX_ALIGNED: usize = 64;

/// The lines below a heading.
#[derive(Debug, Default)]
pub struct Drawing {
    lines: Vec<Line>,
}

/// What the ways to those places wait for that are shown.
pub fn waits(frames: &Frames, chains: &[Chain]) -> Vec<WaitReason> {
    let mut waits = Vec::new();
    let roots = tree::merge(chains);
    for piece in fold::folded(frames, &roots, &mut LeftOut::default()) {
        piece.add_waits(&mut waits);
    }
    waits
}

/// How many children of a container wait at which places, where several wait alike.
fn children(frames: &Frames, chains: &[Chain]) -> Option<Line> {
    if chains.iter().all(|chain| chain.count == 1) {
        return None;
    }
    let mut places: Vec<(usize, String)> = Vec::new();
    // What holds the children has a waker of its own.
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

/// How many of the first items repeat themselves, and how often they stand there: a recursion through
/// a few functions. One item, once, where there is none; `None` at the end.
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

/// A line of the source, to be shown below the frame that is there.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The frame.
    pub frame: &'a Frame,
    /// What stands there.
    pub text: &'a str,
}

#[derive(Debug)]
struct Line {
    text: String,
    /// Shown in a column behind the text, or below it.
    aside: Option<String>,
    /// The bars of the tree that go on in a line below.
    below: String,
    kind: Kind,
}

/// How a line that is too long ends, and its colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// It stays as it is.
    Code,
    /// It stays as it is, and is of little interest.
    Run,
    /// It goes on below.
    Prose,
    /// It is cut.
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

    /// How wide it is, with what stands behind it.
    fn widths(&self) -> Option<(usize, usize)> {
        Some((length(&self.text), length(self.aside.as_deref()?)))
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

impl Drawing {
    /// One chain as a list, several as a tree. Of a task that runs, its thread may wait for something.
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

    /// The stack of a thread that waits for something.
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

    /// Adds trees; one without branches as a list.
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
        // The heading tells what all of it waits for.
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

    /// Adds a line behind these bars, what stands in a column behind it, and the bars that go on
    /// below it.
    pub fn line(&mut self, before: &str, text: &str, aside: Option<String>, below: &str) {
        self.lines.push(Line {
            text: format!("{before}{text}"),
            aside,
            below: below.to_owned(),
            kind: Kind::Code,
        });
    }

    /// Writes all lines. Places stand in a column, but for a line that is too long for that: its place stands
    /// right behind it, or below it, as a line that the terminal breaks can't be clicked.
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

    /// How far to the right places stand, so that they do where most lines have room for it.
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

    /// Draws a piece and what branches off it.
    fn piece(&mut self, piece: &Piece, bars: &Bars, source: &mut Option<Source>) {
        self.items(&piece.items, bars, &piece.waits, source);
        let branches = &piece.branches;
        for (left, inner) in (0..branches.len()).rev().zip(branches) {
            self.piece(inner, &bars.child(left == 0), source);
        }
    }

    /// Items one below the other, those that repeat themselves once; the last one waits.
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

    /// The item stands behind the first bars, what is below it behind the others.
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
    /// A line with nothing in a column behind it.
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

/// A text in so many columns.
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
