//! Frames under the line of their task or thread: a list, or a tree where it branches.

use std::io::{self, Write};

use rtops_report::{
    escape::escape,
    format,
    frame::{FrameKind, Link},
    frames::Frames,
    tree::{self, Chain, MAX_BRANCHES, Segment},
};
use rtops_symbols::WaitReason;

use crate::{bars::Bars, style::Style};

const INDENT: &str = "    ";
/// Between a frame and its place.
const GAP: &str = "  ";
/// How many places of children are named.
const MAX_PLACES: usize = 4;
/// Through how many functions a recursion may go to be shown as one, and how often it must have.
const LONGEST_CIRCLE: usize = 8;
const FEWEST_TIMES: usize = 4;
/// Places are put into one column, unless a name is longer than this.
const MAX_ALIGNED: usize = 64;

/// The lines below a heading.
#[derive(Debug, Default)]
pub struct Drawing {
    lines: Vec<Line>,
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
    if places.iter().all(|(_, place)| place.is_empty()) {
        return Some(Line::of_text(format!("{all} children")));
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
    let text = format!("{all} children: {}", parts.join(", "));
    Some(Line::of_text(text))
}

/// How many of the first frames repeat themselves, and how often they stand there: a recursion through
/// a few functions. One frame, once, where there is none; `None` at the end.
fn repetition(links: &[Link]) -> Option<(usize, usize)> {
    let times = |length: usize| {
        let (first, rest) = links.split_at_checked(length)?;
        let is_same = |part: &&[Link]| {
            let pairs = part.iter().zip(first);
            part.len() == length && pairs.into_iter().all(|(a, b)| a.frame == b.frame)
        };
        Some(1 + rest.chunks(length).take_while(is_same).count())
    };
    let repeated = (1..=LONGEST_CIRCLE).find_map(|length| {
        let times = times(length)?;
        (times >= FEWEST_TIMES).then_some((length, times))
    });
    let one = || (!links.is_empty()).then_some((1, 1));
    repeated.or_else(one)
}

#[derive(Debug)]
struct Line {
    text: String,
    /// Shown in a column behind the text, or below it.
    aside: Option<String>,
    /// The bars of the tree that go on in a line below.
    below: String,
}

impl Line {
    fn of_text(text: String) -> Self {
        Self {
            text,
            aside: None,
            below: String::new(),
        }
    }
}

impl Drawing {
    /// One chain as a list, the innermost frame first; several as a tree from the root down.
    pub fn of_chains(frames: &Frames, chains: &[Chain]) -> Self {
        let mut drawing = Self::default();
        let roots = tree::merge(chains);
        if let [only] = roots.as_slice()
            && only.branches.is_empty()
        {
            let links: Vec<Link> = only.links.iter().rev().copied().collect();
            drawing.links(frames, &links, &Bars::default(), &[]);
        } else {
            for root in &roots {
                drawing.segment(frames, root, &Bars::default());
            }
        }
        if chains.len() > MAX_BRANCHES {
            drawing.remark(format!("({} more branches)", chains.len() - MAX_BRANCHES));
        }
        drawing.lines.extend(children(frames, chains));
        let mut told = Vec::new();
        for remark in chains.iter().filter_map(|chain| chain.incomplete) {
            if !told.contains(&remark) {
                told.push(remark);
                drawing.remark(remark.to_owned());
            }
        }
        drawing
    }

    /// A list, the innermost frame first.
    pub fn of_links(frames: &Frames, links: &[Link]) -> Self {
        let mut drawing = Self::default();
        drawing.links(frames, links, &Bars::default(), &[]);
        drawing
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
        });
    }

    /// Writes all lines. Places stand in a column, or where the terminal is too narrow for that
    /// each below its frame: a line that the terminal breaks can't be clicked.
    pub fn write(&self, writer: &mut impl Write, style: Style) -> io::Result<()> {
        let length = |text: &str| text.chars().count();
        let asides = || {
            let lines = self.lines.iter();
            lines.filter_map(|line| Some((length(&line.text), length(line.aside.as_deref()?))))
        };
        let aligned = asides().map(|(text, _)| text);
        let column = aligned.filter(|text| *text <= MAX_ALIGNED).max();
        let column = column.unwrap_or(0);
        let widest = asides().map(|(text, aside)| text.max(column) + GAP.len() + aside);
        let widest = INDENT.len() + widest.max().unwrap_or(0);
        let fits = style.width.is_none_or(|width| widest <= width);
        for line in &self.lines {
            match &line.aside {
                None => writeln!(writer, "{INDENT}{}", line.text)?,
                Some(aside) => {
                    let aside = style.place(aside);
                    if fits {
                        writeln!(writer, "{INDENT}{:column$}{GAP}{aside}", line.text)?;
                    } else {
                        writeln!(writer, "{INDENT}{}", line.text)?;
                        writeln!(writer, "{INDENT}{}{INDENT}{aside}", line.below)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Draws a segment and what branches off it.
    fn segment(&mut self, frames: &Frames, segment: &Segment, bars: &Bars) {
        self.links(frames, &segment.links, bars, &segment.waits);
        let branches = &segment.branches;
        for (left, inner) in (0..branches.len()).rev().zip(branches) {
            self.segment(frames, inner, &bars.child(left == 0));
        }
    }

    /// Frames one below the other, those that repeat themselves once; the last one waits.
    fn links(&mut self, frames: &Frames, links: &[Link], bars: &Bars, waits: &[WaitReason]) {
        let mut rest = links;
        while let Some((length, times)) = repetition(rest) {
            let (shown, behind) = rest.split_at(length);
            let is_last = behind.len() == length * (times - 1);
            for (index, link) in shown.iter().enumerate() {
                let before = if rest.len() == links.len() && index == 0 {
                    &bars.before
                } else {
                    &bars.below
                };
                let waits = if is_last && index + 1 == length {
                    waits
                } else {
                    &[]
                };
                self.frame(frames, link, (before, &bars.below), waits);
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

    /// The frame stands behind the first bars, what is below it behind the others.
    fn frame(&mut self, frames: &Frames, link: &Link, bars: (&str, &str), waits: &[WaitReason]) {
        let Some(frame) = frames.get(link.frame) else {
            return;
        };
        let name = escape(&frame.name);
        let mut text = match frame.kind {
            FrameKind::Code => name.into_owned(),
            FrameKind::Span => format!("span \"{name}\""),
        };
        if !waits.is_empty() {
            text = format!("{text} [{}]", WaitReason::words(waits));
        }
        let place = frame.place.as_ref();
        let aside = place.map(|place| escape(&place.to_string()).into_owned());
        let (before, below) = bars;
        self.line(before, &text, aside, below);
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
                incomplete: None,
                count: 1,
            })
            .collect();
        let mut text = Vec::new();
        let drawing = Drawing::of_chains(&frames, &chains);
        assert!(drawing.write(&mut text, style).is_ok());
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn one_chain_is_a_list_from_the_inside() {
        insta::assert_snapshot!(drawn(&[("recv next_request serve", WaitReason::ChannelReceive)]), @r"
        recv          src/recv.rs:7:9
        next_request  src/next_request.rs:7:9
        serve         src/serve.rs:7:9
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
    fn on_a_narrow_terminal_places_stand_below() {
        let mut narrow = Style::PLAIN;
        narrow.width = Some(30);
        let stacks = [
            ("recv pump run", WaitReason::ChannelReceive),
            ("sleep run", WaitReason::Sleep),
        ];
        insta::assert_snapshot!(drawn_in(narrow, &stacks), @r"
        run
            src/run.rs:7:9
        ├─ pump
        │      src/pump.rs:7:9
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
        read   src/read.rs:7:9
        walk   src/walk.rs:7:9
        … this frame 11 times more
        enter  src/enter.rs:7:9
        visit  src/visit.rs:7:9
        child  src/child.rs:7:9
        … these 2 frames 4 times more
        main   src/main.rs:7:9
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
        recv  src/recv.rs:7:9
        run   src/run.rs:7:9
        ");
    }

    #[test]
    fn children_are_counted_by_their_places_where_they_have_any() {
        let counted = |frames: &Frames, ways: &[&[Link]]| {
            let chains = ways.iter().map(|links| Chain {
                links: links.to_vec(),
                wait: None,
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
