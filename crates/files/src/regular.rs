//! Opens regular files, and looks before.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::statfs::{
        BPF_FS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, DEVPTS_SUPER_MAGIC,
        FUSE_SUPER_MAGIC, FsType, NSFS_MAGIC, PROC_SUPER_MAGIC, RDTGROUP_SUPER_MAGIC,
        SECURITYFS_MAGIC, SELINUX_MAGIC, SMACK_MAGIC, SYSFS_MAGIC, TRACEFS_MAGIC,
        XENFS_SUPER_MAGIC, fstatfs,
    },
};

/// File systems of the kernel, whose files are regular by their mode only: to open or read one may do
/// something. Names and numbers are those of the kernel's `magic.h` and of the sources of each.
const PSEUDO: [(FsType, &str); 21] = [
    (PROC_SUPER_MAGIC, "procfs"),
    (SYSFS_MAGIC, "sysfs"),
    (TRACEFS_MAGIC, "tracefs"),
    (DEBUGFS_MAGIC, "debugfs"),
    (SECURITYFS_MAGIC, "securityfs"),
    (CGROUP_SUPER_MAGIC, "cgroup"),
    (CGROUP2_SUPER_MAGIC, "cgroup2"),
    (BPF_FS_MAGIC, "bpf"),
    (DEVPTS_SUPER_MAGIC, "devpts"),
    (NSFS_MAGIC, "nsfs"),
    (RDTGROUP_SUPER_MAGIC, "resctrl"),
    (SELINUX_MAGIC, "selinuxfs"),
    (SMACK_MAGIC, "smackfs"),
    (XENFS_SUPER_MAGIC, "xenfs"),
    (FsType(0x6265_6570), "configfs"),
    (FsType(0x1980_0202), "mqueue"),
    (FsType(0xde5e_81e4), "efivarfs"),
    (FsType(0x6165_676c), "pstore"),
    (FsType(0x6c6f_6f70), "binderfs"),
    (FsType(0x4249_4e4d), "binfmt_misc"),
    (FsType(0x6759_6969), "rpc_pipefs"),
];

/// Who chose the name that a file is opened by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NamedBy {
    /// The process that is looked at, or a dump of it. A file on FUSE is refused: whoever serves it could
    /// keep the reader waiting for ever.
    Target,
    /// The user, who may keep files on a FUSE of theirs, such as sshfs.
    User,
}

/// Why a file is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It can't be found or opened.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a directory, device, pipe or socket.
    #[error("not a regular file")]
    NotRegular,
    /// To read it might have an effect, or never end.
    #[error("on {0}, where reading may wait or have an effect")]
    FileSystem(&'static str),
}

/// A regular file that was looked at and not opened.
#[derive(Debug)]
pub struct Regular {
    /// Of `O_PATH`: it refers to the file and opened nothing.
    place: File,
    metadata: Metadata,
}

impl Regular {
    /// The file at a path. Links are followed, those of `/proc` as well.
    ///
    /// # Errors
    /// When there is none, or it is not one to read.
    pub fn at(path: &Path, named_by: NamedBy) -> Result<Self, Refusal> {
        let place = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_PATH.bits())
            .open(path)?;
        Self::judge(place, named_by)
    }

    /// The file that a process with this root directory would find. Links in the path, absolute ones
    /// too, stay in that root, and none of `/proc` is followed.
    ///
    /// # Errors
    /// When there is none, or it is not one to read.
    pub fn in_root(root: &Path, relative: &Path, named_by: NamedBy) -> Result<Self, Refusal> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let root = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(root)?;
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let place = openat2(&root, relative, how).map_err(io::Error::from)?;
        Self::judge(place.into(), named_by)
    }

    fn judge(place: File, named_by: NamedBy) -> Result<Self, Refusal> {
        // First, as a FUSE need not be asked what file it is.
        if let Some(name) = refused_file_system(&place, named_by)? {
            return Err(Refusal::FileSystem(name));
        }
        let metadata = place.metadata()?;
        if !metadata.is_file() {
            return Err(Refusal::NotRegular);
        }
        Ok(Self { place, metadata })
    }

    /// What was known of it before it is opened.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Opens this very file for reading, even if another one has its name by now. One that somebody
    /// has a lease on is not waited for.
    ///
    /// # Errors
    /// When the user may not read it.
    pub fn open(&self) -> io::Result<File> {
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(format!("/proc/self/fd/{}", self.place.as_raw_fd()))
    }
}

fn refused_file_system(place: impl AsFd, named_by: NamedBy) -> io::Result<Option<&'static str>> {
    let found = fstatfs(place)?.filesystem_type();
    if found == FUSE_SUPER_MAGIC && named_by == NamedBy::Target {
        return Ok(Some("FUSE"));
    }
    let mut known = PSEUDO.iter();
    Ok(known
        .find(|(kind, _)| *kind == found)
        .map(|(_, name)| *name))
}
