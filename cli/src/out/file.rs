//! Files that the user names for a result: there is never half a file
//! under that name, and never somebody else's.
//!
//! A new file has no name while it is written, if the file system supports that, so that nothing is
//! left of it however rtops ends; else it has a random one. Once complete, it gets the name that
//! was asked for, in place of whatever has it then: a link of that name is replaced, not followed.
//! Only what is not a regular file, such as a pipe, is written to directly.

use std::{
    fs::{File, OpenOptions},
    io::{self, Stderr, Stdout, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag},
    unistd::{geteuid, linkat},
};
use rtops_attach::Yielding;
use tempfile::{Builder, TempPath};

use super::paged::Paged;
use crate::error::Error;

/// The prefix of the name of an incomplete file.
const PREFIX: &str = ".rtops-";
/// A dump reveals more about a service than others should know.
const MODE: u32 = 0o600;

/// Where a result is written.
#[derive(Debug)]
pub struct OutputFile {
    writer: Writer,
    new: Option<New>,
}

#[derive(Debug)]
enum Writer {
    Stdout(Stdout),
    Paged(Paged),
    Stderr(Stderr),
    File(File),
}

/// A file that does not have its final name yet.
#[derive(Debug)]
struct New {
    path: PathBuf,
    /// The random name, if it needs one. The file is removed if this is dropped.
    interim: Option<TempPath>,
}

/// Whether the name stands for standard input or output.
pub fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

impl OutputFile {
    /// Writes to standard output.
    pub fn stdout() -> Self {
        Self::existing(Writer::Stdout(io::stdout()))
    }

    /// Writes to standard output, in a pager if it is a terminal without room for everything.
    pub fn paged(yielding: Option<Yielding>) -> Self {
        Self::existing(Writer::Paged(Paged::begin(yielding)))
    }

    /// Begins a file of this name, or opens what is there if it is no file; `-` is standard output.
    ///
    /// # Errors
    /// If no file can be created in its directory, or what is there can't be written to.
    pub fn create(path: &Path) -> Result<Self, Error> {
        Self::begin(path).map_err(|source| Error::CreateOutput {
            path: path.to_owned(),
            source,
        })
    }

    fn begin(path: &Path) -> io::Result<Self> {
        if is_dash(path) {
            return Ok(Self::stdout());
        }
        if let Some(descriptor) = own_descriptor(path) {
            return Ok(Self::existing(descriptor?));
        }
        match other_than_file(path)? {
            Some(there) => Ok(Self::existing(Writer::File(there))),
            None => Self::new_file(path),
        }
    }

    fn existing(writer: Writer) -> Self {
        Self { writer, new: None }
    }

    fn new_file(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let (file, interim) = match nameless(directory_of(&path)) {
            Ok(file) => (file, None),
            // The file system does not support such files, or, for the latter error, the kernel.
            Err(error) if is(&error, Errno::EOPNOTSUPP) || is(&error, Errno::EISDIR) => {
                let (file, interim) = with_interim_name(directory_of(&path), |interim| {
                    let flags = OFlag::O_NOFOLLOW;
                    OpenOptions::new()
                        .write(true)
                        .create_new(true)
                        .mode(MODE)
                        .custom_flags(flags.bits())
                        .open(interim)
                })?;
                (file, Some(interim))
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            writer: Writer::File(file),
            new: Some(New { path, interim }),
        })
    }

    /// Gives the file its name, whatever it contains by now.
    ///
    /// # Errors
    /// If its directory can't be written to.
    pub fn publish(&mut self) -> io::Result<()> {
        let (Writer::File(file), Some(new)) = (&self.writer, self.new.take()) else {
            return Ok(());
        };
        let interim = match new.interim {
            Some(interim) => interim,
            None => with_interim_name(directory_of(&new.path), |interim| link(file, interim))?.1,
        };
        Ok(interim.persist(&new.path)?)
    }

    /// Gives the file its name, now that it is complete. If there is a
    /// pager, waits until the user has left it.
    ///
    /// # Errors
    /// If not all of it could be written, or its directory can't be written to.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        if let Writer::Paged(paged) = self.writer {
            return paged.finish();
        }
        if let (Writer::File(file), Some(_)) = (&self.writer, &self.new) {
            // Otherwise a crash of the machine could leave the name without the contents.
            file.sync_all()?;
        }
        self.publish()
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Writer::Stdout(stdout) => stdout.write(bytes),
            Writer::Paged(paged) => paged.write(bytes),
            Writer::Stderr(stderr) => stderr.write(bytes),
            Writer::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::Stdout(stdout) => stdout.flush(),
            Writer::Paged(paged) => paged.flush(),
            Writer::Stderr(stderr) => stderr.flush(),
            Writer::File(file) => file.flush(),
        }
    }
}

/// Opens a descriptor that rtops was started with, by the names that shells and users have for it.
/// Whoever started rtops decides where it leads; what is there already stays.
fn own_descriptor(path: &Path) -> Option<io::Result<Writer>> {
    let is_one_of = |names: [&str; 3]| names.iter().any(|name| path == Path::new(name));
    if is_one_of(["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]) {
        return Some(Ok(Writer::Stdout(io::stdout())));
    }
    if is_one_of(["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"]) {
        return Some(Ok(Writer::Stderr(io::stderr())));
    }
    let parent = path.parent()?;
    let is_descriptor = ["/dev/fd", "/proc/self/fd"]
        .map(Path::new)
        .contains(&parent);
    is_descriptor.then(|| Ok(Writer::File(OpenOptions::new().append(true).open(path)?)))
}

/// Opens what has this name, if it is a device or a pipe. Another user's is
/// refused: its owner would read what is written.
fn other_than_file(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
    let mut looking = OpenOptions::new();
    let there = match looking.read(true).custom_flags(flags.bits()).open(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = there.metadata()?;
    let kind = metadata.file_type();
    if kind.is_file() || kind.is_symlink() {
        return Ok(None);
    }
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let trusted = [0, geteuid().as_raw()].contains(&metadata.uid());
    if !trusted || kind.is_socket() {
        let what = "what is there is a socket, or a pipe or device of another user";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    // The one that was checked, even if another has its name by now.
    OpenOptions::new()
        .write(true)
        .open(handle(&there))
        .map(Some)
}

/// Creates a file without a name, which disappears unless it gets one.
fn nameless(directory: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .mode(MODE)
        .custom_flags(OFlag::O_TMPFILE.bits())
        .open(directory)
}

/// Tries random names until one is free.
fn with_interim_name<T>(
    directory: &Path,
    make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(T, TempPath)> {
    let made = Builder::new().prefix(PREFIX).make_in(directory, make);
    Ok(made?.into_parts())
}

fn link(file: &File, name: &Path) -> io::Result<()> {
    let follow = AtFlags::AT_SYMLINK_FOLLOW;
    Ok(linkat(AT_FDCWD, &handle(file), AT_FDCWD, name, follow)?)
}

fn handle(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    /// A file as it is created if the file system has none without a name.
    fn with_interim(path: &Path) -> OutputFile {
        let (file, interim) =
            with_interim_name(directory_of(path), |interim| File::create_new(interim)).unwrap();
        OutputFile {
            writer: Writer::File(file),
            new: Some(New {
                path: path.to_owned(),
                interim: Some(interim),
            }),
        }
    }

    #[test]
    fn a_file_has_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let make: [fn(&Path) -> OutputFile; 2] =
            [|path| OutputFile::create(path).unwrap(), with_interim];
        for make in make {
            fs::write(&path, "before").unwrap();
            let mut dropped = make(&path);
            dropped.write_all(b"half").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"before");
            drop(dropped);
            assert_eq!(names(folder.path()), ["out"]);
            let mut file = make(&path);
            file.write_all(b"whole").unwrap();
            file.finish().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"whole");
            assert_eq!(names(folder.path()), ["out"]);
        }
    }

    #[test]
    fn a_file_that_grows_can_be_seen_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut file = OutputFile::create(&path).unwrap();
        file.publish().unwrap();
        file.write_all(b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        file.finish().unwrap();
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn a_name_without_a_directory_is_of_this_one() {
        assert_eq!(directory_of(Path::new("out")), Path::new("."));
        assert_eq!(directory_of(Path::new("/out")), Path::new("/"));
        assert_eq!(directory_of(Path::new("a/out")), Path::new("a"));
    }
}
