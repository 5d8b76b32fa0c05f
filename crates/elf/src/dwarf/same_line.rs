//! Other code of the same line. A function that is inlined in one place, where line tables leave
//! out its path, may be called from another, and have a symbol there.

use rtops_types::Svma;

use super::{Dwarf, Place, UnitName, lines::Row, unit::Unit};

/// How many places of one line are looked at.
const MAX_PLACES: usize = 256;

impl Dwarf {
    /// Returns the name of the unit that an address is in.
    #[must_use]
    pub fn unit_name_at(&self, address: Svma) -> Option<UnitName<'_>> {
        let mut units = self.units().at(address.0).into_iter();
        units.find_map(|index| self.place_of(index)?.0.unit_name())
    }

    /// Returns addresses of code of this line and column in the wanted units: code of functions
    /// themselves, not of what is inlined into them.
    pub fn own_code_of(
        &self,
        place: &Place,
        is_wanted: impl Fn(UnitName<'_>) -> bool,
    ) -> Vec<Svma> {
        let mut addresses = Vec::new();
        for (index, root) in (0..).zip(&self.units().units) {
            if !root.unit_name().is_some_and(&is_wanted) {
                continue;
            }
            let Some((unit, lines)) = self
                .unit(index)
                .and_then(|unit| Some((unit, self.lines(unit)?)))
            else {
                continue;
            };
            let is_here = |row: &Row| {
                (row.line, row.column) == (place.line, place.column)
                    && self
                        .place(unit, row.file.into(), 0, 0)
                        .is_some_and(|found| found.file == place.file)
            };
            let rows = lines.all(&self.sections, is_here, MAX_PLACES - addresses.len());
            let rows = self.noted(rows).unwrap_or_default();
            let own = rows.iter().filter(|row| self.is_own(unit, row.address));
            addresses.extend(own.map(|row| Svma(row.address)));
        }
        addresses
    }

    /// Returns whether the code at an address belongs to the function that was called. Line tables
    /// alone need not list a function into which nothing is inlined.
    fn is_own(&self, unit: &Unit, address: u64) -> bool {
        let function = self.noted(unit.function_at(address)).flatten();
        function.is_none_or(|function| unit.inlined_at(function, address).0.is_empty())
    }
}
