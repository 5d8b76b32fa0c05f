//! Finds what was loaded into a process: each place where the first page of an ELF file is mapped.

use std::{collections::HashMap, fs::File, io, ops::Range, path::Path, sync::Arc};

use rtops_elf::{Head, ProgramHeader};
use rtops_files::read_at_most;
use rtops_types::{PAGE, page_of};

use crate::{
    Absence, FileOffset, Gap, ImageModule, ModuleKind, NoFile, Refused, Region, Sharing,
    TlsSegment,
    files::{Files, Found},
    gap::Gaps,
    mapped::MappedFile,
    memory,
    parts::{self, Part},
};

/// More libraries than a program loads.
const MAX_MODULES: usize = 1 << 12;

/// The most first pages that are examined: each may require opening a file.
const MAX_LOOKS: usize = 1 << 14;

/// An ELF file in memory. It need not be loaded for execution: a program may map one to read it.
#[derive(Debug)]
pub(crate) struct Candidate {
    path: Arc<Path>,
    bias: u64,
    head: Head,
    pub(crate) found: Result<Found, NoFile>,
}

/// The candidates, and to which of them each mapped file belongs.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    candidates: Vec<Candidate>,
    /// The index of the candidate for each mapped file.
    owners: Vec<Option<usize>>,
}

impl Loaded {
    pub(crate) fn find(
        heads: &Heads<'_>,
        mapped_files: &[MappedFile],
        files: &mut Files<'_>,
        gaps: &mut Gaps,
    ) -> Self {
        let mut this = Self::default();
        let mut latest: HashMap<&Arc<Path>, usize> = HashMap::new();
        let mut looks = [0; 2];
        for mapped in mapped_files {
            let owner = latest.get(&mapped.path);
            let owner = owner.and_then(|index| this.candidates.get(*index));
            let is_whole = mapped.offset == FileOffset(0);
            // An archive may contain ELF files at any offset.
            let is_first = is_whole || owner.is_none_or(|owner| !owner.holds(mapped.range.start));
            let [of_parts, of_whole] = &mut looks;
            let looks = if is_whole { of_whole } else { of_parts };
            *looks += usize::from(is_first);
            if is_first && *looks > MAX_LOOKS {
                gaps.add(Gap::TooMany("mapped files", MAX_LOOKS as u64));
            } else if is_first && this.candidates.len() == MAX_MODULES {
                gaps.add(Gap::TooMany("mapped ELF files", MAX_MODULES as u64));
            } else if is_first && let Some(candidate) = candidate(heads, mapped, files, gaps) {
                latest.insert(&mapped.path, this.candidates.len());
                this.candidates.push(candidate);
            }
            this.owners.push(latest.get(&mapped.path).copied());
        }
        this
    }

    /// Returns the ELF file that a mapped file belongs to; `index` is that of the mapped file.
    pub(crate) fn owner(&self, index: usize) -> Option<&Candidate> {
        self.candidates.get((*self.owners.get(index)?)?)
    }

    /// Returns the candidates that are loaded for execution.
    pub(crate) fn into_modules(self, entry: Option<u64>, regions: &[Region]) -> Vec<ImageModule> {
        let modules = self.candidates.into_iter().filter_map(|candidate| {
            let mut module = module(&candidate.path, candidate.bias, &candidate.head)?;
            let region = regions.get(memory::find(regions, module.code.start)?)?;
            if !region.access.execute {
                return None;
            }
            if entry.is_some_and(|entry| module.mapped.contains(&entry)) {
                module.kind = ModuleKind::MainExecutable;
            }
            module.file = candidate.found.map(|found| found.file);
            Some(module)
        });
        let mut modules: Vec<_> = modules.collect();
        modules.sort_by_key(|module| module.mapped.start);
        let mut end = 0;
        modules.retain(|module| {
            let is_apart = module.mapped.start >= end;
            end = end.max(module.mapped.end);
            is_apart
        });
        modules
    }
}

/// The ELF headers in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads<'a> {
    /// The file of the image.
    pub(crate) file: &'a File,
    pub(crate) parts: &'a [Part],
    /// The gap to report if the image states no headers.
    pub(crate) none: &'a Gap,
}

impl Heads<'_> {
    /// Reads what is known of the headers that begin at an address.
    fn at(&self, start: u64) -> Option<Head> {
        Head::read(&|at: FileOffset, into: &mut [u8]| -> io::Result<usize> {
            let place = start.checked_add(at.0);
            let Some((offset, known)) = place.and_then(|place| parts::locate(self.parts, place))
            else {
                return Ok(0);
            };
            let most = into.len().min(usize::try_from(known).unwrap_or(usize::MAX));
            read_at_most(
                self.file,
                offset.0,
                into.get_mut(..most).unwrap_or_default(),
            )
        })
    }

    /// Returns the gap to report if a file is used without its header in memory having been read;
    /// `None` if the file must not be used.
    fn missing(&self, start: u64) -> Option<Gap> {
        match parts::find(self.parts, start) {
            Some(part) if part.stated > 0 => match part.lost {
                Absence::Truncated | Absence::Contradiction => Some(Gap::HeadsLost),
                _ => None,
            },
            _ => Some(self.none.clone()),
        }
    }
}

fn candidate(
    heads: &Heads<'_>,
    mapped: &MappedFile,
    files: &mut Files<'_>,
    gaps: &mut Gaps,
) -> Option<Candidate> {
    let start = mapped.range.start;
    let part = parts::find(heads.parts, start);
    // Nobody executes memory that others may write to, and reading it may allocate it.
    if part.is_some_and(|part| part.sharing == Some(Sharing::Shared)) {
        return None;
    }
    let is_whole = mapped.offset == FileOffset(0);
    let (head, found) = if parts::locate(heads.parts, start).is_some() {
        // A file that is not ELF is not even looked up.
        let head = heads.at(start)?;
        let path = || mapped.path.to_path_buf();
        let found = if mapped.is_refused {
            Err(NoFile::Refused(path(), Refused::FileSystem))
        } else if is_whole {
            files.find(mapped, Some(&head), gaps)
        } else {
            Err(NoFile::Embedded(path()))
        };
        (head, found)
    } else {
        let gap = heads.missing(start).filter(|_| is_whole)?;
        let found = files.find(mapped, None, gaps).ok()?;
        if !found.is_mapped() {
            gaps.add(gap);
        }
        (found.head.clone(), Ok(found))
    };
    Some(Candidate {
        path: Arc::clone(&mapped.path),
        bias: head.bias(start)?,
        head,
        found,
    })
}

/// Returns the vDSO, whose ELF header is at `start`.
pub(crate) fn vdso(heads: &Heads<'_>, start: u64) -> Option<ImageModule> {
    let head = heads.at(start)?;
    let mut module = module(&Arc::from(Path::new("[vdso]")), head.bias(start)?, &head)?;
    module.kind = ModuleKind::Vdso;
    Some(module)
}

/// Reports which modules have no file.
pub(crate) fn say_what_is_missing(modules: &[ImageModule], gaps: &mut Gaps) {
    for module in modules
        .iter()
        .filter(|module| module.kind != ModuleKind::Vdso)
    {
        if let Err(why) = &module.file {
            gaps.add(Gap::NoFile {
                why: why.clone(),
                is_main: module.kind == ModuleKind::MainExecutable,
            });
        }
    }
}

/// Builds a module; `None` if the file has no code, or is at addresses that no process can use.
fn module(path: &Arc<Path>, bias: u64, head: &Head) -> Option<ImageModule> {
    let place = |address: u64| address.wrapping_add(bias);
    let all = span(head.loaded())?;
    let code = span(head.loaded().filter(|segment| segment.access.execute))?;
    let module = ImageModule {
        path: Arc::clone(path),
        build_id: head.build_id.clone(),
        load_bias: bias,
        mapped: place(page_of(all.start))..place(all.end.checked_next_multiple_of(PAGE)?),
        code: place(code.start)..place(code.end),
        kind: ModuleKind::Library,
        file: Err(NoFile::InMemory),
        tls: head.tls().map(|tls| TlsSegment {
            address: place(tls.address),
            offset: tls.offset,
            initialized: tls.in_file,
            size: tls.in_memory,
            align: tls.align,
        }),
    };
    let is_sane = !module.mapped.is_empty() && !module.code.is_empty();
    is_sane.then_some(module)
}

/// Returns the range from the lowest to the highest address.
fn span<'a>(segments: impl Iterator<Item = &'a ProgramHeader>) -> Option<Range<u64>> {
    segments
        .map(|segment| segment.address..segment.address.saturating_add(segment.in_memory))
        .reduce(|all, one| all.start.min(one.start)..all.end.max(one.end))
}

impl Candidate {
    /// Returns whether an address is between the first and the last page of the ELF file.
    fn holds(&self, address: u64) -> bool {
        let there = address.wrapping_sub(self.bias);
        span(self.head.loaded()).is_some_and(|all| page_of(all.start) <= there && there < all.end)
    }

    /// Returns the segment of the ELF file that a page belongs to.
    pub(crate) fn segment_at(&self, address: u64, offset: FileOffset) -> Option<&ProgramHeader> {
        let there = address.wrapping_sub(self.bias);
        let is_at = |segment: &&ProgramHeader| {
            let pages = segment.pages();
            let begin = page_of(segment.offset.0);
            pages.contains(&there)
                && begin.checked_add(page_of(there) - pages.start) == Some(page_of(offset.0))
        };
        // Segments share pages of the file. Usually the address tells them apart; otherwise the
        // last one that has the page was mapped over the others.
        let holds = |segment: &&ProgramHeader| {
            let end = segment.offset.plus(segment.in_file).0;
            page_of(segment.offset.0) <= offset.0
                && offset.0 < end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX)
        };
        let at = self.head.loaded().rev().find(is_at);
        at.or_else(|| self.head.loaded().rev().find(holds))
    }
}
