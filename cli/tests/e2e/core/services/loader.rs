//! Loads the service from a shared library, as a plug-in, and runs it.

use std::{
    env,
    ffi::{c_char, c_int, c_void, CString},
};

extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

const RTLD_NOW: c_int = 2;

fn main() {
    let mut path = env::current_exe().unwrap();
    path.set_file_name("libplugin.so");
    let path = CString::new(path.into_os_string().into_encoded_bytes()).unwrap();
    let run: extern "C" fn() = unsafe {
        let library = dlopen(path.as_ptr(), RTLD_NOW);
        assert!(!library.is_null());
        let run = dlsym(library, c"run_service".as_ptr());
        assert!(!run.is_null());
        std::mem::transmute(run)
    };
    run()
}
