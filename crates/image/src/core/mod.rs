//! Core files, written by the kernel or by gdb.

mod attributes;
mod head;
mod packed;
mod records;
mod segments;

use std::{
    fs::File,
    io,
    ops::{ControlFlow, Range},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::libc::{SIGINT, SIGSTOP, SIGTRAP};
use object::elf::{ET_CORE, PT_NOTE};

use rtops_elf::{Header, NoHeader, ProgramHeader, ReadAt};
use rtops_files::read_at_most;

pub use self::head::{CoreHead, Origin, Signal, Writer};
use self::{packed::Packing, records::Records};
use crate::{
    Absence, FileOffset, Gap, Image, ImageModule, Region, Thread, Unreadable,
    assemble::{Stated, assemble},
    file::{self, NotOpened},
    files::{Files, Lookup},
    gap::Gaps,
    loaded::{self, Heads, Loaded},
    mapped,
    space::{Fill, Space},
};

/// The most program headers that are read.
const MAX_SEGMENTS: u32 = 1 << 20;

/// Where to find the files that a core does not hold, and the limits of unpacking it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program that was running; `None` to look for it at the path that the core states.
    pub exe: Option<PathBuf>,
    /// A directory to use as `/` when looking up files; `None` for this machine's own.
    pub sysroot: Option<PathBuf>,
    /// The directory of the temporary file into which a compressed core is unpacked; `None` for
    /// `$TMPDIR`, or `/var/tmp` if that is not set. All free space except for 256 MiB may be used.
    pub scratch: Option<PathBuf>,
    /// The most bytes that a compressed core is unpacked to, including zeros; bytes after them are
    /// a [`Gap`]. 64 GiB by default.
    pub max_unpacked: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            exe: None,
            sysroot: None,
            scratch: None,
            max_unpacked: 64 << 30,
        }
    }
}

/// Why there is no image at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It can't be opened or read.
    #[error("{0} can't be read: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// It is a pipe, a directory, or a device.
    #[error("{0} is no regular file: write the core to a file first")]
    NotRegular(PathBuf),
    /// The file is shorter than a header.
    #[error("{0} is cut short: it has {1} bytes, which is less than the header of a core file")]
    Short(PathBuf, u64),
    /// It is compressed in a format that is not supported here.
    #[error("{0} is compressed: unpack it with `{1}` first")]
    Packed(PathBuf, &'static str),
    /// It is compressed and can't be unpacked into this directory.
    #[error("{0} can't be unpacked into {1}: {2}; set TMPDIR to a directory with space for it")]
    Unpack(PathBuf, PathBuf, #[source] io::Error),
    /// It is compressed, and the part that could be unpacked is shorter than a header.
    #[error("nothing can be seen in {0}: {1}")]
    NothingUnpacked(PathBuf, Gap),
    /// It is something else.
    #[error("{0} is no core file")]
    NotCore(PathBuf),
    /// It is the core of another processor.
    #[error("{0} is a core of another kind of processor: only 64-bit x86 is understood")]
    OtherMachine(PathBuf),
}

/// The image of a process in a core file.
///
/// The core file and the files of its modules stay open. If the core file is truncated or
/// overwritten later, reads fail or return its current contents.
#[derive(Debug)]
pub struct Core {
    file: File,
    head: CoreHead,
    space: Space,
    modules: Vec<ImageModule>,
    threads: Vec<Thread>,
    gaps: Vec<Gap>,
}

impl Core {
    /// Opens a core file and the files of its modules. Reads its headers and notes, but no memory.
    ///
    /// # Errors
    ///
    /// If it can't be read or is no core file of this kind of processor. Parts that are missing are
    /// reported in the [`gaps`](Self::gaps).
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        let failed = |error| Error::Io(path.to_owned(), error);
        let file = file::open_plain(path).map_err(|error| match error {
            NotOpened::Refused(_) => Error::NotRegular(path.to_owned()),
            NotOpened::Io(error) => failed(error),
        })?;
        let (host, time) = (attributes::host(&file), attributes::time(&file));
        let (file, cut) = match Packing::of(&file).map_err(failed)? {
            None => (file, None),
            Some(Packing::Other(command)) => return Err(Error::Packed(path.to_owned(), command)),
            Some(packing) => packed::unpack(file, packing, options)
                .map_err(|error| Error::Unpack(path.to_owned(), packed::scratch(options), error))?,
        };
        let mut core =
            Self::parse(file, options, cut.clone()).map_err(|error| match (error, cut) {
                (NoHeader::Io(error), _) => failed(error),
                (_, Some(gap)) => Error::NothingUnpacked(path.to_owned(), gap),
                (NoHeader::Short(size), _) => Error::Short(path.to_owned(), size),
                (NoHeader::NotElf, _) => Error::NotCore(path.to_owned()),
                (NoHeader::OtherMachine, _) => Error::OtherMachine(path.to_owned()),
            })?;
        core.head.host = host;
        core.head.time = time;
        Ok(core)
    }

    /// Reads the headers. `cut` is the gap that ended unpacking early, if any.
    fn parse(file: File, options: &Options, cut: Option<Gap>) -> Result<Self, NoHeader> {
        let size = file.metadata()?.len();
        let read: &ReadAt<'_> = &|at, into| read_at_most(&file, at.0, into);
        let header = Header::read(read)?;
        if !header.is_x86_64 {
            return Err(NoHeader::OtherMachine);
        }
        if header.kind != ET_CORE {
            return Err(NoHeader::NotElf);
        }
        let segments = header.segments(read, MAX_SEGMENTS)?;
        let mut gaps = Gaps::default();
        if header.count > MAX_SEGMENTS {
            gaps.add(Gap::TooMany("mappings", u64::from(MAX_SEGMENTS)));
        } else if (segments.len() as u64) < u64::from(header.count) {
            gaps.add(Gap::HeadersCut(
                u64::from(header.count) - segments.len() as u64,
            ));
        }
        match cut {
            Some(cut) => gaps.add(cut),
            None => segments::missing(&segments, size, &mut gaps),
        }
        let records = Records::read(&file, notes_of(&segments), &mut gaps)?;
        let parts = segments::arrange(&segments, size, &mut gaps);
        let entry = records.auxv.entry();
        let main = entry.and_then(|entry| mapped::find(&records.files, entry));
        let main = main.map(|main| Arc::clone(&main.path));
        let lookup = Lookup {
            exe: options.exe.as_deref(),
            root: options.sysroot.as_deref(),
            process: None,
        };
        let mut files = Files::new(lookup, main, &mut gaps);
        let heads = Heads {
            file: &file,
            parts: &parts,
            none: &Gap::NoHeads,
        };
        let loaded = Loaded::find(&heads, &records.files, &mut files, &mut gaps);
        let stated = Stated {
            parts: &parts,
            files: &records.files,
            left_out: Absence::LeftOut,
            // Stacks are writable, in no file, and always written to.
            has_written: parts.iter().any(|part| {
                let is_file = mapped::find(&records.files, part.range.start).is_some();
                part.access.write && part.stated > 0 && !is_file
            }),
        };
        let (space, missing) = assemble(stated, &loaded, &mut gaps);
        if missing.of_files {
            gaps.add(Gap::WrittenLeftOut);
        }
        if missing.bytes > 0 {
            gaps.add(Gap::LeftOut {
                bytes: missing.bytes,
                ranges: missing.ranges,
            });
        }
        let mut modules = loaded.into_modules(entry, &space.regions);
        let vdso = records.auxv.vdso();
        modules.extend(vdso.and_then(|start| loaded::vdso(&heads, start)));
        modules.sort_by_key(|module| module.mapped.start);
        say_what_is_missing(&records, &mut gaps);
        loaded::say_what_is_missing(&modules, &mut gaps);
        Ok(Self {
            head: core_head(&records, &header),
            file,
            space,
            modules,
            threads: records.threads,
            gaps: gaps.into_list(),
        })
    }

    /// Returns which process it was, and what it died of.
    #[must_use]
    pub const fn head(&self) -> &CoreHead {
        &self.head
    }

    /// Returns what is missing or uncertain, the most important first.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }
}

impl Image for Core {
    fn regions(&self) -> &[Region] {
        &self.space.regions
    }

    fn modules(&self) -> &[ImageModule] {
        &self.modules
    }

    fn threads(&self) -> &[Thread] {
        &self.threads
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        let fill: &Fill<'_> = &|_, offset, into| rtops_files::fill(&self.file, offset.0, into);
        self.space.read(fill, address, into)
    }

    fn for_each_chunk(
        &self,
        look: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Unreadable> {
        self.space.for_each_chunk(&self.file, look)
    }
}

fn notes_of(segments: &[ProgramHeader]) -> impl Iterator<Item = Range<FileOffset>> {
    let notes = segments.iter().filter(|segment| segment.kind == PT_NOTE);
    notes.map(|segment| segment.offset..segment.offset.plus(segment.in_file))
}

fn say_what_is_missing(records: &Records, gaps: &mut Gaps) {
    if records.threads.is_empty() {
        gaps.add(Gap::NoThreads);
    }
    if records.files.is_empty() {
        gaps.add(Gap::NoMappedFiles);
    }
}

fn core_head(records: &Records, header: &Header) -> CoreHead {
    let writer = match records.page_size {
        Some(1) => Some(Writer::Gdb),
        _ if header.sections > 1 => Some(Writer::Gdb),
        Some(_) => Some(Writer::Kernel),
        None => None,
    };
    // A signal that gdb itself uses to stop a process has not ended it.
    let is_gdbs = |signal: &Signal| {
        let stops = [SIGSTOP, SIGTRAP, SIGINT];
        writer == Some(Writer::Gdb) && stops.contains(&signal.number)
    };
    let ids = records.ids.clone();
    let mut head = CoreHead {
        pid: ids.as_ref().map(|ids| ids.pid),
        uid: ids.as_ref().map(|ids| ids.uid),
        signal: records.signal.filter(|signal| !is_gdbs(signal)),
        writer,
        ..CoreHead::default()
    };
    if let Some(ids) = ids {
        head.program = ids.program;
        head.arguments = ids.arguments;
    }
    head
}
