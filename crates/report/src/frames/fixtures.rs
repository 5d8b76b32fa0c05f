//! Makes frames from text for tests.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rtops_protocol::StackId;
use rtops_symbols::{Function, Name, Place};

use super::{Frames, Interner, Shown};
use crate::{
    dump::Dump,
    frame::{Frame, FrameKind, Link},
    future::Future,
    own,
    symbolize::name_by_polls,
    task::Polls,
};

/// Makes frames for stacks, and for the spans of a dump.
pub fn frames_with_spans(stacks: &[&str], dump: &Dump) -> Frames {
    let mut frames = frames(stacks);
    let mut interner = Interner {
        frames: std::mem::take(&mut frames.frames),
        ..Interner::default()
    };
    frames.spans = interner.spans(dump);
    frames.frames = interner.frames;
    frames
}

/// Makes frames for stacks written as names, innermost first: `"a b c"`.
pub fn frames(stacks: &[&str]) -> Frames {
    let mut interner = Interner::default();
    let mut intern = |name: &str| {
        let place = Place {
            file: format!("src/{name}.rs"),
            line: 7,
            column: Some(9),
        };
        let known = Arc::new(Name::of(name));
        interner.intern(Frame {
            kind: FrameKind::Code,
            function: name.to_owned(),
            name: name.to_owned(),
            own: own::is_own(name, &known, Some(&place), "app"),
            known,
            place: Some(place),
            module: "app".to_owned(),
        })
    };
    let stacks = stacks.iter().zip(0..).map(|(names, number)| {
        let links = names.split(' ').zip(0x1000..).map(|(name, address)| Link {
            frame: intern(name),
            address,
        });
        (StackId(number), links.collect())
    });
    Frames {
        stacks: stacks.collect(),
        frames: interner.frames,
        code: HashMap::new(),
        placeless: HashMap::new(),
        spans: HashMap::new(),
        futures: HashMap::new(),
        starts: HashMap::new(),
        own_crates: HashSet::new(),
        shown: Shown::All,
    }
}

/// Adds futures, each by the address of its poll function, where the function also begins.
pub fn with_futures(mut frames: Frames, futures: &[(u64, &str)]) -> Frames {
    let futures = futures.iter().map(|(poll, name)| {
        let future = Future {
            name: (*name).to_owned(),
            has_type: true,
            place: None,
            entry: *poll,
        };
        let polls = Polls {
            poll: *poll,
            boxed: None,
        };
        (polls, future)
    });
    frames.futures = futures.collect();
    frames
}

/// Adds futures whose names are known only from stacks.
pub fn with_nameless_futures(frames: Frames, dump: &Dump, polls: &[u64]) -> Frames {
    let nameless: Vec<_> = polls.iter().map(|poll| (*poll, "app+0x10")).collect();
    let mut frames = with_futures(frames, &nameless);
    for future in frames.futures.values_mut() {
        future.has_type = false;
    }
    name_by_polls(&mut frames, dump);
    frames
}

/// Makes the first `count` links of the first stack inlined in one function.
pub fn inlined(mut frames: Frames, count: usize) -> Frames {
    let links = frames.stacks.get_mut(&StackId(0));
    for link in links.into_iter().flatten().take(count) {
        link.address = 0x1000;
    }
    frames
}

/// Adds the start of the function at each of these addresses.
pub fn with_starts(mut frames: Frames, starts: &[(u64, u64)]) -> Frames {
    frames.starts = starts.iter().copied().collect();
    frames
}

/// Leaves out frames that mean little to a reader.
pub fn folded(frames: Frames) -> Frames {
    Frames {
        shown: Shown::Folded,
        ..frames
    }
}

/// Makes frames at instructions, written as functions and lines, innermost first: `"a:1 b:2"`.
pub fn traced(code: &[(u64, &str)]) -> Frames {
    folded(with_code(frames(&[]), code))
}

/// Adds frames at instructions to those of stacks.
pub fn with_code(mut frames: Frames, code: &[(u64, &str)]) -> Frames {
    let mut interner = Interner {
        frames: std::mem::take(&mut frames.frames),
        ..Interner::default()
    };
    let mut intern = |text: &str| {
        let (function, line) = text.rsplit_once(':').unwrap_or((text, ""));
        interner.frame(&rtops_symbols::Symbol {
            function: Function::Named(function.to_owned()),
            known: Arc::new(Name::of(function)),
            place: line.parse().ok().map(|line| rtops_symbols::Place {
                file: "src/app.rs".to_owned(),
                line,
                column: None,
            }),
            module: "app".to_owned(),
        })
    };
    let code = code.iter();
    let code = code.map(|(ip, frames)| (*ip, frames.split(' ').map(&mut intern).collect()));
    frames.code = code.collect();
    let innermost = frames.code.values().filter_map(|frames| frames.first());
    let placeless = innermost.map(|frame| (*frame, interner.without_place(*frame)));
    frames.placeless = placeless.collect();
    frames.frames = interner.frames;
    frames
}
