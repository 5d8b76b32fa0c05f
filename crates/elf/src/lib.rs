//! A reader of ELF files and the DWARF in them, for untrusted files.
//!
//! [`Header`] and [`Head`] are the start of a file, which may be a core file or the copy of a
//! program in memory. [`Elf`] has the sections as well. [`Contents`] are the bytes of a section,
//! inflated if it is compressed, [`Functions`] are the symbols, and [`Dwarf`] is the debug info of
//! functions. Everything that is read is paid for from a [`Budget`]: a file may claim anything, and
//! may be sparse, compressed or nested, but costs at most the budget. Anything over it is not read,
//! and the error says so.
//!
//! Files are read, never mapped, so that a file that is truncated meanwhile causes an error and not
//! a SIGBUS. Other files that a file names are not opened.
#![forbid(unsafe_code)]

mod budget;
mod contents;
mod dwarf;
mod elf;
mod error;
mod functions;
mod headers;
mod level;
mod name;

pub use crate::{
    budget::{Budget, Limits, Resource},
    contents::Contents,
    dwarf::{
        Claim as UnitClaim, Dwarf, Frame, Place, Root as UnitRoot, SplitFiles, UnitName, Units,
    },
    elf::{Elf, Extent, Section, Segment},
    error::ReadError,
    functions::{Function, Functions},
    headers::{Head, Header, NoHeader, ProgramHeader, ReadAt},
    level::DebugLevel,
    name::demangle,
};
