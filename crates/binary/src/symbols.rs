//! Reads from the symbol table the name of the program's crate, and whether the whole
//! program was optimized when it was linked.
//!
//! Each linked object file has a symbol with the name of its unit. rustc names these
//! `gateway.40cb43722bd9cdaa-cgu.0`, or without the crate's name in an incremental build.
//! The linker keeps the order in which it got them:
//!
//! - without link-time optimization, each crate comes before its dependencies, so that
//!   `std` comes before `core`;
//! - with *thin* optimization, all crates are compiled once more, in the order of their names;
//! - with *fat* optimization, all of them are one unit, with the name of the program's crate.
//!
//! The program's function `main` is one at the root of a crate that no other crate may
//! call, unlike one that a library exports.

use std::collections::BTreeSet;

use object::{
    LittleEndian,
    elf::{STB_LOCAL, STT_FILE, STT_FUNC, STV_HIDDEN, Sym64},
    pod,
    read::elf::Sym,
};
use rtops_elf::{Elf, ReadError};
use serde::{Deserialize, Serialize};

/// The most bytes of symbols, and of their names.
const MAX_SYMBOLS: u64 = 128 << 20;
const MAX_NAMES: u64 = 256 << 20;
/// The longest name of a symbol that is read, in bytes. No unit has a longer one.
const LONGEST_NAME: usize = 512;
/// The part of the compiler's library that is never optimized together with the rest.
const APART: &str = "compiler_builtins";
/// A function that every program has from the standard library.
const OF_STD: &str = "rust_eh_personality";

/// What was optimized when the program was linked.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Lto {
    /// Nothing, or only the units of one crate.
    Off,
    /// All crates, as separate units.
    Thin,
    /// All crates, as one unit.
    Fat,
}

impl Lto {
    /// Returns its name, as in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Thin => "thin",
            Self::Fat => "fat",
        }
    }
}

/// What the symbols reveal.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub crate_name: Option<String>,
    pub lto: Option<Lto>,
}

/// The unit of an object file.
#[derive(Debug, Eq, PartialEq)]
enum Unit<'a> {
    /// It belongs to this crate.
    Of(&'a str),
    /// Its name does not include its crate.
    Unnamed,
}

/// Reads the symbols; `None` if the program is stripped.
pub(crate) fn read(elf: &Elf) -> Option<Result<Told, ReadError>> {
    let section = elf.section(".symtab")?;
    let names = elf.linked("the names of symbols", section)?;
    let read = || {
        let symbols = elf.bytes(section, MAX_SYMBOLS)?;
        let names = elf.bytes(names, MAX_NAMES)?;
        let symbols = pod::slice_from_all_bytes::<Sym64<LittleEndian>>(&symbols);
        let symbols = symbols.map_err(|()| ReadError::Malformed("the symbol table"))?;
        Ok(told(symbols, &names))
    };
    Some(read())
}

fn told(symbols: &[Sym64<LittleEndian>], names: &[u8]) -> Told {
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut mains = Mains::default();
    let mut has_std = false;
    for symbol in symbols {
        let name = || name_at(names, symbol.st_name(LittleEndian));
        match symbol.st_type() {
            STT_FILE => {
                let unit = name().and_then(unit);
                units.extend(unit.filter(|unit| units.last() != Some(unit)));
            }
            STT_FUNC => {
                let name = name().unwrap_or_default();
                has_std |= name == OF_STD && !symbol.is_undefined(LittleEndian);
                if may_be_main(name) {
                    mains.extend(crate_of(name), is_private(symbol));
                }
            }
            _ => {}
        }
    }
    let lto = lto(&units, has_std);
    Told {
        crate_name: crate_name(&units, lto, mains),
        lto,
    }
}

fn name_at(names: &[u8], start: u32) -> Option<&str> {
    let name = names.get(usize::try_from(start).ok()?..)?;
    let name = name.get(..LONGEST_NAME).unwrap_or(name);
    let end = memchr::memchr(0, name)?;
    std::str::from_utf8(name.get(..end)?).ok()
}

/// Parses `gateway.40cb43722bd9cdaa-cgu.0`, or the letters and digits of a hash.
fn unit(name: &str) -> Option<Unit<'_>> {
    let Some((of, rest)) = name.split_once('.') else {
        let is_hash = name.len() >= 20 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return is_hash.then_some(Unit::Unnamed);
    };
    let (hash, _) = rest.split_once("-cgu.")?;
    let is_hash = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(Unit::Of(of))
}

fn lto(units: &[Unit<'_>], has_std: bool) -> Option<Lto> {
    let place = |of| units.iter().position(|unit| *unit == Unit::Of(of));
    if let (Some(std), Some(core)) = (place("std"), place("core")) {
        return Some(if core < std { Lto::Thin } else { Lto::Off });
    }
    let mut others = units.iter().filter(|unit| **unit != Unit::Of(APART));
    match (others.next(), others.next()) {
        // If the program has no standard library, it may use a shared one.
        (Some(Unit::Of(_)), None) if has_std => Some(Lto::Fat),
        _ => None,
    }
}

/// The crates that have a function `main` at their root.
#[derive(Debug, Default)]
struct Mains {
    private: BTreeSet<String>,
    public: BTreeSet<String>,
}

impl Mains {
    fn extend(&mut self, of: Option<String>, is_private: bool) {
        if is_private {
            self.private.extend(of);
        } else {
            self.public.extend(of);
        }
    }
}

/// Whether only its own crate can call it.
fn is_private(symbol: &Sym64<LittleEndian>) -> bool {
    symbol.st_bind() == STB_LOCAL || symbol.st_visibility() == STV_HIDDEN
}

fn crate_name(units: &[Unit<'_>], lto: Option<Lto>, mains: Mains) -> Option<String> {
    let only = |mut names: BTreeSet<String>| match names.len() {
        1 => names.pop_first(),
        _ => None,
    };
    match (units.first(), lto) {
        (Some(Unit::Of(name)), Some(Lto::Fat)) => Some((*name).to_owned()),
        _ if mains.private.is_empty() => only(mains.public),
        _ => only(mains.private),
    }
}

/// Whether the name is worth demangling.
fn may_be_main(name: &str) -> bool {
    (name.starts_with("_RNvC") && name.ends_with("4main"))
        || (name.starts_with("_ZN") && name.contains("4main17h"))
}

/// Returns `gateway` for `gateway::main`.
fn crate_of(name: &str) -> Option<String> {
    let name = rtops_elf::demangle(name)?;
    let of = name.strip_suffix("::main")?;
    (!of.contains("::")).then(|| of.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_from_other_files() {
        assert_eq!(
            unit("my_app.40cb43722bd9cdaa-cgu.0"),
            Some(Unit::Of("my_app"))
        );
        assert_eq!(unit("2n5h4nprirj59ba2hsmwlrpjd"), Some(Unit::Unnamed));
        for name in ["crtstuff.c", "Scrt1.o", "", "a.x-cgu.0", "main"] {
            assert_eq!(unit(name), None, "{name}");
        }
    }

    #[test]
    fn only_a_main_at_the_root_of_a_crate_counts() {
        let of = |name: &str| may_be_main(name).then(|| crate_of(name)).flatten();
        for (name, expected) in [
            ("_ZN6my_app4main17h87a733ee78dcc10cE", Some("my_app")),
            ("_RNvCs1234_7gateway4main", Some("gateway")),
            ("_ZN6my_app5inner4main17h87a733ee78dcc10cE", None),
            ("main", None),
            ("_ZN6my_app4main17h", None),
        ] {
            assert_eq!(of(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn the_order_of_units_tells_how_they_were_linked() {
        let linked = |names: &[&'static str], has_std| {
            let units: Vec<_> = names.iter().map(|name| Unit::Of(name)).collect();
            lto(&units, has_std)
        };
        let off = ["app", "dep", "std", "core", APART];
        assert_eq!(linked(&off, true), Some(Lto::Off));
        let thin = ["alloc", "app", "core", "dep", "std", APART];
        assert_eq!(linked(&thin, true), Some(Lto::Thin));
        assert_eq!(linked(&["app", APART], true), Some(Lto::Fat));
        assert_eq!(linked(&["app", APART], false), None);
        assert_eq!(linked(&[], false), None);
    }

    #[test]
    fn the_crate_of_a_program_is_not_guessed() {
        let name = |units: &[Unit<'_>], lto, private: &[&str], public: &[&str]| {
            let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let mains = Mains {
                private: set(private),
                public: set(public),
            };
            crate_name(units, lto, mains)
        };
        let app = Some("app".to_owned());
        assert_eq!(name(&[], Some(Lto::Off), &["app"], &["dep"]), app);
        assert_eq!(name(&[], Some(Lto::Off), &[], &["app"]), app);
        assert_eq!(name(&[], None, &["app", "dep"], &[]), None);
        assert_eq!(name(&[], None, &[], &["app", "dep"]), None);
        assert_eq!(name(&[Unit::Of("app")], Some(Lto::Fat), &["dep"], &[]), app);
        assert_eq!(name(&[Unit::Of("dep")], Some(Lto::Off), &[], &[]), None);
    }
}
