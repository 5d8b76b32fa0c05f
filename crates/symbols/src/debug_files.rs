//! Where a file with the symbols of a module may be, other than the module itself. A name
//! is no proof: whatever is found must have the module's build-id.

use std::{
    cell::OnceCell,
    collections::HashMap,
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rtops_elf::{Budget, Elf};
use rtops_files::{NamedBy, Regular};

use crate::{
    Module,
    locate::{file_name, plain_relative},
};

/// Where distributions put debug files.
const DEBUG_DIR: &str = "/usr/lib/debug";
/// The most entries of the user's directories that are looked at, and how deep they may be.
pub const MAX_ENTRIES: usize = 20_000;
pub const MAX_DEPTH: usize = 8;
/// The most bytes of a link to a debug file.
const MAX_LINK: u64 = 4096;

/// The places with files that are believed if their build-id is right.
#[derive(Debug)]
pub struct DebugFiles {
    directories: Vec<PathBuf>,
    /// The caches of debuginfod clients.
    caches: Vec<PathBuf>,
    /// The files in the directories, by build-id; searched when everything else failed.
    found: OnceCell<Scanned>,
}

/// The files below some directories.
#[derive(Debug, Default)]
struct Scanned {
    files: HashMap<Vec<u8>, Vec<PathBuf>>,
    /// Whether there are more files than were looked at.
    is_cut: bool,
}

impl DebugFiles {
    pub fn new(directories: &[PathBuf]) -> Self {
        Self {
            directories: directories.to_vec(),
            caches: caches(),
            found: OnceCell::new(),
        }
    }

    /// Whether the user named directories to search.
    pub const fn are_given(&self) -> bool {
        !self.directories.is_empty()
    }

    /// Whether the directories have more files than were looked at.
    pub fn are_cut(&self) -> bool {
        self.found.get().is_some_and(|found| found.is_cut)
    }

    /// Returns the paths where a file of the module may be, likeliest first.
    pub fn paths<'a>(
        &'a self,
        module: &'a Module,
        own: Option<&Elf>,
    ) -> impl Iterator<Item = PathBuf> + 'a {
        let link = own.and_then(debug_link);
        let linked = link.and_then(|link| {
            let directory = plain_relative(&module.path)?.parent()?;
            Some(Path::new(DEBUG_DIR).join(directory).join(link))
        });
        let cached = self.cached(&module.build_id);
        let known = self.named(module).into_iter().chain(linked).chain(cached);
        // This runs only if no path before it was right.
        let scanned = std::iter::once_with(|| self.scanned(&module.build_id));
        known.chain(scanned.flatten())
    }

    /// Returns paths by build-id, and paths by the module's name in the user's directories.
    fn named(&self, module: &Module) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let dirs = self.directories.iter().map(PathBuf::as_path);
        if let Some((first, rest)) = module.build_id.split_first() {
            let hex = hex(rest);
            for dir in dirs.clone().chain([Path::new(DEBUG_DIR)]) {
                paths.push(dir.join(format!(".build-id/{first:02x}/{hex}.debug")));
            }
        }
        let name = file_name(&module.path);
        if plain_relative(&format!("/{name}")).is_some() {
            for dir in dirs {
                paths.push(dir.join(name));
                paths.push(dir.join(format!("{name}.debug")));
            }
        }
        paths
    }

    fn cached(&self, build_id: &[u8]) -> Vec<PathBuf> {
        if build_id.is_empty() {
            return Vec::new();
        }
        let id = hex(build_id);
        let directories = self.caches.iter().map(|cache| cache.join(&id));
        let files = directories.flat_map(|one| [one.join("debuginfo"), one.join("executable")]);
        // Another user may put anything into their own cache.
        files.filter(|file| is_ours(file)).collect()
    }

    /// Returns files with this build-id, whatever their names are.
    fn scanned(&self, build_id: &[u8]) -> Vec<PathBuf> {
        let found = self.found.get_or_init(|| scan(&self.directories));
        found.files.get(build_id).cloned().unwrap_or_default()
    }
}

/// Formats bytes as in file names and messages.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the name of the file that the debug info was moved to, if it is a plain file name.
fn debug_link(elf: &Elf) -> Option<String> {
    let link = elf.bytes(elf.section(".gnu_debuglink")?, MAX_LINK).ok()?;
    let name = link.split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(name).ok()?;
    let is_plain = !name.is_empty() && !name.contains('/') && name != ".." && name != ".";
    is_plain.then(|| name.to_owned())
}

/// Returns the directories where debuginfod clients keep their files.
fn caches() -> Vec<PathBuf> {
    let at = |variable, inner: &str| {
        let directory = env::var_os(variable).filter(|value| !value.is_empty())?;
        Some(Path::new(&directory).join(inner))
    };
    let own = at("DEBUGINFOD_CACHE_PATH", "");
    let default = at("XDG_CACHE_HOME", "debuginfod_client");
    let home = at("HOME", ".cache/debuginfod_client");
    // A client uses one of these, but they may come from different sessions.
    let all = [own, default, home].into_iter().flatten();
    all.filter(|directory| directory.is_absolute()).collect()
}

/// Whether a file belongs to this user or to root.
fn is_ours(path: &Path) -> bool {
    let own = fs::metadata("/proc/self").map(|metadata| metadata.uid());
    let file = fs::symlink_metadata(path).map(|metadata| metadata.uid());
    matches!((own, file), (Ok(own), Ok(file)) if file == own || file == 0)
}

/// Finds the files below these directories, by build-id.
fn scan(directories: &[PathBuf]) -> Scanned {
    let mut found = Scanned::default();
    let mut left = MAX_ENTRIES;
    let mut open: Vec<(PathBuf, usize)> = directories.iter().map(|one| (one.clone(), 0)).collect();
    while let Some((directory, depth)) = open.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten();
        for entry in entries.filter_map(Result::ok) {
            let Some(less) = left.checked_sub(1) else {
                found.is_cut = true;
                return found;
            };
            left = less;
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => open.push((path, depth + 1)),
                Ok(kind) if kind.is_dir() => found.is_cut = true,
                // Links lead to files seen elsewhere, or to ones that the user did not name.
                Ok(kind) if kind.is_file() => {
                    if let Some(build_id) = build_id(&path) {
                        found.files.entry(build_id).or_default().push(path);
                    }
                }
                _ => {}
            }
        }
    }
    found
}

fn build_id(path: &Path) -> Option<Vec<u8>> {
    let file = Regular::at(path, NamedBy::User).ok()?.open().ok()?;
    let elf = Elf::read(Arc::new(file), &Arc::new(Budget::default())).ok()?;
    elf.build_id()
}
