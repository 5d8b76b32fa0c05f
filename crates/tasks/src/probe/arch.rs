//! What depends on the processor: reading registers and copying stack words.
#![expect(
    unsafe_code,
    reason = "copies stack memory that no Rust reference covers"
)]

use rtops_types::StackRegisters;

/// The registers that a function has to preserve.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeptRegisters {
    pub(super) stack: StackRegisters,
    /// The other preserved registers. What a caller keeps in one is either here or, if the register
    /// was needed for something else, on the stack.
    pub(super) saved: [u64; 5],
}

/// Reads the registers of the function that invokes it, as `Option<KeptRegisters>`; `None` on a
/// processor that there is no code for.
///
/// This is a macro because a function would always have to be inlined. In builds without full debug
/// info, it would then be in the copied stack as a frame without a path.
macro_rules! registers_here {
    () => {{
        #[cfg(target_arch = "x86_64")]
        {
            let (ip, sp, bp): (u64, u64, u64);
            let mut saved = [0_u64; 5];
            // SAFETY: it copies registers to other registers and to the array whose
            // address it is given.
            unsafe {
                std::arch::asm!(
                    "lea {ip}, [rip]",
                    "mov {sp}, rsp",
                    "mov {bp}, rbp",
                    "mov [{saved}], rbx",
                    "mov [{saved} + 8], r12",
                    "mov [{saved} + 16], r13",
                    "mov [{saved} + 24], r14",
                    "mov [{saved} + 32], r15",
                    ip = out(reg) ip,
                    sp = out(reg) sp,
                    bp = out(reg) bp,
                    saved = in(reg) saved.as_mut_ptr(),
                    options(nostack, preserves_flags),
                );
            }
            Some($crate::probe::arch::KeptRegisters {
                stack: rtops_types::StackRegisters { ip, sp, bp },
                saved,
            })
        }
        #[cfg(not(target_arch = "x86_64"))]
        None::<$crate::probe::arch::KeptRegisters>
    }};
}
pub(super) use registers_here;

/// Copies `count` words from address `from`.
///
/// The processor's string instruction makes the copy: the compiler knows nothing of the frames that
/// are read, so there is no Rust object that this could read in a wrong way.
///
/// # Safety
/// The words are readable at `from` and writable at `to`, and the two ranges do not overlap.
#[inline(always)]
pub(super) unsafe fn copy_words(from: u64, to: *mut u64, count: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the direction flag is clear by the ABI; the caller vouches for both ranges.
    unsafe {
        std::arch::asm!(
            "rep movsq",
            inout("rcx") count => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        // Never reached: `registers_here` returns nothing to copy from.
        let _unused = (from, to, count);
    }
}
