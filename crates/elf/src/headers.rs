//! The headers of ELF files: of executables and libraries, of copies of their heads in
//! memory, and of core files.

use std::io;

use object::{
    LittleEndian,
    elf::{
        ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, FileHeader64, FileType, PF_R, PF_W, PF_X,
        PN_XNUM, PT_LOAD, PT_NOTE, PT_TLS, ProgramHeader64, ProgramType, SectionHeader64,
    },
    pod::{self, Pod},
    read::elf::FileHeader,
};

use rtops_types::{Access, FileOffset, PAGE, page_of};

/// Fills as much of the buffer as possible from a place in a file, and returns the number of bytes.
pub type ReadAt<'a> = dyn Fn(FileOffset, &mut [u8]) -> io::Result<usize> + 'a;

/// The maximum number of program headers of a module; executables and libraries have about twelve.
const MAX_MODULE_SEGMENTS: u32 = 64;
/// The number of program headers that are read at a time.
const PIECE: u64 = 1024;
/// The maximum size of notes, in bytes; executables have less.
const MAX_NOTES: u64 = 64 << 10;

const LE: LittleEndian = LittleEndian;

/// The ELF header.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The kind of file.
    pub kind: FileType,
    /// Whether it is for x86_64, the only processor whose code is understood.
    pub is_x86_64: bool,
    /// The number of program headers that it claims.
    pub count: u32,
    /// The number of sections that it claims.
    pub sections: u16,
    pub(crate) section_table: FileOffset,
    /// The index of the section with the names of all sections.
    pub(crate) names: Option<u16>,
    table: FileOffset,
    stride: u16,
}

/// Why there is no header.
#[derive(Debug)]
pub enum NoHeader {
    /// The file can't be read.
    Io(io::Error),
    /// The file has only this many bytes.
    Short(u64),
    /// It is not an ELF file.
    NotElf,
    /// It is for processors of another word size or byte order.
    OtherMachine,
}

impl From<io::Error> for NoHeader {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A program header: a part of the file, and where it is in memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProgramHeader {
    /// What it is for.
    pub kind: ProgramType,
    /// What the process may do with it.
    pub access: Access,
    /// Where it begins in the file.
    pub offset: FileOffset,
    /// Where it begins in memory, without the bias.
    pub address: u64,
    /// Its size in the file, in bytes.
    pub in_file: u64,
    /// Its size in memory, in bytes; zeros follow what is in the file.
    pub in_memory: u64,
    /// The alignment of both places.
    pub align: u64,
}

fn read_pod<T: Pod + Copy>(read: &ReadAt<'_>, at: FileOffset) -> Result<T, NoHeader> {
    let mut bytes = vec![0; size_of::<T>()];
    let have = read(at, &mut bytes)?;
    match pod::from_bytes::<T>(&bytes) {
        Ok((value, _)) if have == bytes.len() => Ok(*value),
        _ => Err(NoHeader::Short(at.plus(have as u64).0)),
    }
}

impl Header {
    /// Reads the header.
    ///
    /// # Errors
    /// If the file can't be read, or is not a 64-bit ELF file.
    pub fn read(read: &ReadAt<'_>) -> Result<Self, NoHeader> {
        let mut magic = [0; 4];
        let have = read(FileOffset(0), &mut magic)?;
        let known = magic.get(..have).unwrap_or_default();
        if !ELFMAG.starts_with(known) {
            return Err(NoHeader::NotElf);
        }
        let header: FileHeader64<LittleEndian> = read_pod(read, FileOffset(0))?;
        let ident = &header.e_ident;
        if ident.class != ELFCLASS64 || ident.data != ELFDATA2LSB {
            return Err(NoHeader::OtherMachine);
        }
        let mut count = u32::from(header.e_phnum.get(LE));
        let section_table = FileOffset(header.e_shoff.get(LE));
        if count == u32::from(PN_XNUM) && section_table != FileOffset(0) {
            let first: SectionHeader64<LittleEndian> = read_pod(read, section_table)?;
            count = first.sh_info.get(LE);
        }
        Ok(Self {
            kind: header.e_type.get(LE),
            is_x86_64: header.e_machine.get(LE) == EM_X86_64,
            count,
            sections: header.e_shnum.get(LE),
            section_table,
            names: header.e_shstrndx(LE).index(),
            table: FileOffset(header.e_phoff.get(LE)),
            stride: header.e_phentsize.get(LE),
        })
    }

    /// Reads the first `most` program headers, as far as the file has them.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn segments(&self, read: &ReadAt<'_>, most: u32) -> io::Result<Vec<ProgramHeader>> {
        let stride = u64::from(self.stride);
        let size = size_of::<ProgramHeader64<LittleEndian>>();
        let count = u64::from(self.count.min(most));
        let mut segments = Vec::new();
        // Nobody writes larger ones, and their size times their number is what is read.
        if usize::from(self.stride) != size {
            return Ok(segments);
        }
        let mut buffer = Vec::new();
        let mut index = 0;
        while index < count {
            let piece = (count - index).min(PIECE);
            buffer.resize(usize::try_from(piece * stride).unwrap_or(0), 0);
            let have = read(self.table.plus(index * stride), &mut buffer)?;
            let entries = buffer.get(..have).unwrap_or_default();
            let entries = entries.chunks_exact(size);
            segments.extend(entries.filter_map(ProgramHeader::parse));
            if have < buffer.len() {
                break;
            }
            index += piece;
        }
        Ok(segments)
    }
}

impl ProgramHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, _) = pod::from_bytes::<ProgramHeader64<LittleEndian>>(bytes).ok()?;
        let flags = header.p_flags.get(LE);
        Some(Self {
            kind: header.p_type.get(LE),
            access: Access {
                read: flags.contains(PF_R),
                write: flags.contains(PF_W),
                execute: flags.contains(PF_X),
            },
            offset: FileOffset(header.p_offset.get(LE)),
            address: header.p_vaddr.get(LE),
            in_file: header.p_filesz.get(LE),
            in_memory: header.p_memsz.get(LE),
            align: header.p_align.get(LE),
        })
    }

    /// Returns the addresses of its pages.
    #[must_use]
    pub fn pages(&self) -> std::ops::Range<u64> {
        let end = self.address.saturating_add(self.in_memory);
        page_of(self.address)..end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX)
    }
}

/// The head of an executable or a library: everything that tells one build from another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// Its program headers.
    pub segments: Vec<ProgramHeader>,
    /// The GNU build-id; empty if there is none.
    pub build_id: Vec<u8>,
}

impl Head {
    /// Reads the head; `None` unless it is a loadable ELF file for this processor.
    pub fn read(read: &ReadAt<'_>) -> Option<Self> {
        let header = Header::read(read).ok().filter(|header| header.is_x86_64)?;
        let segments = header.segments(read, MAX_MODULE_SEGMENTS).ok()?;
        if !segments.iter().any(|segment| segment.kind == PT_LOAD) {
            return None;
        }
        let notes = segments.iter().filter(|segment| segment.kind == PT_NOTE);
        let build_id = notes.filter_map(|segment| build_id(read, segment)).next();
        Some(Self {
            build_id: build_id.unwrap_or_default(),
            segments,
        })
    }

    /// Returns the segments that are loaded.
    pub fn loaded(&self) -> impl DoubleEndedIterator<Item = &ProgramHeader> {
        let segments = self.segments.iter();
        segments.filter(|segment| segment.kind == PT_LOAD && segment.in_memory > 0)
    }

    /// Returns the segment with the initial values of its thread-local variables.
    #[must_use]
    pub fn tls(&self) -> Option<&ProgramHeader> {
        let mut segments = self.segments.iter();
        segments.find(|segment| segment.kind == PT_TLS)
    }

    /// Returns its bias if its first page was mapped at `start`.
    #[must_use]
    pub fn bias(&self, start: u64) -> Option<u64> {
        let first = self
            .loaded()
            .find(|segment| page_of(segment.offset.0) == 0)?;
        Some(start.wrapping_sub(page_of(first.address)))
    }
}

fn build_id(read: &ReadAt<'_>, segment: &ProgramHeader) -> Option<Vec<u8>> {
    let mut notes = vec![0; usize::try_from(segment.in_file.min(MAX_NOTES)).ok()?];
    let have = read(segment.offset, &mut notes).ok()?;
    // Notes of executables may be aligned to 8 bytes; such notes have separate segments.
    let id = rtops_types::build_id(notes.get(..have)?, segment.align)?;
    Some(id.to_vec())
}
