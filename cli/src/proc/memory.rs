//! What the kernel reports about the memory of a process.

use procfs::{
    ProcError,
    process::{SmapsRollup, Status},
};
use rtops_types::Pid;

use crate::proc::proc_files;

/// Bytes in memory by kind; `None` if the kernel does not say.
#[derive(Clone, Debug)]
pub struct Resident {
    /// All of it (RSS).
    pub rss: u64,
    /// The most since the start.
    pub peak: Option<u64>,
    /// Memory backed by no file.
    pub anonymous: Option<u64>,
    /// Memory backed by files, such as the program's code.
    pub file: Option<u64>,
    /// Shared memory.
    pub shmem: Option<u64>,
    /// Memory moved out to swap.
    pub swap: Option<u64>,
    /// What only some users may see, or why it is not visible.
    pub rollup: Result<Rollup, &'static str>,
}

/// The sums over all mappings.
#[derive(Clone, Copy, Debug)]
pub struct Rollup {
    /// Each byte divided by the number of processes that share it (PSS).
    pub pss: u64,
    /// Memory that no other process has.
    pub private: u64,
    /// Memory that others have too.
    pub shared: u64,
    /// Memory in huge pages.
    pub huge: u64,
    /// Memory that is locked.
    pub locked: u64,
}

/// Reads the memory of a process; returns `None` once it has ended.
pub fn resident(pid: Pid) -> Option<Resident> {
    let process = proc_files::process(pid).ok()?;
    let status = proc_files::status(&process).ok()?;
    Some(match process.smaps_rollup() {
        Ok(sums) => with_rollup(&status, &sums),
        Err(ProcError::PermissionDenied(_)) => without_rollup(&status, "not visible to this user"),
        Err(_) => without_rollup(&status, "not known to this kernel"),
    })
}

fn without_rollup(status: &Status, reason: &'static str) -> Resident {
    let bytes = |kibibytes: Option<u64>| Some(kibibytes?.saturating_mul(1024));
    Resident {
        // A kernel process has none.
        rss: bytes(status.vmrss).unwrap_or(0),
        peak: bytes(status.vmhwm),
        anonymous: bytes(status.rssanon),
        file: bytes(status.rssfile),
        shmem: bytes(status.rssshmem),
        swap: bytes(status.vmswap),
        rollup: Err(reason),
    }
}

fn with_rollup(status: &Status, sums: &SmapsRollup) -> Resident {
    let of = |name: &str| {
        let mappings = sums.memory_map_rollup.iter();
        let values = mappings.filter_map(|mapping| mapping.extension.map.get(name));
        values.fold(0_u64, |sum, value| sum.saturating_add(*value))
    };
    let sum = |names: &[&str]| {
        let values = names.iter().map(|name| of(name));
        values.fold(0, u64::saturating_add)
    };
    Resident {
        rss: of("Rss"),
        rollup: Ok(Rollup {
            pss: of("Pss"),
            private: sum(&["Private_Clean", "Private_Dirty", "Private_Hugetlb"]),
            shared: sum(&["Shared_Clean", "Shared_Dirty", "Shared_Hugetlb"]),
            huge: sum(&[
                "AnonHugePages",
                "ShmemPmdMapped",
                "FilePmdMapped",
                "Private_Hugetlb",
                "Shared_Hugetlb",
            ]),
            locked: of("Locked"),
        }),
        ..without_rollup(status, "")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_this_process_fit() {
        let resident = resident(Pid::own()).unwrap();
        let rollup = resident.rollup.unwrap();
        assert!(resident.rss > 1_000_000);
        assert!(rollup.pss > 0 && rollup.pss <= resident.rss);
        assert_eq!(rollup.private + rollup.shared, resident.rss);
        assert!(resident.peak.unwrap() > 1_000_000);
        assert!(resident.anonymous.unwrap() > 0 && resident.file.unwrap() > 0);
    }

    #[test]
    fn a_process_that_ended_has_none() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().try_into().unwrap();
        child.wait().unwrap();
        assert!(resident(pid).is_none());
    }
}
