//! Which process a core is of, and what it died of.

use std::time::SystemTime;

use crate::notes::{u32_at, u64_at};

/// The size of `struct elf_prstatus`.
pub(super) const STATUS_SIZE: u64 = 336;

/// Which process a core is of, and what it died of, in the core's own words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CoreHead {
    /// The name of the process: at most 15 bytes, lossily converted.
    pub program: String,
    /// The start of its command line: at most 79 bytes, lossily converted, with spaces in between.
    pub arguments: String,
    /// Its pid, as seen from where the core was written.
    pub pid: Option<i32>,
    /// Its real user.
    pub uid: Option<u32>,
    /// Why it ended. In a core that gdb wrote, what the process had stopped with, unless gdb had stopped it.
    pub signal: Option<Signal>,
    /// Who wrote the core.
    pub writer: Option<Writer>,
    /// When it died, where systemd-coredump says so: neither the kernel nor gdb does.
    pub time: Option<SystemTime>,
    /// The machine on which it ran, where systemd-coredump says so.
    pub host: Option<String>,
}

/// Who wrote a core.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Writer {
    /// Linux, as the process died.
    Kernel,
    /// `gcore` or gdb's `generate-core-file`: the process may have lived on.
    Gdb,
}

/// A signal as it was delivered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Signal {
    /// Its number, as 11 for SIGSEGV.
    pub number: i32,
    /// `si_code`: what kind of event it was, as `SEGV_MAPERR`.
    pub code: i32,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a signal came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// An instruction, which failed over this address.
    Fault {
        /// The address that could not be used, or that of the instruction, by the kind of signal.
        address: u64,
    },
    /// A process sent it.
    Sender {
        /// Its pid.
        pid: i32,
        /// Its user.
        uid: u32,
    },
    /// The kernel, without an address: as for an address that is not canonical.
    Kernel,
}

const SIGILL: i32 = 4;
const SIGTRAP: i32 = 5;
const SIGBUS: i32 = 7;
const SIGFPE: i32 = 8;
const SIGSEGV: i32 = 11;
const SI_KERNEL: i32 = 0x80;

impl Signal {
    /// `siginfo_t`.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < 24 {
            return None;
        }
        let number = u32_at(bytes, 0).cast_signed();
        let code = u32_at(bytes, 8).cast_signed();
        let is_fault = matches!(number, SIGILL | SIGTRAP | SIGBUS | SIGFPE | SIGSEGV);
        let origin = match code {
            SI_KERNEL => Origin::Kernel,
            1.. if is_fault => Origin::Fault {
                address: u64_at(bytes, 16),
            },
            1.. => Origin::Kernel,
            _ => Origin::Sender {
                pid: u32_at(bytes, 16).cast_signed(),
                uid: u32_at(bytes, 20),
            },
        };
        (number > 0).then_some(Self {
            number,
            code,
            origin,
        })
    }
}

/// What `NT_PRPSINFO` says.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) program: String,
    pub(super) arguments: String,
    pub(super) pid: i32,
    pub(super) uid: u32,
}

impl Ids {
    /// `struct elf_prpsinfo`.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = |range| {
            let text: &[u8] = bytes.get(range)?;
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            Some(String::from_utf8_lossy(text).trim_end().to_owned())
        };
        Some(Self {
            program: text(40..56)?,
            arguments: text(56..136)?,
            pid: u32_at(bytes, 24).cast_signed(),
            uid: u32_at(bytes, 16),
        })
    }
}
