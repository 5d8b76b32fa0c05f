//! The process that a core belongs to, and what it died of.

use std::time::SystemTime;

use crate::notes::{u32_at, u64_at};

/// The size of `struct elf_prstatus`.
pub(super) const STATUS_SIZE: u64 = 336;

/// The process that a core belongs to, and what it died of, as the core itself states it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CoreHead {
    /// The name of the process: at most 15 bytes, lossily converted.
    pub program: String,
    /// The start of its command line: at most 79 bytes, lossily converted, separated by spaces.
    pub arguments: String,
    /// Its PID, as seen from where the core was written.
    pub pid: Option<i32>,
    /// Its real user ID.
    pub uid: Option<u32>,
    /// The signal that ended it. In a core that gdb wrote, the signal
    /// that had stopped it, unless gdb itself had.
    pub signal: Option<Signal>,
    /// The program that wrote the core.
    pub writer: Option<Writer>,
    /// When it died, if systemd-coredump says so: neither the kernel nor gdb does.
    pub time: Option<SystemTime>,
    /// The machine on which it ran, if systemd-coredump says so.
    pub host: Option<String>,
}

/// The program that wrote a core.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Writer {
    /// Linux, when the process died.
    Kernel,
    /// `gcore` or gdb's `generate-core-file`: the process may have continued.
    Gdb,
}

/// A signal as it was delivered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Signal {
    /// Its number, for example 11 for SIGSEGV.
    pub number: i32,
    /// `si_code`: the kind of event, such as `SEGV_MAPERR`.
    pub code: i32,
    /// The cause of the signal.
    pub origin: Origin,
}

/// The cause of a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// An instruction that failed to access an address.
    Fault {
        /// The address that could not be accessed, or that of the
        /// instruction, depending on the signal.
        address: u64,
    },
    /// Another process.
    Sender {
        /// Its PID.
        pid: i32,
        /// Its user ID.
        uid: u32,
    },
    /// The kernel, without an address, for example because the address is not canonical.
    Kernel,
}

const SIGILL: i32 = 4;
const SIGTRAP: i32 = 5;
const SIGBUS: i32 = 7;
const SIGFPE: i32 = 8;
const SIGSEGV: i32 = 11;
const SI_KERNEL: i32 = 0x80;

impl Signal {
    /// Parses a `siginfo_t`.
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

/// The contents of `NT_PRPSINFO`.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) program: String,
    pub(super) arguments: String,
    pub(super) pid: i32,
    pub(super) uid: u32,
}

impl Ids {
    /// Parses a `struct elf_prpsinfo`.
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
