//! Reads everything that the command would read from a file.

use std::{fs::File, sync::Arc};

use rtops_elf::{Budget, DebugLevel, Dwarf, Elf, Functions, ReadError};
use rtops_types::Svma;

use crate::forge::CODE;

/// Reads everything from a file, and looks up this many addresses. Returns how many names were
/// found, and what was left out first.
pub fn look(file: File, budget: &Arc<Budget>, addresses: u64) -> String {
    let mut faults = Vec::new();
    let found = budget.spend(|| read(file, budget, addresses, &mut faults));
    let found = found.map_err(|fault| faults.push(fault)).unwrap_or(0);
    match faults.first() {
        Some(fault) => format!("{found} names; {fault}"),
        None => format!("{found} names; nothing left out"),
    }
}

fn read(
    file: File,
    budget: &Arc<Budget>,
    addresses: u64,
    faults: &mut Vec<ReadError>,
) -> Result<usize, ReadError> {
    let elf = Arc::new(Elf::read(Arc::new(file), budget)?);
    let mut found = usize::from(elf.build_id().is_some());
    let functions = Functions::read(&elf)?;
    let dwarf = Dwarf::of(Arc::clone(&elf));
    let step = (CODE.end - CODE.start) / addresses;
    let addresses = CODE.step_by(usize::try_from(step).unwrap());
    let addresses: Vec<Svma> = addresses.map(Svma).collect();
    if let Some(dwarf) = &dwarf {
        dwarf.read_ahead(&addresses);
        faults.extend(dwarf.take_fault());
    }
    for address in addresses {
        if let Some(function) = functions.at(address) {
            let name = functions.name(&elf, function)?;
            found += usize::from(name.is_some_and(|name| rtops_elf::demangle(&name).is_some()));
        }
        let Some(dwarf) = &dwarf else {
            continue;
        };
        let frames = dwarf.frames(address);
        found += frames.iter().filter(|frame| frame.bare.is_some()).count();
        if let Some(place) = frames.first().and_then(|frame| frame.place.as_ref()) {
            found += dwarf.own_code_of(place, |_| true).len();
        }
        faults.extend(dwarf.take_fault());
    }
    if let Some(dwarf) = &dwarf {
        found += dwarf.unit_names().count();
    }
    faults.extend(DebugLevel::of(&elf).err());
    Ok(found)
}
