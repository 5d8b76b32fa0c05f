//! A cache on disk of what was looked up, so that the second
//! look at a program reads none of its debug info.
//!
//! Each file of the cache is for one build of one module (`Key`). One file holds what was
//! asked about it and what was answered, in the form of the messages that are exchanged. A
//! second one says which units its debug info has, so that a look with new addresses reads
//! those units only. Functions are not kept: reading a copy of the symbol table would take
//! as long as reading the table. A file is for one build of rtops, so that no name is older
//! than the code that makes names, and for exactly the files that it came from, so that a
//! file that only claims to be the same build gets its own.
//!
//! The process that reads symbols reads and writes the cache: it may fail over bytes that
//! somebody else wrote, and the process that started it has one kind of untrusted bytes
//! instead of two. A checksum detects damage. It does not detect forgery: only the user may
//! write there, and [`Store::open`] makes sure of that.

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

/// The most addresses of one module that are kept.
const MAX_ADDRESSES: usize = 1 << 16;
/// The longest build-id that is accepted, in bytes; most have 20.
const MAX_BUILD_ID: usize = 64;

/// Returns the user's cache directory: `$XDG_CACHE_HOME`, else `~/.cache`.
#[must_use]
pub fn user_directory() -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let xdg = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || variable("HOME").map(|home| Path::new(&home).join(".cache"));
    // The specification says to ignore a relative path.
    let absolute = |path: &PathBuf| path.is_absolute();
    xdg.filter(absolute).or_else(home).filter(absolute)
}

/// What one file is for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Key {
    /// This program, rtops.
    program: Identity,
    build_id: Vec<u8>,
    /// The module's own file and its debug files.
    files: Vec<Identity>,
    /// Whether another file was not found in the places that the user named.
    is_missed: bool,
    /// Whether only symbols were wanted.
    names_only: bool,
}

/// The state of a file: only root can change the file without changing this.
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
    /// Returns the key; `None` if nothing is kept, as without a
    /// build-id nothing shows that a module is the same.
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

/// Reads files, and remembers what they said.
pub(crate) struct Remembering {
    here: Here,
    /// The cache, and the program that it is used for.
    store: Option<(Store, Identity)>,
    modules: HashMap<Module, Remembered>,
}

/// What is remembered of one module.
struct Remembered {
    /// `None` if nothing is to be kept.
    key: Option<Key>,
    /// Whether the cache has the module's units.
    has_units: bool,
    /// What was known before this look.
    known: Known,
    /// What is new.
    new: Known,
    /// Files that were split off, which the key does not cover.
    split: Option<SplitOff>,
}

/// One kind of knowledge about an address.
struct Part<T> {
    of: fn(&mut Known) -> &mut HashMap<Svma, T>,
    /// Looks addresses up in the files of a module.
    read: fn(&mut Here, &Module, &[Svma]) -> Vec<T>,
    /// The answer for an address of which nothing is known.
    unknown: fn(Svma) -> T,
}

impl Remembering {
    /// Remembers in this directory of caches, if it exists and is safe.
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

    /// Prepares for questions about a module: with what is known of
    /// it, or with its files if nothing is.
    pub(crate) fn prepare(&mut self, module: &Module) {
        if self.of(module).known.len() == 0 {
            self.recall_units(module);
            self.here.prepare(module);
        }
    }

    /// Gives the units that the cache knows to a module's files that are about to be read.
    fn recall_units(&mut self, module: &Module) {
        let key = self.of(module).key.clone();
        // The files were read before.
        let Some(found) = self.here.files(module) else {
            return;
        };
        found.units = key.and_then(|key| self.store.as_ref()?.0.read(&key));
        let has_units = found.units.is_some();
        self.of(module).has_units = has_units;
    }

    /// Returns what is at these addresses.
    pub(crate) fn found(&mut self, module: &Module, addresses: &[Svma]) -> Vec<Found> {
        let part = Part {
            of: |known| &mut known.found,
            read: Here::found,
            unknown: |_| Found::default(),
        };
        self.remembered(module, addresses, &part)
    }

    /// Returns what these functions poll.
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

    /// Returns what is known of the module so far.
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

    /// Writes what is new to the cache. What can't be written is looked up again the next time.
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
