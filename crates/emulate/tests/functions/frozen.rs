//! The memory of this process at one moment: that of a child that never runs.
#![expect(
    unsafe_code,
    reason = "a copy of the process is made, and the thread's control block read"
)]

use std::{fs::File, os::unix::fs::FileExt};

use nix::{
    sys::{signal::Signal, wait::waitpid},
    unistd::{ForkResult, Pid, fork, pause},
};
use rtops_emulate::{Absent, Access, PAGE_SIZE, Page, Source};

/// A copy of this process; the copy ends when this is dropped.
pub struct Frozen {
    child: Pid,
    memory: File,
    regions: Vec<(u64, u64, Access)>,
}

impl Frozen {
    pub fn new() -> Self {
        let (ready, child_is_ready) = nix::unistd::pipe().expect("pipe");
        // SAFETY: the child only reports that it exists and waits for its end, by calls that are
        // safe in a signal handler and thus after a fork of a process with threads.
        let child = match unsafe { fork() }.expect("fork") {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                // Only now, because `fork` itself holds the locks of the allocator. If this fails,
                // so does the parent's read.
                nix::unistd::write(&child_is_ready, &[1]).ok();
                loop {
                    pause();
                }
            }
        };
        nix::unistd::read(&ready, &mut [0]).expect("the child writes");
        let open = |name| File::open(format!("/proc/{child}/{name}")).expect(name);
        let maps = std::io::read_to_string(open("maps")).expect("maps");
        Self {
            child,
            memory: open("mem"),
            regions: maps.lines().filter_map(region).collect(),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        nix::sys::signal::kill(self.child, Signal::SIGKILL).expect("it is our child");
        waitpid(self.child, None).expect("it is our child");
    }
}

/// Parses a line of `/proc/PID/maps`.
fn region(line: &str) -> Option<(u64, u64, Access)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let rights = rest.as_bytes();
    let access = Access {
        read: rights[0] == b'r',
        write: rights[1] == b'w',
        execute: rights[2] == b'x',
    };
    Some((number(start)?, number(end)?, access))
}

impl Source for Frozen {
    fn page(&self, address: u64, into: &mut Page) -> Result<Access, Absent> {
        let region = self
            .regions
            .iter()
            .find(|(start, end, _)| (*start..*end).contains(&address));
        let (.., access) = region.ok_or(Absent::NotMapped)?;
        match self.memory.read_at(into, address) {
            Ok(PAGE_SIZE) => Ok(*access),
            _ => Err(Absent::NotPresent),
        }
    }
}

/// Returns the base of `fs` of this thread.
pub fn fs_base() -> u64 {
    let base: u64;
    // SAFETY: the first word of the thread control block is its own address, by the ABI of
    // thread-local storage. Only memory of the current thread is read.
    unsafe {
        std::arch::asm!("mov {}, fs:[0]", out(reg) base, options(nostack, readonly, preserves_flags))
    };
    base
}
