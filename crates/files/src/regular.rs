//! Opens regular files, and checks them before.

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

/// File systems of the kernel, whose files are regular only by their mode: opening or reading one
/// may have an effect. Names and numbers are from the kernel's `magic.h` and the sources of each.
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

/// Who chose the name by which a file is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NamedBy {
    /// The target, or a dump of it. A file on FUSE is refused: whoever
    /// serves it could keep the reader waiting forever.
    Target,
    /// The user, who may keep files on their own FUSE, such as sshfs.
    User,
}

/// Why a file is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It can't be found or opened.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a directory, device, pipe, or socket.
    #[error("not a regular file")]
    NotRegular,
    /// Reading it might have an effect, or never end.
    #[error("on {0}, where reading may wait or have an effect")]
    FileSystem(&'static str),
}

/// A regular file that was checked but not opened.
#[derive(Debug)]
pub struct Regular {
    /// An `O_PATH` descriptor: it refers to the file without opening it.
    place: File,
    metadata: Metadata,
}

impl Regular {
    /// Finds the file at a path. Links are followed, including those in `/proc`.
    ///
    /// # Errors
    /// If there is none, or it must not be read.
    pub fn at(path: &Path, named_by: NamedBy) -> Result<Self, Refusal> {
        let place = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_PATH.bits())
            .open(path)?;
        Self::judge(place, named_by)
    }

    /// Finds the file that a process with this root directory would find. Links in the path,
    /// including absolute ones, stay in that root, and those in `/proc` are not followed.
    ///
    /// # Errors
    /// If there is none, or it must not be read.
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
        // Checked first, because `stat` on a FUSE file would already ask its server.
        if let Some(name) = refused_file_system(&place, named_by)? {
            return Err(Refusal::FileSystem(name));
        }
        let metadata = place.metadata()?;
        if !metadata.is_file() {
            return Err(Refusal::NotRegular);
        }
        Ok(Self { place, metadata })
    }

    /// Returns the metadata from before it is opened.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Opens this very file for reading, even if another one has its name by now. Does not wait for
    /// a lease that somebody holds on it.
    ///
    /// # Errors
    /// If the user may not read it.
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
