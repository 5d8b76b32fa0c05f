//! The few functions that are known by name: those of the vDSO, and where panics begin.

use std::{collections::HashMap, fs::File};

use object::{
    Endianness, Object as _, ObjectSymbol as _, ReadCache, ReadRef, read::elf::ElfFile64,
};
use rtops_image::{Image, ImageModule, ModuleKind};

/// The largest vDSO that is believed.
const LARGEST_VDSO: u64 = 1 << 20;

/// A function of the vDSO, which reads memory of the kernel's that no image has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Vdso {
    ClockGettime,
    ClockGetres,
    GetTimeOfDay,
    Time,
    GetCpu,
    GetRandom,
}

/// The functions of the vDSO by their addresses.
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
    each_symbol(bytes.as_slice(), Tables::Dynamic, |name, address| {
        if let Some(function) = known(name) {
            functions.insert(address.wrapping_add(vdso.load_bias), function);
        }
    });
    functions
}

/// Where a panic begins to unwind the stack; nowhere in a program that ends instead.
pub(crate) fn panics(image: &impl Image) -> Vec<u64> {
    let is_program = |module: &&ImageModule| module.kind == ModuleKind::MainExecutable;
    let (programs, libraries): (Vec<_>, Vec<_>) = image.modules().iter().partition(is_program);
    let named = |modules: Vec<&ImageModule>, tables| -> Vec<u64> {
        let found = modules.into_iter();
        found.flat_map(|module| raises(module, tables)).collect()
    };
    let found = named(libraries, Tables::Dynamic);
    if found.is_empty() {
        // Then the program has the unwinder linked in.
        return named(programs, Tables::All);
    }
    found
}

fn raises(module: &ImageModule, tables: Tables) -> Vec<u64> {
    let mut found = Vec::new();
    if let Ok(file) = &module.file {
        let cache: ReadCache<&File> = ReadCache::new(&file.file);
        each_symbol(&cache, tables, |name, address| {
            if name == "_Unwind_RaiseException" {
                found.push(address.wrapping_add(module.load_bias));
            }
        });
    }
    found
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Tables {
    Dynamic,
    All,
}

fn each_symbol<'a>(file: impl ReadRef<'a>, tables: Tables, mut look: impl FnMut(&str, u64)) {
    let Ok(elf) = ElfFile64::<Endianness, _>::parse(file) else {
        return;
    };
    let all = (tables == Tables::All).then(|| elf.symbols());
    let symbols = elf.dynamic_symbols().chain(all.into_iter().flatten());
    for symbol in symbols.filter(|symbol| symbol.address() != 0) {
        if let Ok(name) = symbol.name() {
            look(name, symbol.address());
        }
    }
}
