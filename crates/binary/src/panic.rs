//! Finds out what a panic does, from the code and not from symbols, which a stripped program lacks.
//!
//! std marks its exceptions with a number, which is in the code that throws and catches
//! them. If a panic aborts, that part of std is not linked. Functions of the unwinder show
//! nothing: std needs some for backtraces, and C++ libraries need all of them.

use std::ops::ControlFlow;

use memchr::memmem::Finder;
use object::{LittleEndian, elf::Sym64, pod, read::elf::Sym};
use rtops_elf::{Elf, Extent, ReadError};
use serde::{Deserialize, Serialize};

/// The number as it is in code for x86-64, now and in older versions of std.
const MARKS: [&[u8; 8]; 2] = [b"MOZ\0RUST", b"TSUR\0ZOM"];
/// The most bytes of code that are searched, in all sections together.
const MAX_CODE: u64 = 512 << 20;
/// The most bytes of the symbols for the dynamic linker, and of their names.
const MAX_SYMBOLS: u64 = 16 << 20;
/// The function that every program calls that uses std as a shared library.
const START: &[u8] = b"lang_start_internal";

/// What a panic does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum PanicStrategy {
    /// It unwinds the stack, and may be caught.
    Unwind,
    /// It ends the process.
    Abort,
}

impl PanicStrategy {
    /// Returns its name, as in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unwind => "unwind",
            Self::Abort => "abort",
        }
    }
}

/// Returns what a panic does; `None` unless the number is a
/// constant in the code and std is part of the program.
pub(crate) fn strategy(elf: &Elf) -> Option<PanicStrategy> {
    if !elf.is_x86_64() || has_shared_std(elf).ok()? {
        return None;
    }
    let marks = MARKS.map(Finder::new);
    let mut is_marked = false;
    let mut left = MAX_CODE;
    for code in elf.code() {
        let extent = elf.search(code, left, |piece| {
            left = left.saturating_sub(piece.len() as u64);
            is_marked = marks.iter().any(|mark| mark.find(piece).is_some());
            match is_marked {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        match extent {
            _ if is_marked => return Some(PanicStrategy::Unwind),
            Ok(Extent::Whole) => {}
            Ok(Extent::Part) | Err(_) => return None,
        }
    }
    Some(PanicStrategy::Abort)
}

fn has_shared_std(elf: &Elf) -> Result<bool, ReadError> {
    let symbols = elf.section(".dynsym");
    let names = symbols.and_then(|symbols| elf.linked("the names of symbols", symbols));
    let Some((symbols, names)) = symbols.zip(names) else {
        return Ok(false);
    };
    let symbols = elf.bytes(symbols, MAX_SYMBOLS)?;
    let names = elf.bytes(names, MAX_SYMBOLS)?;
    let symbols = pod::slice_from_all_bytes::<Sym64<LittleEndian>>(&symbols);
    let symbols = symbols.map_err(|()| ReadError::Malformed("the symbol table"))?;
    let start = Finder::new(START);
    let mut missing = symbols
        .iter()
        .filter(|symbol| symbol.is_undefined(LittleEndian));
    Ok(missing.any(|symbol| {
        let place = usize::try_from(symbol.st_name(LittleEndian)).unwrap_or(usize::MAX);
        let name = names.get(place..).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        start.find(name).is_some()
    }))
}
