//! One reader of ELF files and of the DWARF in them, for files that nobody vouches for.
//!
//! [`Header`] and [`Head`] are what a file begins with, a core file and the copy in memory of a program included;
//! [`Elf`] has the sections as well, [`Contents`] are the bytes of a section, inflated where it is compressed,
//! [`Functions`] the symbols and [`Dwarf`] the debug info of functions. What is read is paid for out of
//! a [`Budget`]: a file may claim anything, and be sparse, compressed or nested as it likes, and
//! costs what the budget has at the most. What is over it is not read, and the error says so.
//!
//! Files are read, never mapped, so that one that is cut short meanwhile is an error and not a SIGBUS;
//! and no other file that one names is opened.
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
