//! Opens files that are named by others, but only if that can do no harm.

use std::{fs::File, io, os::fd::AsRawFd as _, path::Path};

use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use rtops_files::{NamedBy, Refusal, Regular};

/// Why an existing file was not opened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// A device, a pipe, or a directory: opening or reading it may have an effect.
    #[error("it is no regular file")]
    NotRegular,
    /// A file on a file system that generates contents when they are read.
    #[error("its file system belongs to the kernel or to another process")]
    FileSystem,
}

/// Why there is no open file.
#[derive(Debug)]
pub(crate) enum NotOpened {
    Refused(Refused),
    Io(io::Error),
}

impl From<Refusal> for NotOpened {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Io(error) => Self::Io(error),
            Refusal::FileSystem(_) => Self::Refused(Refused::FileSystem),
            _ => Self::Refused(Refused::NotRegular),
        }
    }
}

/// Opens a file that an image names, below `root` if given. It is checked before it is opened: only
/// a regular file on an ordinary file system is free of side effects when it is read.
pub(crate) fn open_named(root: Option<&File>, path: &Path) -> Result<File, NotOpened> {
    look_named(root, path)?.open().map_err(NotOpened::Io)
}

/// Checks a file that an image names, without opening it.
pub(crate) fn look_named(root: Option<&File>, path: &Path) -> Result<Regular, NotOpened> {
    Ok(match root {
        None => Regular::at(path, NamedBy::Target)?,
        Some(root) => {
            let root = format!("/proc/self/fd/{}", root.as_raw_fd());
            Regular::in_root(root.as_ref(), path, NamedBy::Target)?
        }
    })
}

/// Opens a directory that the user names, to look up files in it.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?.into())
}

/// Opens a regular file that the user names.
pub(crate) fn open_plain(path: &Path) -> Result<File, NotOpened> {
    Regular::at(path, NamedBy::User)?
        .open()
        .map_err(NotOpened::Io)
}
