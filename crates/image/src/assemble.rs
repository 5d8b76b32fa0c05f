//! Assembles the address space of an image: where the bytes of each part are.

use std::{collections::HashMap, ops::Range, sync::Arc};

use rtops_types::PAGE;

use crate::{
    Absence, Access, Backing, Contents, FileOffset, Gap, Region, Sharing,
    gap::Gaps,
    loaded::{Candidate, Loaded},
    mapped::MappedFile,
    parts::Part,
    space::{Place, Source, Space},
};

/// The most bytes that are read from executables and libraries: a
/// process could map one file many times.
const MAX_FROM_FILES: u64 = 64 << 30;

/// What an image states about the address space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stated<'a> {
    /// Sorted, without overlaps.
    pub(crate) parts: &'a [Part],
    /// Sorted, without overlaps.
    pub(crate) files: &'a [MappedFile],
    /// Why bytes are unknown that are neither stated nor in a file.
    pub(crate) left_out: Absence,
    /// Whether written pages are among the parts: then a page that is not there is as
    /// in its file. (This fails if a program marks data of its own file as
    /// `MADV_DONTDUMP`, which a core does not show.)
    pub(crate) has_written: bool,
}

/// Memory that is unknown although it may have been written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Missing {
    /// The number of writable bytes that are in no file.
    pub(crate) bytes: u64,
    /// The number of ranges that they form.
    pub(crate) ranges: u64,
    /// Whether parts of files are missing too.
    pub(crate) of_files: bool,
}

/// Builds the space.
struct Builder<'a> {
    stated: Stated<'a>,
    loaded: &'a Loaded,
    space: Space,
    /// The index in `Space::sources` by the address of the open file.
    known: HashMap<usize, usize>,
    from_files: u64,
    missing: Missing,
    gaps: &'a mut Gaps,
}

/// The access to a part, and who sees its writes.
#[derive(Clone, Copy)]
struct Kind {
    access: Access,
    sharing: Option<Sharing>,
}

/// Assembles the locations of all bytes.
pub(crate) fn assemble(stated: Stated<'_>, loaded: &Loaded, gaps: &mut Gaps) -> (Space, Missing) {
    let mut builder = Builder {
        stated,
        loaded,
        space: Space::default(),
        known: HashMap::new(),
        from_files: 0,
        missing: Missing::default(),
        gaps,
    };
    let mut end = 0;
    for part in stated.parts {
        builder.add_left_out_files(end..part.range.start);
        builder.add_part(part);
        end = part.range.end;
    }
    builder.add_left_out_files(end..u64::MAX);
    (builder.space, builder.missing)
}

impl Builder<'_> {
    fn add_part(&mut self, part: &Part) {
        let kind = Kind {
            access: part.access,
            sharing: part.sharing,
        };
        let known = part.known();
        self.each_piece(known.clone(), |this, range, mapped| {
            let offset = part.offset.plus(range.start - known.start);
            this.push(range, kind, mapped, Ok(Place::Image(offset)));
        });
        let lost = known.end..known.start + part.stated.max(part.present);
        self.each_piece(lost.clone(), |this, range, mapped| {
            this.push(range, kind, mapped, Err(part.lost));
        });
        self.each_piece(lost.end..part.range.end, |this, range, mapped| {
            this.add_not_stated(range, kind, mapped);
        });
    }

    /// Adds mappings that gdb leaves out: those of files that were not written.
    fn add_left_out_files(&mut self, range: Range<u64>) {
        self.each_piece(range, |this, range, mapped| {
            let Some((index, mapped)) = mapped else {
                return;
            };
            let owner = this.loaded.owner(index);
            let offset = mapped.offset_of(range.start);
            let segment = owner.and_then(|owner| owner.segment_at(range.start, offset));
            let read_only = Access {
                read: true,
                ..Access::default()
            };
            let kind = Kind {
                access: segment.map_or(read_only, |segment| segment.access),
                sharing: None,
            };
            this.add_not_stated(range, kind, Some((index, mapped)));
        });
    }

    /// Splits a range where mappings of files begin and end.
    fn each_piece(
        &mut self,
        range: Range<u64>,
        mut add: impl FnMut(&mut Self, Range<u64>, Option<(usize, &MappedFile)>),
    ) {
        let files = self.stated.files;
        let mut at = range.start;
        let mut index = files.partition_point(|file| file.range.end <= at);
        while at < range.end {
            let file = files.get(index);
            let here = file.filter(|file| file.range.contains(&at));
            let end = match (file, here) {
                (_, Some(here)) => here.range.end,
                (Some(next), None) => next.range.start,
                (None, None) => u64::MAX,
            };
            let end = end.min(range.end);
            add(self, at..end, here.map(|here| (index, here)));
            at = end;
            index += usize::from(here.is_some());
        }
    }

    /// Adds a range of which the image has no bytes: it is as in its file, or unknown.
    fn add_not_stated(
        &mut self,
        range: Range<u64>,
        kind: Kind,
        mapped: Option<(usize, &MappedFile)>,
    ) {
        let Some((index, file)) = mapped else {
            if kind.access.write {
                let bytes = range.end - range.start;
                self.missing.bytes = self.missing.bytes.saturating_add(bytes);
                self.missing.ranges += 1;
            }
            self.push(range, kind, mapped, Err(self.stated.left_out));
            return;
        };
        let offset = file.offset_of(range.start);
        let (file, size) = match self.source(index, &range, kind.access, offset) {
            Ok(source) => source,
            Err(absence) => {
                self.push(range, kind, mapped, Err(absence));
                return;
            }
        };
        let pages = size.checked_next_multiple_of(PAGE).unwrap_or(size);
        let most = pages
            .saturating_sub(offset.0)
            .min(MAX_FROM_FILES - self.from_files);
        let middle = range.start.saturating_add(most).min(range.end);
        let behind = if most == pages.saturating_sub(offset.0) {
            Absence::BehindEnd
        } else {
            self.gaps
                .add(Gap::TooMany("bytes of mapped files", MAX_FROM_FILES));
            Absence::TooMuch
        };
        self.from_files += middle - range.start;
        let place = Place::File(file, offset);
        self.push(range.start..middle, kind, mapped, Ok(place));
        self.push(middle..range.end, kind, mapped, Err(behind));
    }

    /// Returns the file that has the bytes of a mapping, and its size.
    fn source(
        &mut self,
        index: usize,
        range: &Range<u64>,
        access: Access,
        offset: FileOffset,
    ) -> Result<(usize, u64), Absence> {
        let owner: &Candidate = self.loaded.owner(index).ok_or(Absence::Data)?;
        let found = owner.found.as_ref().map_err(|_| Absence::NoFile)?;
        let segment = owner.segment_at(range.start, offset);
        let may_be_written = access.write || segment.is_none_or(|segment| segment.access.write);
        if may_be_written && !self.stated.has_written {
            self.missing.of_files = true;
            return Err(self.stated.left_out);
        }
        let key = Arc::as_ptr(&found.file.file).addr();
        let sources = &mut self.space.sources;
        let source = *self.known.entry(key).or_insert_with(|| {
            sources.push(Source {
                file: found.file.clone(),
                size: found.size,
            });
            sources.len() - 1
        });
        Ok((source, found.size))
    }

    fn push(
        &mut self,
        range: Range<u64>,
        kind: Kind,
        mapped: Option<(usize, &MappedFile)>,
        place: Result<Place, Absence>,
    ) {
        if range.is_empty() {
            return;
        }
        let is_elf = mapped.is_some_and(|(index, _)| self.loaded.owner(index).is_some());
        self.space.places.push(place.unwrap_or(Place::Nowhere));
        self.space.regions.push(Region {
            access: kind.access,
            sharing: match kind.sharing {
                Some(sharing) => sharing,
                None if mapped.is_none() || is_elf => Sharing::Private,
                None => Sharing::Shared,
            },
            backing: match mapped {
                None => Backing::Anonymous,
                Some((_, file)) => Backing::File {
                    path: file.path.clone(),
                    offset: file.offset_of(range.start),
                },
            },
            contents: match place {
                Ok(_) => Contents::Present,
                Err(absence) => Contents::Absent(absence),
            },
            range,
        });
    }
}
