//! Turns addresses of another process into functions, files and lines.
//!
//! [`Symbols::look_up`] takes addresses of the target and finds the module of each, among
//! those that the agent named (`front`). A reader (`here`) finds the ELF files itself
//! (`locate`), reads their symbols and line tables (`elf`) and puts the names together
//! (`names`). A [`Name`] is a name taken apart. [`visible`], [`task_wait`] and
//! [`thread_wait`] judge whole stacks, each by one table of rules (`fold`, `wait`).
//!
//! Nothing here trusts the target. Its files are read, never mapped, so that a file that is
//! cut short meanwhile is an error and not a SIGBUS. No other file that an ELF file names
//! is opened. A file that makes the DWARF reader panic costs only the names of that module.
#![forbid(unsafe_code)]

mod ask;
#[cfg(feature = "child")]
pub mod cache;
#[cfg(feature = "child")]
pub mod child;
mod debug_files;
mod elf;
mod fold;
mod front;
mod future;
mod here;
mod lack;
mod line_tables;
mod locate;
mod name;
mod names;
mod place;
mod poll;
mod wait;

use std::{collections::HashMap, fmt, fs::File, ops::Range, path::PathBuf, sync::Arc};

pub use crate::{
    fold::{FrameClass, visible},
    front::{LookedUp, Symbols},
    future::Poller,
    lack::{Lack, LackReason, Missed},
    locate::is_c_library,
    name::Name,
    names::{display_name, display_type, is_body},
    place::Place,
    poll::Polls,
    wait::{Serving, WaitEnd, WaitReason, is_child, serving, task_wait, thread_wait},
};
pub use rtops_elf::Resource;
pub use rtops_types::{FileOffset, Module, ModuleKind, Pid};

/// Where to look for files.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The pid of the process as seen from here; `None` if it no longer exists.
    pub pid: Option<Pid>,
    /// Directories with unstripped binaries or debug files.
    pub symbol_dirs: Vec<PathBuf>,
    /// The files of modules by their paths, for a process that can't be asked for them.
    pub files: HashMap<String, Arc<File>>,
    /// Whether to look up lines in the C library, and what is inlined there. Its debug info is
    /// large and compressed; its symbols suffice for names.
    pub c_library_lines: bool,
}

/// An absolute address of the target.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Address {
    /// The address of the instruction that runs next; it is looked up itself.
    InstructionPointer(u64),
    /// The address of the instruction after a call. The call may be the last instruction of its
    /// function or line, so the byte before is looked up.
    ReturnAddress(u64),
}

impl Address {
    fn for_lookup(self) -> u64 {
        match self {
            Self::InstructionPointer(address) => address,
            Self::ReturnAddress(address) => address.saturating_sub(1),
        }
    }

    /// Returns the address as it is on the stack.
    #[must_use]
    pub const fn get(self) -> u64 {
        match self {
            Self::InstructionPointer(address) | Self::ReturnAddress(address) => address,
        }
    }
}

/// What is at an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// The innermost inlined function first, the function that was
    /// called last; never empty. Addresses share frames.
    pub frames: Vec<Arc<Symbol>>,
    /// Where in memory the function that was called begins, if a symbol covers the address.
    pub start: Option<u64>,
}

/// A function that was called or inlined.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Symbol {
    /// Its name, or what is known instead.
    pub function: Function,
    /// What is derived from that name.
    pub known: Arc<Name>,
    /// Its place in the source, if the module has line tables.
    pub place: Option<Place>,
    /// The file name of the module; empty for an address outside of all modules.
    pub module: String,
}

/// A function, or what is known instead of its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Function {
    /// The name, demangled, with generic arguments, without the hash. Line tables name an
    /// inlined function without its path: then the path is that of its source file
    /// (`tokio::net::tcp::listener`).
    Named(String),
    /// No symbol covers the address.
    ModuleOffset {
        /// The file name of the module.
        module: String,
        /// The address in the ELF file.
        offset: u64,
    },
    /// No module covers the address.
    Unmapped(u64),
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::ModuleOffset { module, offset } => write!(f, "{module}+{offset:#x}"),
            Self::Unmapped(address) => write!(f, "{address:#x}"),
        }
    }
}

/// The part of a module in memory that has the code. Only for
/// modules that an address was looked up in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment {
    /// The path of the module.
    pub path: String,
    /// Its build-id.
    pub build_id: Vec<u8>,
    /// Where it is mapped, in whole pages.
    pub memory: Range<u64>,
    /// Where in the file the mapped part begins.
    pub file_offset: FileOffset,
    /// Whether its functions have names here.
    pub has_functions: bool,
    /// Whether its lines were found.
    pub has_lines: bool,
}
