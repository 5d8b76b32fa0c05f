//! The headers of an ELF file, and its sections.

use std::{
    fs::File,
    io::Read,
    ops::{ControlFlow, Range},
    os::unix::fs::FileExt,
    sync::Arc,
};

use object::{
    LittleEndian,
    elf::{
        ET_EXEC, FileHeader64, PT_LOAD, PT_NOTE, ProgramHeader64, SHF_COMPRESSED, SHF_EXECINSTR,
        SHT_NOBITS, SHT_NOTE, SectionHeader64,
    },
    pod,
};
use rtops_types::{FileOffset, PAGE, Svma, page_of};

use crate::{
    Budget, Contents, Header, NoHeader, ProgramHeader, ReadAt, ReadError, Resource, contents::Raw,
};

/// The maximum number of sections; programs have about forty.
const MAX_SECTIONS: u16 = 4096;
/// The maximum number of program headers; executables and libraries have about twelve.
const MAX_SEGMENTS: u32 = 256;
/// The maximum size of the table of section names, in bytes.
const MAX_NAMES: u64 = 256 << 10;
/// How many bytes are searched for a build-id, and how many sections and segments.
const MAX_NOTES: u64 = 64 << 10;
const MOST_NOTES: usize = 16;
/// How many bytes of a long section are in memory at a time.
const PIECE: u64 = 256 << 10;
/// How many bytes at the end of a piece are repeated at the start of the next: more than anything
/// that is searched for.
const OVERLAP: u64 = 512;

const LE: LittleEndian = LittleEndian;

type SectionHeader = SectionHeader64<LittleEndian>;

/// A file and its headers.
#[derive(Debug)]
pub struct Elf {
    file: Arc<File>,
    size: u64,
    is_fixed: bool,
    is_x86_64: bool,
    segments: Vec<ProgramHeader>,
    sections: Vec<SectionHeader>,
    names: Vec<u8>,
    budget: Arc<Budget>,
}

/// A part of the file.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    pub(crate) what: &'static str,
    pub(crate) offset: FileOffset,
    pub(crate) size: u64,
    pub(crate) is_compressed: bool,
    link: u32,
}

/// A part of the file that is loaded into memory, in whole pages, as the kernel maps it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment {
    /// Its addresses, as in the file.
    pub addresses: Range<Svma>,
    /// Where it begins in the file.
    pub file_offset: FileOffset,
}

/// Whether all of a section was looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// All of it was.
    Whole,
    /// The file or the limit ended earlier, or the search stopped.
    Part,
}

impl Elf {
    /// Reads the headers.
    ///
    /// # Errors
    /// If the file can't be read or is not an ELF file.
    pub fn read(file: Arc<File>, budget: &Arc<Budget>) -> Result<Self, ReadError> {
        let mut elf = Self {
            size: file.metadata()?.len(),
            file,
            is_fixed: false,
            is_x86_64: false,
            segments: Vec::new(),
            sections: Vec::new(),
            names: Vec::new(),
            budget: Arc::clone(budget),
        };
        // The only part that is read before the tables.
        budget.pay(
            Resource::Bytes,
            size_of::<FileHeader64<LittleEndian>>() as u64,
        )?;
        let of_file = Arc::clone(&elf.file);
        let read: &ReadAt<'_> = &|at, into| rtops_files::read_at_most(&of_file, at.0, into);
        let header = Header::read(read).map_err(|missing| match missing {
            NoHeader::Io(error) => error.into(),
            NoHeader::Short(_) | NoHeader::NotElf | NoHeader::OtherMachine => ReadError::NotElf,
        })?;
        elf.is_fixed = header.kind == ET_EXEC;
        elf.is_x86_64 = header.is_x86_64;
        let most = header.count.min(MAX_SEGMENTS);
        let table = size_of::<ProgramHeader64<LittleEndian>>() as u64;
        budget.pay(Resource::Bytes, u64::from(most) * table)?;
        elf.segments = header.segments(read, most)?;
        let count = header.sections;
        if count > MAX_SECTIONS {
            return Err(ReadError::TooLarge("the section table"));
        }
        if count > 0 {
            elf.sections = elf.section_table(header.section_table, count)?;
            let names = header.names;
            let names = names.and_then(|index| elf.sections.get(usize::from(index)));
            let names = names.ok_or(ReadError::Malformed("the section table"))?;
            elf.names = elf.bytes(elf.place("the table of section names", names), MAX_NAMES)?;
        }
        Ok(elf)
    }

    fn section_table(
        &self,
        start: FileOffset,
        count: u16,
    ) -> Result<Vec<SectionHeader>, ReadError> {
        let what = "the section table";
        let size = u64::from(count) * size_of::<SectionHeader>() as u64;
        let bytes = self.bytes_at(what, start, size)?;
        let table = pod::slice_from_all_bytes(&bytes).map_err(|()| ReadError::Malformed(what))?;
        Ok(table.to_vec())
    }

    /// Returns the file itself.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns the budget that pays for everything read.
    #[must_use]
    pub const fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Returns whether there are sections.
    #[must_use]
    pub const fn has_sections(&self) -> bool {
        !self.sections.is_empty()
    }

    /// Returns whether it runs at the addresses that it was linked for, and not
    /// where the kernel places it.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// Returns whether it is for x86_64, the only processor whose code is understood.
    #[must_use]
    pub const fn is_x86_64(&self) -> bool {
        self.is_x86_64
    }

    /// Returns the first section with this name, if it has contents.
    #[must_use]
    pub fn section(&self, name: &'static str) -> Option<Section> {
        let mut sections = self.sections.iter();
        let header = sections.find(|header| self.name(header) == Some(name.as_bytes()))?;
        let has_contents = header.sh_type.get(LE) != SHT_NOBITS;
        has_contents.then(|| self.place(name, header))
    }

    /// Returns the section that another one refers to, as a symbol table refers to its names.
    #[must_use]
    pub fn linked(&self, what: &'static str, section: Section) -> Option<Section> {
        let header = self.sections.get(usize::try_from(section.link).ok()?)?;
        Some(self.place(what, header))
    }

    /// Returns the sections with code.
    pub fn code(&self) -> impl Iterator<Item = Section> {
        let code = self
            .sections
            .iter()
            .filter(|header| header.sh_flags.get(LE).contains(SHF_EXECINSTR));
        code.map(|header| self.place("the code", header))
    }

    fn name(&self, header: &SectionHeader) -> Option<&[u8]> {
        let start = usize::try_from(header.sh_name.get(LE)).ok()?;
        let name = self.names.get(start..)?;
        name.split(|byte| *byte == 0).next()
    }

    fn place(&self, what: &'static str, header: &SectionHeader) -> Section {
        Section {
            what,
            offset: FileOffset(header.sh_offset.get(LE)),
            size: header.sh_size.get(LE),
            is_compressed: header.sh_flags.get(LE).contains(SHF_COMPRESSED),
            link: header.sh_link.get(LE),
        }
    }

    /// Returns the GNU build-id.
    #[must_use]
    pub fn build_id(&self) -> Option<Vec<u8>> {
        let sections = self
            .sections
            .iter()
            .filter(|header| header.sh_type.get(LE) == SHT_NOTE);
        let sections = sections.map(|header| {
            (
                header.sh_offset.get(LE),
                header.sh_size.get(LE),
                header.sh_addralign.get(LE),
            )
        });
        let segments = self.segments.iter();
        let segments = segments
            .filter(|segment| segment.kind == PT_NOTE)
            .map(|segment| (segment.offset.0, segment.in_file, segment.align));
        let mut places = sections.take(MOST_NOTES).chain(segments.take(MOST_NOTES));
        places.find_map(|(offset, size, align)| {
            let notes = self
                .bytes_at("a list of notes", FileOffset(offset), size.min(MAX_NOTES))
                .ok()?;
            rtops_types::build_id(&notes, align).map(<[u8]>::to_vec)
        })
    }

    /// Returns the parts of the file that are loaded. A debug file has no contents for the parts of
    /// the program that it was taken from.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let loaded = self.segments.iter();
        let loaded = loaded.filter(|segment| segment.kind == PT_LOAD);
        let segments = loaded.filter_map(|segment| {
            let (start, size) = (segment.address, segment.in_file);
            let end = start.checked_add(size)?.checked_next_multiple_of(PAGE)?;
            let skipped = start - page_of(start);
            (size > 0).then_some(Segment {
                addresses: Svma(start - skipped)..Svma(end),
                file_offset: FileOffset(segment.offset.0.checked_sub(skipped)?),
            })
        });
        segments.collect()
    }

    /// Fills `bytes` from a place in the file.
    ///
    /// # Errors
    /// If the file has fewer bytes.
    pub fn read_at(&self, offset: FileOffset, bytes: &mut [u8]) -> Result<(), ReadError> {
        Ok(self.file.read_exact_at(bytes, offset.0)?)
    }

    /// Returns the bytes of a section, which are read on demand.
    ///
    /// # Errors
    /// If the section is outside the file, or is compressed and can't be inflated.
    pub fn contents(&self, section: Section) -> Result<Contents, ReadError> {
        self.check("a section", section.offset, section.size)?;
        Contents::open(&self.file, section, &self.budget)
    }

    /// Reads all of a section that is not compressed, if it is not longer than `most`.
    ///
    /// # Errors
    /// If it is longer, or not in the file.
    pub fn bytes(&self, section: Section, most: u64) -> Result<Vec<u8>, ReadError> {
        if section.size > most {
            return Err(ReadError::TooLarge(section.what));
        }
        self.bytes_at(section.what, section.offset, section.size)
    }

    fn check(&self, what: &'static str, offset: FileOffset, size: u64) -> Result<(), ReadError> {
        match offset.0.checked_add(size) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(ReadError::Malformed(what)),
        }
    }

    fn bytes_at(
        &self,
        what: &'static str,
        offset: FileOffset,
        size: u64,
    ) -> Result<Vec<u8>, ReadError> {
        self.check(what, offset, size)?;
        self.budget.pay(Resource::Bytes, size)?;
        let size = usize::try_from(size).map_err(|_| ReadError::TooLarge(what))?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, offset.0)?;
        Ok(bytes)
    }

    /// Passes at most `most` bytes of a section to `look`, in pieces, until it has seen enough.
    /// Anything shorter than 512 bytes is whole in one of them.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn search(
        &self,
        section: Section,
        most: u64,
        mut look: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Extent, ReadError> {
        let whole = section.offset.plus(section.size);
        let stop = whole
            .min(FileOffset(self.size))
            .min(section.offset.plus(most));
        let mut offset = section.offset;
        while offset < stop {
            let piece = (stop.0 - offset.0).min(PIECE);
            let bytes = self.bytes_at(section.what, offset, piece)?;
            if look(&bytes).is_break() {
                return Ok(Extent::Part);
            }
            if offset.plus(piece) == stop {
                break;
            }
            offset = offset.plus(piece - OVERLAP);
        }
        Ok(if stop == whole {
            Extent::Whole
        } else {
            Extent::Part
        })
    }

    /// Returns the bytes of a section as they are in the file.
    pub fn raw(&self, section: Section) -> impl Read {
        Raw::of(&self.file, section)
    }
}
