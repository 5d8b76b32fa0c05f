//! Functions that may be linked into this program.
//!
//! A program exports hardly any of its own functions, so `dlsym` does not find those of an
//! allocator that is linked into it. A *weak* reference does: the linker fills in the address if
//! the function is linked for another reason, and zero if not. The reference alone links nothing.

use std::ffi::c_void;

/// Returns the address of a function that is linked into this program or library; null
/// if it is not.
#[cfg(target_arch = "x86_64")]
macro_rules! weak {
    ($name:literal) => {{
        let address: *const std::ffi::c_void;
        // SAFETY: it reads the symbol's entry in the global offset table, which the linker makes
        // for this very instruction.
        unsafe {
            std::arch::asm!(
                concat!(".weak ", $name),
                concat!("mov {address}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                address = out(reg) address,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        address
    }};
}

/// Returns the address of a function that is linked into this program or library; null
/// if it is not.
#[cfg(target_arch = "aarch64")]
macro_rules! weak {
    ($name:literal) => {{
        let address: *const std::ffi::c_void;
        // SAFETY: it reads the symbol's entry in the global offset table, which the linker makes
        // for these two instructions.
        unsafe {
            std::arch::asm!(
                concat!(".weak ", $name),
                concat!("adrp {address}, :got:", $name),
                concat!("ldr {address}, [{address}, :got_lo12:", $name, "]"),
                address = out(reg) address,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        address
    }};
}

/// Returns null: on other processors, only exported functions are found.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
macro_rules! weak {
    ($name:literal) => {
        std::ptr::null::<std::ffi::c_void>()
    };
}

pub(super) use weak;

/// Returns the first address that is not null.
pub(super) fn first<const N: usize>(addresses: [*const c_void; N]) -> Option<*const c_void> {
    addresses.into_iter().find(|address| !address.is_null())
}
