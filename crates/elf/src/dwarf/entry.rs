//! Where a unit and its parts are, and how its entries are read.

use std::ops::{ControlFlow, Range};

use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebugRanges, DebugRngLists,
    DebuggingInformationEntry, Encoding, EndianSlice, LittleEndian, RangeLists, RangeListsOffset,
    RawRngListEntry,
};

use super::sections::{Part, Sections, Slice};
use crate::{ReadError, Resource};

pub(super) type Entry<'a> = DebuggingInformationEntry<Slice<'a>>;

/// The maximum size of a unit's table of abbreviations, in bytes; a large program
/// in one unit has a few kB.
const LONGEST_TABLE: usize = 1 << 20;
/// The maximum number of kinds of entries; compilers make fewer.
const MAX_ABBREVIATIONS: usize = 1 << 14;
/// The maximum number of attributes of a kind of entries; real ones have fewer.
const MAX_ATTRIBUTES: usize = 256;
const IMPLICIT_CONST: u64 = 0x21;
/// The least memory that an abbreviation or one of its attributes takes, in bytes.
const SIZE: u64 = 64;

pub(super) fn malformed<T>(_: T) -> ReadError {
    ReadError::Malformed("its debug info")
}

/// The bases that the attributes of a unit's entries count from.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub(super) struct Bases {
    #[cfg_attr(feature = "serde", serde(with = "encoding"))]
    pub(super) encoding: Encoding,
    pub(super) low: u64,
    pub(super) addresses: u64,
    pub(super) range_lists: u64,
    /// The base of its places in the older list of ranges.
    pub(super) ranges: u64,
    pub(super) text_offsets: u64,
}

/// How the encoding of a unit is stored, because `gimli` does not support that.
#[cfg(feature = "serde")]
mod encoding {
    use gimli::{Encoding, Format};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        encoding: &Encoding,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let is_64 = encoding.format == Format::Dwarf64;
        (is_64, encoding.version, encoding.address_size).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Encoding, D::Error> {
        let (is_64, version, address_size) = Deserialize::deserialize(deserializer)?;
        Ok(Encoding {
            format: if is_64 {
                Format::Dwarf64
            } else {
                Format::Dwarf32
            },
            version,
            address_size,
        })
    }
}

/// Reads the abbreviations of a unit: all of them, or only the one with a given code.
pub(super) fn abbreviations(
    sections: &Sections,
    start: usize,
    only: Option<u64>,
) -> Result<Abbreviations, ReadError> {
    let table = sections.whole(Part::Abbreviations)?.slice();
    let table = table.get(start..).ok_or_else(|| malformed(()))?;
    let table = table.get(..LONGEST_TABLE).unwrap_or(table);
    let (found, kinds) = table_range(table, only).ok_or_else(|| malformed(()))?;
    // This is what they take in memory.
    sections.budget().pay(Resource::Bytes, kinds * SIZE)?;
    let mut table = table.get(found).unwrap_or_default().to_vec();
    table.push(0);
    let table = DebugAbbrev::new(&table, LittleEndian);
    table.abbreviations(DebugAbbrevOffset(0)).map_err(malformed)
}

/// Returns where the table that begins here has its abbreviations, or the one with a given code,
/// and the number of abbreviations and attributes up to there.
fn table_range(table: &[u8], only: Option<u64>) -> Option<(Range<usize>, u64)> {
    let mut rest = Numbers(table);
    let place = |rest: &Numbers<'_>| table.len() - rest.0.len();
    let mut kinds = 0;
    for _ in 0..MAX_ABBREVIATIONS {
        kinds += 1;
        let start = place(&rest);
        let code = rest.number()?;
        if code == 0 {
            return only.is_none().then_some((0..start, kinds));
        }
        rest.number()?;
        rest.byte()?;
        let mut attributes = 0..MAX_ATTRIBUTES;
        loop {
            attributes.next()?;
            kinds += 1;
            match (rest.number()?, rest.number()?) {
                (0, 0) => break,
                (_, IMPLICIT_CONST) => {
                    rest.number()?;
                }
                _ => {}
            }
        }
        if only == Some(code) {
            return Some((start..place(&rest), kinds));
        }
    }
    None
}

/// Numbers in LEB128.
pub(super) struct Numbers<'a>(pub(super) &'a [u8]);

impl Numbers<'_> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

/// Passes the ranges of addresses of an entry to `look`, until it has seen enough.
pub(super) fn ranges(
    sections: &Sections,
    bases: &Bases,
    entry: &Entry<'_>,
    mut look: impl FnMut(Range<u64>) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut show = |range: Range<u64>| {
        sections.budget().pay(Resource::Ranges, 1)?;
        // Code that the linker left out is at address zero.
        match range.start != 0 && range.start < range.end {
            true => Ok(look(range)),
            false => Ok(ControlFlow::Continue(())),
        }
    };
    let list = match entry.attr_value(gimli::DW_AT_ranges) {
        Some(AttributeValue::RangeListsRef(offset)) => bases.ranges.checked_add(offset.0 as u64),
        Some(AttributeValue::DebugRngListsIndex(index)) => {
            let size = bases.encoding.format.word_size();
            let base = bases.range_lists;
            let offset = sections.number(Part::RangeLists, base, index.0 as u64, size)?;
            base.checked_add(offset)
        }
        _ => None,
    };
    if let Some(list) = list {
        return in_list(sections, bases, list, show);
    }
    let Some(low) = entry.attr_value(gimli::DW_AT_low_pc) else {
        return Ok(());
    };
    let Some(low) = sections.address(low, bases)? else {
        return Ok(());
    };
    let high = match entry.attr_value(gimli::DW_AT_high_pc) {
        None => None,
        Some(high) => match high.udata_value() {
            Some(length) => low.checked_add(length),
            None => sections.address(high, bases)?,
        },
    };
    show(low..high.unwrap_or(low)).map(drop)
}

fn in_list(
    sections: &Sections,
    bases: &Bases,
    start: u64,
    mut show: impl FnMut(Range<u64>) -> Result<ControlFlow<()>, ReadError>,
) -> Result<(), ReadError> {
    let empty = EndianSlice::new(&[], LittleEndian);
    let (old, new) = match bases.encoding.version {
        ..5 => (sections.whole(Part::Ranges)?, empty),
        _ => (empty, sections.whole(Part::RangeLists)?),
    };
    let lists = RangeLists::new(DebugRanges::from(old), DebugRngLists::from(new));
    let start = usize::try_from(start).map_err(malformed)?;
    let mut list = lists
        .raw_ranges(RangeListsOffset(start), bases.encoding)
        .map_err(malformed)?;
    let mut base = bases.low;
    while let Some(entry) = list.next().map_err(malformed)? {
        let indexed = |index: usize| sections.indexed(index as u64, bases);
        let from = |begin: u64, length: u64| begin..begin.saturating_add(length);
        let range = match entry {
            RawRngListEntry::BaseAddress { addr } => {
                base = addr;
                0..0
            }
            RawRngListEntry::BaseAddressx { addr } => {
                base = indexed(addr.0)?;
                0..0
            }
            RawRngListEntry::AddressOrOffsetPair { begin, end }
            | RawRngListEntry::OffsetPair { begin, end } => {
                base.saturating_add(begin)..base.saturating_add(end)
            }
            RawRngListEntry::StartEnd { begin, end } => begin..end,
            RawRngListEntry::StartLength { begin, length } => from(begin, length),
            RawRngListEntry::StartxEndx { begin, end } => indexed(begin.0)?..indexed(end.0)?,
            RawRngListEntry::StartxLength { begin, length } => from(indexed(begin.0)?, length),
        };
        if show(range)?.is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_ends_with_zero_and_one_of_its_abbreviations_is_found() {
        // Codes 1 and 2; the first has an attribute with a constant in the table itself.
        let table = [1, 0x11, 1, 3, 0x21, 0x80, 1, 0, 0, 2, 0x2e, 0, 0, 0, 0, 9];
        let range = |table, only| table_range(table, only).map(|(range, _)| range);
        assert_eq!(range(&table, None), Some(0..14));
        assert_eq!(range(&table, Some(1)), Some(0..9));
        assert_eq!(range(&table, Some(2)), Some(9..14));
        assert_eq!(range(&table, Some(3)), None);
        assert_eq!(range(table.get(..12).unwrap_or_default(), None), None);
    }
}
