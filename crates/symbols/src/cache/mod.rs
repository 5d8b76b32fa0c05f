//! What was looked up before, kept on disk: so that the second look at a program reads none of its debug info.
//!
//! Each file of the cache is of one build of one module (`Key`). One holds what was asked of it and what was
//! answered, as the messages that go to and fro; a second one which units its debug info has, so that a look with
//! new addresses reads those units only. Functions are not kept: to read the symbol table takes no longer than to read
//! a copy of it. It is for one build of rtops, so that no name is older than the
//! code that makes names; and for the very files that it came from, so that a file that only claims to be the same
//! build has its own.
//!
//! The process that reads symbols reads and writes it: it is the one that may fail over bytes that somebody else
//! wrote, and who started it has one kind of bytes to mistrust instead of two. A checksum tells what is damaged. It
//! does not tell what is forged: nobody but the user may write there, and [`Store::open`] sees to that.

mod entry;
mod store;

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    fs::File,
    io, mem,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rtops_elf::Elf;
use rtops_protocol::Module;
use serde::{Deserialize, Serialize};

use rtops_types::Svma;

use crate::{
    LackReason,
    ask::{Facts, Found, PolledBy},
    here::Here,
    locate::SplitOff,
};
pub use store::{MAX_CACHE, Store, Usage};

/// How many addresses of one module are kept.
const MAX_ADDRESSES: usize = 1 << 16;
/// The longest build-id that is believed; most have 20 bytes.
const MAX_BUILD_ID: usize = 64;

/// Where the caches of the user are: `$XDG_CACHE_HOME`, else `~/.cache`.
#[must_use]
pub fn user_directory() -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let xdg = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || variable("HOME").map(|home| Path::new(&home).join(".cache"));
    // A relative one is to be ignored, says the specification.
    let absolute = |path: &PathBuf| path.is_absolute();
    xdg.filter(absolute).or_else(home).filter(absolute)
}

/// What is kept in one file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Key {
    /// This program.
    program: Identity,
    build_id: Vec<u8>,
    /// The module's own file and its debug files.
    files: Vec<Identity>,
    /// Whether another one was looked for in vain where the user said that files are.
    is_missed: bool,
    /// Whether no more was wanted than their symbols.
    names_only: bool,
}

/// A file as it is: none of it can be changed without a change in here by anybody but root.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Key {
    /// `None` for what is not kept: without a build-id nothing tells that it is the same module.
    fn of<'a>(
        program: &Identity,
        module: &Module,
        files: impl IntoIterator<Item = &'a File>,
    ) -> Option<Self> {
        let build_id = module.build_id.clone();
        let files: io::Result<Vec<Identity>> = files.into_iter().map(Identity::of).collect();
        let files = files.ok()?;
        if build_id.is_empty() || build_id.len() > MAX_BUILD_ID || files.is_empty() {
            return None;
        }
        Some(Self {
            program: program.clone(),
            build_id,
            files,
            is_missed: false,
            names_only: false,
        })
    }
}

/// What is known of a module, by address in its file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Known {
    pub found: HashMap<Svma, Found>,
    pub pollers: HashMap<Svma, PolledBy>,
    pub facts: Facts,
}

impl Known {
    fn len(&self) -> usize {
        self.found.len() + self.pollers.len()
    }
}

/// Reads files, and remembers what they told.
pub(crate) struct Remembering {
    here: Here,
    /// Where it is kept, and for which program.
    store: Option<(Store, Identity)>,
    modules: HashMap<Module, Remembered>,
}

/// What is remembered of one module.
struct Remembered {
    /// None if nothing is to be kept.
    key: Option<Key>,
    /// Whether the cache knows them.
    has_units: bool,
    /// What was known before this look.
    known: Known,
    /// What is new.
    new: Known,
    /// What the key does not tell of.
    split: Option<SplitOff>,
}

/// One of the things that are known of an address.
struct Part<T> {
    of: fn(&mut Known) -> &mut HashMap<Svma, T>,
    /// Looks addresses up in the files of a module.
    read: fn(&mut Here, &Module, &[Svma]) -> Vec<T>,
    /// What is said of an address that nothing is known of.
    unknown: fn(Svma) -> T,
}

impl Remembering {
    /// Remembers in this directory of caches, if there is one that is safe.
    pub(crate) fn new(here: Here, directory: Option<&Path>) -> Self {
        let store = directory.and_then(|directory| {
            let program = Identity::of(&File::open("/proc/self/exe").ok()?).ok()?;
            Some((Store::open(directory).ok()?, program))
        });
        Self {
            here,
            store,
            modules: HashMap::new(),
        }
    }

    pub(crate) const fn here(&mut self) -> &mut Here {
        &mut self.here
    }

    /// Gets ready to be asked of a module: with what is known of it, or if that is nothing with its files.
    pub(crate) fn prepare(&mut self, module: &Module) {
        if self.of(module).known.len() == 0 {
            self.recall_units(module);
            self.here.prepare(module);
        }
    }

    /// Gives the files of a module that are about to be read the units that the cache knows.
    fn recall_units(&mut self, module: &Module) {
        let key = self.of(module).key.clone();
        // They were read before.
        let Some(found) = self.here.files(module) else {
            return;
        };
        found.units = key.and_then(|key| self.store.as_ref()?.0.read(&key));
        let has_units = found.units.is_some();
        self.of(module).has_units = has_units;
    }

    /// What stands at these addresses.
    pub(crate) fn found(&mut self, module: &Module, addresses: &[Svma]) -> Vec<Found> {
        let part = Part {
            of: |known| &mut known.found,
            read: Here::found,
            unknown: |_| Found::default(),
        };
        self.remembered(module, addresses, &part)
    }

    /// What these functions poll.
    pub(crate) fn pollers(&mut self, module: &Module, polls: &[Svma]) -> Vec<PolledBy> {
        let part = Part {
            of: |known| &mut known.pollers,
            read: Here::pollers,
            unknown: PolledBy::unknown,
        };
        self.remembered(module, polls, &part)
    }

    fn remembered<T: Clone>(
        &mut self,
        module: &Module,
        addresses: &[Svma],
        part: &Part<T>,
    ) -> Vec<T> {
        let remembered = self.of(module);
        if remembered.key.is_none() {
            self.here.read_ahead(module, addresses);
            return (part.read)(&mut self.here, module, addresses);
        }
        let known = (part.of)(&mut remembered.known);
        let unknown = addresses.iter().copied();
        let unknown = unknown.filter(|address| !known.contains_key(address));
        let unknown: Vec<Svma> = unknown.collect();
        if !unknown.is_empty() {
            self.recall_units(module);
            self.here.read_ahead(module, &unknown);
            let read = (part.read)(&mut self.here, module, &unknown);
            let new = (part.of)(&mut self.of(module).new);
            new.extend(unknown.into_iter().zip(read));
        }
        let Remembered { known, new, .. } = self.of(module);
        let (known, new) = ((part.of)(known), (part.of)(new));
        let answers = addresses.iter().map(|address| {
            let known = known.get(address).or_else(|| new.get(address));
            known.cloned().unwrap_or_else(|| (part.unknown)(*address))
        });
        answers.collect()
    }

    /// What is known of the module by now.
    pub(crate) fn facts(&mut self, module: &Module) -> Facts {
        let Remembered { known, new, .. } = self.of(module);
        if new.len() == 0 && known.facts.is_read {
            return known.facts.clone();
        }
        let facts = self.here.facts(module);
        let remembered = self.of(module);
        remembered.new.facts = facts.clone();
        let is_whole = !remembered.split.as_ref().is_some_and(SplitOff::is_used);
        if !is_whole || !is_lasting(&facts) {
            remembered.key = None;
        }
        facts
    }

    /// Writes what is new. What can't be written is looked up again the next time.
    pub(crate) fn keep(&mut self) {
        let Some((store, _)) = &self.store else {
            return;
        };
        for (module, remembered) in &mut self.modules {
            let Remembered {
                key,
                has_units,
                known,
                new,
                ..
            } = remembered;
            let Some(key) = key.as_ref().filter(|_| new.facts.is_read && new.len() > 0) else {
                continue;
            };
            if known.len() + new.len() > MAX_ADDRESSES {
                *known = Known::default();
            }
            known.found.extend(new.found.drain());
            known.pollers.extend(new.pollers.drain());
            known.facts = mem::take(&mut new.facts);
            let _is_kept = store.write(key, known);
            if !mem::replace(has_units, true)
                && let Some(units) = self.here.units(module)
            {
                let _is_kept = store.write(key, units);
            }
        }
    }

    fn of(&mut self, module: &Module) -> &mut Remembered {
        let Self {
            here,
            store,
            modules,
        } = self;
        modules.entry(module.clone()).or_insert_with(|| {
            let found = store.as_ref().zip(here.files(module));
            let split = found.as_ref().map(|(_, found)| found.split.clone());
            let kept = found.and_then(|((store, program), found)| {
                let files = found.files.iter().map(Elf::file);
                let key = Key {
                    is_missed: found.missed.is_some(),
                    names_only: found.names_only,
                    ..Key::of(program, module, files)?
                };
                let known = store.read(&key).unwrap_or_default();
                Some((key, known))
            });
            let (key, known) = kept.unzip();
            Remembered {
                key,
                has_units: false,
                known: known.unwrap_or_default(),
                new: Known::default(),
                split,
            }
        })
    }
}

/// Whether the same would be found again.
fn is_lasting(facts: &Facts) -> bool {
    facts.is_read && matches!(facts.lack, None | Some(LackReason::Stripped))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
