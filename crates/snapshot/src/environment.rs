//! What /proc says before a copy is made.

use std::{fs, time::Duration};

use crate::{Refusal, cgroup};

/// What cloning takes, measured: 20 ms for a GiB of private memory.
const CLONE_NS_A_KIB: u64 = 20;
/// What stopping takes, measured: 20 to 29 ms for 512 threads.
const STOP_NS_A_THREAD: u64 = 50_000;
/// What any copy takes.
const LEAST_PAUSE: Duration = Duration::from_micros(500);

/// What was found out about this process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Environment {
    /// Private memory in use, in KiB.
    pub private_kib: u64,
    /// Threads.
    pub threads: u64,
}

impl Environment {
    /// Looks at this process.
    ///
    /// # Errors
    /// When it is in a state in which a copy would do harm or can't be made.
    pub fn check() -> Result<Self, Refusal> {
        let status = fs::read_to_string("/proc/self/status")
            .map_err(|_| Refusal::Unreadable("/proc/self/status"))?;
        let this = Self::judge(&status)?;
        cgroup::check(this.private_kib << 10)?;
        Ok(this)
    }

    fn judge(status: &str) -> Result<Self, Refusal> {
        let number = |name| number(status, name);
        if number("TracerPid:").is_some_and(|pid| pid != 0) {
            return Err(Refusal::Traced);
        }
        if number("VmLck:").is_some_and(|kib| kib != 0) {
            return Err(Refusal::MemoryLocked);
        }
        if field(status, "x86_Thread_features:").is_some_and(|list| list.contains("shstk")) {
            return Err(Refusal::ShadowStack);
        }
        let missing = || Refusal::Unreadable("the memory figures of /proc/self/status");
        Ok(Self {
            private_kib: number("RssAnon:").ok_or_else(missing)?,
            threads: number("Threads:").ok_or_else(missing)?,
        })
    }

    /// For how long the threads will stand still, about.
    #[must_use]
    pub fn estimate(&self) -> Duration {
        let clone = Duration::from_nanos(self.private_kib.saturating_mul(CLONE_NS_A_KIB));
        let stop = Duration::from_nanos(self.threads.saturating_mul(STOP_NS_A_THREAD));
        LEAST_PAUSE + clone + stop
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.map(str::trim)
}

/// The number that follows this name at the start of a line.
pub(crate) fn number(status: &str, name: &str) -> Option<u64> {
    let first = field(status, name)?.split_ascii_whitespace().next()?;
    first.parse().ok()
}

/// A part of the address space.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub struct Mapping {
    /// The first address.
    pub start: usize,
    /// The address behind the last.
    pub end: usize,
    /// What it is, the sum of the constants of [`Use`].
    pub uses: usize,
}

/// What a [`Mapping`] is for, one bit each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Use(pub usize);

impl Use {
    /// It can be read.
    pub const READ: Self = Self(1);
    /// It can be written to.
    pub const WRITE: Self = Self(1 << 1);
    /// Code.
    pub const EXECUTE: Self = Self(1 << 2);
    /// Other processes may have it, too.
    pub const SHARED: Self = Self(1 << 3);
    /// Of a file.
    pub const FILE: Self = Self(1 << 4);
    /// A device: looking at it may have an effect.
    pub const DEVICE: Self = Self(1 << 5);
    /// Made by the kernel for its own purposes.
    pub const SPECIAL: Self = Self(1 << 6);
    /// A thread's stack pointer lies in it.
    pub const STACK: Self = Self(1 << 7);
}

impl Mapping {
    /// Whether it is for all of these.
    #[must_use]
    pub const fn is(&self, uses: Use) -> bool {
        self.uses & uses.0 == uses.0
    }

    /// `START-END PERMISSIONS OFFSET DEVICE INODE PATH`, as in /proc/PID/maps.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line
            .split(|byte| *byte == b' ')
            .filter(|field| !field.is_empty());
        let (start, end) = str::from_utf8(fields.next()?).ok()?.split_once('-')?;
        let permissions = fields.next()?;
        let path = fields.nth(3).unwrap_or_default();
        let mut uses = 0;
        let mut add = |is, bit: Use| {
            if is {
                uses |= bit.0;
            }
        };
        add(permissions.first() == Some(&b'r'), Use::READ);
        add(permissions.get(1) == Some(&b'w'), Use::WRITE);
        add(permissions.get(2) == Some(&b'x'), Use::EXECUTE);
        add(permissions.get(3) == Some(&b's'), Use::SHARED);
        add(path.starts_with(b"/"), Use::FILE);
        add(path.starts_with(b"[v"), Use::SPECIAL);
        let is_memory = path.starts_with(b"/dev/zero") || path.starts_with(b"/dev/shm/");
        add(path.starts_with(b"/dev/") && !is_memory, Use::DEVICE);
        Some(Self {
            start: usize::from_str_radix(start, 16).ok()?,
            end: usize::from_str_radix(end, 16).ok()?,
            uses,
        })
    }

    /// All of a file like /proc/PID/maps; those with one of the addresses in them are stacks.
    pub(crate) fn parse_all(maps: &[u8], stack_pointers: &[usize]) -> Vec<Self> {
        let lines = maps.split(|byte| *byte == b'\n');
        let mut all: Vec<Self> = lines.filter_map(Self::parse).collect();
        for mapping in &mut all {
            let range = mapping.start..mapping.end;
            if stack_pointers.iter().any(|sp| range.contains(sp)) {
                mapping.uses |= Use::STACK.0;
            }
        }
        all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tapi\nTracerPid:\t0\nVmLck:\t       0 kB\nRssAnon:\t  1048576 kB\n\
                          x86_Thread_features:\t\nThreads:\t8\n";

    #[test]
    fn the_pause_grows_with_memory_and_threads() {
        let environment = Environment::judge(STATUS).unwrap();
        assert_eq!(environment.private_kib, 1 << 20);
        let more = Environment {
            private_kib: 2 << 20,
            threads: 100,
        };
        assert!(environment.estimate() > Duration::from_millis(20));
        assert!(more.estimate() > environment.estimate());
    }

    #[test]
    fn what_a_copy_would_harm_is_refused() {
        for (from, to) in [
            ("TracerPid:\t0", "TracerPid:\t7"),
            ("VmLck:\t       0", "VmLck:\t      64"),
            ("features:\t", "features:\tshstk wrss"),
            ("RssAnon", "Rss"),
        ] {
            assert!(STATUS.contains(from));
            assert!(
                Environment::judge(&STATUS.replace(from, to)).is_err(),
                "{to}"
            );
        }
    }

    #[test]
    fn mappings_say_what_they_are_for() {
        let maps = b"\
55d0c0000000-55d0c0001000 r-xp 00000000 08:01 7   /srv/a\xffb
7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n\
7f0000001000-7f0000002000 rw-s 00000000 00:01 5   /dev/shm/x
7f0000002000-7f0000003000 rw-s 00000000 00:05 9   /dev/dri/card0
7f0000003000-7f0000004000 r--p 00000000 00:00 0   [vvar]
broken\n";
        let all = Mapping::parse_all(maps, &[0x7f00_0000_0800]);
        let is = |index: usize, uses| all.get(index).unwrap().is(uses);
        assert_eq!(all.len(), 5);
        assert!(is(0, Use::EXECUTE) && is(0, Use::FILE) && !is(0, Use::WRITE));
        assert!(is(1, Use::STACK) && is(1, Use::WRITE) && !is(1, Use::SHARED));
        assert!(is(2, Use::SHARED) && !is(2, Use::DEVICE));
        assert!(is(3, Use::DEVICE) && !is(3, Use::STACK));
        assert!(is(4, Use::SPECIAL));
    }
}
