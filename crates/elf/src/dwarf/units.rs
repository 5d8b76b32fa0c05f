//! The compilation units of a file, and the addresses that each is for.

use std::ops::{ControlFlow, Range};

use gimli::{
    AttributeValue, DebugInfo, EndianSlice, EntriesRaw, LittleEndian, UnitOffset, UnitType,
};

use super::{
    UnitName,
    entry::{self, Bases, Entry, malformed},
    sections::{Part, Sections, Slice},
};
use crate::{ReadError, Resource};

/// How many bytes of a unit are read for its first entry: first, and if that is not enough.
const HEAD: [u64; 2] = [256, 64 << 10];
/// How many claims to an address are looked at, from the nearest one on.
const MAX_CLAIMS: usize = 64;

/// The units of a file: the part of its debug info that is read first, and may be kept for later.
#[derive(Clone, Debug, Default)]
pub struct Units {
    /// Sorted by start.
    pub(super) units: Vec<Root>,
    /// Sorted by start, each with the highest end so far.
    claims: Vec<Claim>,
}

/// A unit, as its first entry describes it.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct Root {
    /// Where it begins in the section.
    pub(super) start: u64,
    pub(super) size: u64,
    /// Where its first entry is in the unit.
    pub(super) entries: usize,
    pub(super) abbreviations: usize,
    pub(super) bases: Bases,
    pub(super) lines: Option<u64>,
    pub(super) name: Option<String>,
    pub(super) directory: Option<String>,
    pub(super) is_rust: bool,
    /// The number of the unit that has its contents, or whose contents these are.
    pub(super) split: Option<u64>,
    /// The file that the contents are in.
    pub(super) split_name: Option<String>,
}

/// Addresses that a unit claims.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct Claim {
    start: u64,
    end: u64,
    #[cfg_attr(feature = "serde", serde(skip))]
    highest: u64,
    unit: u32,
}

impl Root {
    /// Returns whether its contents are in a separate file.
    pub(crate) const fn is_split(&self) -> bool {
        self.split_name.is_some()
    }

    /// Returns the compiler's name for it.
    pub(super) fn unit_name(&self) -> Option<UnitName<'_>> {
        Some(UnitName {
            name: self.name.as_deref()?,
            directory: self.directory.as_deref(),
        })
    }

    /// Returns whether it belongs to the standard library, or to a crate that
    /// the library is built from.
    pub(super) fn is_of_std(&self) -> bool {
        let directory = self.directory.as_deref().unwrap_or_default();
        ["/rustc/", "/rust/deps/", "/usr/src/rustc-"]
            .iter()
            .any(|start| directory.starts_with(start))
    }
}

impl Units {
    /// Creates the units from what [`Units::parts`] returned.
    #[must_use]
    pub fn of(units: Vec<Root>, mut claims: Vec<Claim>) -> Self {
        claims.sort_unstable_by_key(|claim| (claim.start, claim.end));
        let mut highest = 0;
        for claim in &mut claims {
            highest = claim.end.max(highest);
            claim.highest = highest;
        }
        Self { units, claims }
    }

    /// Returns the units, and the addresses that they claim.
    #[must_use]
    pub fn parts(&self) -> (&[Root], &[Claim]) {
        (&self.units, &self.claims)
    }

    /// Reads the first entry of each unit, as far as they make sense.
    pub(super) fn read(sections: &Sections) -> (Self, Option<ReadError>) {
        let mut read = Self::default();
        let fault = read.read_all(sections).err();
        (Self::of(read.units, read.claims), fault)
    }

    fn read_all(&mut self, sections: &Sections) -> Result<(), ReadError> {
        let mut at = 0;
        while let Some(size) = size_at(sections, at)? {
            // Even a unit that makes no sense has a length.
            if let Some(root) = self.root(sections, at, size)? {
                self.units.push(root);
            }
            at += size;
        }
        Ok(())
    }

    fn root(
        &mut self,
        sections: &Sections,
        start: u64,
        size: u64,
    ) -> Result<Option<Root>, ReadError> {
        sections.budget().pay(Resource::Units, 1)?;
        let unit = u32::try_from(self.units.len()).map_err(malformed)?;
        let before = self.claims.len();
        let place = Location {
            start,
            size,
            abbreviations: 0,
            bases: None,
        };
        for most in HEAD {
            let claims = &mut self.claims;
            claims.truncate(before);
            let root = read_root(sections, place, most, |range| {
                claims.push(Claim {
                    start: range.start,
                    end: range.end,
                    highest: 0,
                    unit,
                });
            });
            match root {
                Ok(root) => return Ok(Some(root)),
                Err(over @ ReadError::Over(_)) => return Err(over),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Returns the numbers of the units that may know an address, the nearest first.
    pub(super) fn at(&self, address: u64) -> Vec<u32> {
        let mut found = Vec::new();
        let behind = self.claims.partition_point(|claim| claim.start <= address);
        let before = self.claims.get(..behind).unwrap_or_default().iter().rev();
        for claim in before.take(MAX_CLAIMS) {
            if claim.highest <= address {
                break;
            }
            if address < claim.end && !found.contains(&claim.unit) {
                found.push(claim.unit);
            }
        }
        found
    }

    /// Returns the unit that contains an offset in the section.
    pub(super) fn holding(&self, offset: u64) -> Option<u32> {
        let behind = self.units.partition_point(|unit| unit.start <= offset);
        let index = behind.checked_sub(1)?;
        let unit = self.units.get(index)?;
        let is_inside = offset - unit.start < unit.size;
        is_inside.then(|| u32::try_from(index).ok()).flatten()
    }
}

/// Returns the size of the unit that begins here, with its length field; `None` at the end.
pub(super) fn size_at(sections: &Sections, at: u64) -> Result<Option<u64>, ReadError> {
    let info = sections.get(Part::Info)?;
    let head = info.get(at, 12, sections.budget())?;
    let Some((first, rest)) = head.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let size = match u32::from_le_bytes(*first) {
        u32::MAX => {
            let (length, _) = rest.split_first_chunk::<8>().ok_or_else(|| malformed(()))?;
            u64::from_le_bytes(*length).checked_add(12)
        }
        length => u64::from(length).checked_add(4),
    };
    let left = info.size().saturating_sub(at);
    let size = size.filter(|size| *size <= left);
    size.map(Some).ok_or_else(|| malformed(()))
}

/// The place of a unit, and the base of its table of abbreviations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location {
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) abbreviations: u64,
    /// The bases of its entries, if it does not state them itself.
    pub(super) bases: Option<Bases>,
}

/// Reads the first entry of a unit, and passes the addresses that the unit claims to `claim`.
fn read_root(
    sections: &Sections,
    place: Location,
    most: u64,
    mut claim: impl FnMut(Range<u64>),
) -> Result<Root, ReadError> {
    let Location { start, size, .. } = place;
    let info = sections.get(Part::Info)?;
    let head = info.get(start, size.min(most), sections.budget())?;
    let mut head = head.into_owned();
    shorten(&mut head);
    let header = DebugInfo::new(&head, LittleEndian).units().next();
    let header = header.map_err(malformed)?.ok_or_else(|| malformed(()))?;
    let entries = header.size_of_header();
    let bytes = head.get(entries..).unwrap_or_default();
    let code = entry::Numbers(bytes)
        .number()
        .ok_or_else(|| malformed(()))?;
    let table = header.debug_abbrev_offset().0 as u64;
    let table = place.abbreviations.saturating_add(table);
    let abbreviations = usize::try_from(table).map_err(malformed)?;
    let only = entry::abbreviations(sections, abbreviations, Some(code))?;
    let encoding = header.encoding();
    let bytes = EndianSlice::new(bytes, LittleEndian);
    let mut raw = EntriesRaw::new(bytes, encoding, &only, UnitOffset(entries));
    let mut first = Entry::null();
    raw.read_entry(&mut first).map_err(malformed)?;
    let mut root = Root {
        start,
        size,
        entries,
        abbreviations,
        bases: match place.bases {
            Some(known) => Bases { encoding, ..known },
            None => bases(encoding, &first),
        },
        lines: match first.attr_value(gimli::DW_AT_stmt_list) {
            Some(AttributeValue::DebugLineRef(offset)) => Some(offset.0 as u64),
            _ => None,
        },
        name: None,
        directory: None,
        is_rust: first.attr_value(gimli::DW_AT_language)
            == Some(AttributeValue::Language(gimli::DW_LANG_Rust)),
        split: split(header.type_(), &first),
        split_name: None,
    };
    name(sections, &mut root, &first)?;
    if let Some(low) = first.attr_value(gimli::DW_AT_low_pc) {
        root.bases.low = sections.address(low, &root.bases)?.unwrap_or(0);
    }
    entry::ranges(sections, &root.bases, &first, |range| {
        claim(range);
        ControlFlow::Continue(())
    })?;
    Ok(root)
}

/// Reads the name of a unit, the directory that the compiler ran in, and
/// the file with the contents.
fn name(sections: &Sections, root: &mut Root, first: &Entry<'_>) -> Result<(), ReadError> {
    let text = |name| match first.attr_value(name) {
        Some(value) => sections.text(value, &root.bases),
        None => Ok(None),
    };
    let texts = (
        text(gimli::DW_AT_name)?,
        text(gimli::DW_AT_comp_dir)?,
        text(gimli::DW_AT_dwo_name)?.or(text(gimli::DW_AT_GNU_dwo_name)?),
    );
    let kept = [&texts.0, &texts.1, &texts.2];
    let kept = kept.map(|text| text.as_ref().map_or(0, String::len) as u64);
    sections.budget().pay(Resource::Names, kept.iter().sum())?;
    (root.name, root.directory, root.split_name) = texts;
    Ok(())
}

/// Returns the number of the unit that has the contents of this one, or whose contents these are.
fn split(kind: UnitType<usize>, first: &Entry<'_>) -> Option<u64> {
    if let UnitType::Skeleton(id) | UnitType::SplitCompilation(id) = kind {
        return Some(id.0);
    }
    match first.attr_value(gimli::DW_AT_GNU_dwo_id)? {
        AttributeValue::DwoId(id) => Some(id.0),
        other => other.udata_value(),
    }
}

/// Reads a unit in a separate file; the program has only a skeleton of it.
pub(super) fn read_split(
    sections: &Sections,
    place: Location,
    skeleton: &Root,
) -> Result<Root, ReadError> {
    let [_, most] = HEAD;
    let root = read_root(sections, place, most, |_| {})?;
    Ok(Root {
        lines: skeleton.lines,
        directory: skeleton.directory.clone(),
        ..root
    })
}

impl Root {
    /// Returns the bases of the contents of this skeleton, in sections that may begin with the
    /// contents of other units.
    pub(super) fn split_bases(&self, text_offsets: u64, range_lists: u64) -> Bases {
        // The sizes of the headers of the sections, if they have headers.
        let (offsets, lists) = match self.bases.encoding.version {
            ..5 => (0, 0),
            _ => (8, 12),
        };
        Bases {
            text_offsets: text_offsets.saturating_add(offsets),
            range_lists: range_lists.saturating_add(lists),
            ranges: self.bases.range_lists,
            ..self.bases
        }
    }
}

/// Changes the start of a unit so that it claims to be all of it.
fn shorten(head: &mut [u8]) {
    let length = head.len();
    let is_long = head.starts_with(&[0xff; 4]);
    let (place, size, own) = if is_long { (4, 8, 12) } else { (0, 4, 4) };
    let length = (length.saturating_sub(own) as u64).to_le_bytes();
    if let Some(place) = head.get_mut(place..place + size) {
        place.copy_from_slice(length.get(..size).unwrap_or(&[0; 8]));
    }
}

fn bases(encoding: gimli::Encoding, first: &Entry<'_>) -> Bases {
    let offset = |names: [gimli::DwAt; 2]| {
        let mut values = names.into_iter().filter_map(|name| first.attr_value(name));
        values.find_map(|value: AttributeValue<Slice<'_>>| match value {
            AttributeValue::DebugAddrBase(base) => Some(base.0 as u64),
            AttributeValue::DebugRngListsBase(base) => Some(base.0 as u64),
            AttributeValue::DebugStrOffsetsBase(base) => Some(base.0 as u64),
            other => other.offset_value().map(|offset| offset as u64),
        })
    };
    Bases {
        encoding,
        low: 0,
        addresses: offset([gimli::DW_AT_addr_base, gimli::DW_AT_GNU_addr_base]).unwrap_or(0),
        range_lists: offset([gimli::DW_AT_rnglists_base, gimli::DW_AT_GNU_ranges_base])
            .unwrap_or(0),
        ranges: 0,
        text_offsets: offset([gimli::DW_AT_str_offsets_base; 2]).unwrap_or(0),
    }
}
