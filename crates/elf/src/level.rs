//! How much debug info the program's own crates have.
//!
//! The debug info of the standard library says nothing, because it was built elsewhere. The first
//! other unit with contents decides: with full debug info it has types or variables, with limited
//! debug info it has the modules that functions are in, and with only line tables it has neither.

use std::{ops::ControlFlow, sync::Arc};

use crate::{Dwarf, Elf, ReadError};

/// How many entries of units are looked at: the first ones decide.
const MAX_ENTRIES: usize = 20_000;

/// How much debug info there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub enum DebugLevel {
    /// No debug info and no symbols.
    Stripped,
    /// Symbols only.
    None,
    /// Files and lines.
    LineTables,
    /// The names of inlined functions as well.
    Limited,
    /// Types and variables as well.
    Full,
    /// It is in separate files (`.dwo` or `.dwp`).
    Split,
}

impl DebugLevel {
    /// Returns the word for it in text and JSON.
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

    /// Determines the level of a program, as far as possible.
    ///
    /// # Errors
    /// If the debug info makes no sense.
    pub fn of(elf: &Arc<Elf>) -> Result<Self, ReadError> {
        let without = match elf.section(".symtab") {
            Some(_) => Self::None,
            None => Self::Stripped,
        };
        let Some(dwarf) = Dwarf::of(Arc::clone(elf)) else {
            return Ok(without);
        };
        let mut left = MAX_ENTRIES;
        for unit in dwarf.own_units() {
            if unit.is_split() {
                return Ok(Self::Split);
            }
            let mut level = None;
            dwarf.tags(unit, |tag| {
                level = next(level, tag);
                match left.checked_sub(1) {
                    Some(less) if level != Some(Self::Full) => {
                        left = less;
                        ControlFlow::Continue(())
                    }
                    _ => ControlFlow::Break(()),
                }
            })?;
            if let Some(level) = level {
                return Ok(level);
            }
        }
        dwarf.take_fault().map_or(Ok(without), Err)
    }
}

/// Returns the level that is known once a unit has an entry of this kind, too.
fn next(known: Option<DebugLevel>, tag: gimli::DwTag) -> Option<DebugLevel> {
    const FULL: [gimli::DwTag; 4] = [
        gimli::DW_TAG_base_type,
        gimli::DW_TAG_structure_type,
        gimli::DW_TAG_formal_parameter,
        gimli::DW_TAG_variable,
    ];
    match tag {
        tag if FULL.contains(&tag) => Some(DebugLevel::Full),
        gimli::DW_TAG_namespace => Some(DebugLevel::Limited),
        gimli::DW_TAG_subprogram => known.or(Some(DebugLevel::LineTables)),
        _ => known,
    }
}
