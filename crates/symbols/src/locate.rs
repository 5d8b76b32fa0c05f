//! Which files hold the symbols of a module, opened so that only the right ones are read.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::{LackReason, Module, ModuleKind, Options, elf};

const DEBUG_DIR: &str = "/usr/lib/debug";

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
        None => Err(LackReason::NotFound("saved capture".to_owned())),
    };
    let reason = own.map(|file| files.push(file)).err();
    for path in debug_paths(module, &options.symbol_dirs) {
        let file = open_regular(&path);
        let verified = file.and_then(|file| verify(module, file, Origin::Path));
        files.extend(verified.ok());
    }
    match reason {
        Some(reason) if files.is_empty() => Err(reason),
        _ => Ok(files),
    }
}

fn own_file(module: &Module, pid: i32) -> Result<File, LackReason> {
    if module.kind == ModuleKind::MainExecutable {
        // Leads to the running file even if another one has its path by now, or none.
        let exe = open_regular(&PathBuf::from(format!("/proc/{pid}/exe")))?;
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
fn mapped_file(module: &Module, pid: i32) -> Option<File> {
    let mapping = fs::read_dir(format!("/proc/{pid}/map_files"))
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| {
            let name = entry.file_name();
            let range = name.to_str().and_then(parse_range);
            range.is_some_and(|range| range.contains(&module.code.start))
        })?;
    open_regular(&mapping.path()).ok()
}

fn parse_range(text: &str) -> Option<std::ops::Range<u64>> {
    let (start, end) = text.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// Whether the file is the one that the kernel shows at the module's addresses.
fn is_mapped(module: &Module, pid: i32, file: &File) -> io::Result<bool> {
    let inode = file.metadata()?.ino();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    Ok(maps.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace();
        let range = fields.next().and_then(parse_range);
        // Permissions, offset and device stand between. The device isn't compared: overlayfs and
        // btrfs show another one here than in stat.
        let mapped = fields.nth(3).and_then(|field| field.parse().ok());
        range.is_some_and(|range| range.contains(&module.code.start)) && mapped == Some(inode)
    }))
}

/// Opens a path of the target. Symbolic links in it, absolute ones too, stay in its root.
fn open_in_root(pid: i32, path: &str) -> Result<File, LackReason> {
    let relative = plain_relative(path).ok_or(LackReason::PathRefused)?;
    let root = File::open(format!("/proc/{pid}/root")).map_err(not_found)?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = openat2(&root, relative, how).map_err(|errno| not_found(errno.into()))?;
    regular(file.into())
}

/// An absolute path without `..`, relative to the root.
fn plain_relative(path: &str) -> Option<&Path> {
    let relative = Path::new(path).strip_prefix("/").ok()?;
    let plain = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    (plain && !path.contains('\0') && relative != Path::new("")).then_some(relative)
}

/// Opens a file without waiting for the other end of a fifo or for a device.
fn open_regular(path: &Path) -> Result<File, LackReason> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path);
    regular(file.map_err(not_found)?)
}

fn regular(file: File) -> Result<File, LackReason> {
    if file.metadata().map_err(not_found)?.is_file() {
        Ok(file)
    } else {
        Err(LackReason::NotRegular)
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
