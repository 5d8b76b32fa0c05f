//! Addresses of another process turned into functions, files and lines.
//!
//! [`Symbols::resolve`] is given the modules that the agent named and addresses of the target, and
//! finds the ELF files itself (`locate`), reads their symbols and line tables (`elf`) and
//! puts the names together (`names`). [`visible`] and [`task_wait`], [`thread_wait`] judge
//! whole stacks, each by one table of rules (`fold`, `wait`); [`polls`] tells polls by their names.
//!
//! Nothing here trusts the target: its files are read, never mapped, so that one that is cut
//! short meanwhile is an error and not a SIGBUS; no other file that an ELF file names is opened;
//! and a file that makes the DWARF reader panic costs the names of that module only.
#![forbid(unsafe_code)]

mod debug_files;
mod elf;
mod fold;
mod future;
mod lack;
mod line_tables;
mod locate;
mod names;
mod poll;
mod wait;

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
};

use rtops_elf::Budget;

pub use crate::{
    fold::{FrameClass, classify, visible},
    future::Poller,
    lack::{Lack, LackReason},
    names::{display_name, display_type, is_body},
    poll::{Polls, polls},
    wait::{Serving, WaitEnd, WaitReason, is_child, is_container, serving, task_wait, thread_wait},
};
use crate::{future::Named, locate::Finder};
pub use rtops_elf::Resource;
pub use rtops_types::{FileOffset, Module, ModuleKind, Pid};

/// The bytes of a jump to another function.
const JUMP: usize = 5;
/// How much of a function that polls is looked at, in bytes, for the name of its future.
const MAX_FUNCTION: u64 = 4096;

/// How many crates are told of that lack something.
const MAX_CRATES: usize = 64;

/// Where to look for files.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The process, by its pid as seen from here; none for one that is no more.
    pub pid: Option<Pid>,
    /// Directories with unstripped binaries or debug files.
    pub symbol_dirs: Vec<PathBuf>,
    /// The files of modules by their paths, of a process that can't be asked for them.
    pub files: HashMap<String, Arc<File>>,
}

/// An absolute address of the target.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Address {
    /// Of the instruction that runs next: it is looked up itself.
    InstructionPointer(u64),
    /// Of the instruction behind a call. The call may be the last instruction of its function or
    /// line, so the byte before is looked up.
    ReturnAddress(u64),
}

impl Address {
    fn for_lookup(self) -> u64 {
        match self {
            Self::InstructionPointer(address) => address,
            Self::ReturnAddress(address) => address.saturating_sub(1),
        }
    }

    /// The address as it stands on the stack.
    #[must_use]
    pub const fn get(self) -> u64 {
        match self {
            Self::InstructionPointer(address) | Self::ReturnAddress(address) => address,
        }
    }
}

/// What stands at an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// The innermost inlined function first, the function that was called last; never empty.
    pub frames: Vec<Frame>,
    /// Where in memory the function that was called begins, if a symbol covers the address.
    pub start: Option<u64>,
}

/// A function that was called or inlined.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Its name, or what is known instead.
    pub function: Function,
    /// Where in the source, if the module has line tables.
    pub location: Option<Location>,
    /// The file name of the module; empty for an address outside of all modules.
    pub module: String,
}

/// A function, or what is known instead of its name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Function {
    /// Demangled, with generic arguments, without the hash. Line tables name an inlined function
    /// without its path: then the path is that of its source file (`tokio::net::tcp::listener`).
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

/// A place in the source.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Location {
    /// The path as the compiler saw it, relative to where it ran if it lies below.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, if known.
    pub column: Option<u32>,
}

/// A frame of a stack, for the rules that judge whole stacks.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    /// The full name, as in [`Function::Named`].
    pub function: &'a str,
}

/// A part of a module in memory: the one with the code, of a module that an address was looked up
/// in.
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

/// What looks up addresses in one module; addresses are those in its ELF file.
trait Lookup: Send {
    /// The functions at an address, innermost first; empty if no symbol covers it.
    fn frames(&self, address: u64) -> Vec<(String, Option<Location>)>;

    /// The symbol that covers an address, from where it begins to where it ends.
    fn covering(&self, address: u64) -> Option<Range<u64>>;

    /// The same functions as debug info names them, with their generic arguments.
    fn named(&self, address: u64) -> Vec<Named>;

    /// The code at an address, as much of it as `code` has room for; fails where the file has less.
    fn read_code(&self, address: u64, code: &mut [u8]) -> Option<()>;

    /// The part of the file that is loaded at an address: the addresses of it, and where in the
    /// file it is.
    fn segment(&self, address: u64) -> Option<(Range<u64>, FileOffset)>;

    /// Where the compiler ran that was given relative paths of sources.
    fn source_directories(&self) -> Vec<PathBuf>;

    /// What kept it from knowing more.
    fn lack(&self) -> Option<LackReason>;
}

/// A module, and its file once an address in it was asked for.
struct Entry {
    module: Module,
    name: String,
    loaded: Loaded,
    /// How many functions of Rust code other than std's, which always has them, have a line, and
    /// of which crates are those that don't. Glue that the compiler makes never has one.
    with_line: usize,
    without_line: BTreeSet<String>,
    /// The crates of `async fn`s without a name.
    nameless: BTreeSet<String>,
    /// What may still be read of its files.
    budget: Arc<Budget>,
}

enum Loaded {
    NotYet,
    File(Box<dyn Lookup>),
    Failed(LackReason),
}

/// The symbols of one process. Only modules that are asked for are opened, each once. May be sent to
/// another thread.
pub struct Symbols {
    /// Sorted by the start of their code.
    entries: Vec<Entry>,
    finder: Finder,
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let modules: Vec<&Module> = self.entries.iter().map(|entry| &entry.module).collect();
        f.debug_struct("Symbols")
            .field("modules", &modules)
            .field("options", self.finder.options())
            .finish_non_exhaustive()
    }
}

impl Symbols {
    /// Prepares to look up addresses in these modules; opens nothing yet.
    #[must_use]
    pub fn new(mut modules: Vec<Module>, options: Options) -> Self {
        modules.sort_by_key(|module| module.code.start);
        let finder = Finder::new(options);
        let entries = modules.into_iter().map(|module| Entry {
            name: locate::file_name(&module.path).to_owned(),
            module,
            loaded: Loaded::NotYet,
            with_line: 0,
            without_line: BTreeSet::new(),
            nameless: BTreeSet::new(),
            budget: finder.budget(),
        });
        Self {
            entries: entries.collect(),
            finder,
        }
    }

    /// Looks up each address. What isn't found stands as module and offset or as the bare
    /// address; [`Symbols::lacks`] says why. Blocks to read the files of the modules that are hit
    /// for the first time.
    pub fn resolve(&mut self, addresses: &[Address]) -> HashMap<Address, Resolved> {
        let resolved = addresses
            .iter()
            .map(|address| (*address, self.resolve_one(*address)));
        resolved.collect()
    }

    /// What is known of a function by which tokio polls the tasks of one type, from its address.
    pub fn poller(&mut self, poll: u64) -> Poller {
        let (entry, finder) = self.entry(poll);
        match entry {
            Some(entry) => entry.poller(poll, finder),
            None => Poller {
                future_type: None,
                entry: poll,
                module_offset: format!("{poll:#x}"),
            },
        }
    }

    fn entry(&mut self, address: u64) -> (Option<&mut Entry>, &Finder) {
        let behind = self
            .entries
            .partition_point(|entry| entry.module.code.start <= address);
        let entry = behind
            .checked_sub(1)
            .and_then(|index| self.entries.get_mut(index))
            .filter(|entry| entry.module.code.contains(&address));
        (entry, &self.finder)
    }

    fn resolve_one(&mut self, address: Address) -> Resolved {
        let (entry, finder) = self.entry(address.for_lookup());
        match entry {
            Some(entry) => entry.resolve(address, finder),
            None => Resolved {
                frames: vec![Frame {
                    function: Function::Unmapped(address.get()),
                    location: None,
                    module: String::new(),
                }],
                start: None,
            },
        }
    }

    /// What kept the lookups so far from telling more, at most one thing a module.
    #[must_use]
    pub fn lacks(&self) -> Vec<Lack> {
        let lacks = self.entries.iter().filter_map(|entry| {
            Some(Lack {
                module: entry.name.clone(),
                reason: entry.lack()?,
            })
        });
        lacks.collect()
    }

    /// The directories that the relative paths of sources are below, of the modules that addresses
    /// were looked up in so far.
    #[must_use]
    pub fn source_directories(&self) -> Vec<PathBuf> {
        let files = self.entries.iter().filter_map(|entry| match &entry.loaded {
            Loaded::File(file) => Some(file.source_directories()),
            Loaded::NotYet | Loaded::Failed(_) => None,
        });
        files.flatten().collect()
    }

    /// The code of the modules that addresses were looked up in so far.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let hit = |entry: &&Entry| !matches!(entry.loaded, Loaded::NotYet);
        self.entries
            .iter()
            .filter(hit)
            .map(Entry::segment)
            .collect()
    }
}

impl Entry {
    /// Asks the module's file, which is opened when it is first asked; `None` if it can't be.
    fn ask<T>(&mut self, finder: &Finder, what: impl FnOnce(&dyn Lookup) -> T) -> Option<T> {
        if matches!(self.loaded, Loaded::NotYet) {
            self.loaded = load(&self.module, finder, &self.budget);
        }
        // The DWARF readers are made for bad input, but a panic here would cost the whole dump.
        let found = match &self.loaded {
            Loaded::File(file) => catch_unwind(AssertUnwindSafe(|| what(&**file))),
            Loaded::NotYet | Loaded::Failed(_) => return None,
        };
        let failed = |_| Loaded::Failed(LackReason::Malformed("its debug info".to_owned()));
        found.map_err(|panic| self.loaded = failed(panic)).ok()
    }

    fn poller(&mut self, poll: u64, finder: &Finder) -> Poller {
        let bias = self.module.load_bias;
        let begin = poll.wrapping_sub(bias);
        let found = self.ask(finder, |file| {
            let mut code = [0; JUMP];
            let target = file.read_code(begin, &mut code);
            let target = target.and_then(|()| future::jump_target(begin, &code));
            let begins = [Some(begin), target].into_iter().flatten();
            let by_debug_info = begins
                .clone()
                .find_map(|begin| type_by_debug_info(file, begin));
            let by_name = || {
                let mut named = begins.flat_map(|begin| file.named(begin));
                named.find_map(|function| function.type_by_name())
            };
            (by_debug_info.or_else(by_name), target.unwrap_or(begin))
        });
        let (future_type, entry) = found.unwrap_or((None, begin));
        Poller {
            future_type,
            entry: entry.wrapping_add(bias),
            module_offset: format!("{}+{begin:#x}", self.name),
        }
    }

    fn resolve(&mut self, address: Address, finder: &Finder) -> Resolved {
        let lookup = address.for_lookup().wrapping_sub(self.module.load_bias);
        let found = self.ask(finder, |file| file.frames(lookup));
        let found = found.unwrap_or_default();
        if found.is_empty() {
            return Resolved {
                frames: vec![Frame {
                    function: Function::ModuleOffset {
                        module: self.name.clone(),
                        offset: address.get().wrapping_sub(self.module.load_bias),
                    },
                    location: None,
                    module: self.name.clone(),
                }],
                start: None,
            };
        }
        let start = match &self.loaded {
            Loaded::File(file) => file.covering(lookup).map(|symbol| symbol.start),
            Loaded::NotYet | Loaded::Failed(_) => None,
        };
        let frames = found.into_iter().map(|(name, location)| {
            if name.contains("::") && classify(&name) != FrameClass::Std {
                match location {
                    Some(_) => self.with_line += 1,
                    None => note(&mut self.without_line, &name),
                }
                if line_tables::is_nameless(&name) {
                    note(&mut self.nameless, &name);
                }
            }
            Frame {
                function: Function::Named(name),
                location,
                module: self.name.clone(),
            }
        });
        Resolved {
            frames: frames.collect(),
            start: start.map(|start| start.wrapping_add(self.module.load_bias)),
        }
    }

    fn segment(&self) -> Segment {
        let Module {
            path,
            build_id,
            load_bias,
            code,
            ..
        } = &self.module;
        let in_file = code.start.wrapping_sub(*load_bias);
        let segment = match &self.loaded {
            Loaded::File(file) => file.segment(in_file),
            Loaded::NotYet | Loaded::Failed(_) => None,
        };
        let (memory, file_offset) = match segment {
            Some((addresses, offset)) => (
                addresses.start.wrapping_add(*load_bias)..addresses.end.wrapping_add(*load_bias),
                offset,
            ),
            // Without the file this is as good a guess as any: most segments begin there.
            None => (code.clone(), FileOffset(in_file)),
        };
        let lack = self.lack();
        Segment {
            path: path.clone(),
            build_id: build_id.clone(),
            memory,
            file_offset,
            has_functions: matches!(self.loaded, Loaded::File(_))
                && !matches!(lack, Some(LackReason::Stripped | LackReason::NotGiven(_))),
            has_lines: self.with_line > 0,
        }
    }

    fn lack(&self) -> Option<LackReason> {
        match &self.loaded {
            _ if self.module.kind == ModuleKind::Vdso => None,
            Loaded::NotYet => None,
            Loaded::Failed(reason) => Some(reason.clone()),
            Loaded::File(file) => file.lack().or_else(|| {
                let lineless = self.with_line == 0 && !self.without_line.is_empty();
                let nameless = !self.nameless.is_empty();
                let lines = lineless.then(|| LackReason::NoLineTables(self.without_line.clone()));
                lines.or(nameless.then(|| LackReason::NoInlinedNames(self.nameless.clone())))
            }),
        }
    }
}

/// Remembers the crate of a function.
fn note(crates: &mut BTreeSet<String>, function: &str) {
    if crates.len() < MAX_CRATES {
        crates.extend(names::crate_of(function));
    }
}

/// The type that one of tokio's functions is made for, by what it is called or has inlined.
fn type_by_debug_info(file: &dyn Lookup, begin: u64) -> Option<String> {
    // Without a symbol there is no telling where it ends and another one begins.
    let end = file.covering(begin).map_or(begin, |symbol| symbol.end);
    let addresses = begin
        ..end
            .min(begin.saturating_add(MAX_FUNCTION))
            .max(begin.saturating_add(1));
    for address in addresses {
        let named = file.named(address);
        if let Some(found) = named.iter().find_map(Named::type_by_debug_info) {
            return Some(found);
        }
        if named.iter().all(|function| function.bare.is_none()) {
            return None;
        }
    }
    None
}

fn load(module: &Module, finder: &Finder, budget: &Arc<Budget>) -> Loaded {
    let load = || {
        let files = finder.open(module, budget)?;
        elf::ElfFile::load(files, budget)
    };
    match catch_unwind(AssertUnwindSafe(load)) {
        Ok(Ok(file)) => Loaded::File(Box::new(file)),
        Ok(Err(reason)) => Loaded::Failed(reason),
        Err(_) => Loaded::Failed(LackReason::Malformed("its headers".to_owned())),
    }
}
