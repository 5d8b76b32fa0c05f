//! Whether the memory of this process's cgroup has room for a copy.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Refusal, environment::number};

/// The least memory that a cgroup must have left, in bytes, beside a part of what is used.
const LEAST_FREE: u64 = 16 << 20;

/// Where cgroups are mounted.
const MOUNTS: &str = "/sys/fs/cgroup";

/// The names of what is read in one version of cgroups.
struct Version {
    /// Below [`MOUNTS`].
    mount: &'static str,
    /// What is between the colons of its line in `/proc/self/cgroup`.
    controllers: &'static str,
    limit: &'static str,
    used: &'static str,
    /// A line of `memory.stat`: page cache, which is given back before anybody is killed.
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

/// Refuses where the page tables of a copy, and the pages that are written meanwhile, might be the
/// last straw for a process that has so many bytes of its own, or where all would be killed with
/// the copy.
pub(crate) fn check(private: u64) -> Result<(), Refusal> {
    match fs::read_to_string("/proc/self/cgroup") {
        Ok(own) => check_all(Path::new(MOUNTS), &own, private),
        // Without cgroups there are no limits.
        Err(_) => Ok(()),
    }
}

fn check_all(mounts: &Path, own: &str, private: u64) -> Result<(), Refusal> {
    let mut checks = VERSIONS.iter().filter_map(|version| {
        let path = own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let is_its = controllers.split(',').any(|one| one == version.controllers);
            is_its.then(|| path.trim_start_matches('/'))
        })?;
        Some((version, mounts.join(version.mount), path))
    });
    checks.try_for_each(|(version, root, path)| version.check(&root, path, private))
}

impl Version {
    /// Looks at the cgroup and at all that it lies in.
    fn check(&self, root: &Path, path: &str, private: u64) -> Result<(), Refusal> {
        let mut directory = root.join(path);
        // In a container, the first version's path is one of the host, and its root the container's.
        if !directory.is_dir() {
            directory = PathBuf::from(root);
        }
        directory
            .ancestors()
            .take_while(|directory| directory.starts_with(root))
            .try_for_each(|directory| self.check_one(directory, private))
    }

    fn check_one(&self, directory: &Path, private: u64) -> Result<(), Refusal> {
        let read = |file| fs::read_to_string(directory.join(file)).ok();
        let value = |file| read(file)?.trim().parse::<u64>().ok();
        if value("memory.oom.group") == Some(1) {
            return Err(Refusal::OomGroup);
        }
        let (Some(limit), Some(used)) = (value(self.limit), value(self.used)) else {
            return Ok(());
        };
        let cache = read("memory.stat").and_then(|stat| number(&stat, self.cache));
        let free = limit.saturating_sub(used.saturating_sub(cache.unwrap_or(0)));
        if free < LEAST_FREE + private / 64 {
            return Err(Refusal::LittleMemory {
                free_mib: free >> 20,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::{TempDir, tempdir};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A directory that looks like the mounts, with these files in it.
    fn mounts(files: &[(&str, u64)]) -> TempDir {
        let mounts = tempdir().unwrap();
        for (file, value) in files {
            let file = mounts.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{value}\n")).unwrap();
        }
        mounts
    }

    fn check(files: &[(&str, u64)], own: &str) -> Result<(), Refusal> {
        check_all(mounts(files).path(), own, 64 * MIB)
    }

    #[test]
    fn limits_of_the_second_version_count() {
        let check = |limit, own| {
            let files = [
                ("pod/memory.max", limit),
                ("pod/memory.current", 100 * MIB),
                ("pod/api/memory.current", 90 * MIB),
            ];
            check(&files, own)
        };
        assert!(check(200 * MIB, "0::/pod/api\n").is_ok());
        // That of the pod holds for the container in it.
        let refused = check(108 * MIB, "0::/pod/api\n");
        assert!(matches!(
            refused,
            Err(Refusal::LittleMemory { free_mib: 8 })
        ));
        assert!(check(108 * MIB, "0::/\n").is_ok());
    }

    #[test]
    fn limits_of_the_first_version_count() {
        let check = |limit, own| {
            let files = [
                ("memory/memory.limit_in_bytes", limit),
                ("memory/memory.usage_in_bytes", 100 * MIB),
            ];
            check(&files, own)
        };
        assert!(check(u64::MAX >> 1, "7:cpu,memory:/\n").is_ok());
        // As in a container, whose root is the cgroup that the host calls so.
        let refused = check(108 * MIB, "7:cpu,memory:/docker/1f\n");
        assert!(matches!(
            refused,
            Err(Refusal::LittleMemory { free_mib: 8 })
        ));
        assert!(check(108 * MIB, "7:cpu:/\n").is_ok());
    }

    #[test]
    fn a_cgroup_that_is_killed_as_a_whole_gets_no_copy() {
        let killed = |is: u64| check(&[("api/memory.oom.group", is)], "0::/api\n");
        assert!(killed(0).is_ok());
        assert!(matches!(killed(1), Err(Refusal::OomGroup)));
    }
}
