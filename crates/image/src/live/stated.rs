//! Turns the list of mappings into parts, and determines which of their bytes exist.

use std::{fs::File, ops::Range};

use super::{
    judge::{Judge, Verdict},
    maps::{Mapping, Name},
};
use crate::{Absence, FileOffset, Sharing, gap::Gaps, mapped::MappedFile, parts::Part};

/// The most bytes of private memory that a process may have reserved if its touched pages can be
/// queried: doing so for a terabyte takes a second.
const MAX_TOLD: u64 = 4 << 40;
/// The limit if they can't be queried, so that all of it is read.
const MAX_READ: u64 = 64 << 30;

/// Where the bytes of a process are.
pub(super) enum Held<'a> {
    /// All of them in its memory, and whether touched pages can be queried.
    Memory { has_pagemap: bool },
    /// In a file of this length.
    Pieces(&'a [Piece], u64),
}

/// Addresses, and the offset of their bytes in the file.
type Piece = (Range<u64>, FileOffset);

/// The mappings of a process.
pub(super) struct Mapped {
    pub(super) parts: Vec<Part>,
    pub(super) files: Vec<MappedFile>,
}

/// Judges all mappings, and determines where the bytes of each are.
pub(super) fn state(mappings: &[Mapping], held: &Held<'_>, judge: &mut Judge) -> Mapped {
    let mut this = Mapped {
        parts: Vec::new(),
        files: Vec::new(),
    };
    let mut left = match held {
        Held::Memory { has_pagemap: false } => MAX_READ,
        _ => MAX_TOLD,
    };
    for mapping in mappings {
        let mut verdict = judge.judge(mapping);
        if let (Name::Path(path), true) = (&mapping.name, verdict != Verdict::Anonymous) {
            this.files.push(MappedFile {
                range: mapping.range.clone(),
                offset: mapping.offset,
                path: path.clone(),
                inode: Some(mapping.inode),
                is_refused: verdict == Verdict::Absent(Absence::FileSystem),
            });
        }
        let is_own = mapping.access.write && mapping.sharing == Sharing::Private;
        if is_own && !matches!(verdict, Verdict::Absent(_)) {
            match left.checked_sub(mapping.length()) {
                Some(rest) => left = rest,
                None => verdict = Verdict::Absent(Absence::TooMuch),
            }
        }
        match held {
            Held::Memory { .. } => this.parts.push(in_memory(mapping, verdict)),
            Held::Pieces(pieces, length) => {
                add_kept(mapping, verdict, pieces, *length, &mut this.parts);
            }
        }
    }
    this
}

/// Returns a part whose bytes are all missing.
fn missing(mapping: &Mapping, range: Range<u64>, verdict: Verdict) -> Part {
    let stated = match verdict {
        Verdict::Absent(_) => range.end - range.start,
        // A file may have it.
        _ => 0,
    };
    Part {
        range,
        access: mapping.access,
        sharing: Some(mapping.sharing),
        offset: FileOffset(0),
        stated,
        present: 0,
        lost: match verdict {
            Verdict::Absent(why) => why,
            _ => Absence::NotKept,
        },
    }
}

fn in_memory(mapping: &Mapping, verdict: Verdict) -> Part {
    let part = missing(mapping, mapping.range.clone(), verdict);
    if matches!(verdict, Verdict::Absent(_)) {
        return part;
    }
    Part {
        offset: FileOffset(mapping.range.start),
        stated: mapping.length(),
        present: mapping.length(),
        ..part
    }
}

/// Adds the parts of a mapping. Kept bytes count as present whatever
/// the verdict, which applies to the rest.
fn add_kept(
    mapping: &Mapping,
    verdict: Verdict,
    pieces: &[Piece],
    length: u64,
    parts: &mut Vec<Part>,
) {
    let mut at = mapping.range.start;
    let first = pieces.partition_point(|(range, _)| range.end <= at);
    let here = pieces.get(first..).unwrap_or_default().iter();
    for (range, offset) in here.take_while(|(range, _)| range.start < mapping.range.end) {
        let start = range.start.max(at);
        let end = range.end.min(mapping.range.end);
        if at < start {
            parts.push(missing(mapping, at..start, verdict));
        }
        let offset = offset.plus(start - range.start);
        parts.push(Part {
            offset,
            stated: end - start,
            present: (end - start).min(length.saturating_sub(offset.0)),
            ..missing(mapping, start..end, verdict)
        });
        at = end;
    }
    if at < mapping.range.end {
        parts.push(missing(mapping, at..mapping.range.end, verdict));
    }
}

/// Keeps the pieces that are plausible: each must begin at or after the end of the one before it.
pub(super) fn arrange(mut pieces: Vec<Piece>, gaps: &mut Gaps) -> Vec<Piece> {
    let mut end = 0;
    pieces.retain(|(range, offset)| {
        let is_true = end <= range.start
            && range.start < range.end
            && offset.0.checked_add(range.end - range.start).is_some();
        if is_true {
            end = range.end;
        } else {
            gaps.contradiction();
        }
        is_true
    });
    pieces
}

/// Returns the length of a file; 0 if it can't be determined.
pub(super) fn length_of(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}
