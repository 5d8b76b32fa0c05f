//! Reads the notes of a core file: the process, its threads, and its mapped files.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io,
    ops::{ControlFlow, Range},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::Arc,
};

use object::elf::{
    NT_AUXV, NT_FILE, NT_PRFPREG, NT_PRPSINFO, NT_PRSTATUS, NT_SIGINFO, NT_X86_XSTATE,
};

use rtops_elf::ReadAt;
use rtops_files::read_at_most;

use super::head::{self, Ids, Signal};
use crate::{
    FileOffset, Gap, GeneralRegisters, Thread, Tid, Vectors,
    auxv::{Auxv, MAX_AUXV},
    gap::Gaps,
    mapped::{MAX_MAPPINGS, MappedFile},
    notes::{self, End, Note, u32_at, u64_at},
    xstate::{self, XstateLayout},
};

/// More threads than any service has; each has a few notes.
pub(super) const MAX_THREADS: usize = 1 << 16;
/// Room for six notes per thread and those of the process.
const MAX_NOTES: usize = 8 * MAX_THREADS;
/// The largest `NT_FILE` note that is read. The kernel writes 16 MiB at most; gdb has no limit.
const MAX_FILE_NOTE: u64 = 64 << 20;
/// The largest `NT_X86_XSTATE` note that is read. With AMX, a thread's state is 11 KiB.
const MAX_XSTATE: u64 = 32 << 10;

/// A note with the offsets of the components in `NT_X86_XSTATE`, since Linux 6.12.
const NT_X86_XSAVE_LAYOUT: u32 = 0x205;

/// The contents of the notes.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) threads: Vec<Thread>,
    pub(super) ids: Option<Ids>,
    pub(super) signal: Option<Signal>,
    /// Sorted, without overlaps.
    pub(super) files: Vec<MappedFile>,
    /// The factor of page offsets in `NT_FILE`: 4096 from the kernel, 1 from gdb.
    pub(super) page_size: Option<u64>,
    pub(super) auxv: Auxv,
    layout: XstateLayout,
    /// The `NT_X86_XSTATE` notes of threads, by index: they are kept
    /// because the layout follows them.
    states: Vec<(usize, Note)>,
    seen: usize,
}

impl Records {
    /// Reads the notes in these parts of the file.
    pub(super) fn read(
        file: &File,
        parts: impl Iterator<Item = Range<FileOffset>>,
        gaps: &mut Gaps,
    ) -> io::Result<Self> {
        let read: &ReadAt<'_> = &|at, into| read_at_most(file, at.0, into);
        let mut this = Self::default();
        for part in parts {
            let mut failed = None;
            let end = notes::walk(read, part, 4, &mut |note| {
                this.seen += 1;
                if this.seen > MAX_NOTES {
                    gaps.add(Gap::TooMany("notes", MAX_NOTES as u64));
                    return ControlFlow::Break(());
                }
                match this.take(note, read, gaps) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            match end {
                End::Whole => {}
                End::Left => break,
                End::Cut => gaps.add(Gap::NotesCut),
            }
        }
        this.read_states(read)?;
        Ok(this)
    }

    /// Reads the vector registers from the states.
    fn read_states(&mut self, read: &ReadAt<'_>) -> io::Result<()> {
        for (index, note) in std::mem::take(&mut self.states) {
            let state = note.read(read, MAX_XSTATE)?;
            let vectors = Vectors::from_xstate(&state, &self.layout);
            if let (Some(thread), Some(vectors)) = (self.threads.get_mut(index), vectors) {
                thread.vectors = Some(vectors);
            }
        }
        Ok(())
    }

    fn take(&mut self, note: &Note, read: &ReadAt<'_>, gaps: &mut Gaps) -> io::Result<()> {
        if note.is_of(b"LINUX") {
            match note.kind {
                kind if kind == NT_X86_XSTATE.0 => {
                    let last = self.threads.len().checked_sub(1);
                    let known = self.states.last().map(|(index, _)| *index);
                    if let Some(last) = last.filter(|_| last != known) {
                        self.states.push((last, *note));
                    }
                }
                NT_X86_XSAVE_LAYOUT => {
                    self.layout = XstateLayout::parse(&note.read(read, MAX_AUXV)?)
                }
                _ => {}
            }
            return Ok(());
        }
        if !note.is_of(b"CORE") {
            return Ok(());
        }
        match note.kind {
            kind if kind == NT_PRSTATUS.0 => {
                let status = note.read(read, head::STATUS_SIZE)?;
                if self.threads.len() == MAX_THREADS {
                    gaps.add(Gap::TooMany("threads", MAX_THREADS as u64));
                } else if let Some(thread) = thread(&status) {
                    self.threads.push(thread);
                } else {
                    gaps.add(Gap::NotesCut);
                }
            }
            kind if kind == NT_PRFPREG.0 => {
                let state = note.read(read, xstate::LEGACY_SIZE as u64)?;
                // `NT_X86_XSTATE` contains this and more.
                let thread = self.threads.last_mut();
                if let Some(thread) = thread.filter(|thread| thread.vectors.is_none()) {
                    thread.vectors = Vectors::from_xstate(&state, &self.layout);
                }
            }
            kind if kind == NT_PRPSINFO.0 => {
                self.ids = self.ids.take().or(Ids::parse(&note.read(read, MAX_AUXV)?));
            }
            // gdb writes one per thread; the first is that of the thread that was hit.
            kind if kind == NT_SIGINFO.0 && self.signal.is_none() => {
                self.signal = Signal::parse(&note.read(read, MAX_AUXV)?);
            }
            kind if kind == NT_AUXV.0 && self.auxv.is_empty() => {
                self.auxv = Auxv::parse(&note.read(read, MAX_AUXV)?);
            }
            // One is enough, because each may be long.
            kind if kind == NT_FILE.0 && self.page_size.is_none() => {
                if note.size > MAX_FILE_NOTE {
                    gaps.add(Gap::TooMany(
                        "bytes of names of mapped files",
                        MAX_FILE_NOTE,
                    ));
                }
                let bytes = note.read(read, MAX_FILE_NOTE)?;
                self.page_size = Some(u64_at(&bytes, 8));
                self.files = mapped_files(&bytes, gaps);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Parses a `struct elf_prstatus`.
fn thread(status: &[u8]) -> Option<Thread> {
    const SIGNAL: usize = 12;
    const TID: usize = 32;
    const REGISTERS: usize = 112;
    let words = status.get(REGISTERS..REGISTERS + 27 * 8)?;
    let mut registers = [0; 27];
    for (to, from) in registers.iter_mut().zip(words.chunks_exact(8)) {
        *to = u64_at(from, 0);
    }
    Some(Thread {
        tid: Tid::new(u32_at(status, TID).cast_signed()),
        signal: i32::from(notes::u16_at(status, SIGNAL)),
        registers: GeneralRegisters::from_user_regs(&registers),
        vectors: None,
    })
}

/// Parses `NT_FILE`: a count, the unit of offsets, the ranges, then all names.
fn mapped_files(bytes: &[u8], gaps: &mut Gaps) -> Vec<MappedFile> {
    const HEAD: usize = 16;
    const ENTRY: usize = 24;
    let claimed = usize::try_from(u64_at(bytes, 0)).unwrap_or(usize::MAX);
    let page_size = u64_at(bytes, 8);
    let body = bytes.get(HEAD..).unwrap_or_default();
    let count = claimed.min(body.len() / ENTRY).min(MAX_MAPPINGS);
    if claimed > MAX_MAPPINGS {
        gaps.add(Gap::TooMany("mapped files", MAX_MAPPINGS as u64));
    } else if count < claimed {
        gaps.add(Gap::NotesCut);
    }
    let (ranges, names) = body.split_at(count * ENTRY);
    let mut known: HashMap<&[u8], Arc<Path>> = HashMap::new();
    let mut files = Vec::new();
    // The last piece is what follows the last name.
    let mut names = names.split(|byte| *byte == 0);
    for entry in ranges.chunks_exact(ENTRY) {
        let Some(name) = names.next().filter(|name| !name.is_empty()) else {
            gaps.add(Gap::NotesCut);
            break;
        };
        let path = known.entry(name);
        let path = path.or_insert_with(|| Arc::from(Path::new(OsStr::from_bytes(name))));
        let range = u64_at(entry, 0)..u64_at(entry, 8);
        let offset = u64_at(entry, 16).checked_mul(page_size);
        match offset {
            Some(offset) if !range.is_empty() => files.push(MappedFile {
                range,
                offset: FileOffset(offset),
                path: Arc::clone(path),
                inode: None,
                is_refused: false,
            }),
            _ => gaps.contradiction(),
        }
    }
    files.sort_by_key(|file| file.range.start);
    let mut end = 0;
    files.retain(|file| {
        let is_apart = file.range.start >= end;
        if is_apart {
            end = file.range.end;
        } else {
            gaps.contradiction();
        }
        is_apart
    });
    files
}
