//! The headers of an ELF file, and its sections in a bounded way: nothing that a file claims is
//! believed before it was compared with the size of the file and with a limit.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    ops::ControlFlow,
    os::unix::fs::FileExt,
};

use flate2::read::ZlibDecoder;
use object::{
    Endianness, ReadRef,
    elf::{
        CompressionHeader64, ELFCOMPRESS_ZLIB, EM_X86_64, ET_EXEC, FileHeader64, SHF_COMPRESSED,
        SHF_EXECINSTR, SHT_NOBITS, SectionHeader64,
    },
    pod,
    read::elf::{FileHeader, SectionHeader},
};
use rtops_types::FileOffset;

/// Programs have some forty.
const MAX_SECTIONS: u16 = 4096;
/// The longest table of names of sections, in bytes.
const MAX_NAMES: u64 = 256 << 10;
/// How much of a long section is in memory at a time.
const PIECE: usize = 256 << 10;
/// The end of a piece is seen again at the start of the next: longer than all that is searched.
const OVERLAP: usize = 512;

type Header = SectionHeader64<Endianness>;

/// Why a file tells nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file can't be read, or is cut short.
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    /// It is none that this crate understands.
    #[error("it is no 64-bit ELF file with sections")]
    NotElf,
    /// A part of it is larger than what is read.
    #[error("{0} is too large to be read")]
    TooLarge(&'static str),
    /// A part of it makes no sense.
    #[error("{0} is malformed")]
    Malformed(&'static str),
}

/// A file and its sections.
pub(crate) struct Elf<'a> {
    file: &'a File,
    size: u64,
    endian: Endianness,
    is_fixed: bool,
    is_x86_64: bool,
    sections: Vec<Header>,
    names: Vec<u8>,
}

/// A part of the file.
#[derive(Clone, Copy)]
pub(crate) struct Section {
    what: &'static str,
    offset: FileOffset,
    size: u64,
    is_compressed: bool,
    link: u32,
}

/// Whether all of a section was looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Extent {
    Whole,
    Part,
}

impl<'a> Elf<'a> {
    /// Reads the headers.
    pub(crate) fn read(file: &'a File) -> Result<Self, ReadError> {
        let size = file.metadata()?.len();
        let mut head = [0; size_of::<FileHeader64<Endianness>>()];
        if size < head.len() as u64 {
            return Err(ReadError::NotElf);
        }
        file.read_exact_at(&mut head, 0)?;
        let not_elf = |_| ReadError::NotElf;
        let header = FileHeader64::<Endianness>::parse(&head[..]).map_err(not_elf)?;
        let endian = header.endian().map_err(not_elf)?;
        let count = header.e_shnum(endian);
        if count == 0 || count > MAX_SECTIONS {
            return Err(ReadError::NotElf);
        }
        let mut elf = Self {
            file,
            size,
            endian,
            is_fixed: header.e_type(endian) == ET_EXEC,
            is_x86_64: header.e_machine(endian) == EM_X86_64,
            sections: Vec::new(),
            names: Vec::new(),
        };
        let length = u64::from(count) * size_of::<Header>() as u64;
        let start = FileOffset(header.e_shoff(endian));
        let table = elf.bytes_at("the section table", start, length)?;
        let table = pod::slice_from_all_bytes(&table).map_err(|()| ReadError::NotElf)?;
        elf.sections = table.to_vec();
        let names = header
            .e_shstrndx(endian)
            .index()
            .and_then(|index| elf.sections.get(usize::from(index)))
            .ok_or(ReadError::NotElf)?;
        elf.names = elf.bytes(elf.place("the names of sections", names), MAX_NAMES)?;
        Ok(elf)
    }

    /// Whether it runs at the addresses that it was linked for, not where the kernel likes.
    pub(crate) const fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    pub(crate) const fn is_x86_64(&self) -> bool {
        self.is_x86_64
    }

    pub(crate) const fn endian(&self) -> Endianness {
        self.endian
    }

    /// The first section with this name that has contents.
    pub(crate) fn section(&self, name: &'static str) -> Option<Section> {
        let mut sections = self.sections.iter();
        let header = sections.find(|header| self.name(header) == Some(name.as_bytes()))?;
        let has_contents = header.sh_type(self.endian) != SHT_NOBITS;
        has_contents.then(|| self.place(name, header))
    }

    /// The section that another one refers to, as symbols to their names.
    pub(crate) fn linked(&self, what: &'static str, section: Section) -> Option<Section> {
        let header = self.sections.get(usize::try_from(section.link).ok()?)?;
        Some(self.place(what, header))
    }

    /// The sections with code.
    pub(crate) fn code(&self) -> impl Iterator<Item = Section> {
        let flags = |header: &&Header| header.sh_flags(self.endian).contains(SHF_EXECINSTR);
        let code = self.sections.iter().filter(flags);
        code.map(|header| self.place("the code", header))
    }

    fn name(&self, header: &Header) -> Option<&[u8]> {
        let start = usize::try_from(header.sh_name(self.endian)).ok()?;
        let name = self.names.get(start..)?;
        name.split(|byte| *byte == 0).next()
    }

    fn place(&self, what: &'static str, header: &Header) -> Section {
        Section {
            what,
            offset: FileOffset(header.sh_offset(self.endian)),
            size: header.sh_size(self.endian),
            is_compressed: header.sh_flags(self.endian).contains(SHF_COMPRESSED),
            link: header.sh_link(self.endian),
        }
    }

    /// All of a section that is not compressed, if it is not longer than `most`.
    pub(crate) fn bytes(&self, section: Section, most: u64) -> Result<Vec<u8>, ReadError> {
        if section.size > most {
            return Err(ReadError::TooLarge(section.what));
        }
        self.bytes_at(section.what, section.offset, section.size)
    }

    fn bytes_at(
        &self,
        what: &'static str,
        offset: FileOffset,
        size: u64,
    ) -> Result<Vec<u8>, ReadError> {
        let end = offset.0.checked_add(size);
        if end.is_none_or(|end| end > self.size) {
            return Err(ReadError::Malformed(what));
        }
        let size = usize::try_from(size).map_err(|_| ReadError::TooLarge(what))?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, offset.0)?;
        Ok(bytes)
    }

    /// Shows at most so many bytes of a section to `look`, in pieces, until it has seen enough. What
    /// is shorter than [`OVERLAP`] is whole in one of them.
    pub(crate) fn search(
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
            let piece = (stop.0 - offset.0).min(PIECE as u64);
            let bytes = self.bytes_at(section.what, offset, piece)?;
            if look(&bytes).is_break() {
                return Ok(Extent::Part);
            }
            if offset.plus(piece) == stop {
                break;
            }
            offset = offset.plus(piece - OVERLAP as u64);
        }
        Ok(if stop == whole {
            Extent::Whole
        } else {
            Extent::Part
        })
    }

    /// A section from its start on, inflated if it is compressed in the usual way.
    pub(crate) fn stream(&self, section: Section) -> Result<Box<dyn Read + 'a>, ReadError> {
        let raw = Raw {
            file: self.file,
            offset: section.offset,
            left: section.size,
        };
        if !section.is_compressed {
            return Ok(Box::new(raw));
        }
        let mut raw = BufReader::new(raw);
        let mut head = [0; size_of::<CompressionHeader64<Endianness>>()];
        raw.read_exact(&mut head)?;
        let mut place = 0;
        let header: &CompressionHeader64<Endianness> = head[..]
            .read(&mut place)
            .map_err(|()| ReadError::Malformed(section.what))?;
        if header.ch_type.get(self.endian) != ELFCOMPRESS_ZLIB {
            return Err(ReadError::Malformed(section.what));
        }
        Ok(Box::new(ZlibDecoder::new(raw)))
    }
}

/// The bytes of a section as they are in the file.
struct Raw<'a> {
    file: &'a File,
    offset: FileOffset,
    left: u64,
}

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let read = self.file.read_at(buffer, self.offset.0)?;
        self.offset = self.offset.plus(read as u64);
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}
