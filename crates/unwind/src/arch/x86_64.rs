//! x86_64: instruction, stack and frame pointer are all that framehop's rules use.

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};

use crate::StackRegisters;

pub(crate) type Rules<D> = UnwinderX86_64<D>;
pub(crate) type Cache = CacheX86_64;

/// The state before a step.
pub(crate) fn to_rules(registers: StackRegisters) -> UnwindRegsX86_64 {
    UnwindRegsX86_64::new(registers.ip, registers.sp, registers.bp)
}

/// The state after a step: the registers of the caller.
pub(crate) fn from_rules(registers: &UnwindRegsX86_64) -> StackRegisters {
    StackRegisters {
        ip: registers.ip(),
        sp: registers.sp(),
        bp: registers.bp(),
    }
}

/// The registers that a signal interrupted, read from the frame that the kernel put on the stack.
/// `sp` is the stack pointer in the trampoline, where a handler returns to: there lies the `ucontext`.
pub(crate) fn interrupted(
    sp: u64,
    mut read: impl FnMut(u64) -> Result<u64, ()>,
) -> Result<StackRegisters, ()> {
    // Behind uc_flags, uc_link and uc_stack come the registers from r8 on, as in <sys/ucontext.h>.
    const REGISTERS: u64 = 40;
    let mut register = |index: u64| read(sp.checked_add(REGISTERS + 8 * index).ok_or(())?);
    Ok(StackRegisters {
        bp: register(10)?,
        sp: register(15)?,
        ip: register(16)?,
    })
}
