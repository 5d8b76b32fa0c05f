//! Functions of libraries that may be in this process.
#![expect(unsafe_code, reason = "dlsym and dladdr")]

use std::ffi::{CStr, c_void};

/// Returns the address of a function that the program or one of its libraries exports;
/// null if there is none.
///
/// Takes the lock of the dynamic linker, as unwinding does.
pub(super) fn exported(name: &CStr) -> *const c_void {
    // SAFETY: `name` ends with a zero byte and is only read.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.cast_const()
}

/// Whether two functions are in the same program or library.
pub(super) fn in_one_object(one: *const c_void, other: *const c_void) -> bool {
    let base = |address| {
        let mut found = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: `found` is written to if there is such an object; otherwise all of its fields are
        // null, which is valid.
        unsafe {
            libc::dladdr(address, found.as_mut_ptr());
            found.assume_init().dli_fbase
        }
    };
    let base_of_one = base(one);
    !base_of_one.is_null() && base_of_one == base(other)
}
