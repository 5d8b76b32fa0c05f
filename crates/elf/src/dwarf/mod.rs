//! What debug info says about an address: the functions there, and where they are in the source.

mod ahead;
mod entry;
mod lines;
mod same_line;
mod sections;
mod split;
mod unit;
mod units;

use std::{
    cell::{OnceCell, RefCell},
    cmp::Reverse,
    collections::BTreeSet,
    ops::ControlFlow,
    sync::Arc,
};

use rtops_types::Svma;

use self::{
    lines::Lines,
    sections::Sections,
    split::Split,
    unit::{Inlined, Names, Origin, Unit},
};
pub use self::{
    split::SplitFiles,
    units::{Claim, Root, Units},
};
use crate::{Elf, ReadError, Resource};

/// How many times an entry may refer to another for its name.
const MAX_ORIGINS: usize = 8;
/// How many units that claim an address are read until one knows it.
const MAX_CANDIDATES: usize = 4;
/// Comparing this many ranges or rows is as much work as reading an entry.
const EASY: u64 = 256;
/// How many bytes of a unit are read to find out which kinds of entries it has.
const MAX_LOOK: u64 = 1 << 20;

/// The debug info of a file. Only the units that are asked for are read.
#[derive(Debug)]
pub struct Dwarf {
    sections: Arc<Sections>,
    split: Option<Split>,
    units: OnceCell<Units>,
    /// `None` for a unit that can't be read, which was reported when it was first asked for.
    read: OnceCell<Vec<OnceCell<Option<Box<Unit>>>>>,
    /// The first fault that was not reported yet.
    fault: RefCell<Option<ReadError>>,
}

/// A function that was called or inlined.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frame {
    /// Its linkage name.
    pub linkage: Option<String>,
    /// Its name without a path.
    pub bare: Option<String>,
    /// Its place in the source.
    pub place: Option<Place>,
}

/// A place in the source.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Place {
    /// The path as the compiler saw it.
    pub file: String,
    /// From 1; 0 for code that belongs to no line.
    pub line: u32,
    /// From 1; 0 if unknown.
    pub column: u32,
}

/// The name that a compiler gave a unit, and where the compiler ran.
#[derive(Clone, Copy, Debug)]
pub struct UnitName<'a> {
    /// The name of the unit.
    pub name: &'a str,
    /// The directory that the compiler ran in.
    pub directory: Option<&'a str>,
}

impl Dwarf {
    /// Returns the debug info of a file; `None` if it has none.
    #[must_use]
    pub fn of(elf: Arc<Elf>) -> Option<Self> {
        elf.section(".debug_info")?;
        Some(Self {
            sections: Arc::new(Sections::of(elf, None)),
            split: None,
            units: OnceCell::new(),
            read: OnceCell::new(),
            fault: RefCell::default(),
        })
    }

    /// Sets the units, as [`Dwarf::units_read`] returned them for the same file.
    #[must_use]
    pub fn with_units(self, units: Units) -> Self {
        Self {
            units: OnceCell::from(units),
            ..self
        }
    }

    /// Returns the units, if they were read.
    #[must_use]
    pub fn units_read(&self) -> Option<&Units> {
        self.units.get()
    }

    /// Adds the debug info that was split off, as far as these files have it.
    #[must_use]
    pub fn with_split(self, files: Box<dyn SplitFiles>) -> Self {
        Self {
            split: Some(Split::new(files)),
            ..self
        }
    }

    /// Returns the first fault since the last call: names or lines are missing because of it.
    pub fn take_fault(&self) -> Option<ReadError> {
        self.fault.take()
    }

    fn note(&self, fault: ReadError) {
        self.fault.borrow_mut().get_or_insert(fault);
    }

    fn noted<T>(&self, found: Result<T, ReadError>) -> Option<T> {
        found.map_err(|fault| self.note(fault)).ok()
    }

    fn units(&self) -> &Units {
        self.units.get_or_init(|| {
            let (units, fault) = Units::read(&self.sections);
            fault.into_iter().for_each(|fault| self.note(fault));
            units
        })
    }

    /// Returns a unit by its number, and the cell that keeps it once it is read.
    fn place_of(&self, index: u32) -> Option<(&Root, &OnceCell<Option<Box<Unit>>>)> {
        let units = &self.units().units;
        let read = self
            .read
            .get_or_init(|| units.iter().map(|_| OnceCell::new()).collect());
        let index = usize::try_from(index).ok()?;
        units.get(index).zip(read.get(index))
    }

    /// Reads the units of some addresses, several at a time, so that later queries do not have to
    /// wait for one after the other.
    pub fn read_ahead(&self, addresses: &[Svma]) {
        let near = addresses.iter().filter_map(|address| {
            let index = self.units().at(address.0).into_iter().next()?;
            let (root, cell) = self.place_of(index)?;
            (cell.get().is_none() && !root.is_split()).then_some(index)
        });
        let wanted: BTreeSet<u32> = near.collect();
        let wanted = wanted.into_iter().filter_map(|index| self.place_of(index));
        let mut wanted: Vec<_> = wanted.collect();
        // The largest come first, so that none of them begins last and has to be waited for.
        wanted.sort_by_key(|(root, _)| Reverse(root.size));
        let (roots, cells): (Vec<&Root>, Vec<_>) = wanted.into_iter().unzip();
        for (number, unit, fault) in ahead::read(&self.sections, &roots) {
            if let Some(cell) = cells.get(number) {
                let _was_empty = cell.set(unit.map(Box::new));
            }
            fault.into_iter().for_each(|fault| self.note(fault));
        }
    }

    fn unit(&self, index: u32) -> Option<&Unit> {
        let (root, cell) = self.place_of(index)?;
        let unit = cell.get_or_init(|| {
            let split = self.split.as_ref();
            let split = split.map(|split| split.read(&self.sections, root));
            let split = split.and_then(|split| self.noted(split).flatten());
            let own = || self.noted(Unit::read(Arc::clone(&self.sections), root));
            split.or_else(own).map(Box::new)
        });
        unit.as_deref()
    }

    /// Returns the names of the units.
    pub fn unit_names(&self) -> impl Iterator<Item = UnitName<'_>> {
        self.units().units.iter().filter_map(Root::unit_name)
    }

    /// Returns the Rust units that are not part of the standard library.
    pub(crate) fn own_units(&self) -> impl Iterator<Item = &Root> {
        let is_own = |unit: &&Root| unit.is_split() || (unit.is_rust && !unit.is_of_std());
        self.units().units.iter().filter(is_own)
    }

    /// Passes the kinds of a unit's entries to `look`, as far as they are in its first megabyte.
    pub(crate) fn tags(
        &self,
        unit: &Root,
        look: impl FnMut(gimli::DwTag) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let start = Root {
            size: unit.size.min(MAX_LOOK),
            ..unit.clone()
        };
        Unit::read(Arc::clone(&self.sections), &start)?.tags(look)
    }

    /// Returns the functions at an address, the innermost inlined one first. A frame without any
    /// name has only its place. [`Dwarf::take_fault`] says why anything is missing.
    pub fn frames(&self, Svma(address): Svma) -> Vec<Frame> {
        let mut place_only = Vec::new();
        for index in self.units().at(address).into_iter().take(MAX_CANDIDATES) {
            let Some(unit) = self.unit(index) else {
                continue;
            };
            let function = unit.function_at(address);
            if let Some(function) = self.noted(function).flatten() {
                return self.frames_in(unit, function, address);
            }
            if place_only.is_empty() {
                let place = self.place_at(unit, address);
                place_only.extend(place.map(|place| Frame {
                    place: Some(place),
                    ..Frame::default()
                }));
            }
        }
        place_only
    }

    fn frames_in(&self, unit: &Unit, function: usize, address: u64) -> Vec<Frame> {
        let (inlined, fault) = unit.inlined_at(function, address);
        fault.into_iter().for_each(|fault| self.note(fault));
        let mut place = self.place_at(unit, address);
        if let (Some(place), Some(last)) = (&mut place, inlined.last())
            && place.line == 0
        {
            let home = self.home(unit, function, last);
            place.file = home.unwrap_or_else(|| std::mem::take(&mut place.file));
        }
        let mut frames = Vec::new();
        for one in inlined.iter().rev() {
            let names = self.names(unit, one.entry as usize);
            let call = &one.call;
            let outer = call.file.and_then(|file| {
                self.place(unit, file.into(), call.line.into(), call.column.into())
            });
            frames.push(Frame {
                linkage: names.linkage,
                bare: names.bare,
                place: std::mem::replace(&mut place, outer),
            });
        }
        let Names { linkage, bare } = self.names(unit, function);
        frames.push(Frame {
            linkage,
            bare,
            place,
        });
        frames
    }

    /// Returns the file of an inlined function. A row without a line may have the file of another
    /// function, so the rows of the same function that have a line decide.
    fn home(&self, unit: &Unit, function: usize, inlined: &Inlined) -> Option<String> {
        let lines = self.lines(unit)?;
        let rows = lines.within(&self.sections, &inlined.addresses);
        let mut rows = self.noted(rows)?.into_iter().filter(|row| row.line > 0);
        let row = rows.find(|row| {
            let (chain, _) = unit.inlined_at(function, row.address);
            chain.last().is_some_and(|last| last.entry == inlined.entry)
        })?;
        let file = lines.file(&self.sections, &unit.root, row.file.into());
        self.noted(file).flatten()
    }

    /// Returns the names of an entry, wherever it has them.
    fn names(&self, unit: &Unit, entry: usize) -> Names {
        if let Some(known) = unit.names.borrow().get(&entry) {
            return known.clone();
        }
        let names = self.noted(self.read_names(unit, entry)).unwrap_or_default();
        unit.names.borrow_mut().insert(entry, names.clone());
        names
    }

    fn read_names<'a>(&'a self, unit: &'a Unit, entry: usize) -> Result<Names, ReadError> {
        let mut names = Names::default();
        let (mut unit, mut entry) = (unit, entry);
        for _ in 0..MAX_ORIGINS {
            let (own, origin) = unit.own_names(entry)?;
            names.linkage = names.linkage.or(own.linkage);
            names.bare = names.bare.or(own.bare);
            let is_whole = names.linkage.is_some() && names.bare.is_some();
            match origin {
                Some(Origin::Here(place)) if !is_whole => entry = place,
                Some(Origin::Elsewhere(offset)) if !is_whole => {
                    let units = self.units();
                    let index = units.holding(offset);
                    let Some(found) = index.and_then(|index| self.unit(index)) else {
                        break;
                    };
                    let place = offset.checked_sub(found.root.start);
                    entry = place
                        .and_then(|place| usize::try_from(place).ok())
                        .unwrap_or(0);
                    unit = found;
                }
                _ => break,
            }
        }
        let length = |name: &Option<String>| name.as_ref().map_or(0, String::len) as u64;
        let bytes = length(&names.linkage) + length(&names.bare);
        self.sections.budget().pay(Resource::Names, bytes)?;
        Ok(names)
    }

    fn lines<'a>(&self, unit: &'a Unit) -> Option<&'a Lines> {
        let (lines, fault) = unit.lines();
        fault.into_iter().for_each(|fault| self.note(fault));
        lines
    }

    fn place_at(&self, unit: &Unit, address: u64) -> Option<Place> {
        let row = self.lines(unit)?.at(&self.sections, address);
        let row = self.noted(row).flatten()?;
        self.place(unit, row.file.into(), row.line.into(), row.column.into())
    }

    fn place(&self, unit: &Unit, file: u64, line: u64, column: u64) -> Option<Place> {
        let file = self.lines(unit)?.file(&self.sections, &unit.root, file);
        let column = if line == 0 { 0 } else { column };
        Some(Place {
            file: self.noted(file).flatten()?,
            line: u32::try_from(line).unwrap_or(0),
            column: u32::try_from(column).unwrap_or(0),
        })
    }
}
