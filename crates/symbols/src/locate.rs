//! Finds the files with the symbols of a module, and opens only the right ones.

use std::{
    cell::OnceCell,
    fs::File,
    io::{self, BufRead, BufReader},
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rtops_elf::{Budget, Elf, SplitFiles, Units};
use rtops_files::{NamedBy, Refusal, Regular, bounded::Limited};
use rtops_types::{MapsLine, Pid};

use crate::{
    LackReason, Missed, Module, ModuleKind, Options,
    debug_files::{DebugFiles, hex},
};

/// The most bytes that are read of a list of mappings. A process with as many as the kernel
/// allows by default has a list of 10 MB.
const MAX_MAPS: u64 = 64 << 20;

/// How certain a file is before its build-id was compared.
enum Origin {
    /// The kernel says that this file is the mapped one.
    Mapped,
    /// It was found by a path.
    Path,
}

/// The start of the names of the C library's modules.
const C_LIBRARY: [&str; 4] = ["libc.", "libc-", "libpthread", "ld-"];

/// Whether a module with this file name is the C library, through which all others go.
#[must_use]
pub fn is_c_library(module: &str) -> bool {
    module == "[vdso]" || C_LIBRARY.iter().any(|name| module.starts_with(name))
}

/// Returns the last component of a path, for display.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Finds the files of one process.
#[derive(Debug)]
pub struct Finder {
    options: Options,
    /// The mapped files, as the kernel lists them, read once.
    mappings: OnceCell<Vec<Mapping>>,
    debug_files: DebugFiles,
    budget: Arc<Budget>,
}

/// The files of a module.
pub struct Found {
    /// The module's own file, then its debug files; the best comes last.
    pub files: Vec<Elf>,
    /// The file that is missing in the places that the user named.
    pub missed: Option<Missed>,
    /// Where files may be that were split off from these.
    pub split: SplitOff,
    /// Whether only their symbols are wanted.
    pub names_only: bool,
    /// The units of the last file with debug info, if they are known already.
    pub units: Option<Units>,
}

/// The files that the debug info of a module was split off into. A number in both files
/// shows that they belong together.
#[derive(Clone, Debug)]
pub struct SplitOff {
    pid: Option<Pid>,
    path: String,
    directories: Vec<PathBuf>,
    budget: Arc<Budget>,
    is_used: Arc<AtomicBool>,
}

impl SplitOff {
    fn read(&self, file: Result<File, LackReason>) -> Option<Elf> {
        self.is_used.store(true, Ordering::Relaxed);
        Elf::read(Arc::new(file.ok()?), &self.budget).ok()
    }

    /// Whether any was looked for.
    #[cfg(feature = "child")]
    pub fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// Opens a path of the target, or that path on this machine if the process no longer exists.
    fn at(&self, path: &str) -> Option<Elf> {
        self.read(match self.pid {
            Some(pid) => open_in_root(pid, path),
            None => open_here(path),
        })
    }
}

impl SplitFiles for SplitOff {
    fn package(&self) -> Option<Elf> {
        let name = format!("{}.dwp", file_name(&self.path));
        let is_plain = plain_relative(&format!("/{name}")).is_some();
        let directories = self.directories.iter().filter(|_| is_plain);
        let mut given = directories.map(|directory| directory.join(&name));
        given
            .find_map(|path| self.read(open_regular(&path, NamedBy::User)))
            .or_else(|| self.at(&format!("{}.dwp", self.path)))
    }

    fn object(&self, path: &Path) -> Option<Elf> {
        self.at(path.to_str()?)
    }
}

/// A mapped file.
#[derive(Debug)]
struct Mapping {
    addresses: Range<u64>,
    inode: u64,
}

impl Finder {
    pub fn new(options: Options) -> Self {
        Self {
            debug_files: DebugFiles::new(&options.symbol_dirs),
            options,
            mappings: OnceCell::new(),
            budget: Arc::default(),
        }
    }

    /// Gives the file of a module by the module's path.
    #[cfg(feature = "child")]
    pub fn add_file(&mut self, path: &str, file: Arc<File>) {
        self.options.files.insert(path.to_owned(), file);
    }

    /// Returns the budget for the files of one module.
    pub fn budget(&self) -> Arc<Budget> {
        Arc::new(Budget::part(&self.budget))
    }

    /// Returns the files to look into.
    pub fn open(&self, module: &Module, budget: &Arc<Budget>) -> Result<Found, LackReason> {
        if module.kind == ModuleKind::Vdso {
            return Err(LackReason::NotFound("the kernel provides it".to_owned()));
        }
        let own = match self.options.pid {
            Some(pid) => self.own_file(module, pid),
            None => self.given_file(module),
        };
        let own = own.and_then(|(file, origin)| verify(module, file, origin, budget));
        let is_whole = |elf: &Elf| elf.section(".debug_info").is_some();
        let debug_file = match &own {
            Ok(own) if is_whole(own) => None,
            own => {
                let mut paths = self.debug_files.paths(module, own.as_ref().ok());
                paths.find_map(|path| {
                    let file = open_regular(&path, NamedBy::User).ok()?;
                    let elf = verify(module, file, Origin::Path, budget).ok()?;
                    let has_symbols = is_whole(&elf) || elf.section(".symtab").is_some();
                    has_symbols.then_some(elf)
                })
            }
        };
        let is_missed = debug_file.is_none() && self.debug_files.are_given();
        let is_missed = is_missed && !own.as_ref().is_ok_and(is_whole);
        let missed = is_missed.then(|| Missed {
            build_id: hex(&module.build_id),
            is_cut: self.debug_files.are_cut(),
        });
        match (own, debug_file) {
            (Err(reason), None) => Err(match (reason, missed) {
                (LackReason::NotFound(_) | LackReason::BuildIdDiffers, Some(missed))
                    if !missed.build_id.is_empty() =>
                {
                    LackReason::NotGiven(missed)
                }
                // This machine may have another file at that path.
                (LackReason::NotFound(_) | LackReason::BuildIdDiffers, _)
                    if self.options.pid.is_none() =>
                {
                    LackReason::Elsewhere
                }
                (reason, _) => reason,
            }),
            (own, debug_file) => Ok(Found {
                files: own.into_iter().chain(debug_file).collect(),
                missed,
                split: SplitOff {
                    pid: self.options.pid,
                    path: module.path.clone(),
                    directories: self.options.symbol_dirs.clone(),
                    budget: Arc::clone(budget),
                    is_used: Arc::default(),
                },
                names_only: !self.options.c_library_lines && is_c_library(file_name(&module.path)),
                units: None,
            }),
        }
    }

    fn given_file(&self, module: &Module) -> Result<(File, Origin), LackReason> {
        if let Some(file) = self.options.files.get(&module.path) {
            // Whoever gave the file knows that it is the right one.
            return Ok((file.try_clone().map_err(not_found)?, Origin::Mapped));
        }
        Ok((open_here(&module.path)?, Origin::Path))
    }

    fn own_file(&self, module: &Module, pid: Pid) -> Result<(File, Origin), LackReason> {
        if module.kind == ModuleKind::MainExecutable {
            // This leads to the running file even if another file, or none, has its path by now.
            let exe = PathBuf::from(format!("/proc/{pid}/exe"));
            return Ok((open_regular(&exe, NamedBy::Target)?, Origin::Mapped));
        }
        let mapping = self.mapping(module, pid);
        // Opening this needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
        let mapped = mapping.and_then(|Mapping { addresses, .. }| {
            let range = format!("{:x}-{:x}", addresses.start, addresses.end);
            let path = PathBuf::from(format!("/proc/{pid}/map_files/{range}"));
            open_regular(&path, NamedBy::Target).ok()
        });
        if let Some(file) = mapped {
            return Ok((file, Origin::Mapped));
        }
        let file = open_in_root(pid, &module.path)?;
        // The device isn't compared: on overlayfs and btrfs, mappings show another one than stat.
        let inode = file.metadata().map_err(not_found)?.ino();
        let origin = match mapping {
            Some(mapping) if mapping.inode == inode => Origin::Mapped,
            _ => Origin::Path,
        };
        Ok((file, origin))
    }

    /// Returns the mapping that the kernel lists at the module's addresses.
    fn mapping(&self, module: &Module, pid: Pid) -> Option<&Mapping> {
        let mappings = self
            .mappings
            .get_or_init(|| read_mappings(pid).unwrap_or_default());
        let start = module.code.start;
        let behind = mappings.partition_point(|mapping| mapping.addresses.start <= start);
        let mapping = mappings.get(behind.checked_sub(1)?)?;
        mapping.addresses.contains(&start).then_some(mapping)
    }
}

/// Reads the list of mapped files, in the order of their addresses.
fn read_mappings(pid: Pid) -> io::Result<Vec<Mapping>> {
    let maps = File::open(format!("/proc/{pid}/maps"))?;
    let mut mappings = Vec::new();
    for line in BufReader::new(Limited::new(maps, MAX_MAPS)).split(b'\n') {
        let line = line?;
        let line = MapsLine::parse(&line).filter(|line| line.inode != 0);
        mappings.extend(line.map(|line| Mapping {
            addresses: line.addresses,
            inode: line.inode,
        }));
    }
    Ok(mappings)
}

/// Opens a path of the target. Symbolic links in it, even absolute ones, stay in its root.
fn open_in_root(pid: Pid, path: &str) -> Result<File, LackReason> {
    let relative = plain_relative(path).ok_or(LackReason::PathRefused)?;
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    opened(Regular::in_root(&root, relative, NamedBy::Target))
}

/// Makes a plain absolute path relative to the root; `None` for any other, as one with `..`.
pub fn plain_relative(path: &str) -> Option<&Path> {
    let relative = Path::new(path).strip_prefix("/").ok()?;
    let plain = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    (plain && !path.contains('\0') && relative != Path::new("")).then_some(relative)
}

/// Opens such a path on this machine, where the process may have run.
fn open_here(path: &str) -> Result<File, LackReason> {
    let path = plain_relative(path).ok_or(LackReason::PathRefused)?;
    open_regular(&Path::new("/").join(path), NamedBy::Target)
}

fn open_regular(path: &Path, named_by: NamedBy) -> Result<File, LackReason> {
    opened(Regular::at(path, named_by))
}

fn opened(found: Result<Regular, Refusal>) -> Result<File, LackReason> {
    match found {
        Ok(file) => file.open().map_err(not_found),
        Err(Refusal::NotRegular) => Err(LackReason::NotRegular),
        Err(Refusal::FileSystem(name)) => Err(LackReason::FileSystem(name.into())),
        Err(Refusal::Io(error)) => Err(not_found(error)),
        Err(other) => Err(LackReason::NotFound(other.to_string())),
    }
}

fn not_found(error: io::Error) -> LackReason {
    LackReason::NotFound(error.to_string())
}

/// Compares build-ids. A module without one is believed only if the kernel vouches for the file.
fn verify(
    module: &Module,
    file: File,
    origin: Origin,
    budget: &Arc<Budget>,
) -> Result<Elf, LackReason> {
    let elf = Elf::read(Arc::new(file), budget)?;
    match (module.build_id.as_slice(), origin) {
        ([], Origin::Mapped) => Ok(elf),
        ([], Origin::Path) => Err(LackReason::Unverified),
        (expected, _) if elf.build_id().as_deref() == Some(expected) => Ok(elf),
        _ => Err(LackReason::BuildIdDiffers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_plain_paths_are_opened() {
        assert_eq!(
            plain_relative("/usr/lib/x.so"),
            Some(Path::new("usr/lib/x.so"))
        );
        for path in ["", "/", "lib.so", "/a/../b", "/../etc/passwd", "/a\0b"] {
            assert_eq!(plain_relative(path), None, "{path:?}");
        }
    }
}
