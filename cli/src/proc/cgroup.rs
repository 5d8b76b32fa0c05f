//! The control groups of a process, and the limits that they set.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use procfs::{
    ProcResult, ProcessCGroup,
    process::{MountInfo, Process},
};
use serde::Serialize;

use super::proc_files;

/// The most nested groups to look at.
const MAX_DEPTH: usize = 32;
/// Version 1 has no word for "no limit", only a number near the largest.
const UNLIMITED: u64 = 1 << 62;

/// A control group of the process, in one hierarchy.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Group {
    /// Empty for version 2, which has a single hierarchy.
    pub controllers: Vec<String>,
    /// The path as seen from the control groups of rtops.
    pub path: String,
}

/// How much of a limit is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Usage {
    pub used: u64,
    pub limit: u64,
}

/// Returns the control groups of the process.
///
/// # Errors
/// If the kernel does not report them.
pub fn groups(process: &Process) -> ProcResult<Vec<Group>> {
    let groups = proc_files::groups(process)?.0.into_iter();
    let group = |group: ProcessCGroup| Group {
        controllers: group.controllers,
        path: group.pathname,
    };
    Ok(groups.map(group).collect())
}

/// Returns the path that says most: that of version 2, which systemd uses, or else the deepest.
pub fn most_telling(groups: &[Group]) -> Option<&str> {
    let unified = groups
        .iter()
        .find(|group| group.controllers.is_empty() && group.path != "/");
    let deepest = || {
        groups.iter().max_by_key(|group| {
            group
                .path
                .split('/')
                .filter(|part| !part.is_empty())
                .count()
        })
    };
    unified.or_else(deepest).map(|group| group.path.as_str())
}

/// Returns the number of processes and threads with the nearest limit of a group.
pub fn tasks(groups: &[Group], mounts: &[MountInfo]) -> Option<Usage> {
    nearest(groups, mounts, "pids", |directory, _| {
        usage(directory, "pids.current", "pids.max")
    })
}

/// Returns the memory that can't be reclaimed at once, with the nearest limit of a group.
pub fn memory(groups: &[Group], mounts: &[MountInfo]) -> Option<Usage> {
    nearest(groups, mounts, "memory", |directory, version| {
        let (mut usage, inactive) = match version {
            1 => (
                usage(directory, "memory.usage_in_bytes", "memory.limit_in_bytes")?,
                "total_inactive_file ",
            ),
            _ => (
                usage(directory, "memory.current", "memory.max")?,
                "inactive_file ",
            ),
        };
        // The kernel drops such pages before it considers a group full.
        let statistics = fs::read_to_string(directory.join("memory.stat")).ok()?;
        let inactive = statistics
            .lines()
            .find_map(|line| line.strip_prefix(inactive));
        let inactive = inactive.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        usage.used = usage.used.saturating_sub(inactive);
        Some(usage)
    })
}

/// Returns the usage of the fullest of the process's groups and their ancestors.
fn nearest(
    groups: &[Group],
    mounts: &[MountInfo],
    controller: &str,
    usage: impl Fn(&Path, u8) -> Option<Usage>,
) -> Option<Usage> {
    let all = groups.iter().flat_map(|group| {
        let version = if group.controllers.is_empty() { 2 } else { 1 };
        let controls = version == 2 || group.controllers.iter().any(|name| name == controller);
        let directories = controls.then(|| directories(group, mounts, controller));
        directories
            .into_iter()
            .flatten()
            .filter_map(|directory| usage(&directory, version))
            .collect::<Vec<_>>()
    });
    all.max_by(|one, other| one.share().total_cmp(&other.share()))
}

impl Usage {
    /// Returns the share of the limit that is used.
    #[expect(clippy::cast_precision_loss, reason = "shown as a percentage")]
    pub fn share(self) -> f64 {
        if self.limit == 0 {
            return 1.0;
        }
        self.used as f64 / self.limit as f64
    }
}

/// Returns the directories of a group and its ancestors that are mounted here, innermost first.
fn directories(group: &Group, mounts: &[MountInfo], controller: &str) -> Vec<PathBuf> {
    let is_of = |mount: &&MountInfo| match (&*mount.fs_type, group.controllers.is_empty()) {
        ("cgroup2", true) => true,
        ("cgroup", false) => mount.super_options.contains_key(controller),
        _ => false,
    };
    let inside = |mount: &MountInfo| {
        let relative = Path::new(&group.path).strip_prefix(&mount.root).ok()?;
        // A group outside of what rtops sees begins with `/..`.
        let is_plain = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        is_plain.then(|| (mount.mount_point.clone(), relative.to_owned()))
    };
    let Some((top, relative)) = mounts.iter().filter(is_of).find_map(inside) else {
        return Vec::new();
    };
    let around = relative.ancestors().take(MAX_DEPTH);
    around.map(|relative| top.join(relative)).collect()
}

/// Reads usage and limit from two files; `None` if there is no limit.
fn usage(directory: &Path, used: &str, limit: &str) -> Option<Usage> {
    let read = |file: &str| {
        let text = fs::read_to_string(directory.join(file)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let limit = read(limit).filter(|limit| *limit < UNLIMITED)?;
    let used = read(used)?;
    Some(Usage { used, limit })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests {
    use super::*;

    /// A group of version 2.
    pub fn group(path: &str) -> Group {
        Group {
            controllers: Vec::new(),
            path: path.to_owned(),
        }
    }

    pub fn mount(line: &str) -> MountInfo {
        MountInfo::from_line(line).unwrap()
    }

    #[test]
    fn the_path_that_tells_most_is_shown() {
        let version_1 = Group {
            controllers: vec!["memory".to_owned()],
            path: "/jobs/1".to_owned(),
        };
        let both = [version_1.clone(), group("/service")];
        assert_eq!(most_telling(&both), Some("/service"));
        assert_eq!(most_telling(&[version_1, group("/")]), Some("/jobs/1"));
        assert_eq!(most_telling(&[group("/")]), Some("/"));
    }

    fn write(directory: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_limit_that_is_nearest_counts_wherever_it_is_set() {
        let root = tempfile::tempdir().unwrap();
        let line = format!(
            "5 4 0:9 / {} rw - cgroup2 cgroup2 rw",
            root.path().display()
        );
        let mounts = [mount(&line)];
        write(
            &root.path().join("outer"),
            &[
                ("pids.current", "90\n"),
                ("pids.max", "100\n"),
                ("memory.current", "900\n"),
                ("memory.max", "max\n"),
                ("memory.stat", "anon 1\n"),
            ],
        );
        write(
            &root.path().join("outer/inner"),
            &[
                ("pids.current", "10\n"),
                ("pids.max", "max\n"),
                ("memory.current", "800\n"),
                ("memory.max", "1000\n"),
                ("memory.stat", "anon 500\ninactive_file 300\n"),
            ],
        );
        let groups = [group("/outer/inner")];
        let limit = |used, limit| Some(Usage { used, limit });
        assert_eq!(tasks(&groups, &mounts), limit(90, 100));
        assert_eq!(memory(&groups, &mounts), limit(500, 1000));
        for outside in ["/../other", "/no/such/group"] {
            assert_eq!(tasks(&[group(outside)], &mounts), None, "{outside}");
        }
    }

    #[test]
    fn version_1_has_other_names() {
        let root = tempfile::tempdir().unwrap();
        let line = format!(
            "5 4 0:9 / {} rw - cgroup cgroup rw,memory",
            root.path().display()
        );
        let mounts = [mount(&line)];
        write(
            &root.path().join("job"),
            &[
                ("memory.usage_in_bytes", "700\n"),
                ("memory.limit_in_bytes", "1000\n"),
                ("memory.stat", "total_inactive_file 100\n"),
            ],
        );
        write(
            root.path(),
            &[
                ("memory.usage_in_bytes", "5000\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory.stat", ""),
            ],
        );
        let of = |controller: &str| Group {
            controllers: vec![controller.to_owned()],
            path: "/job".to_owned(),
        };
        let used = Usage {
            used: 600,
            limit: 1000,
        };
        assert_eq!(memory(&[of("memory")], &mounts), Some(used));
        assert_eq!(memory(&[of("cpu")], &mounts), None);
    }
}
