//! Parses `/proc/PID/mountinfo` for the file systems that a process sees.

use std::collections::HashMap;

use super::maps::Device;

/// What reading a page of a file may cost, by its file system.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FileSystem {
    /// At worst a read from a disk.
    Ordinary,
    /// Its files are devices.
    Devices,
    /// Takes a huge page out of a small pool.
    HugePages,
    /// Waits for another process, or makes the kernel do something.
    Refused,
}

/// File systems of the kernel whose files are generated when they are
/// read, or are device registers.
const PSEUDO: [&str; 20] = [
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "efivarfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sysfs",
    "tracefs",
];

impl FileSystem {
    fn named(name: &[u8]) -> Self {
        match name {
            b"devtmpfs" | b"devpts" => Self::Devices,
            b"hugetlbfs" => Self::HugePages,
            b"fuse" | b"fuseblk" => Self::Refused,
            _ if name.starts_with(b"fuse.") => Self::Refused,
            _ if PSEUDO.iter().any(|pseudo| pseudo.as_bytes() == name) => Self::Refused,
            _ => Self::Ordinary,
        }
    }
}

/// Returns the mounted file systems, by the device numbers that `/proc/PID/maps` shows.
pub(super) fn parse(text: &[u8]) -> HashMap<Device, FileSystem> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<(Device, FileSystem)> {
    let mut words = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(words.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    // Optional fields come before the dash.
    let name = words.skip_while(|word| *word != b"-").nth(1)?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    Some((device, FileSystem::named(name)))
}
