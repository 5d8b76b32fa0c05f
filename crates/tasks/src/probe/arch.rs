//! What depends on the processor: reading the registers, and copying stack words.
#![expect(
    unsafe_code,
    reason = "copies stack memory that no Rust reference covers"
)]

use rtops_types::StackRegisters;

/// The registers of a function that it has to leave as it found them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeptRegisters {
    pub(super) stack: StackRegisters,
    /// The others that a function leaves as it found them. What its callers keep in one is either
    /// here or, where it was needed for something else, in the stack.
    pub(super) saved: [u64; 5],
}

/// The registers of the function that this is written in: `Option<KeptRegisters>`, `None` on a
/// processor that there is no code for.
///
/// A macro, as a function would have to be inlined always, and then stands in the copied stack as
/// a frame without a path in builds without full debug info.
macro_rules! registers_here {
    () => {{
        #[cfg(target_arch = "x86_64")]
        {
            let (ip, sp, bp): (u64, u64, u64);
            let mut saved = [0_u64; 5];
            // SAFETY: it reads registers into others, and into the array whose address it is given.
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
/// The copy is made by the processor's string instruction: the compiler knows nothing of the
/// frames that are read, so there is no Rust object that this could read the wrong way.
///
/// # Safety
/// `count` words are readable at `from` and writable at `to`, and the two do not overlap.
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
        // Never reached: `registers_here` gives nothing to copy from.
        let _unused = (from, to, count);
    }
}
