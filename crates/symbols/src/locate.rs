//! Which files hold the symbols of a module, opened so that only the right ones are read.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use rtops_files::{NamedBy, Refusal, Regular, bounded::Limited};
use rtops_types::Pid;

use crate::{LackReason, Module, ModuleKind, Options, elf};

const DEBUG_DIR: &str = "/usr/lib/debug";
/// The most bytes that are read of a list of mappings; a process with as many as the kernel allows by
/// default has 10 MB of them.
const MAX_MAPS: u64 = 64 << 20;

/// How sure one may be of a file before its build-id was compared.
enum Origin {
    /// The kernel says that this file is the mapped one.
    Mapped,
    /// It was found by a path.
    Path,
}

/// The last component of a path, for display.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The files to look into, best last: the module's own file, then its debug files.
pub fn open(module: &Module, options: &Options) -> Result<Vec<File>, LackReason> {
    if module.kind == ModuleKind::Vdso {
        return Err(LackReason::NotFound("the kernel provides it".to_owned()));
    }
    let mut files = Vec::new();
    let own = match options.pid {
        Some(pid) => own_file(module, pid),
        None => given_file(module, options),
    };
    let reason = own.map(|file| files.push(file)).err();
    for path in debug_paths(module, &options.symbol_dirs) {
        let file = open_regular(&path, NamedBy::User);
        let verified = file.and_then(|file| verify(module, file, Origin::Path));
        files.extend(verified.ok());
    }
    match reason {
        Some(reason) if files.is_empty() => Err(reason),
        _ => Ok(files),
    }
}

fn given_file(module: &Module, options: &Options) -> Result<File, LackReason> {
    if let Some(file) = options.files.get(&module.path) {
        // Whoever gave it knows that it is the right one.
        return verify(module, file.try_clone().map_err(not_found)?, Origin::Mapped);
    }
    // It may be the machine on which the process ran.
    let path = plain_relative(&module.path).ok_or(LackReason::PathRefused)?;
    let file = opened(Regular::at(&Path::new("/").join(path), NamedBy::Target));
    match file.and_then(|file| verify(module, file, Origin::Path)) {
        Err(LackReason::NotFound(_) | LackReason::BuildIdDiffers) => Err(LackReason::Elsewhere),
        verified => verified,
    }
}

fn own_file(module: &Module, pid: Pid) -> Result<File, LackReason> {
    if module.kind == ModuleKind::MainExecutable {
        // Leads to the running file even if another one has its path by now, or none.
        let exe = open_regular(&PathBuf::from(format!("/proc/{pid}/exe")), NamedBy::Target)?;
        return verify(module, exe, Origin::Mapped);
    }
    if let Some(file) = mapped_file(module, pid) {
        return verify(module, file, Origin::Mapped);
    }
    let file = open_in_root(pid, &module.path)?;
    let origin = match is_mapped(module, pid, &file) {
        Ok(true) => Origin::Mapped,
        Ok(false) | Err(_) => Origin::Path,
    };
    verify(module, file, origin)
}

/// The file behind a mapping, which needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
fn mapped_file(module: &Module, pid: Pid) -> Option<File> {
    let mapping = fs::read_dir(format!("/proc/{pid}/map_files"))
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| {
            let name = entry.file_name();
            let range = name.to_str().and_then(parse_range);
            range.is_some_and(|range| range.contains(&module.code.start))
        })?;
    open_regular(&mapping.path(), NamedBy::Target).ok()
}

fn parse_range(text: &str) -> Option<std::ops::Range<u64>> {
    let (start, end) = text.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// Whether the file is the one that the kernel shows at the module's addresses.
fn is_mapped(module: &Module, pid: Pid, file: &File) -> io::Result<bool> {
    let inode = file.metadata()?.ino();
    let maps = File::open(format!("/proc/{pid}/maps"))?;
    for line in BufReader::new(Limited::new(maps, MAX_MAPS)).split(b'\n') {
        // Only the path, which comes last, can be other than ASCII.
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let mut fields = line.split_ascii_whitespace();
        let range = fields.next().and_then(parse_range);
        if range.is_some_and(|range| range.contains(&module.code.start)) {
            // Permissions, offset and device stand between. The device isn't compared: overlayfs and
            // btrfs show another one here than in stat.
            return Ok(fields.nth(3).and_then(|field| field.parse().ok()) == Some(inode));
        }
    }
    Ok(false)
}

/// Opens a path of the target. Symbolic links in it, absolute ones too, stay in its root.
fn open_in_root(pid: Pid, path: &str) -> Result<File, LackReason> {
    let relative = plain_relative(path).ok_or(LackReason::PathRefused)?;
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    opened(Regular::in_root(&root, relative, NamedBy::Target))
}

/// An absolute path without `..`, relative to the root.
fn plain_relative(path: &str) -> Option<&Path> {
    let relative = Path::new(path).strip_prefix("/").ok()?;
    let plain = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    (plain && !path.contains('\0') && relative != Path::new("")).then_some(relative)
}

fn open_regular(path: &Path, named_by: NamedBy) -> Result<File, LackReason> {
    opened(Regular::at(path, named_by))
}

fn opened(found: Result<Regular, Refusal>) -> Result<File, LackReason> {
    match found {
        Ok(file) => file.open().map_err(not_found),
        Err(Refusal::NotRegular) => Err(LackReason::NotRegular),
        Err(Refusal::FileSystem(name)) => Err(LackReason::FileSystem(name)),
        Err(Refusal::Io(error)) => Err(not_found(error)),
        Err(other) => Err(LackReason::NotFound(other.to_string())),
    }
}

fn not_found(error: io::Error) -> LackReason {
    LackReason::NotFound(error.to_string())
}

/// Compares build-ids. A module without one is believed only if the kernel vouches for the file.
fn verify(module: &Module, file: File, origin: Origin) -> Result<File, LackReason> {
    let found = elf::build_id(&file)?;
    match (module.build_id.as_slice(), origin) {
        ([], Origin::Mapped) => Ok(file),
        ([], Origin::Path) => Err(LackReason::Unverified),
        (expected, _) if found.as_deref() == Some(expected) => Ok(file),
        _ => Err(LackReason::BuildIdDiffers),
    }
}

fn debug_paths(module: &Module, symbol_dirs: &[PathBuf]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let dirs = symbol_dirs.iter().map(PathBuf::as_path);
    if let Some((first, rest)) = module.build_id.split_first() {
        let hex: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
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
