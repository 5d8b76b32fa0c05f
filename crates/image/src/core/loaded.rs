//! What was loaded into the process: each place where the first page of an ELF file is mapped.

use std::{collections::HashMap, fs::File, io, ops::Range, path::Path, sync::Arc};

use super::{
    Gap,
    elf::{Head, PAGE, Segment, page_of},
    files::{Files, Found},
    gap::Gaps,
    records::{MappedFile, Records},
    segments::{self, Dumped},
};
use crate::{
    FileOffset, Module, ModuleKind, NoFile, Region, TlsSegment, file::read_at_most, memory,
};

/// More libraries than a program loads.
const MAX_MODULES: usize = 1 << 12;

/// How many first pages of files are looked at: each may mean to open a file.
const MAX_LOOKS: usize = 1 << 14;

/// An ELF file in memory. It need not be loaded to run: a program may map one to read it.
#[derive(Debug)]
pub(super) struct Candidate {
    path: Arc<Path>,
    bias: u64,
    head: Head,
    pub(super) found: Result<Found, NoFile>,
}

/// The candidates, and which one each mapped file belongs to.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    candidates: Vec<Candidate>,
    /// For each of `Records::files`, an index.
    owners: Vec<Option<usize>>,
}

impl Loaded {
    pub(super) fn find(
        core: &File,
        dumped: &[Dumped],
        records: &Records,
        files: &mut Files<'_>,
        gaps: &mut Gaps,
    ) -> Self {
        let mut this = Self::default();
        let mut latest: HashMap<&Arc<Path>, usize> = HashMap::new();
        let mut looks = 0;
        for mapped in &records.files {
            let is_first = mapped.offset == FileOffset(0);
            looks += usize::from(is_first);
            if is_first && looks > MAX_LOOKS {
                gaps.add(Gap::TooMany("mapped files", MAX_LOOKS as u64));
            } else if is_first && this.candidates.len() == MAX_MODULES {
                gaps.add(Gap::TooMany("mapped ELF files", MAX_MODULES as u64));
            } else if is_first && let Some(candidate) = candidate(core, dumped, mapped, files, gaps)
            {
                latest.insert(&mapped.path, this.candidates.len());
                this.candidates.push(candidate);
            }
            this.owners.push(latest.get(&mapped.path).copied());
        }
        this
    }

    /// The ELF file that a mapped file belongs to; `index` is that in `Records::files`.
    pub(super) fn owner(&self, index: usize) -> Option<&Candidate> {
        self.candidates.get((*self.owners.get(index)?)?)
    }

    /// Those that are loaded to run.
    pub(super) fn into_modules(self, records: &Records, regions: &[Region]) -> Vec<Module> {
        let entry = records.entry();
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

fn candidate(
    core: &File,
    dumped: &[Dumped],
    mapped: &MappedFile,
    files: &mut Files<'_>,
    gaps: &mut Gaps,
) -> Option<Candidate> {
    let start = mapped.range.start;
    let (head, found) = if segments::locate(dumped, start).is_some() {
        // What is no ELF file is not even looked up.
        let head = head_in_core(core, dumped, start)?;
        let found = files.find(&mapped.path, Some(&head), gaps);
        (head, found)
    } else {
        let found = files.find(&mapped.path, None, gaps).ok()?;
        let was_there = segments::find(dumped, start).is_some_and(|dumped| dumped.stated > 0);
        gaps.add(if was_there {
            Gap::HeadsLost
        } else {
            Gap::NoHeads
        });
        (found.head.clone(), Ok(found))
    };
    Some(Candidate {
        path: Arc::clone(&mapped.path),
        bias: head.bias(start)?,
        head,
        found,
    })
}

fn head_in_core(core: &File, dumped: &[Dumped], start: u64) -> Option<Head> {
    Head::read(&|at: FileOffset, into: &mut [u8]| -> io::Result<usize> {
        let place = start.checked_add(at.0);
        let Some((offset, known)) = place.and_then(|place| segments::locate(dumped, place)) else {
            return Ok(0);
        };
        let most = into.len().min(usize::try_from(known).unwrap_or(usize::MAX));
        read_at_most(core, offset, into.get_mut(..most).unwrap_or_default())
    })
}

/// The vDSO, which the kernel always dumps.
pub(super) fn vdso(core: &File, dumped: &[Dumped], records: &Records) -> Option<Module> {
    let start = records.vdso()?;
    let head = head_in_core(core, dumped, start)?;
    let mut module = module(&Arc::from(Path::new("[vdso]")), head.bias(start)?, &head)?;
    module.kind = ModuleKind::Vdso;
    Some(module)
}

/// `None` for what has no code, or lies where no process can have it.
fn module(path: &Arc<Path>, bias: u64, head: &Head) -> Option<Module> {
    let place = |address: u64| address.wrapping_add(bias);
    let all = span(head.loaded())?;
    let code = span(head.loaded().filter(|segment| segment.access.execute))?;
    let module = Module {
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

/// From the lowest to the highest address.
fn span<'a>(segments: impl Iterator<Item = &'a Segment>) -> Option<Range<u64>> {
    segments
        .map(|segment| segment.address..segment.address.saturating_add(segment.in_memory))
        .reduce(|all, one| all.start.min(one.start)..all.end.max(one.end))
}

impl Candidate {
    /// Which part of the ELF file a page is of.
    pub(super) fn segment_at(&self, address: u64, offset: FileOffset) -> Option<&Segment> {
        let there = address.wrapping_sub(self.bias);
        let is_at = |segment: &&Segment| {
            let pages = segment.pages();
            let begin = page_of(segment.offset.0);
            pages.contains(&there)
                && begin.checked_add(page_of(there) - pages.start) == Some(page_of(offset.0))
        };
        // Segments share pages of the file: the address tells them apart; where it does not, the last
        // one that has the page was mapped over the others.
        let holds = |segment: &&Segment| {
            let end = segment.offset.plus(segment.in_file).0;
            page_of(segment.offset.0) <= offset.0
                && offset.0 < end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX)
        };
        let at = self.head.loaded().rev().find(is_at);
        at.or_else(|| self.head.loaded().rev().find(holds))
    }
}
