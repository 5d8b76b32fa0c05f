//! Finds the few functions that are known by name: those of the vDSO, and where panics begin.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use memchr::memmem::Finder;
use object::{Endianness, Object as _, ObjectSymbol as _, read::elf::ElfFile64};
use rtops_elf::{Elf, ReadError};
use rtops_image::{Image, ImageModule, ModuleKind};

/// The function that a panic calls to unwind the stack.
const RAISE: &[u8] = b"_Unwind_RaiseException\0";
/// How much of a symbol table, or of its names, is read at a
/// time; a multiple of the size of a symbol.
const PIECE: u64 = 96 << 10;
/// The size of a symbol, in bytes.
const SYMBOL: usize = 24;
/// The largest vDSO that is believed.
const LARGEST_VDSO: u64 = 1 << 20;

/// A function of the vDSO. It reads kernel memory that no image has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Vdso {
    ClockGettime,
    ClockGetres,
    GetTimeOfDay,
    Time,
    GetCpu,
    GetRandom,
}

/// Returns the functions of the vDSO by address.
pub(crate) fn vdso(image: &impl Image) -> HashMap<u64, Vdso> {
    let modules = image.modules().iter();
    let Some(vdso) = modules
        .into_iter()
        .find(|module| module.kind == ModuleKind::Vdso)
    else {
        return HashMap::new();
    };
    let length = (vdso.mapped.end - vdso.mapped.start).min(LARGEST_VDSO);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    if image.read(vdso.mapped.start, &mut bytes).is_err() {
        return HashMap::new();
    }
    let mut functions = HashMap::new();
    let known = |name: &str| match name.trim_start_matches("__vdso_") {
        "clock_gettime" => Some(Vdso::ClockGettime),
        "clock_getres" => Some(Vdso::ClockGetres),
        "gettimeofday" => Some(Vdso::GetTimeOfDay),
        "time" => Some(Vdso::Time),
        "getcpu" => Some(Vdso::GetCpu),
        "getrandom" => Some(Vdso::GetRandom),
        _ => None,
    };
    each_symbol(&bytes, |name, address| {
        if let Some(function) = known(name) {
            functions.insert(address.wrapping_add(vdso.load_bias), function);
        }
    });
    functions
}

/// Returns where panics begin to unwind the stack; empty for a program that aborts instead.
pub(crate) fn panics(image: &impl Image) -> Vec<u64> {
    let is_program = |module: &&ImageModule| module.kind == ModuleKind::MainExecutable;
    let (programs, libraries): (Vec<_>, Vec<_>) = image.modules().iter().partition(is_program);
    let named = |modules: Vec<&ImageModule>, tables| -> Vec<u64> {
        let found = modules.into_iter();
        found.flat_map(|module| raises(module, tables)).collect()
    };
    let found = named(libraries, Tables::Dynamic);
    if found.is_empty() {
        // Then the unwinder is linked into the program.
        return named(programs, Tables::All);
    }
    found
}

fn raises(module: &ImageModule, tables: Tables) -> Vec<u64> {
    let tables: &[&'static str] = match tables {
        Tables::Dynamic => &[".dynsym"],
        Tables::All => &[".dynsym", ".symtab"],
    };
    let elf = module.file.as_ref().ok();
    let elf = elf.and_then(|file| Elf::read(Arc::clone(&file.file), &Arc::default()).ok());
    let found = elf.iter().flat_map(|elf| {
        let named = |table: &&'static str| named(elf, table, RAISE).ok();
        tables.iter().filter_map(named).flatten()
    });
    found
        .map(|address| address.wrapping_add(module.load_bias))
        .collect()
}

/// Returns the addresses of the symbols with this name, which ends with a zero byte, in a
/// table of a file. Names are searched in large pieces: reading each one would take
/// thousands of system calls.
fn named(elf: &Elf, table: &'static str, name: &[u8]) -> Result<Vec<u64>, ReadError> {
    let section = elf.section(table);
    let names = section.and_then(|section| elf.linked("the names of symbols", section));
    let Some((section, names)) = section.zip(names) else {
        return Ok(Vec::new());
    };
    let names = elf.contents(names)?;
    let finder = Finder::new(name);
    let mut places = HashSet::new();
    let mut start = 0;
    while start < names.size() {
        // A name that begins at the end of a piece is whole in it.
        let piece = names.get(start, PIECE + name.len() as u64, elf.budget())?;
        places.extend(finder.find_iter(&piece).map(|at| start + at as u64));
        start += PIECE;
    }
    let symbols = elf.contents(section)?;
    let mut addresses = Vec::new();
    let mut start = 0;
    while !places.is_empty() && start < symbols.size() {
        let piece = symbols.get(start, PIECE, elf.budget())?;
        addresses.extend(piece.chunks_exact(SYMBOL).filter_map(|symbol| {
            let place = u32::from_le_bytes(*symbol.first_chunk()?);
            let value = u64::from_le_bytes(*symbol.get(8..)?.first_chunk()?);
            (value != 0 && places.contains(&place.into())).then_some(value)
        }));
        start += PIECE;
    }
    Ok(addresses)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Tables {
    Dynamic,
    All,
}

fn each_symbol(file: &[u8], mut look: impl FnMut(&str, u64)) {
    let Ok(elf) = ElfFile64::<Endianness, _>::parse(file) else {
        return;
    };
    for symbol in elf.dynamic_symbols().filter(|symbol| symbol.address() != 0) {
        if let Ok(name) = symbol.name() {
            look(name, symbol.address());
        }
    }
}
