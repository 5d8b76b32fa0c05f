//! Looks up the files of executables and libraries, each once, and
//! compares them with what was running.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io,
    ops::Range,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rtops_elf::Head;
use rtops_files::read_at_most;

use crate::{
    Gap, ModuleFile, NoFile,
    file::{self, NotOpened},
    gap::Gaps,
    mapped::MappedFile,
};

/// The suffix that the kernel adds to the name of a deleted file.
const DELETED: &[u8] = b" (deleted)";

/// A file that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) file: ModuleFile,
    pub(crate) head: Head,
    /// The size in bytes when it was opened.
    pub(crate) size: u64,
    inode: u64,
    /// Whether it is the very file that is mapped.
    is_mapped: bool,
    /// Whether it was found under the name of a file that was deleted.
    is_replaced: bool,
}

/// Where to look up files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lookup<'a> {
    /// The program's file, named by the user.
    pub(crate) exe: Option<&'a Path>,
    /// The `/proc` directory of the process, if it still runs: its links lead to the mapped files,
    /// whatever has become of their names.
    pub(crate) process: Option<&'a Path>,
    /// A directory to use as `/`.
    pub(crate) root: Option<&'a Path>,
}

/// Looks up files and keeps the results.
pub(crate) struct Files<'a> {
    lookup: Lookup<'a>,
    sysroot: Sysroot,
    /// The path of the program itself, as the kernel reported it.
    main: Option<Arc<Path>>,
    known: HashMap<Arc<Path>, Result<Found, NoFile>>,
}

enum Sysroot {
    /// The `/` of this machine.
    Own,
    Other(PathBuf, File),
    Missing(PathBuf),
}

impl Found {
    /// Returns whether it is the very file that is mapped, according to the process.
    pub(crate) const fn is_mapped(&self) -> bool {
        self.is_mapped
    }
}

impl<'a> Files<'a> {
    pub(crate) fn new(lookup: Lookup<'a>, main: Option<Arc<Path>>, gaps: &mut Gaps) -> Self {
        let sysroot = match lookup.root {
            None => Sysroot::Own,
            Some(path) => match file::open_directory(path) {
                Ok(directory) => Sysroot::Other(path.to_owned(), directory),
                Err(_) => {
                    gaps.add(Gap::NoSysroot(path.to_owned()));
                    Sysroot::Missing(path.to_owned())
                }
            },
        };
        Self {
            lookup,
            sysroot,
            main,
            known: HashMap::new(),
        }
    }

    pub(crate) fn is_main(&self, path: &Arc<Path>) -> bool {
        self.main.as_ref() == Some(path)
    }

    /// Finds the file of a mapping, if it is the build with this head.
    /// Without a head, the file is accepted as it is.
    pub(crate) fn find(
        &mut self,
        mapped: &MappedFile,
        head: Option<&Head>,
        gaps: &mut Gaps,
    ) -> Result<Found, NoFile> {
        let path = &mapped.path;
        let found = match self.known.get(path) {
            Some(known) => known.clone(),
            None => {
                let found = self.look_up(path);
                self.known.insert(Arc::clone(path), found.clone());
                found
            }
        };
        let found = found.and_then(|found| Self::verify(found, head, gaps));
        let found = found.map(|found| Found {
            is_mapped: mapped.inode == Some(found.inode),
            ..found
        });
        match found {
            Ok(found) if head.is_some() || found.is_mapped => Ok(found),
            uncertain => {
                let links = self.links(mapped).into_iter();
                let mut running = links.filter_map(|link| {
                    let opened = file::open_named(None, &link);
                    let found = self::found(link, opened).ok()?;
                    Self::verify(found, head, gaps).ok()
                });
                let running = running.next().map(|found| Found {
                    is_mapped: true,
                    ..found
                });
                running.map_or(uncertain, Ok)
            }
        }
    }

    /// Returns links that lead to a file while the process has it
    /// mapped. Those in `map_files` need root.
    fn links(&self, mapped: &MappedFile) -> Vec<PathBuf> {
        let Some(process) = self.lookup.process else {
            return Vec::new();
        };
        let exe = self.is_main(&mapped.path).then(|| process.join("exe"));
        let Range { start, end } = mapped.range;
        let name = format!("map_files/{start:x}-{end:x}");
        exe.into_iter().chain([process.join(name)]).collect()
    }

    fn verify(found: Found, head: Option<&Head>, gaps: &mut Gaps) -> Result<Found, NoFile> {
        let name = || found.file.path.clone();
        let Some(head) = head else {
            // The old file was removed and a new one put in its place.
            return if found.is_replaced {
                Err(NoFile::Replaced(name()))
            } else {
                Ok(found)
            };
        };
        if head.build_id.is_empty() {
            if head.segments != found.head.segments {
                return Err(NoFile::OtherBuild(name()));
            }
            if found.is_replaced {
                return Err(NoFile::Replaced(name()));
            }
            gaps.add(Gap::NoBuildId(name()));
        } else if head.build_id != found.head.build_id {
            return Err(NoFile::OtherBuild(name()));
        }
        Ok(found)
    }

    fn look_up(&self, path: &Arc<Path>) -> Result<Found, NoFile> {
        if let Some(exe) = self.lookup.exe.filter(|_| self.is_main(path)) {
            // The user's own choice may be on any file system.
            return found(exe.to_owned(), file::open_plain(exe));
        }
        let as_named = self.open(path);
        let old = path.as_os_str().as_bytes().strip_suffix(DELETED);
        match (as_named, old) {
            (Err(NoFile::NotFound(_)), Some(old)) => {
                let mut found = self.open(Path::new(OsStr::from_bytes(old)))?;
                found.is_replaced = true;
                Ok(found)
            }
            (as_named, _) => as_named,
        }
    }

    fn open(&self, path: &Path) -> Result<Found, NoFile> {
        // Shared memory has names that lead nowhere. `/memfd:…` and `/dev/zero` do no harm, but a
        // relative path would be looked up in the working directory of rtops.
        if !path.is_absolute() {
            return Err(NoFile::NotFound(path.to_owned()));
        }
        match &self.sysroot {
            Sysroot::Own => found(path.to_owned(), file::open_named(None, path)),
            Sysroot::Missing(root) => Err(NoFile::NotFound(below(root, path))),
            Sysroot::Other(root, directory) => {
                found(below(root, path), file::open_named(Some(directory), path))
            }
        }
    }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn found(path: PathBuf, opened: Result<File, NotOpened>) -> Result<Found, NoFile> {
    let file = match opened {
        Ok(file) => file,
        Err(NotOpened::Refused(why)) => return Err(NoFile::Refused(path, why)),
        Err(NotOpened::Io(error)) => return Err(failed(path, &error)),
    };
    let (size, inode) = match file.metadata() {
        Ok(metadata) => (metadata.len(), metadata.ino()),
        Err(error) => return Err(failed(path, &error)),
    };
    let Some(head) = Head::read(&|at, into| read_at_most(&file, at.0, into)) else {
        return Err(NoFile::NotElf(path));
    };
    Ok(Found {
        file: ModuleFile {
            file: Arc::new(file),
            path,
        },
        head,
        size,
        inode,
        is_mapped: false,
        is_replaced: false,
    })
}

fn failed(path: PathBuf, error: &io::Error) -> NoFile {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NoFile::NotFound(path),
        kind => NoFile::Io(path, kind),
    }
}
