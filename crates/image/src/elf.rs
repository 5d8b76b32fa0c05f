//! The headers of ELF files: of a core itself, of executables and libraries, and of the copies of
//! their heads in memory.

use std::io;

use object::{
    LittleEndian,
    elf::{
        ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, FileHeader64, FileType, PF_R, PF_W, PF_X,
        PN_XNUM, PT_LOAD, PT_NOTE, PT_TLS, ProgramHeader64, ProgramType, SectionHeader64,
    },
    pod::{self, Pod},
};

use crate::{Access, FileOffset};

/// Reads at most all of the buffer from a place in a file, and says how much there was.
pub(crate) type ReadAt<'a> = dyn Fn(FileOffset, &mut [u8]) -> io::Result<usize> + 'a;

/// Executables and libraries have some twelve.
const MAX_MODULE_SEGMENTS: u32 = 64;
/// How many program headers are read at a time.
const PIECE: u64 = 1024;
/// More bytes of notes than an executable has.
const MAX_NOTES: u64 = 64 << 10;

const LE: LittleEndian = LittleEndian;

/// The ELF header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) kind: FileType,
    /// How many program headers it says there are.
    pub(crate) count: u32,
    /// Whether it has sections for contents, as cores by gdb do.
    pub(crate) has_sections: bool,
    table: FileOffset,
    stride: u16,
}

/// Why there is no header.
#[derive(Debug)]
pub(crate) enum NoHeader {
    Io(io::Error),
    /// The file has no more than so many bytes.
    Short(u64),
    NotElf,
    /// 32 bits, or another processor.
    OtherMachine,
}

impl From<io::Error> for NoHeader {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A program header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Segment {
    pub(crate) kind: ProgramType,
    pub(crate) access: Access,
    pub(crate) offset: FileOffset,
    pub(crate) address: u64,
    pub(crate) in_file: u64,
    pub(crate) in_memory: u64,
    pub(crate) align: u64,
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
    pub(crate) fn read(read: &ReadAt<'_>) -> Result<Self, NoHeader> {
        let mut magic = [0; 4];
        let have = read(FileOffset(0), &mut magic)?;
        let known = magic.get(..have).unwrap_or_default();
        if !ELFMAG.starts_with(known) {
            return Err(NoHeader::NotElf);
        }
        let header: FileHeader64<LittleEndian> = read_pod(read, FileOffset(0))?;
        let ident = &header.e_ident;
        if ident.class != ELFCLASS64
            || ident.data != ELFDATA2LSB
            || header.e_machine.get(LE) != EM_X86_64
        {
            return Err(NoHeader::OtherMachine);
        }
        let mut count = u32::from(header.e_phnum.get(LE));
        let sections = header.e_shoff.get(LE);
        if count == u32::from(PN_XNUM) && sections != 0 {
            let first: SectionHeader64<LittleEndian> = read_pod(read, FileOffset(sections))?;
            count = first.sh_info.get(LE);
        }
        Ok(Self {
            kind: header.e_type.get(LE),
            count,
            has_sections: header.e_shnum.get(LE) > 1,
            table: FileOffset(header.e_phoff.get(LE)),
            stride: header.e_phentsize.get(LE),
        })
    }

    /// The first `most` program headers, as far as the file has them.
    pub(crate) fn segments(&self, read: &ReadAt<'_>, most: u32) -> io::Result<Vec<Segment>> {
        let stride = u64::from(self.stride);
        let size = size_of::<ProgramHeader64<LittleEndian>>();
        let count = u64::from(self.count.min(most));
        let mut segments = Vec::new();
        // Nobody writes larger ones, and their size times their number is how much is read.
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
            segments.extend(entries.filter_map(Segment::parse));
            if have < buffer.len() {
                break;
            }
            index += piece;
        }
        Ok(segments)
    }
}

impl Segment {
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

    /// The addresses of its pages.
    pub(crate) fn pages(&self) -> std::ops::Range<u64> {
        let end = self.address.saturating_add(self.in_memory);
        page_of(self.address)..end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX)
    }
}

/// The size of a page in bytes.
pub(crate) const PAGE: u64 = 4096;

/// The start of the page.
pub(crate) const fn page_of(place: u64) -> u64 {
    place & !(PAGE - 1)
}

/// The head of an executable or a library: all that tells one build from another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) segments: Vec<Segment>,
    pub(crate) build_id: Vec<u8>,
}

impl Head {
    /// `None` for what is no ELF file for this processor that can be loaded.
    pub(crate) fn read(read: &ReadAt<'_>) -> Option<Self> {
        let header = Header::read(read).ok()?;
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

    pub(crate) fn loaded(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        let segments = self.segments.iter();
        segments.filter(|segment| segment.kind == PT_LOAD && segment.in_memory > 0)
    }

    pub(crate) fn tls(&self) -> Option<&Segment> {
        let mut segments = self.segments.iter();
        segments.find(|segment| segment.kind == PT_TLS)
    }

    /// What was added to its addresses when its first page was mapped at `start`.
    pub(crate) fn bias(&self, start: u64) -> Option<u64> {
        let first = self
            .loaded()
            .find(|segment| page_of(segment.offset.0) == 0)?;
        Some(start.wrapping_sub(page_of(first.address)))
    }
}

fn build_id(read: &ReadAt<'_>, segment: &Segment) -> Option<Vec<u8>> {
    let mut notes = vec![0; usize::try_from(segment.in_file.min(MAX_NOTES)).ok()?];
    let have = read(segment.offset, &mut notes).ok()?;
    // Notes of executables may be aligned to 8 bytes; those have segments of their own.
    let id = rtops_types::build_id(notes.get(..have)?, segment.align)?;
    Some(id.to_vec())
}
