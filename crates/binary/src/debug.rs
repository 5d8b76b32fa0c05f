//! How much debug info the program's own crates have.
//!
//! That of the standard library says nothing: it comes as it was built elsewhere. Of the other
//! units the first one with contents is looked at: with full debug info it has types or
//! variables, with limited one it has the modules that functions are in, and with line tables
//! only it has neither.

use std::io::{Read, Take};

use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebugInfo, DwTag, EndianSlice,
    LittleEndian, UnitHeader,
};

use crate::elf::{Elf, ReadError};

/// The most units, and bytes of them, that are read until there is one to judge by.
const MAX_UNITS: usize = 2000;
const MAX_INFO: u64 = 128 << 20;
const MAX_ABBREVIATIONS: u64 = 64 << 20;
/// The longest table of abbreviations of one unit; the one of a program in one piece has 3 kB.
const LONGEST_TABLE: usize = 64 << 10;
const MAX_TEXTS: u64 = 256 << 20;
/// How many entries of units are looked at: the first ones tell it.
const MAX_ENTRIES: usize = 20_000;
/// The most bytes of a link to a debug file.
const MAX_LINK: u64 = 4096;

/// How much debug info there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DebugLevel {
    /// No symbols either.
    Stripped,
    /// Symbols only.
    None,
    /// Files and lines.
    LineTables,
    /// The names of inlined functions as well.
    Limited,
    /// Types and variables as well.
    Full,
    /// It lies in files of its own (`.dwo` or `.dwp`).
    Split,
}

impl DebugLevel {
    /// The word for it, as in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stripped => "stripped",
            Self::None => "none",
            Self::LineTables => "line tables",
            Self::Limited => "limited",
            Self::Full => "full",
            Self::Split => "split",
        }
    }
}

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The level, as far as it can be told.
pub(crate) fn level(elf: &Elf<'_>) -> Result<DebugLevel, ReadError> {
    let without = match elf.section(".symtab") {
        Some(_) => DebugLevel::None,
        None => DebugLevel::Stripped,
    };
    let Some(info) = elf.section(".debug_info") else {
        return Ok(without);
    };
    let whole = |name, most| match elf.section(name) {
        Some(section) => take(&mut *elf.stream(section)?, most),
        None => Ok(Vec::new()),
    };
    let mut judge = Judge {
        abbreviations: whole(".debug_abbrev", MAX_ABBREVIATIONS)?,
        texts: whole(".debug_str", MAX_TEXTS)?,
        entries: MAX_ENTRIES,
    };
    let mut units = elf.stream(info)?.take(MAX_INFO);
    for _ in 0..MAX_UNITS {
        let Some(unit) = next_unit(&mut units)? else {
            return Ok(without);
        };
        let level = judge.unit(&unit);
        if let Some(level) = level.map_err(|_| ReadError::Malformed(".debug_info"))? {
            return Ok(level);
        }
    }
    Err(ReadError::TooLarge(".debug_info"))
}

/// The file that the debug info was moved to.
pub(crate) fn link(elf: &Elf<'_>) -> Option<String> {
    let link = elf.bytes(elf.section(".gnu_debuglink")?, MAX_LINK).ok()?;
    let name = link.split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

/// What is left of a stream, up to so many bytes; never more memory than it has.
fn take(stream: &mut dyn Read, most: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    stream.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The next unit with its length in front, as 32-bit DWARF has it.
fn next_unit(units: &mut Take<impl Read>) -> Result<Option<Vec<u8>>, ReadError> {
    let mut unit = take(units, 4)?;
    let Ok(length) = <[u8; 4]>::try_from(unit.as_slice()) else {
        return match units.limit() {
            0 => Err(ReadError::TooLarge(".debug_info")),
            _ => Ok(None),
        };
    };
    let length = u32::from_le_bytes(length);
    unit.extend(take(units, length.into())?);
    Ok(Some(unit))
}

enum UnitKind {
    /// Of another language, or of the standard library.
    Foreign,
    Split,
    Own,
}

/// What the units refer to, and how much may still be read of them.
struct Judge {
    abbreviations: Vec<u8>,
    texts: Vec<u8>,
    entries: usize,
}

impl Judge {
    /// `None` for a unit that says nothing about the program's own crates.
    fn unit(&mut self, unit: &[u8]) -> gimli::Result<Option<DebugLevel>> {
        let info = DebugInfo::new(unit, LittleEndian);
        let Some(header) = info.units().next()? else {
            return Ok(None);
        };
        let DebugAbbrevOffset(start) = header.debug_abbrev_offset();
        let table = self.abbreviations.get(start..).unwrap_or_default();
        let table = table.get(..LONGEST_TABLE).unwrap_or(table);
        let abbreviations =
            DebugAbbrev::new(table, LittleEndian).abbreviations(DebugAbbrevOffset(0))?;
        match self.kind(&header, &abbreviations)? {
            UnitKind::Foreign => Ok(None),
            UnitKind::Split => Ok(Some(DebugLevel::Split)),
            UnitKind::Own => self.contents(&header, &abbreviations),
        }
    }

    fn kind(
        &self,
        header: &UnitHeader<Slice<'_>>,
        abbreviations: &Abbreviations,
    ) -> gimli::Result<UnitKind> {
        let mut entries = header.entries(abbreviations);
        let Some(root) = entries.next_dfs()? else {
            return Ok(UnitKind::Foreign);
        };
        let has = |name| root.attr(name).is_some();
        if has(gimli::DW_AT_GNU_dwo_name) || has(gimli::DW_AT_dwo_name) {
            return Ok(UnitKind::Split);
        }
        let rust = AttributeValue::Language(gimli::DW_LANG_Rust);
        let directory = root.attr_value(gimli::DW_AT_comp_dir);
        let is_own = root.attr_value(gimli::DW_AT_language) == Some(rust)
            && !directory.is_some_and(|directory| self.is_of_std(directory));
        Ok(if is_own {
            UnitKind::Own
        } else {
            UnitKind::Foreign
        })
    }

    /// Whether the standard library, or a crate that it is built of, was compiled there.
    fn is_of_std(&self, directory: AttributeValue<Slice<'_>>) -> bool {
        let directory = match directory {
            AttributeValue::String(text) => text.slice(),
            AttributeValue::DebugStrRef(offset) => self.texts.get(offset.0..).unwrap_or_default(),
            // Only DWARF 5 has other texts, and the standard library does not come with that.
            _ => return false,
        };
        let starts: [&[u8]; 3] = [b"/rustc/", b"/rust/deps/", b"/usr/src/rustc-"];
        starts.iter().any(|start| directory.starts_with(start))
    }

    /// `None` for a unit without functions.
    fn contents(
        &mut self,
        header: &UnitHeader<Slice<'_>>,
        abbreviations: &Abbreviations,
    ) -> gimli::Result<Option<DebugLevel>> {
        const FULL: [DwTag; 4] = [
            gimli::DW_TAG_base_type,
            gimli::DW_TAG_structure_type,
            gimli::DW_TAG_formal_parameter,
            gimli::DW_TAG_variable,
        ];
        let mut level = None;
        let mut entries = header.entries(abbreviations);
        while let Some(left) = self.entries.checked_sub(1) {
            self.entries = left;
            let Some(entry) = entries.next_dfs()? else {
                break;
            };
            match entry.tag {
                tag if FULL.contains(&tag) => return Ok(Some(DebugLevel::Full)),
                gimli::DW_TAG_namespace => level = Some(DebugLevel::Limited),
                gimli::DW_TAG_subprogram if level.is_none() => {
                    level = Some(DebugLevel::LineTables);
                }
                _ => {}
            }
        }
        Ok(level)
    }
}
