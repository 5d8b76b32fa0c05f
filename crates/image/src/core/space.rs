//! The address space of a core: for each part of it, where its bytes are.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::{
    Gap,
    elf::PAGE,
    gap::Gaps,
    loaded::{Candidate, Loaded},
    records::{MappedFile, Records},
    segments::Dumped,
};
use crate::{Absence, Access, Backing, Contents, FileOffset, ModuleFile, Region, Sharing};

/// The most memory that is read from executables and libraries: a core could map one file very often.
const MAX_FROM_FILES: u64 = 64 << 30;

/// Where the bytes of a region are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Nowhere,
    Core(FileOffset),
    /// In one of `Space::files`.
    File(usize, FileOffset),
}

/// A file with memory of the process.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: ModuleFile,
    /// In bytes, when it was opened. The rest of the last page is zeros.
    pub(super) size: u64,
}

/// What is mapped, and where its bytes are.
#[derive(Debug, Default)]
pub(super) struct Space {
    pub(super) regions: Vec<Region>,
    /// One for each region.
    pub(super) places: Vec<Place>,
    pub(super) sources: Vec<Source>,
}

/// What the space is made of.
struct Builder<'a> {
    records: &'a Records,
    loaded: &'a Loaded,
    /// Whether what was written is in the core: then what is not there is as in its file. (Not where a
    /// program marks data of its own file as `MADV_DONTDUMP`, which nothing in the core tells.)
    has_written: bool,
    space: Space,
    /// The index in `Space::sources` by the address of the open file.
    known: HashMap<usize, usize>,
    from_files: u64,
    left_out: (u64, u64),
    gaps: &'a mut Gaps,
}

impl Space {
    pub(super) fn build(
        dumped: &[Dumped],
        records: &Records,
        loaded: &Loaded,
        gaps: &mut Gaps,
    ) -> Self {
        // Stacks are writable, of no file, and always written to.
        let has_written = dumped.iter().any(|dumped| {
            dumped.access.write
                && dumped.stated > 0
                && records.file_at(dumped.range.start).is_none()
        });
        let mut builder = Builder {
            records,
            loaded,
            has_written,
            space: Self::default(),
            known: HashMap::new(),
            from_files: 0,
            left_out: (0, 0),
            gaps,
        };
        let mut end = 0;
        for dumped in dumped {
            builder.add_left_out_files(end..dumped.range.start);
            builder.add_dumped(dumped);
            end = dumped.range.end;
        }
        builder.add_left_out_files(end..u64::MAX);
        builder.finish()
    }
}

impl Builder<'_> {
    fn add_dumped(&mut self, dumped: &Dumped) {
        let known = dumped.known();
        self.each_piece(known.clone(), |this, range, mapped| {
            let offset = dumped.offset.plus(range.start - known.start);
            this.push(range, dumped.access, mapped, Ok(Place::Core(offset)));
        });
        let lost = known.end..known.start + dumped.stated.max(dumped.present);
        self.each_piece(lost.clone(), |this, range, mapped| {
            this.push(range, dumped.access, mapped, Err(dumped.lost));
        });
        self.each_piece(lost.end..dumped.range.end, |this, range, mapped| {
            this.add_not_dumped(range, dumped.access, mapped);
        });
    }

    /// gdb leaves out the mappings of files that were not written.
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
            let access = segment.map_or(read_only, |segment| segment.access);
            this.add_not_dumped(range, access, Some((index, mapped)));
        });
    }

    /// Splits a range where mappings of files begin and end.
    fn each_piece(
        &mut self,
        range: Range<u64>,
        mut add: impl FnMut(&mut Self, Range<u64>, Option<(usize, &MappedFile)>),
    ) {
        let files = &self.records.files;
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

    /// What the core has no bytes of is as in its file, or unknown.
    fn add_not_dumped(
        &mut self,
        range: Range<u64>,
        access: Access,
        mapped: Option<(usize, &MappedFile)>,
    ) {
        let Some((index, file)) = mapped else {
            if access.write {
                self.left_out.0 = self.left_out.0.saturating_add(range.end - range.start);
                self.left_out.1 += 1;
            }
            self.push(range, access, mapped, Err(Absence::LeftOut));
            return;
        };
        let offset = file.offset_of(range.start);
        let (file, size) = match self.source(index, &range, access, offset) {
            Ok(source) => source,
            Err(absence) => {
                self.push(range, access, mapped, Err(absence));
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
        self.push(range.start..middle, access, mapped, Ok(place));
        self.push(middle..range.end, access, mapped, Err(behind));
    }

    /// The file that has the bytes of a mapping, and its size.
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
        if may_be_written && !self.has_written {
            self.gaps.add(Gap::WrittenLeftOut);
            return Err(Absence::LeftOut);
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
        access: Access,
        mapped: Option<(usize, &MappedFile)>,
        place: Result<Place, Absence>,
    ) {
        if range.is_empty() {
            return;
        }
        let is_elf = mapped.is_some_and(|(index, _)| self.loaded.owner(index).is_some());
        self.space.places.push(place.unwrap_or(Place::Nowhere));
        self.space.regions.push(Region {
            access,
            sharing: if mapped.is_none() || is_elf {
                Sharing::Private
            } else {
                Sharing::Shared
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

    fn finish(self) -> Space {
        let (bytes, ranges) = self.left_out;
        if bytes > 0 {
            self.gaps.add(Gap::LeftOut { bytes, ranges });
        }
        self.space
    }
}
