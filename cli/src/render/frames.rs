//! Frames under the line of their task or thread: a list, or a tree where it branches.

use std::io::{self, Write};

use crate::{
    escape::escape,
    frames::{FrameKind, Frames, Link},
    style::{Paint, Style},
    tree::{self, Chain, MAX_BRANCHES, Segment},
};

const INDENT: &str = "    ";
/// Places are put into one column, unless a name is longer than this.
const MAX_ALIGNED: usize = 64;

/// The lines below a heading.
#[derive(Debug, Default)]
pub struct Drawing {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    text: String,
    /// Shown in a column behind the text.
    aside: Option<String>,
}

impl Drawing {
    /// One chain as a list, the innermost frame first; several as a tree from the root down.
    pub fn of_chains(frames: &Frames, chains: &[Chain]) -> Self {
        let mut drawing = Self::default();
        let roots = tree::merge(chains);
        if let [only] = roots.as_slice()
            && only.branches.is_empty()
        {
            for link in only.links.iter().rev() {
                drawing.frame(frames, link, "", &[]);
            }
        } else {
            for root in &roots {
                drawing.segment(frames, root, String::new(), "");
            }
        }
        if chains.len() > MAX_BRANCHES {
            drawing.remark(format!("({} more branches)", chains.len() - MAX_BRANCHES));
        }
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
        for link in links {
            drawing.frame(frames, link, "", &[]);
        }
        drawing
    }

    /// Adds a line of prose.
    pub fn remark(&mut self, text: String) {
        self.lines.push(Line { text, aside: None });
    }

    /// Writes all lines.
    pub fn write(&self, writer: &mut impl Write, style: Style) -> io::Result<()> {
        let width = |line: &Line| line.text.chars().count();
        let with_aside = self.lines.iter().filter(|line| line.aside.is_some());
        let aligned = with_aside.map(width).filter(|width| *width <= MAX_ALIGNED);
        let column = aligned.max().unwrap_or(0);
        for line in &self.lines {
            match &line.aside {
                None => writeln!(writer, "{INDENT}{}", line.text)?,
                Some(aside) => {
                    let aside = style.paint(Paint::Faint, aside);
                    writeln!(writer, "{INDENT}{:column$}  {aside}", line.text)?;
                }
            }
        }
        Ok(())
    }

    /// Draws a segment and what branches off it. The first frame stands behind `branch`, all
    /// that follows behind `prefix`.
    fn segment(&mut self, frames: &Frames, segment: &Segment, prefix: String, branch: &str) {
        let last = segment.links.len().saturating_sub(1);
        for (index, link) in segment.links.iter().enumerate() {
            let before = if index == 0 { branch } else { &prefix };
            let waits = if index == last {
                &segment.waits[..]
            } else {
                &[]
            };
            self.frame(frames, link, before, waits);
        }
        let count = segment.branches.len();
        for (index, inner) in segment.branches.iter().enumerate() {
            let (corner, bar) = if index + 1 == count {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            let branch = format!("{prefix}{corner}");
            self.segment(frames, inner, format!("{prefix}{bar}"), &branch);
        }
    }

    fn frame(&mut self, frames: &Frames, link: &Link, before: &str, waits: &[&str]) {
        let Some(frame) = frames.get(link.frame) else {
            return;
        };
        let name = escape(&frame.name);
        let mut text = match frame.kind {
            FrameKind::Code => format!("{before}{name}"),
            FrameKind::Span => format!("{before}span \"{name}\""),
        };
        if !waits.is_empty() {
            text = format!("{text} [{}]", waits.join(" + "));
        }
        let place = frame.place.as_ref();
        self.lines.push(Line {
            text,
            aside: place.map(|place| escape(&place.to_string()).into_owned()),
        });
    }
}

#[cfg(test)]
mod tests {
    use rtops_protocol::StackId;

    use super::*;
    use crate::frames::tests::frames;

    fn drawn(stacks: &[(&str, &'static str)]) -> String {
        let names: Vec<&str> = stacks.iter().map(|(names, _)| *names).collect();
        let frames = frames(&names);
        let chains: Vec<Chain> = stacks
            .iter()
            .zip(0..)
            .map(|((_, wait), number)| Chain {
                links: frames.stack(StackId(number)).to_vec(),
                wait: Some(wait),
                incomplete: None,
            })
            .collect();
        let mut text = Vec::new();
        let drawing = Drawing::of_chains(&frames, &chains);
        assert!(drawing.write(&mut text, Style::PLAIN).is_ok());
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn one_chain_is_a_list_from_the_inside() {
        insta::assert_snapshot!(drawn(&[("recv next_request serve", "channel receive")]), @r"
        recv          src/recv.rs:7:9
        next_request  src/next_request.rs:7:9
        serve         src/serve.rs:7:9
        ");
    }

    #[test]
    fn several_chains_are_a_tree_from_the_root() {
        let drawn = drawn(&[
            ("recv pump both run", "channel receive"),
            ("sleep both run", "sleep"),
            ("read copy both run", "I/O read"),
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
    fn a_chain_inside_another_is_no_branch() {
        let drawn = drawn(&[("recv run", "channel receive"), ("run", "timeout")]);
        insta::assert_snapshot!(drawn, @r"
        recv  src/recv.rs:7:9
        run   src/run.rs:7:9
        ");
    }
}
