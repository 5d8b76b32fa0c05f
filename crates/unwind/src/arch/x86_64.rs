//! x86_64: framehop's rules use only the instruction, stack, and frame pointers.

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};

use crate::StackRegisters;

pub(crate) type Rules<D> = UnwinderX86_64<D>;
pub(crate) type Cache = CacheX86_64;

/// Converts the registers before a step.
pub(crate) fn to_rules(registers: StackRegisters) -> UnwindRegsX86_64 {
    UnwindRegsX86_64::new(registers.ip, registers.sp, registers.bp)
}

/// Converts the registers after a step, which are those of the caller.
pub(crate) fn from_rules(registers: &UnwindRegsX86_64) -> StackRegisters {
    StackRegisters {
        ip: registers.ip(),
        sp: registers.sp(),
        bp: registers.bp(),
    }
}

/// Reads the registers that a signal interrupted from the frame that the
/// kernel put on the stack. `sp` is the stack pointer in the trampoline, to
/// which a handler returns: the `ucontext` is there.
pub(crate) fn interrupted(
    sp: u64,
    mut read: impl FnMut(u64) -> Result<u64, ()>,
) -> Result<StackRegisters, ()> {
    // After uc_flags, uc_link, and uc_stack come the registers from r8 on, as in <sys/ucontext.h>.
    const REGISTERS: u64 = 40;
    let mut register = |index: u64| read(sp.checked_add(REGISTERS + 8 * index).ok_or(())?);
    Ok(StackRegisters {
        bp: register(10)?,
        sp: register(15)?,
        ip: register(16)?,
    })
}
