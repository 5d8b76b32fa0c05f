//! One unit: its functions, what is inlined into them, and their names.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use gimli::{Abbreviations, AttributeValue, EndianSlice, EntriesRaw, LittleEndian, UnitOffset};

use super::{
    EASY,
    entry::{self, Entry, malformed},
    lines::Lines,
    sections::{Part, Sections, Slice},
    units::Root,
};
use crate::{ReadError, Resource};

/// How many functions that begin before an address are looked at for one that contains it.
const MAX_OVERLAPS: usize = 16;
/// How many ranges the functions inlined into one may have: each address in it is
/// compared with all of them.
const MAX_INLINED: usize = 100_000;

/// A unit in memory.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) root: Root,
    /// The sections that it is in.
    sections: Arc<Sections>,
    bytes: Vec<u8>,
    abbreviations: Abbreviations,
    /// Sorted by their first address.
    functions: OnceCell<Vec<Function>>,
    inlined: RefCell<HashMap<usize, Arc<[Inlined]>>>,
    lines: OnceCell<Option<Lines>>,
    pub(super) names: RefCell<HashMap<usize, Names>>,
}

/// The names of an entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) linkage: Option<String>,
    pub(super) bare: Option<String>,
}

/// A range of addresses of a function, and where its entry is.
#[derive(Debug)]
struct Function {
    addresses: Range<u64>,
    entry: usize,
}

/// A range of addresses of a function that is inlined into another.
#[derive(Clone, Debug)]
pub(super) struct Inlined {
    pub(super) addresses: Range<u64>,
    depth: u16,
    pub(super) entry: u32,
    pub(super) call: Call,
}

/// Where a function was inlined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) file: Option<u32>,
    pub(super) line: u32,
    pub(super) column: u16,
}

/// Another entry that may have the name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    Here(usize),
    /// By its place in the section.
    Elsewhere(u64),
}

impl Unit {
    pub(super) fn read(sections: Arc<Sections>, root: &Root) -> Result<Self, ReadError> {
        let info = sections.get(Part::Info)?;
        let bytes = info.get(root.start, root.size, sections.budget())?;
        Ok(Self {
            bytes: bytes.into_owned(),
            abbreviations: entry::abbreviations(&sections, root.abbreviations, None)?,
            sections,
            root: root.clone(),
            functions: OnceCell::new(),
            inlined: RefCell::default(),
            lines: OnceCell::new(),
            names: RefCell::default(),
        })
    }

    /// Returns the entries from a place in the unit on.
    fn entries(&self, start: usize) -> EntriesRaw<'_, Slice<'_>> {
        let bytes = self.bytes.get(start..).unwrap_or_default();
        let bytes = EndianSlice::new(bytes, LittleEndian);
        let encoding = self.root.bases.encoding;
        EntriesRaw::new(bytes, encoding, &self.abbreviations, UnitOffset(start))
    }

    /// Reads everything that does not depend on an address, and returns what is wrong with it.
    pub(super) fn read_whole(&self) -> Option<ReadError> {
        let functions = self.functions().err();
        let (_, lines) = self.lines();
        functions.or(lines)
    }

    /// Returns its line table, and if this reads it, what is wrong with it.
    pub(super) fn lines(&self) -> (Option<&Lines>, Option<ReadError>) {
        let mut fault = None;
        let lines = self.lines.get_or_init(|| {
            let read = Lines::read(&self.sections, &self.root);
            let read = read.map_err(|error| fault = Some(error)).ok().flatten();
            let (lines, wrong) = read?;
            fault = wrong;
            Some(lines)
        });
        (lines.as_ref(), fault)
    }

    /// Passes the kinds of its entries to `look`, as far as they make sense.
    pub(super) fn tags(
        &self,
        mut look: impl FnMut(gimli::DwTag) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut entries = self.entries(self.root.entries);
        let mut steps = self.sections.budget().steps();
        while let Ok(kind) = entries.read_abbreviation() {
            steps.take()?;
            let Some(kind) = kind else {
                continue;
            };
            if look(kind.tag()).is_break() || entries.skip_attributes(kind.attributes()).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn functions(&self) -> Result<&[Function], ReadError> {
        if let Some(functions) = self.functions.get() {
            return Ok(functions);
        }
        let (functions, fault) = self.read_functions();
        let functions = self.functions.get_or_init(|| functions);
        fault.map_or(Ok(functions), Err)
    }

    /// Returns the place of the entry of the function that an address is in.
    pub(super) fn function_at(&self, address: u64) -> Result<Option<usize>, ReadError> {
        let functions = self.functions()?;
        let behind = functions.partition_point(|function| function.addresses.start <= address);
        let before = functions.get(..behind).unwrap_or_default();
        let mut near = before.iter().rev().take(MAX_OVERLAPS);
        let found = near.find(|function| function.addresses.contains(&address));
        Ok(found.map(|function| function.entry))
    }

    /// Reads all functions, as far as they make sense.
    fn read_functions(&self) -> (Vec<Function>, Option<ReadError>) {
        let mut functions = Vec::new();
        let mut entries = self.entries(self.root.entries);
        let mut entry = Entry::null();
        let mut steps = self.sections.budget().steps();
        let mut read = || {
            while !entries.is_empty() {
                steps.take()?;
                let place = entries.next_offset().0;
                let Some(kind) = entries.read_abbreviation().map_err(malformed)? else {
                    continue;
                };
                if kind.tag() != gimli::DW_TAG_subprogram {
                    entries
                        .skip_attributes(kind.attributes())
                        .map_err(malformed)?;
                    continue;
                }
                self.entries(place)
                    .read_entry(&mut entry)
                    .map_err(malformed)?;
                entries
                    .skip_attributes(kind.attributes())
                    .map_err(malformed)?;
                entry::ranges(&self.sections, &self.root.bases, &entry, |addresses| {
                    functions.push(Function {
                        addresses,
                        entry: place,
                    });
                    ControlFlow::Continue(())
                })?;
            }
            Ok(())
        };
        let fault = read().err();
        functions.sort_unstable_by_key(|function| (function.addresses.start, function.entry));
        (functions, fault)
    }

    /// Returns what is inlined at an address of a function, the outermost first.
    pub(super) fn inlined_at(
        &self,
        function: usize,
        address: u64,
    ) -> (Vec<Inlined>, Option<ReadError>) {
        let known = self.inlined.borrow().get(&function).cloned();
        let (inlined, fault) = match known {
            Some(inlined) => (inlined, None),
            None => {
                let mut inlined = Vec::new();
                let fault = self.read_inlined(function, &mut inlined).err();
                let inlined: Arc<[Inlined]> = inlined.into();
                let mut known = self.inlined.borrow_mut();
                known.insert(function, Arc::clone(&inlined));
                (inlined, fault)
            }
        };
        let steps = self
            .sections
            .budget()
            .pay(Resource::Steps, inlined.len() as u64 / EASY);
        if let Err(over) = steps {
            return (Vec::new(), Some(over));
        }
        let mut chain: Vec<Inlined> = Vec::new();
        // A function comes before those that are inlined into it.
        for one in inlined
            .iter()
            .filter(|one| one.addresses.contains(&address))
        {
            if usize::from(one.depth) == chain.len() {
                chain.push(one.clone());
            }
        }
        (chain, fault)
    }

    fn read_inlined(&self, function: usize, inlined: &mut Vec<Inlined>) -> Result<(), ReadError> {
        let budget = self.sections.budget();
        let mut entries = self.entries(function);
        let mut entry = Entry::null();
        // The depths of the entries that enclose this one, each an inlined function.
        let mut open: Vec<isize> = Vec::new();
        let mut is_too_deep = false;
        let mut steps = budget.steps();
        loop {
            steps.take()?;
            let depth = entries.next_depth();
            let is_entry = entries.read_entry(&mut entry).map_err(malformed)?;
            if is_entry && entry.tag() == gimli::DW_TAG_inlined_subroutine {
                while open.last().is_some_and(|last| *last >= depth) {
                    open.pop();
                }
                let place = u32::try_from(entry.offset().0).map_err(malformed)?;
                let nesting = u16::try_from(open.len()).map_err(malformed)?;
                if open.len() < budget.depth() {
                    let call = call_of(&entry);
                    if inlined.len() >= MAX_INLINED {
                        return Err(ReadError::Over(Resource::Ranges));
                    }
                    entry::ranges(&self.sections, &self.root.bases, &entry, |addresses| {
                        inlined.push(Inlined {
                            addresses,
                            depth: nesting,
                            entry: place,
                            call,
                        });
                        match inlined.len() < MAX_INLINED {
                            true => ControlFlow::Continue(()),
                            false => ControlFlow::Break(()),
                        }
                    })?;
                    open.push(depth);
                } else {
                    is_too_deep = true;
                }
            }
            if entries.next_depth() <= 0 || entries.is_empty() {
                break;
            }
        }
        match is_too_deep {
            true => Err(ReadError::Over(Resource::Depth)),
            false => Ok(()),
        }
    }

    /// Returns an entry's own names, and where else a name may be.
    pub(super) fn own_names(&self, place: usize) -> Result<(Names, Option<Origin>), ReadError> {
        self.sections.budget().pay(Resource::Steps, 1)?;
        let mut entry = Entry::null();
        let read = self.entries(place).read_entry(&mut entry);
        if place < self.root.entries || !read.map_err(malformed)? {
            return Err(malformed(()));
        }
        let text = |names: &[gimli::DwAt]| {
            let mut values = names.iter().filter_map(|name| entry.attr_value(*name));
            let value = values.next();
            let text = value.map(|value| self.sections.text(value, &self.root.bases));
            text.transpose().map(Option::flatten)
        };
        let names = Names {
            linkage: text(&[gimli::DW_AT_linkage_name, gimli::DW_AT_MIPS_linkage_name])?,
            bare: text(&[gimli::DW_AT_name])?,
        };
        let mut origins = [gimli::DW_AT_abstract_origin, gimli::DW_AT_specification]
            .into_iter()
            .filter_map(|name| entry.attr_value(name));
        let origin = origins.find_map(|value| match value {
            AttributeValue::UnitRef(offset) => Some(Origin::Here(offset.0)),
            AttributeValue::DebugInfoRef(offset) => Some(Origin::Elsewhere(offset.0 as u64)),
            _ => None,
        });
        Ok((names, origin))
    }
}

fn call_of(entry: &Entry<'_>) -> Call {
    let number = |name| entry.attr_value(name).and_then(|value| value.udata_value());
    let small = |name| number(name).and_then(|number| u32::try_from(number).ok());
    let column = number(gimli::DW_AT_call_column);
    Call {
        file: match entry.attr_value(gimli::DW_AT_call_file) {
            Some(AttributeValue::FileIndex(index)) => u32::try_from(index).ok(),
            _ => small(gimli::DW_AT_call_file),
        },
        line: small(gimli::DW_AT_call_line).unwrap_or(0),
        column: column
            .and_then(|column| u16::try_from(column).ok())
            .unwrap_or(0),
    }
}
