//! How much of its limits a process has used up.

use procfs::{
    ProcResult,
    process::{Limit, LimitValue, Limits, MountInfo, Process, Stat, Status, all_processes},
};
use serde::Serialize;

use super::{
    cgroup::{self, Group, Usage},
    proc_files,
};

/// From this used share on, a limit is worth a warning.
const NEAR: f64 = 0.8;

/// A known limit, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Used {
    pub what: &'static str,
    pub unit: Unit,
    #[serde(flatten)]
    pub usage: Usage,
    /// What sets the limit.
    pub set_by: &'static str,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Count,
    Bytes,
    Seconds,
}

/// The facts that the rules look at.
#[derive(Debug)]
pub struct Facts<'a> {
    pub status: &'a Status,
    pub stat: &'a Stat,
    pub limits: &'a Limits,
    /// Open file descriptors, if the user may see them.
    pub open_files: Option<usize>,
    pub groups: &'a [Group],
    /// The mounts of rtops, not of the process.
    pub mounts: &'a [MountInfo],
    pub ticks_per_second: u64,
}

struct Rule {
    what: &'static str,
    unit: Unit,
    set_by: &'static str,
    usage: fn(&Facts) -> Option<Usage>,
}

const RULES: [Rule; 10] = [
    Rule {
        what: "open files",
        unit: Unit::Count,
        set_by: "RLIMIT_NOFILE",
        usage: |facts| of(facts.open_files? as u64, facts.limits.max_open_files),
    },
    Rule {
        what: "threads of the user",
        unit: Unit::Count,
        set_by: "RLIMIT_NPROC",
        usage: threads_of_user,
    },
    Rule {
        what: "threads of the group",
        unit: Unit::Count,
        set_by: "pids.max",
        usage: |facts| cgroup::tasks(facts.groups, facts.mounts),
    },
    Rule {
        what: "memory of the group",
        unit: Unit::Bytes,
        set_by: "memory.max",
        usage: |facts| cgroup::memory(facts.groups, facts.mounts),
    },
    Rule {
        what: "address space",
        unit: Unit::Bytes,
        set_by: "RLIMIT_AS",
        usage: |facts| of(facts.stat.vsize, facts.limits.max_address_space),
    },
    Rule {
        what: "data",
        unit: Unit::Bytes,
        set_by: "RLIMIT_DATA",
        usage: |facts| of(kilobytes(facts.status.vmdata)?, facts.limits.max_data_size),
    },
    Rule {
        what: "main stack",
        unit: Unit::Bytes,
        set_by: "RLIMIT_STACK",
        usage: |facts| of(kilobytes(facts.status.vmstk)?, facts.limits.max_stack_size),
    },
    Rule {
        what: "locked memory",
        unit: Unit::Bytes,
        set_by: "RLIMIT_MEMLOCK",
        usage: |facts| {
            // A process that may ignore the limit exceeds it without harm.
            let bound = facts.status.capeff & CAP_IPC_LOCK == 0;
            let limit = facts.limits.max_locked_memory;
            bound.then(|| of(kilobytes(facts.status.vmlck)?, limit))?
        },
    },
    Rule {
        what: "processor time",
        unit: Unit::Seconds,
        set_by: "RLIMIT_CPU",
        usage: |facts| {
            let ticks = facts.stat.utime.saturating_add(facts.stat.stime);
            of(
                ticks / facts.ticks_per_second.max(1),
                facts.limits.max_cpu_time,
            )
        },
    },
    Rule {
        what: "queued signals",
        unit: Unit::Count,
        set_by: "RLIMIT_SIGPENDING",
        usage: |facts| of(facts.status.sigq.0, facts.limits.max_pending_signals),
    },
];

const CAP_IPC_LOCK: u64 = 1 << 14;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_SYS_RESOURCE: u64 = 1 << 24;

impl Used {
    /// Whether little of the limit is left.
    pub fn is_near(&self) -> bool {
        self.usage.share() >= NEAR
    }
}

/// Returns all limits that are set and whose use is known.
pub fn used(facts: &Facts) -> Vec<Used> {
    let used = |rule: &Rule| {
        Some(Used {
            what: rule.what,
            unit: rule.unit,
            usage: (rule.usage)(facts)?,
            set_by: rule.set_by,
        })
    };
    RULES.iter().filter_map(used).collect()
}

fn of(used: u64, limit: Limit) -> Option<Usage> {
    match limit.soft_limit {
        LimitValue::Value(limit) => Some(Usage { used, limit }),
        LimitValue::Unlimited => None,
    }
}

fn kilobytes(kilobytes: Option<u64>) -> Option<u64> {
    kilobytes.map(|kilobytes| kilobytes.saturating_mul(1024))
}

/// Returns the use of the limit on all of the user's threads, unless the process may exceed it.
fn threads_of_user(facts: &Facts) -> Option<Usage> {
    let may_exceed = facts.status.capeff & (CAP_SYS_ADMIN | CAP_SYS_RESOURCE) != 0;
    let limit = facts.limits.max_processes;
    if facts.status.ruid == 0 || may_exceed {
        return None;
    }
    // Without a limit, it is not worth reading all processes.
    of(0, limit)?;
    of(threads_with(facts.status.ruid).ok()?, limit)
}

fn threads_with(ruid: u32) -> ProcResult<u64> {
    let all = all_processes()?.flatten();
    let statuses = all.filter_map(|process: Process| proc_files::status(&process).ok());
    let threads = statuses.filter(|status| status.ruid == ruid);
    Ok(threads.map(|status| status.threads).sum())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_this_process() {
        let process = Process::myself().unwrap();
        let (status, stat) = (
            proc_files::status(&process).unwrap(),
            process.stat().unwrap(),
        );
        let mut limits = process.limits().unwrap();
        let value = |value| Limit {
            soft_limit: LimitValue::Value(value),
            hard_limit: LimitValue::Unlimited,
        };
        limits.max_open_files = value(100);
        limits.max_address_space = value(stat.vsize * 2);
        limits.max_stack_size = value(1);
        limits.max_cpu_time.soft_limit = LimitValue::Unlimited;
        let used = used(&Facts {
            status: &status,
            stat: &stat,
            limits: &limits,
            open_files: Some(80),
            groups: &[],
            mounts: &[],
            ticks_per_second: 100,
        });
        let of = |what| used.iter().find(|used| used.what == what);
        let files = of("open files").unwrap();
        assert_eq!((files.usage.used, files.usage.limit), (80, 100));
        assert!(files.is_near());
        assert!(!of("address space").unwrap().is_near());
        assert!(of("main stack").unwrap().is_near());
        assert_eq!(of("processor time"), None);
        assert_eq!(of("memory of the group"), None);
    }
}
