//! Live processes: the memory of a copy, or memory that was read while the process was stopped.
//!
//! The code that stopped the process passes in [`Parts`]. [`Live`] makes the image of that instant
//! from them, like that of a core file, with two differences: pages are read when they are asked
//! for, and memory that must not be read is left alone.
//!
//! ```no_run
//! use std::fs::{self, File};
//!
//! use rtops_image::{Image, Pid, live::{Live, Memory, Options, Parts}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A child that stands still.
//! let pid = Pid::new(4242);
//! let live = Live::new(
//!     Parts {
//!         pid,
//!         maps: fs::read(format!("/proc/{pid}/maps"))?,
//!         auxv: fs::read(format!("/proc/{pid}/auxv"))?,
//!         memory: Memory::Process(File::open(format!("/proc/{pid}/mem"))?),
//!         pagemap: File::open(format!("/proc/{pid}/pagemap")).ok(),
//!         threads: Vec::new(),
//!         root: format!("/proc/{pid}/root").into(),
//!     },
//!     &Options::default(),
//! )?;
//! for module in live.modules() {
//!     println!("{:#x} {}", module.load_bias, module.path.display());
//! }
//! # Ok(())
//! # }
//! ```

mod judge;
mod maps;
mod mounts;
mod pagemap;
mod stated;
mod stream;

use std::{
    fs::File,
    io,
    ops::{ControlFlow, Range},
    path::PathBuf,
    sync::Arc,
};

use rtops_types::Pid;

pub use self::maps::Mapping;
use self::{
    judge::Judge,
    pagemap::Pagemap,
    stated::{Held, Mapped},
};
use crate::{
    Absence, Backing, Contents, FileOffset, Gap, Image, ImageModule, ModuleKind, Region, Sharing,
    Thread, Unreadable,
    assemble::{Stated, assemble},
    auxv::Auxv,
    files::{Files, Lookup},
    gap::Gaps,
    loaded::{self, Heads, Loaded},
    mapped,
    space::{Fill, Space},
};

/// The parts of a live process, taken in a single stop.
#[derive(Debug)]
pub struct Parts {
    /// The PID of the target, as this process sees it.
    pub pid: Pid,
    /// The text of `/proc/PID/maps`, read while the process was stopped.
    pub maps: Vec<u8>,
    /// The bytes of `/proc/PID/auxv`.
    pub auxv: Vec<u8>,
    /// Its memory.
    pub memory: Memory,
    /// With [`Memory::Process`], the open `/proc/COPY/pagemap` of the same process.
    /// Without it, reserved but untouched memory is read too, which touches it and
    /// takes as long as if all of it were in use.
    pub pagemap: Option<File>,
    /// The threads with their registers in the stop. Thread IDs are as this process sees them.
    pub threads: Vec<Thread>,
    /// `/proc/PID/root` of the target, below which its files are found.
    pub root: PathBuf,
}

/// The memory of a live process.
#[derive(Debug)]
pub enum Memory {
    /// The open `/proc/COPY/mem`: the file offset is the address. It is read as long as the image
    /// exists, so the process it belongs to must stay stopped until then.
    Process(File),
    /// Memory that was read while the process was stopped.
    ///
    /// The pieces must contain all private pages that the process has written, and the vDSO.
    /// Memory in no piece is [`Absence::NotKept`], unless it was mapped from an executable
    /// or a library: then it is as in the file. The file is identified by its ELF header if
    /// that is among the pieces, else by its inode. A hole in the pieces' file is memory
    /// that was never touched and reads as zeros.
    Kept {
        /// An unnamed file.
        file: File,
        /// The address ranges and their offsets in the file: sorted, without overlaps.
        pieces: Vec<(Range<u64>, FileOffset)>,
    },
}

/// Where to find the files that a process runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The running program; `None` to find it through the process.
    pub exe: Option<PathBuf>,
    /// A directory to use as `/` when looking up files; `None` for the root of the process.
    pub sysroot: Option<PathBuf>,
}

/// Why there is no image at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The list of mappings is empty.
    #[error("process {0} has no memory: it has ended, or belongs to the kernel")]
    NothingMapped(Pid),
}

/// The image of a live process at the instant at which it was stopped.
#[derive(Debug)]
pub struct Live {
    pid: Pid,
    bytes: Bytes,
    space: Space,
    /// The vDSO, none of whose pages is ever touched: they belong to the kernel.
    vdso: Range<u64>,
    modules: Vec<ImageModule>,
    threads: Vec<Thread>,
    gaps: Vec<Gap>,
}

/// The source of the bytes.
#[derive(Debug)]
enum Bytes {
    Process {
        memory: File,
        pagemap: Option<Pagemap>,
    },
    Kept(File),
}

impl Bytes {
    const fn file(&self) -> &File {
        match self {
            Self::Process { memory, .. } => memory,
            Self::Kept(file) => file,
        }
    }
}

impl Live {
    /// Creates the image of a stopped process. Reads the ELF headers in its
    /// memory, and opens the files of its modules.
    ///
    /// # Errors
    ///
    /// If there is nothing to make an image of. Parts that are missing
    /// are reported in the [`gaps`](Self::gaps).
    pub fn new(parts: Parts, options: &Options) -> Result<Self, Error> {
        let pid = parts.pid;
        let mut gaps = Gaps::default();
        let mappings = maps::parse(&parts.maps, &mut gaps);
        if mappings.is_empty() {
            return Err(Error::NothingMapped(pid));
        }
        let mut judge = Judge::new(pid, &parts.root, parts.pagemap.is_some());
        let (bytes, mapped) = hold(
            parts.memory,
            parts.pagemap,
            &mappings,
            &mut judge,
            &mut gaps,
        );
        let auxv = Auxv::parse(&parts.auxv);
        let entry = auxv.entry();
        let main = entry.and_then(|entry| mapped::find(&mapped.files, entry));
        let main = main.map(|main| Arc::clone(&main.path));
        let process = PathBuf::from(format!("/proc/{pid}"));
        let lookup = Lookup {
            exe: options.exe.as_deref(),
            root: Some(options.sysroot.as_deref().unwrap_or(&parts.root)),
            process: Some(&process),
        };
        let mut files = Files::new(lookup, main, &mut gaps);
        let heads = Heads {
            file: bytes.file(),
            parts: &mapped.parts,
            none: &Gap::HeadsNotRead,
        };
        let loaded = Loaded::find(&heads, &mapped.files, &mut files, &mut gaps);
        let stated = Stated {
            parts: &mapped.parts,
            files: &mapped.files,
            left_out: Absence::NotKept,
            // All code that keeps memory keeps the written pages.
            has_written: true,
        };
        let (space, _) = assemble(stated, &loaded, &mut gaps);
        let mut modules = loaded.into_modules(entry, &space.regions);
        let vdso = mappings.iter().find(|mapping| mapping.is_named("[vdso]"));
        let vdso = vdso.map(|mapping| mapping.range.clone());
        let at = vdso.as_ref().map(|range| range.start).or(auxv.vdso());
        modules.extend(at.and_then(|start| loaded::vdso(&heads, start)));
        modules.sort_by_key(|module| module.mapped.start);
        say_what_is_missing(&space.regions, &parts.threads, &mut gaps);
        loaded::say_what_is_missing(&modules, &mut gaps);
        Ok(Self {
            pid,
            bytes,
            space,
            vdso: vdso.unwrap_or_default(),
            modules,
            threads: parts.threads,
            gaps: gaps.into_list(),
        })
    }

    /// Returns the PID of the process, as this process sees it.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns the program itself, if it was found.
    #[must_use]
    pub fn program(&self) -> Option<&ImageModule> {
        let mut modules = self.modules.iter();
        modules.find(|module| module.kind == ModuleKind::MainExecutable)
    }

    /// Returns what is missing or uncertain, the most important first.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Returns whether untouched pages of a region are zeros.
    fn is_zeros_at_first(&self, region: &Region) -> bool {
        region.backing == Backing::Anonymous
            && region.sharing == Sharing::Private
            && !self.vdso.contains(&region.range.start)
    }

    fn fill(
        &self,
        region: &Region,
        offset: FileOffset,
        into: &mut [u8],
    ) -> Result<(), (usize, io::Error)> {
        match &self.bytes {
            Bytes::Process {
                memory,
                pagemap: Some(pagemap),
            } if self.is_zeros_at_first(region) => pagemap.fill(memory, offset.0, into),
            bytes => rtops_files::fill(bytes.file(), offset.0, into),
        }
    }
}

impl Image for Live {
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
        let fill: &Fill<'_> = &|region, offset, into| self.fill(region, offset, into);
        self.space.read(fill, address, into)
    }

    /// Leaves out pages that the kernel can't read: they are after the
    /// end of a file, or are guard pages.
    fn for_each_chunk(
        &self,
        look: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Unreadable> {
        match &self.bytes {
            Bytes::Kept(file) => self.space.for_each_chunk(file, look),
            Bytes::Process { memory, pagemap } => {
                stream::for_each_chunk(&self.space.regions, memory, pagemap.as_ref(), look)
            }
        }
    }
}

/// Determines where the bytes of all mappings are.
fn hold(
    memory: Memory,
    pagemap: Option<File>,
    mappings: &[Mapping],
    judge: &mut Judge,
    gaps: &mut Gaps,
) -> (Bytes, Mapped) {
    match memory {
        Memory::Process(memory) => {
            let held = Held::Memory {
                has_pagemap: pagemap.is_some(),
            };
            let pagemap = pagemap.map(Pagemap);
            let mapped = stated::state(mappings, &held, judge);
            (Bytes::Process { memory, pagemap }, mapped)
        }
        Memory::Kept { file, pieces } => {
            let pieces = stated::arrange(pieces, gaps);
            let held = Held::Pieces(&pieces, stated::length_of(&file));
            let mapped = stated::state(mappings, &held, judge);
            (Bytes::Kept(file), mapped)
        }
    }
}

/// Reports what matters to the search for tasks: private memory and code.
fn say_what_is_missing(regions: &[Region], threads: &[Thread], gaps: &mut Gaps) {
    if threads.is_empty() {
        gaps.add(Gap::NoThreads);
    }
    let mut unread: Vec<(Absence, u64, u64)> = Vec::new();
    for region in regions {
        let matters = region.access.write || region.access.execute;
        let Contents::Absent(why) = region.contents else {
            continue;
        };
        // Nobody needs `[vsyscall]` or the memory of a device.
        let is_known = matches!(why, Absence::Kernel | Absence::Device);
        if !matters || is_known || region.sharing == Sharing::Shared {
            continue;
        }
        let bytes = region.range.end - region.range.start;
        match unread.iter_mut().find(|(known, ..)| *known == why) {
            Some((_, all, ranges)) => {
                *all = all.saturating_add(bytes);
                *ranges += 1;
            }
            None => unread.push((why, bytes, 1)),
        }
    }
    for (why, bytes, ranges) in unread {
        gaps.add(Gap::Unread { bytes, ranges, why });
    }
}
