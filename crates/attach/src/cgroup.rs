//! Checks whether the cgroup of a process has enough memory left for a copy.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rtops_image::Pid;

use crate::{NoCopy, estimate::Load, proc};

/// The bytes that a cgroup must have left in addition to what a copy may come to use.
const LEAST_FREE: u64 = 16 << 20;

/// Where cgroups are mounted.
const MOUNTS: &str = "/sys/fs/cgroup";

/// The file names and keys of one version of cgroups.
struct Version {
    /// Below [`MOUNTS`].
    mount: &'static str,
    /// The text between the colons of its line in `/proc/PID/cgroup`.
    controllers: &'static str,
    limit: &'static str,
    used: &'static str,
    /// A line of `memory.stat`: page cache, which is reclaimed before anything is killed.
    cache: &'static str,
}

const VERSIONS: [Version; 2] = [
    Version {
        mount: "",
        controllers: "",
        limit: "memory.max",
        used: "memory.current",
        cache: "inactive_file",
    },
    Version {
        mount: "memory",
        controllers: "memory",
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        cache: "total_inactive_file",
    },
];

/// Refuses if the page tables of a copy and the pages written meanwhile could exhaust the memory,
/// or if the kernel would kill the whole cgroup along with the copy.
///
/// There must be room for all memory of the process once more. Ending the copy in time is not
/// enough: a process can write several MB per millisecond, and the kernel takes time to free the
/// memory of an ending process, which it no longer counts as that process's. If memory runs out at
/// that moment, the kernel kills the target itself.
pub(crate) fn check(pid: Pid, load: &Load) -> Result<(), NoCopy> {
    let free = free(pid)?;
    if free < LEAST_FREE + load.tables_bytes() + load.own_bytes() {
        return Err(NoCopy::LittleMemory(
            u32::try_from(free >> 20).unwrap_or(u32::MAX),
        ));
    }
    Ok(())
}

/// Returns how many bytes a process and its copy may still use, by the
/// limits of its cgroups and of the machine.
pub(crate) fn free(pid: Pid) -> Result<u64, NoCopy> {
    let machine = proc::read("/proc/meminfo").ok();
    let machine = machine.and_then(|text| number(&text, "MemAvailable:"));
    // Without cgroups there are no limits.
    let own = proc::read(&format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let free = free_in(Path::new(MOUNTS), &own)?;
    Ok(free.min(machine.map_or(u64::MAX, |kib| kib << 10)))
}

fn free_in(mounts: &Path, own: &str) -> Result<u64, NoCopy> {
    let mut least = u64::MAX;
    for version in &VERSIONS {
        let path = own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let is_its = controllers.split(',').any(|one| one == version.controllers);
            is_its.then(|| path.trim_start_matches('/'))
        });
        if let Some(path) = path {
            least = least.min(version.free(&mounts.join(version.mount), path)?);
        }
    }
    Ok(least)
}

/// Finds the number that follows a name at the start of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

impl Version {
    /// Checks the cgroup and all its ancestors.
    fn free(&self, root: &Path, path: &str) -> Result<u64, NoCopy> {
        let mut directory = root.join(path);
        // In a container, the path of a version 1 cgroup is the host's, but the root is the
        // container's. The path of a process outside the container begins with "..".
        if path.starts_with("..") || !directory.is_dir() {
            directory = PathBuf::from(root);
        }
        let mut least = u64::MAX;
        for directory in directory.ancestors() {
            if !directory.starts_with(root) {
                break;
            }
            least = least.min(self.free_in_one(directory)?);
        }
        Ok(least)
    }

    fn free_in_one(&self, directory: &Path) -> Result<u64, NoCopy> {
        let read = |file| fs::read_to_string(directory.join(file)).ok();
        let value = |file| read(file)?.trim().parse::<u64>().ok();
        if value("memory.oom.group") == Some(1) {
            return Err(NoCopy::OomGroup);
        }
        let (Some(limit), Some(used)) = (value(self.limit), value(self.used)) else {
            return Ok(u64::MAX);
        };
        let cache = read("memory.stat").and_then(|stat| number(&stat, self.cache));
        Ok(limit.saturating_sub(used.saturating_sub(cache.unwrap_or(0))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::{TempDir, tempdir};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Creates a directory that looks like the mounts, with these files in it.
    fn mounts(files: &[(&str, u64)]) -> TempDir {
        let mounts = tempdir().unwrap();
        for (file, value) in files {
            let file = mounts.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{value}\n")).unwrap();
        }
        mounts
    }

    fn free(files: &[(&str, u64)], own: &str) -> Result<u64, NoCopy> {
        free_in(mounts(files).path(), own)
    }

    #[test]
    fn limits_of_the_second_version_count() {
        let free = |limit, own| {
            let files = [
                ("pod/memory.max", limit),
                ("pod/memory.current", 100 * MIB),
                ("pod/api/memory.current", 90 * MIB),
            ];
            free(&files, own).unwrap()
        };
        // The limit of the pod applies to the container in it.
        assert_eq!(free(108 * MIB, "0::/pod/api\n"), 8 * MIB);
        assert_eq!(free(108 * MIB, "0::/\n"), u64::MAX);
        assert_eq!(free(108 * MIB, "0::/../other\n"), u64::MAX);
    }

    #[test]
    fn limits_of_the_first_version_count() {
        let free = |limit, own| {
            let files = [
                ("memory/memory.limit_in_bytes", limit),
                ("memory/memory.usage_in_bytes", 100 * MIB),
            ];
            free(&files, own).unwrap()
        };
        assert!(free(u64::MAX >> 1, "7:cpu,memory:/\n") > MIB << 20);
        // As in a container: its root is the cgroup that the host calls `/docker/1f`.
        assert_eq!(free(108 * MIB, "7:cpu,memory:/docker/1f\n"), 8 * MIB);
        assert_eq!(free(108 * MIB, "7:cpu:/\n"), u64::MAX);
    }

    #[test]
    fn a_cgroup_that_is_killed_as_a_whole_gets_no_copy() {
        let killed = |is: u64| free(&[("api/memory.oom.group", is)], "0::/api\n");
        assert!(killed(0).is_ok());
        assert!(matches!(killed(1), Err(NoCopy::OomGroup)));
    }
}
