//! The bytes of a section, read on demand.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use flate2::read::ZlibDecoder;
use object::{
    LittleEndian,
    elf::{CompressionHeader64, ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD},
    pod,
};
use rtops_types::FileOffset;
use ruzstd::decoding::StreamingDecoder;

use crate::{Budget, ReadError, Resource, Section};

/// A section shorter than this, in bytes, is read at once.
const SMALL: u64 = 1 << 20;
/// The most bytes that zlib makes of one, plus a little for its header.
const ZLIB_GROWTH: u64 = 1100;
/// How many bytes to allocate before there is anything to put there.
const FIRST_ROOM: u64 = 1 << 20;
const LE: LittleEndian = LittleEndian;

/// The bytes of a section: in memory if they are few or were compressed, otherwise in the file.
#[derive(Clone, Debug)]
pub struct Contents {
    what: &'static str,
    size: u64,
    bytes: Bytes,
}

#[derive(Clone, Debug)]
enum Bytes {
    Here(Arc<[u8]>),
    File(Arc<File>, FileOffset),
}

impl Contents {
    /// Returns the contents of a section that does not exist.
    pub(crate) fn none(what: &'static str) -> Self {
        Self {
            what,
            size: 0,
            bytes: Bytes::Here(Arc::from([])),
        }
    }

    pub(crate) fn open(
        file: &Arc<File>,
        section: Section,
        budget: &Budget,
    ) -> Result<Self, ReadError> {
        let Section {
            what, offset, size, ..
        } = section;
        if section.is_compressed {
            let bytes = inflate(file, section, budget)?;
            return Ok(Self {
                what,
                size: bytes.len() as u64,
                bytes: Bytes::Here(bytes.into()),
            });
        }
        let mut contents = Self {
            what,
            size,
            bytes: Bytes::File(Arc::clone(file), offset),
        };
        if size <= SMALL {
            let bytes = contents.get(0, size, budget)?.into_owned();
            contents.bytes = Bytes::Here(bytes.into());
        }
        Ok(contents)
    }

    /// Returns the number of bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns all bytes, if they are in memory anyway.
    pub(crate) fn in_memory(&self) -> Option<&[u8]> {
        match &self.bytes {
            Bytes::Here(bytes) => Some(bytes),
            Bytes::File(..) => None,
        }
    }

    /// Returns at most `length` bytes from `start` on: fewer if the section ends.
    ///
    /// # Errors
    /// If `start` is after its end, the file can't be read, or the budget is used up.
    pub fn get(
        &self,
        start: u64,
        length: u64,
        budget: &Budget,
    ) -> Result<Cow<'_, [u8]>, ReadError> {
        let malformed = ReadError::Malformed(self.what);
        let Some(left) = self.size.checked_sub(start) else {
            return Err(malformed);
        };
        let length = length.min(left);
        budget.pay(Resource::Bytes, length)?;
        match &self.bytes {
            Bytes::Here(bytes) => {
                let end = start.saturating_add(length);
                let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
                let bytes = range.and_then(|(start, end)| bytes.get(start..end));
                bytes.map(Cow::Borrowed).ok_or(malformed)
            }
            Bytes::File(file, offset) => {
                let mut bytes = vec![0; usize::try_from(length).map_err(|_| malformed)?];
                file.read_exact_at(&mut bytes, offset.plus(start).0)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// Returns the text from `start` up to the next zero byte; `None` if it is
    /// longer than `most` bytes.
    ///
    /// # Errors
    /// The same as [`Contents::get`].
    pub fn text(
        &self,
        start: u64,
        most: u64,
        budget: &Budget,
    ) -> Result<Option<String>, ReadError> {
        let mut length = 128;
        loop {
            let bytes = self.get(start, length.min(most), budget)?;
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                let text = bytes.get(..end).unwrap_or_default();
                return Ok(Some(String::from_utf8_lossy(text).into_owned()));
            }
            if length >= most || (bytes.len() as u64) < length {
                return Ok(None);
            }
            length *= 8;
        }
    }
}

/// Inflates a compressed section. The result is never longer than the section says, and nothing is
/// allocated for bytes that do not come.
fn inflate(file: &Arc<File>, section: Section, budget: &Budget) -> Result<Vec<u8>, ReadError> {
    const HEADER: u64 = size_of::<CompressionHeader64<LittleEndian>>() as u64;
    let what = section.what;
    let mut raw = Raw::of(file, section);
    let mut head = [0; HEADER as usize];
    raw.read_exact(&mut head)?;
    let header = pod::from_bytes::<CompressionHeader64<LittleEndian>>(&head);
    let (header, _) = header.map_err(|()| ReadError::Malformed(what))?;
    let claimed = header.ch_size.get(LE);
    let compressed = section.size.saturating_sub(HEADER);
    let kind = header.ch_type.get(LE);
    if kind == ELFCOMPRESS_ZLIB && claimed > compressed.saturating_mul(ZLIB_GROWTH) {
        return Err(ReadError::Malformed(what));
    }
    budget.pay(Resource::Bytes, section.size.saturating_add(claimed))?;
    let raw = BufReader::new(raw);
    let stream: Box<dyn Read + '_> = match kind {
        ELFCOMPRESS_ZLIB => Box::new(ZlibDecoder::new(raw)),
        ELFCOMPRESS_ZSTD => {
            let decoder = StreamingDecoder::new(raw);
            Box::new(decoder.map_err(|_| ReadError::Malformed(what))?)
        }
        _ => return Err(ReadError::Malformed(what)),
    };
    let room = match kind {
        ELFCOMPRESS_ZLIB => claimed,
        _ => claimed.min(FIRST_ROOM),
    };
    let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
    stream
        .take(claimed)
        .read_to_end(&mut bytes)
        .map_err(|_| ReadError::Malformed(what))?;
    match bytes.len() as u64 == claimed {
        true => Ok(bytes),
        false => Err(ReadError::Malformed(what)),
    }
}

/// The bytes of a section as they are in the file.
pub(crate) struct Raw<'a> {
    file: &'a File,
    offset: FileOffset,
    left: u64,
}

impl<'a> Raw<'a> {
    pub(crate) fn of(file: &'a File, section: Section) -> Self {
        Self {
            file,
            offset: section.offset,
            left: section.size,
        }
    }
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
