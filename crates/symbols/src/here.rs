//! Reads files in this process.

use std::{
    collections::HashMap,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use rtops_elf::Budget;
use rtops_types::{Module, Svma};

use crate::{
    LackReason, Options,
    ask::{Answer, Ask, Facts, Found, PolledBy, Reader},
    elf::ElfFile,
    future::{self, Named},
    locate::{self, Finder},
};

/// The size of a jump to another function, in bytes.
const JUMP: usize = 5;
/// How much of a polling function is searched for the name of its future, in bytes.
const MAX_FUNCTION: u64 = 4096;

/// The files of a process's modules, each opened once.
pub(crate) struct Here {
    finder: Finder,
    modules: HashMap<Module, Files>,
}

/// The files of one module, and what may still be read of them.
struct Files {
    loaded: Loaded,
    budget: Arc<Budget>,
}

enum Loaded {
    /// The files are read when something is asked.
    Opened(Box<locate::Found>),
    File(Box<ElfFile>),
    Failed(LackReason),
}

impl Here {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            finder: Finder::new(options),
            modules: HashMap::new(),
        }
    }

    /// Gives the file of a module by the module's path.
    #[cfg(feature = "child")]
    pub(crate) fn add_file(&mut self, path: &str, file: Arc<std::fs::File>) {
        self.finder.add_file(path, file);
    }

    /// Reads what is needed for any address.
    #[cfg(feature = "child")]
    pub(crate) fn prepare(&mut self, module: &Module) {
        // What can't be read is reported when it is asked for.
        let _is_read = self.module(module).ask(ElfFile::read_units);
    }

    /// Reads what is needed for these addresses, in several
    /// threads. For a process that does nothing else.
    #[cfg(feature = "child")]
    pub(crate) fn read_ahead(&mut self, module: &Module, addresses: &[Svma]) {
        let files = self.module(module);
        let _is_read = files.ask(|file| file.read_ahead(addresses));
    }

    /// Returns what is at these addresses.
    pub(crate) fn found(&mut self, module: &Module, addresses: &[Svma]) -> Vec<Found> {
        let files = self.module(module);
        let found = addresses.iter().map(|address| {
            let found = files.ask(|file| found(file, *address));
            found.unwrap_or_default()
        });
        found.collect()
    }

    /// Returns what these functions poll.
    pub(crate) fn pollers(&mut self, module: &Module, polls: &[Svma]) -> Vec<PolledBy> {
        let files = self.module(module);
        let pollers = polls.iter().map(|poll| {
            let polled = files.ask(|file| polled_by(file, *poll));
            polled.unwrap_or_else(|| PolledBy::unknown(*poll))
        });
        pollers.collect()
    }

    /// Returns what is known of the module so far.
    pub(crate) fn facts(&mut self, module: &Module) -> Facts {
        self.module(module).facts(module)
    }

    /// Returns the files of a module until they are read; `None` also if they can't be opened.
    #[cfg(feature = "child")]
    pub(crate) fn files(&mut self, module: &Module) -> Option<&mut locate::Found> {
        match &mut self.module(module).loaded {
            Loaded::Opened(found) => Some(found),
            Loaded::File(_) | Loaded::Failed(_) => None,
        }
    }

    /// Returns the units of a module, if they were read.
    #[cfg(feature = "child")]
    pub(crate) fn units(&self, module: &Module) -> Option<&rtops_elf::Units> {
        match &self.modules.get(module)?.loaded {
            Loaded::File(file) => file.units(),
            Loaded::Opened(_) | Loaded::Failed(_) => None,
        }
    }

    fn module(&mut self, module: &Module) -> &mut Files {
        let Self { finder, modules } = self;
        modules.entry(module.clone()).or_insert_with(|| {
            let budget = finder.budget();
            let loaded = Loaded::guard("its headers", || {
                Ok(Loaded::Opened(Box::new(finder.open(module, &budget)?)))
            });
            Files { loaded, budget }
        })
    }
}

impl Reader for Here {
    fn answer(&mut self, asks: &[Ask]) -> Vec<Answer> {
        let answers = asks.iter().map(|ask| {
            let Ask {
                module,
                addresses,
                polls,
            } = ask;
            Answer {
                found: self.found(module, addresses),
                pollers: self.pollers(module, polls),
                facts: Some(self.facts(module)),
            }
        });
        answers.collect()
    }
}

impl Loaded {
    /// The DWARF readers are made for bad input, but a panic in one would cost the whole dump.
    fn guard(what: &str, load: impl FnOnce() -> Result<Self, LackReason>) -> Self {
        match catch_unwind(AssertUnwindSafe(load)) {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(reason)) => Self::Failed(reason),
            Err(_) => Self::Failed(LackReason::Malformed(what.to_owned())),
        }
    }
}

impl Files {
    /// Asks the file; `None` if it can't be read.
    fn ask<T>(&mut self, what: impl FnOnce(&ElfFile) -> T) -> Option<T> {
        if let Loaded::Opened(_) = self.loaded {
            // While it is read, it is neither.
            let reading = Loaded::Failed(LackReason::Malformed("its headers".to_owned()));
            if let Loaded::Opened(found) = mem::replace(&mut self.loaded, reading) {
                self.loaded = Loaded::guard("its headers", || {
                    let file = ElfFile::load(*found, &self.budget)?;
                    Ok(Loaded::File(Box::new(file)))
                });
            }
        }
        let found = match &self.loaded {
            Loaded::File(file) => catch_unwind(AssertUnwindSafe(|| what(file))),
            Loaded::Opened(_) | Loaded::Failed(_) => return None,
        };
        let failed = |_| Loaded::Failed(LackReason::Malformed("its debug info".to_owned()));
        found.map_err(|panic| self.loaded = failed(panic)).ok()
    }

    fn facts(&mut self, module: &Module) -> Facts {
        let in_file = module.svma(module.code.start);
        let facts = self.ask(|file| Facts {
            is_read: true,
            lack: file.lack(),
            source_directories: file.source_directories(),
            segment: file.segment(in_file),
        });
        match (facts, &self.loaded) {
            (Some(facts), _) => facts,
            (None, Loaded::Failed(reason)) => Facts {
                lack: Some(reason.clone()),
                ..Facts::default()
            },
            (None, Loaded::Opened(_) | Loaded::File(_)) => Facts::default(),
        }
    }
}

fn found(file: &ElfFile, address: Svma) -> Found {
    let frames = file.frames(address);
    let start = match frames.is_empty() {
        true => None,
        false => file.covering(address).map(|symbol| symbol.start),
    };
    Found { frames, start }
}

fn polled_by(file: &ElfFile, begin: Svma) -> PolledBy {
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
    PolledBy {
        future_type: by_debug_info.or_else(by_name),
        entry: target.unwrap_or(begin),
    }
}

/// Returns the type that one of tokio's functions is specific
/// to, by its name or by what is inlined into it.
fn type_by_debug_info(file: &ElfFile, begin: Svma) -> Option<String> {
    // Without a symbol there is no telling where it ends and another one begins.
    let end = file.covering(begin).map_or(begin, |symbol| symbol.end);
    let length = end.0.saturating_sub(begin.0).clamp(1, MAX_FUNCTION);
    for address in begin.0..begin.0.saturating_add(length) {
        let named = file.named(Svma(address));
        if let Some(found) = named.iter().find_map(Named::type_by_debug_info) {
            return Some(found);
        }
        if named.iter().all(|function| function.bare.is_none()) {
            return None;
        }
    }
    None
}
