//! Decides which mappings may be read at all.
//!
//! Reading memory of another process may load a page that was not present: from a file, from
//! whoever serves its file system, or from a device. So memory is read only if that is known to be
//! harmless. The process's mounted file systems answer most cases without asking anybody. A path
//! may lead elsewhere by now, so it is checked without opening anything.

use std::{
    collections::HashMap,
    fs::File,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
    sync::Arc,
};

use rtops_files::bounded;
use rtops_types::Pid;
use rustix::fs::{MemfdFlags, major, memfd_create, minor};

use super::{
    maps::{Device, Mapping, Name},
    mounts::{self, FileSystem},
};
use crate::{
    Absence, Access, Refused, Sharing,
    file::{self, NotOpened},
};

/// The most bytes of the list of mounts that are read; a machine with
/// thousands of containers has 1 MiB.
const MAX_MOUNTS: usize = 8 << 20;
/// The longest line of that list: two paths and options.
const MAX_MOUNT: usize = 16 << 10;
/// The most paths that are checked.
const MAX_LOOKS: usize = 1 << 14;
/// The kernel's name for huge pages that are in no file.
const HUGE: &str = "/anon_hugepage (deleted)";
const ZERO: &str = "/dev/zero";

/// The kind of a mapping.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It has no file: untouched pages are zeros.
    Anonymous,
    /// It was made by the kernel, or maps a file.
    Other,
    /// It must not be read.
    Absent(Absence),
}

/// Judges the mappings of one process.
pub(super) struct Judge {
    root: Option<File>,
    mounted: HashMap<Device, FileSystem>,
    /// The device of the kernel's own file system for `memfd`s and
    /// shared memory. Those for huge pages follow.
    shared_memory: Option<Device>,
    huge_pages: Vec<Device>,
    /// Whether touched pages can be determined.
    has_pagemap: bool,
    known: HashMap<Arc<Path>, Seen>,
}

/// What a path leads to.
#[derive(Clone, Copy)]
enum Seen {
    /// A regular file with this inode.
    Regular(u64),
    /// Something else.
    NotRegular,
    /// Nothing, or a file that must not be opened.
    Nothing,
}

impl Judge {
    pub(super) fn new(pid: Pid, root: &Path, has_pagemap: bool) -> Self {
        let mounts = File::open(format!("/proc/{pid}/mountinfo"));
        // A process that has ended has none.
        let mounts = mounts.and_then(|file| bounded::read_lines(file, MAX_MOUNT, MAX_MOUNTS));
        let huge = [MemfdFlags::HUGE_2MB, MemfdFlags::HUGE_1GB];
        let huge = huge
            .into_iter()
            .filter_map(|size| device_of_memory(MemfdFlags::HUGETLB | size));
        Self {
            root: file::open_directory(root).ok(),
            mounted: mounts::parse(&mounts.unwrap_or_default().bytes),
            shared_memory: device_of_memory(MemfdFlags::empty()),
            huge_pages: huge.collect(),
            has_pagemap,
            known: HashMap::new(),
        }
    }

    pub(super) fn judge(&mut self, mapping: &Mapping) -> Verdict {
        if mapping.access == Access::default() {
            return Verdict::Absent(Absence::NoAccess);
        }
        match &mapping.name {
            Name::None if mapping.inode == 0 => Verdict::Anonymous,
            Name::None => Verdict::Absent(Absence::Device),
            Name::Special(name) => special(name, mapping.sharing),
            // `anon_inode:[io_uring]`, `socket:[…]`
            Name::Path(path) if !path.is_absolute() => Verdict::Absent(Absence::Device),
            Name::Path(path) => self.judge_file(mapping, path),
        }
    }

    fn judge_file(&mut self, mapping: &Mapping, path: &Arc<Path>) -> Verdict {
        let is_private = mapping.sharing == Sharing::Private;
        match self.file_system(mapping, path) {
            FileSystem::Refused => Verdict::Absent(Absence::FileSystem),
            // Its present pages can be read; reading an untouched one would take a huge page.
            FileSystem::HugePages if is_private && self.has_pagemap && **path == *HUGE => {
                Verdict::Anonymous
            }
            FileSystem::HugePages => Verdict::Absent(Absence::FileSystem),
            FileSystem::Devices if is_private && **path == *ZERO => Verdict::Anonymous,
            FileSystem::Devices => Verdict::Absent(Absence::Device),
            FileSystem::Ordinary => match self.look(path) {
                // A container's devices may be on any file system.
                Seen::NotRegular if is_private && **path == *ZERO => Verdict::Anonymous,
                Seen::NotRegular => Verdict::Absent(Absence::Device),
                _ => Verdict::Other,
            },
        }
    }

    /// Returns the file system of a file.
    fn file_system(&mut self, mapping: &Mapping, path: &Arc<Path>) -> FileSystem {
        let device = mapping.device;
        if let Some(mounted) = self.mounted.get(&device) {
            return *mounted;
        }
        if self.huge_pages.contains(&device) {
            return FileSystem::HugePages;
        }
        // A file on a disk has the disk's device number, whoever mounted it.
        if self.shared_memory == Some(device) || device.0 != 0 {
            return FileSystem::Ordinary;
        }
        // Old kernels show the device of an overlay's layer, which is
        // mounted nowhere in a container.
        match self.look(path) {
            Seen::Regular(inode) if inode == mapping.inode => FileSystem::Ordinary,
            _ => FileSystem::Refused,
        }
    }

    fn look(&mut self, path: &Arc<Path>) -> Seen {
        if let Some(seen) = self.known.get(path) {
            return *seen;
        }
        let Some(root) = self.root.as_ref().filter(|_| self.known.len() < MAX_LOOKS) else {
            return Seen::Nothing;
        };
        let seen = match file::look_named(Some(root), path) {
            Ok(file) => Seen::Regular(file.metadata().ino()),
            Err(NotOpened::Refused(Refused::NotRegular)) => Seen::NotRegular,
            Err(_) => Seen::Nothing,
        };
        self.known.insert(Arc::clone(path), seen);
        seen
    }
}

/// Judges a mapping with a name in brackets. Unknown ones may be anything.
fn special(name: &str, sharing: Sharing) -> Verdict {
    let is_memory = matches!(name, "[heap]" | "[stack]")
        || name.starts_with("[stack:")
        || name.starts_with("[anon:");
    match name {
        _ if is_memory && sharing == Sharing::Private => Verdict::Anonymous,
        "[vdso]" => Verdict::Other,
        _ if name.starts_with("[anon_shmem:") => Verdict::Other,
        _ => Verdict::Absent(Absence::Kernel),
    }
}

/// Returns the device of memory with these flags: found by this
/// process's own, as it is the same for all.
fn device_of_memory(flags: MemfdFlags) -> Option<Device> {
    let memory: OwnedFd = memfd_create("rtops", flags | MemfdFlags::CLOEXEC).ok()?;
    let device = File::from(memory).metadata().ok()?.dev();
    Some((major(device), minor(device)))
}
