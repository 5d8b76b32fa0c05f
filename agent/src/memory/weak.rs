//! Functions that may be linked into this program or not.
//!
//! A program exports hardly any of its own functions, so that `dlsym` finds none of an allocator
//! that is linked into it. A *weak* reference does: the linker fills in the address if something
//! else has the function linked, and zero if not. It links nothing by itself.

use std::ffi::c_void;

/// The address of a function that is linked into this program or library; else null.
#[cfg(target_arch = "x86_64")]
macro_rules! weak {
    ($name:literal) => {{
        let address: *const std::ffi::c_void;
        // SAFETY: it reads the entry of the symbol in the global offset table, which the linker
        // makes for this very instruction.
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

/// The same.
#[cfg(target_arch = "aarch64")]
macro_rules! weak {
    ($name:literal) => {{
        let address: *const std::ffi::c_void;
        // SAFETY: it reads the entry of the symbol in the global offset table, which the linker
        // makes for these two instructions.
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

/// Elsewhere only what is exported is found.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
macro_rules! weak {
    ($name:literal) => {
        std::ptr::null::<std::ffi::c_void>()
    };
}

pub(super) use weak;

/// The first address that is one.
pub(super) fn first<const N: usize>(addresses: [*const c_void; N]) -> Option<*const c_void> {
    addresses.into_iter().find(|address| !address.is_null())
}
