//! Where code lies that can be read, and the instruction at an address in it.
#![expect(unsafe_code, reason = "reads instructions from memory")]

use std::{
    fs, ptr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::{
    instruction::{Opcode, opcode},
    syscalls::is_harmless,
};
use crate::{Refusal, sys::Instruction};

/// No instruction is longer than 15 bytes, and what is looked at of one is at its start.
const WINDOW: usize = 16;

/// The mappings that are readable and executable at one instant, sorted.
pub(crate) struct Code {
    ranges: Vec<Range>,
    system_calls: SystemCalls,
    /// Where the last address was found.
    last: AtomicUsize,
}

/// What becomes of system calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SystemCalls {
    /// The kernel carries them out.
    Made,
    /// A filter traps those that could do harm.
    Trapped,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Range {
    start: u64,
    end: u64,
}

impl Range {
    fn has(self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

impl Code {
    /// Reads /proc/self/maps.
    pub(crate) fn read() -> Result<Self, Refusal> {
        let maps = fs::read("/proc/self/maps");
        let maps = maps.map_err(|error| Refusal::System(error.raw_os_error().unwrap_or(0)))?;
        Ok(Self::parse(&maps))
    }

    /// The same for a copy of this process in which system calls are trapped.
    pub(crate) fn read_for_copy() -> Result<Self, Refusal> {
        Ok(Self {
            system_calls: SystemCalls::Trapped,
            ..Self::read()?
        })
    }

    fn parse(maps: &[u8]) -> Self {
        let lines = maps.split(|byte| *byte == b'\n');
        Self {
            ranges: lines.filter_map(parse_line).collect(),
            system_calls: SystemCalls::Made,
            last: AtomicUsize::new(0),
        }
    }

    /// What the thread that calls is about to run at `ip`, a system call with this number should it be
    /// one. `None` for code that is not known to be readable. Async-signal-safe.
    pub(crate) fn instruction(&self, ip: u64, number: u64) -> Option<Instruction> {
        let end = self.find(ip)?.end;
        let available = usize::try_from(end - ip).unwrap_or(WINDOW).min(WINDOW);
        let start = ptr::with_exposed_provenance::<u8>(usize::try_from(ip).ok()?);
        let mut bytes = [0_u8; WINDOW];
        for (offset, byte) in bytes.iter_mut().take(available).enumerate() {
            // SAFETY: the mapping was readable when the maps were read, and this thread runs code in
            // it, so it is still there. Volatile, as a debugger may be writing to it.
            *byte = unsafe { start.add(offset).read_volatile() };
        }
        Some(judge(bytes.get(..available)?, self.may_call(number)))
    }

    fn may_call(&self, number: u64) -> bool {
        self.system_calls == SystemCalls::Trapped || is_harmless(number)
    }

    fn find(&self, address: u64) -> Option<Range> {
        let last = self.ranges.get(self.last.load(Relaxed)).copied();
        if let Some(last) = last.filter(|range| range.has(address)) {
            return Some(last);
        }
        let after = self.ranges.partition_point(|range| range.start <= address);
        let index = after.checked_sub(1)?;
        let range = *self.ranges.get(index)?;
        self.last.store(index, Relaxed);
        range.has(address).then_some(range)
    }
}

fn judge(bytes: &[u8], may_call: bool) -> Instruction {
    match opcode(bytes) {
        Opcode::Call => Instruction::Call,
        Opcode::Other => Instruction::Other,
        Opcode::Forbidden => Instruction::Forbidden,
        Opcode::Syscall { length } => {
            // The kernel returns past the trap: the instruction behind runs without one.
            let behind = opcode(bytes.get(length..).unwrap_or_default());
            let can_be_stepped = may_call && matches!(behind, Opcode::Other | Opcode::Call);
            if can_be_stepped {
                Instruction::Other
            } else {
                Instruction::Forbidden
            }
        }
    }
}

/// `start-end permissions …`
fn parse_line(line: &[u8]) -> Option<Range> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (start, end) = str::from_utf8(fields.next()?).ok()?.split_once('-')?;
    let permissions = fields.next()?;
    let is_code = permissions.first() == Some(&b'r') && permissions.get(2) == Some(&b'x');
    is_code.then_some(Range {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::linux::syscalls::tests::{HARMFUL, HARMLESS};

    const MAPS: &[u8] = b"\
00400000-00401000 r--p 00000000 08:01 7 /srv/\xff\xfe
00401000-00403000 r-xp 00001000 08:01 7 /srv/\xff\xfe
00403000-00404000 --xp 00003000 08:01 7 /srv/only executable
7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n";

    #[test]
    fn code_is_what_can_be_read_and_run() {
        let code = Code::parse(MAPS);
        for address in [0x40_1000, 0x40_2fff, 0x7f00_0000_0000, 0x40_1000] {
            assert!(code.find(address).is_some(), "{address:x}");
        }
        for address in [0, 0x40_0000, 0x40_3000, 0x7f00_0000_1000, u64::MAX] {
            assert!(code.find(address).is_none(), "{address:x}");
        }
    }

    #[test]
    fn a_system_call_is_judged_with_what_runs_behind_it() {
        let judged = |bytes: &[u8], number| judge(bytes, is_harmless(number)) == Instruction::Other;
        assert!(judged(&[0x0f, 0x05, 0xc3], HARMLESS));
        assert!(!judged(&[0x0f, 0x05, 0xc3], HARMFUL));
        assert!(!judged(&[0x0f, 0x05, 0x0f, 0x05], HARMLESS));
        assert!(!judged(&[0x0f, 0x05, 0x9d], HARMLESS));
        assert!(!judged(&[0x0f, 0x05], HARMLESS));
    }
}
