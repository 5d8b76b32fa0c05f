//! The sections of debug info, each opened when it is first asked for.

use std::sync::{Arc, OnceLock};

use gimli::{AttributeValue, EndianSlice, LittleEndian};

use super::entry::Bases;
use crate::{Budget, Contents, Elf, ReadError, name::MAX_NAME};

pub(super) type Slice<'a> = EndianSlice<'a, LittleEndian>;
pub(super) type Value<'a> = AttributeValue<Slice<'a>>;

/// Sections that are read in no particular order are in memory as a whole; this is
/// their maximum size, in bytes.
const MAX_WHOLE: u64 = 512 << 20;

/// A section.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Info,
    Abbreviations,
    Text,
    LineText,
    Lines,
    Ranges,
    RangeLists,
    Addresses,
    TextOffsets,
}

impl Part {
    const ALL: [&'static str; 9] = [
        ".debug_info",
        ".debug_abbrev",
        ".debug_str",
        ".debug_line_str",
        ".debug_line",
        ".debug_ranges",
        ".debug_rnglists",
        ".debug_addr",
        ".debug_str_offsets",
    ];

    /// The names in a file of split debug info, which has no other sections.
    const SPLIT: [Option<&'static str>; 9] = [
        Some(".debug_info.dwo"),
        Some(".debug_abbrev.dwo"),
        Some(".debug_str.dwo"),
        None,
        None,
        None,
        Some(".debug_rnglists.dwo"),
        None,
        Some(".debug_str_offsets.dwo"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.get(self as usize).unwrap_or(&"")
    }

    fn split_name(self) -> Option<&'static str> {
        Self::SPLIT.get(self as usize).copied().flatten()
    }
}

/// The sections of a file.
#[derive(Debug)]
pub(super) struct Sections {
    elf: Arc<Elf>,
    /// The sections of the program, if this file was split off from it.
    main: Option<Arc<Self>>,
    /// `None` for a section that can't be read, which was reported when it was first asked for.
    opened: [OnceLock<Option<Contents>>; Part::ALL.len()],
    /// The sections that are read as a whole, unless they are in memory anyway.
    whole: [OnceLock<Vec<u8>>; Part::ALL.len()],
}

impl Sections {
    pub(super) fn of(elf: Arc<Elf>, main: Option<Arc<Self>>) -> Self {
        Self {
            elf,
            main,
            opened: Default::default(),
            whole: Default::default(),
        }
    }

    pub(super) fn budget(&self) -> &Budget {
        self.elf.budget()
    }

    pub(super) fn get(&self, part: Part) -> Result<&Contents, ReadError> {
        let name = match &self.main {
            None => part.name(),
            Some(main) => match part.split_name() {
                Some(name) => name,
                None => return main.get(part),
            },
        };
        let malformed = ReadError::Malformed(part.name());
        let cell = self.opened.get(part as usize).ok_or(malformed)?;
        let mut failed = ReadError::Malformed(part.name());
        let opened = cell.get_or_init(|| match self.elf.section(name) {
            None => Some(Contents::none(name)),
            Some(section) => match self.elf.contents(section) {
                Ok(contents) => Some(contents),
                Err(error) => {
                    failed = error;
                    None
                }
            },
        });
        opened.as_ref().ok_or(failed)
    }

    /// Returns all of a section.
    pub(super) fn whole(&self, part: Part) -> Result<Slice<'_>, ReadError> {
        let slice = |bytes| Ok(EndianSlice::new(bytes, LittleEndian));
        let malformed = ReadError::Malformed(part.name());
        let cell = self.whole.get(part as usize).ok_or(malformed)?;
        if let Some(bytes) = cell.get() {
            return slice(bytes);
        }
        let contents = self.get(part)?;
        if contents.size() > MAX_WHOLE {
            return Err(ReadError::TooLarge(part.name()));
        }
        if let Some(bytes) = contents.in_memory() {
            return slice(bytes);
        }
        let bytes = contents.get(0, contents.size(), self.budget())?;
        slice(cell.get_or_init(|| bytes.into_owned()))
    }

    /// Returns a number of 4 or 8 bytes in a section of numbers.
    pub(super) fn number(
        &self,
        part: Part,
        base: u64,
        index: u64,
        size: u8,
    ) -> Result<u64, ReadError> {
        let malformed = || ReadError::Malformed(part.name());
        let start = index.checked_mul(size.into());
        let start = start.and_then(|start| base.checked_add(start));
        let start = start.ok_or_else(malformed)?;
        let bytes = self.get(part)?.get(start, size.into(), self.budget())?;
        match *bytes {
            [a, b, c, d] => Ok(u32::from_le_bytes([a, b, c, d]).into()),
            [a, b, c, d, e, f, g, h] => Ok(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
            _ => Err(malformed()),
        }
    }

    /// Returns the text of an attribute; `None` if it has none, or one that is too long.
    pub(super) fn text(
        &self,
        value: Value<'_>,
        bases: &Bases,
    ) -> Result<Option<String>, ReadError> {
        let (part, offset) = match value {
            AttributeValue::String(text) => {
                let is_short = text.len() as u64 <= MAX_NAME;
                return Ok(is_short.then(|| text.to_string_lossy().into_owned()));
            }
            AttributeValue::DebugStrRef(offset) => (Part::Text, offset.0 as u64),
            AttributeValue::DebugLineStrRef(offset) => (Part::LineText, offset.0 as u64),
            AttributeValue::DebugStrOffsetsIndex(index) => {
                let size = bases.encoding.format.word_size();
                let base = bases.text_offsets;
                let offset = self.number(Part::TextOffsets, base, index.0 as u64, size)?;
                (Part::Text, offset)
            }
            _ => return Ok(None),
        };
        self.get(part)?.text(offset, MAX_NAME, self.budget())
    }

    /// Returns the address of an attribute.
    pub(super) fn address(
        &self,
        value: Value<'_>,
        bases: &Bases,
    ) -> Result<Option<u64>, ReadError> {
        match value {
            AttributeValue::Addr(address) => Ok(Some(address)),
            AttributeValue::DebugAddrIndex(index) => self.indexed(index.0 as u64, bases).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns an address from the table of addresses.
    pub(super) fn indexed(&self, index: u64, bases: &Bases) -> Result<u64, ReadError> {
        let size = bases.encoding.address_size;
        self.number(Part::Addresses, bases.addresses, index, size)
    }
}
