//! Checks whether a seccomp filter allows the injected calls, by
//! reading the filter and interpreting it here.

use nix::errno::Errno;
use rtops_image::Tid;

use crate::{
    NoCopy,
    code::Code,
    inject::calls,
    proc::Status,
    sys::{self, FilterStep},
};

/// x86_64, as the kernel reports it to a filter.
const ARCHITECTURE: u32 = 0xc000_003e;
const ALLOW: u32 = 0x7fff_0000;
/// Allowed and logged.
const LOG: u32 = 0x7ffc_0000;
const ACTION: u32 = 0xffff_0000;
/// More instructions than the kernel allows in a filter.
const MOST_STEPS: usize = 4096;
/// More filters than the kernel allows per thread: each counts as four of 32,768 instructions.
const MOST_FILTERS: usize = 1 << 13;

/// Checks that a stopped thread may make the calls that are to be injected.
pub(crate) fn check(tid: Tid, code: Code, stack: u64) -> Result<(), NoCopy> {
    let status = Status::of(&tid.to_string()).ok();
    match status.as_ref().and_then(|status| status.number("Seccomp")) {
        // A kernel without seccomp does not print this line.
        Some(0) => return Ok(()),
        None if status.is_some() => return Ok(()),
        Some(2) => {}
        // Strict mode allows only `read`, `write`, and the exit calls.
        Some(_) => return Err(NoCopy::SeccompDenies(libc::SYS_clone as u32)),
        None => return Err(NoCopy::SeccompUnread),
    }
    for index in 0..MOST_FILTERS {
        match sys::seccomp_filter(tid, index) {
            Ok(Some(filter)) => check_one(&filter, code, stack)?,
            Ok(None) => return Ok(()),
            Err(Errno::ESRCH) => return Err(NoCopy::NoThread),
            Err(_) => return Err(NoCopy::SeccompUnread),
        }
    }
    Err(NoCopy::SeccompUnread)
}

fn check_one(filter: &[FilterStep], code: Code, stack: u64) -> Result<(), NoCopy> {
    for (call, behind) in calls(code, stack) {
        let action = run(filter, &data(&call, behind)).map(|action| action & ACTION);
        if !matches!(action, Some(ALLOW | LOG)) {
            let [number, ..] = call;
            return Err(NoCopy::SeccompDenies(u32::try_from(number).unwrap_or(0)));
        }
    }
    Ok(())
}

/// Returns the words of `struct seccomp_data`.
fn data(call: &[u64; 6], behind: u64) -> [u32; 16] {
    let mut data = [0; 16];
    let [number, arguments @ ..] = call;
    data[0] = *number as u32;
    data[1] = ARCHITECTURE;
    data[2] = behind as u32;
    data[3] = (behind >> 32) as u32;
    for (index, argument) in arguments.iter().enumerate() {
        data[4 + 2 * index] = *argument as u32;
        data[5 + 2 * index] = (*argument >> 32) as u32;
    }
    data
}

/// Runs a filter on a call and returns its answer; `None` if the filter is malformed.
fn run(filter: &[FilterStep], data: &[u32; 16]) -> Option<u32> {
    let mut machine = Machine::default();
    let mut at = 0_usize;
    for _ in 0..MOST_STEPS {
        let [head, constant] = *filter.get(at)?;
        at += 1;
        match machine.step(data, (head & 0xffff, constant))? {
            Next::Step => {}
            Next::Jump(by) => at = at.checked_add(usize::try_from(by).ok()?)?,
            // Both offsets are eight bits wide.
            Next::Branch(true) => at += (head >> 16 & 0xff) as usize,
            Next::Branch(false) => at += (head >> 24) as usize,
            Next::Return(action) => return Some(action),
        }
    }
    None
}

/// The registers and memory of classic BPF, as far as seccomp allows it.
#[derive(Debug, Default)]
struct Machine {
    a: u32,
    x: u32,
    memory: [u32; 16],
}

enum Next {
    Step,
    Jump(u32),
    Branch(bool),
    Return(u32),
}

impl Machine {
    fn step(&mut self, data: &[u32; 16], (code, constant): (u32, u32)) -> Option<Next> {
        let operand = if code & 8 == 0 { constant } else { self.x };
        match code & 7 {
            0 => self.a = self.load(code, data, constant)?,
            1 => self.x = self.load(code, data, constant)?,
            2 => *self.memory.get_mut(constant as usize)? = self.a,
            3 => *self.memory.get_mut(constant as usize)? = self.x,
            4 => self.a = calculate(code, self.a, operand)?,
            5 => {
                return Some(match code & 0xf0 {
                    0x00 => Next::Jump(constant),
                    0x10 => Next::Branch(self.a == operand),
                    0x20 => Next::Branch(self.a > operand),
                    0x30 => Next::Branch(self.a >= operand),
                    0x40 => Next::Branch(self.a & operand != 0),
                    _ => return None,
                });
            }
            6 => {
                return Some(Next::Return(if code & 0x18 == 0x10 {
                    self.a
                } else {
                    constant
                }));
            }
            _ if code & 0xf8 == 0x80 => self.a = self.x,
            _ => self.x = self.a,
        }
        Some(Next::Step)
    }

    fn load(&self, code: u32, data: &[u32; 16], constant: u32) -> Option<u32> {
        match code & 0xe0 {
            0x00 => Some(constant),
            0x20 => data.get(usize::try_from(constant / 4).ok()?).copied(),
            0x60 => self.memory.get(usize::try_from(constant).ok()?).copied(),
            0x80 => Some(size_of_val(data) as u32),
            _ => None,
        }
    }
}

fn calculate(code: u32, a: u32, b: u32) -> Option<u32> {
    Some(match code & 0xf0 {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x30 => a.checked_div(b)?,
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a.wrapping_shl(b),
        0x70 => a.wrapping_shr(b),
        0x80 => a.wrapping_neg(),
        0xa0 => a ^ b,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CODE: Code = Code {
        call: 0x2000,
        restore: 0x3000,
        behind_restore: 0x3009,
    };

    const fn step(code: u32, k: u32) -> [u32; 2] {
        [code, k]
    }
    const fn jump(code: u32, k: u32, yes: u32, no: u32) -> [u32; 2] {
        [code | yes << 16 | no << 24, k]
    }

    const LOAD: u32 = 0x20;
    const EQUAL: u32 = 0x15;
    const ANY_BIT: u32 = 0x45;
    const RETURN: u32 = 0x06;
    const EPERM: u32 = 0x0005_0001;
    const KILL: u32 = 0x8000_0000;

    #[test]
    fn a_filter_that_denies_processes_is_found() {
        let filter = |action, flag| {
            [
                step(LOAD, 0),
                jump(EQUAL, libc::SYS_clone as u32, 0, 3),
                step(LOAD, 16),
                jump(ANY_BIT, flag, 0, 1),
                step(RETURN, action),
                step(RETURN, ALLOW),
            ]
        };
        let namespaces = 0x7e02_0000;
        assert_eq!(check_one(&filter(KILL, namespaces), CODE, 0x7000), Ok(()));
        let clone = Err(NoCopy::SeccompDenies(libc::SYS_clone as u32));
        for action in [EPERM, KILL, 0x7ff0_0000, 0x7fc0_0000] {
            // CLONE_FILES is in every injected clone.
            assert_eq!(check_one(&filter(action, 0x400), CODE, 0x7000), clone);
        }
    }

    #[test]
    fn all_calls_are_asked_about() {
        for number in [libc::SYS_wait4, libc::SYS_exit, libc::SYS_rt_sigreturn] {
            let filter = [
                step(LOAD, 0),
                jump(EQUAL, number as u32, 0, 1),
                step(RETURN, KILL),
                step(RETURN, LOG),
            ];
            let denied = Err(NoCopy::SeccompDenies(number as u32));
            assert_eq!(check_one(&filter, CODE, 0), denied);
        }
    }

    #[test]
    fn the_machine_calculates() {
        // a = (number + 3) ^ 1, stored in memory and compared with x.
        let number = libc::SYS_clone as u32;
        let filter = [
            step(LOAD, 0),
            step(0x04, 3),
            step(0xa4, 1),
            step(0x02, 7),
            step(0x61, 7),
            step(0x00, (number + 3) ^ 1),
            jump(0x1d, 0, 0, 1),
            step(RETURN, ALLOW),
            step(0x80, 0),
            step(0x16, 0),
        ];
        assert_eq!(
            run(&filter, &data(&[number.into(), 0, 0, 0, 0, 0], 0)),
            Some(ALLOW)
        );
        assert_eq!(run(&filter, &data(&[1, 0, 0, 0, 0, 0], 0)), Some(64));
    }

    #[test]
    fn nonsense_is_not_an_answer() {
        let call = data(&[1, 0, 0, 0, 0, 0], 0);
        for filter in [
            &[][..],
            &[step(LOAD, 64)],
            &[step(0x05, u32::MAX)],
            &[step(0x34, 0)],
            &[step(0x28, 0)],
        ] {
            assert_eq!(run(filter, &call), None);
        }
    }
}
