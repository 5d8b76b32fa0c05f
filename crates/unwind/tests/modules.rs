//! Tests the module list of this test process, and its changes.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "dlopen and dlclose")]

use std::{ffi::CStr, sync::Mutex};

use rtops_unwind::{Module, ModuleKind, Outcome, StackRegisters, StackSlice, Unwinder};

/// Tests in one process share its module list: those that change or compare it take turns.
static LIST: Mutex<()> = Mutex::new(());

fn unwinder() -> Unwinder {
    let mut unwinder = Unwinder::new();
    unwinder.refresh();
    unwinder
}

fn holding(unwinder: &Unwinder, address: usize) -> Option<&Module> {
    unwinder
        .modules()
        .iter()
        .find(|module| module.code.contains(&(address as u64)))
}

#[test]
fn the_main_executable_is_named_and_identified() {
    let unwinder = unwinder();
    let module = holding(&unwinder, unwinder_fn_address()).unwrap();
    assert_eq!(module.kind, ModuleKind::MainExecutable);
    assert_eq!(
        module.path,
        std::env::current_exe().unwrap().to_str().unwrap()
    );
    assert_eq!(
        unwinder
            .modules()
            .iter()
            .filter(|it| it.kind == ModuleKind::MainExecutable)
            .count(),
        1
    );
}

fn unwinder_fn_address() -> usize {
    unwinder as *const () as usize
}

#[test]
fn libc_has_a_path_and_the_build_id_of_its_file() {
    let unwinder = unwinder();
    let module = holding(&unwinder, libc::getpid as *const () as usize).unwrap();
    assert_eq!(module.kind, ModuleKind::Library);
    assert!(module.path.contains("libc"), "{}", module.path);
    assert_eq!(module.build_id.len(), 20);
    let file = std::fs::read(&module.path).unwrap();
    assert!(file.windows(20).any(|bytes| bytes == module.build_id));
}

#[test]
fn the_vdso_is_listed() {
    let unwinder = unwinder();
    let module = unwinder
        .modules()
        .iter()
        .find(|it| it.kind == ModuleKind::Vdso)
        .unwrap();
    assert_eq!(module.path, "[vdso]");
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
    let start = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
    assert!(module.code.start >= start && module.code.start < start + 0x10000);
}

#[test]
fn a_library_comes_and_goes_with_dlopen_and_dlclose() {
    let _turn = LIST.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut unwinder = unwinder();
    assert!(
        !has_libm(&unwinder),
        "choose a library that the test doesn't link"
    );
    let library = Library::open(c"libm.so.6");
    unwinder.refresh();
    assert!(has_libm(&unwinder));
    let code = library.symbol(c"cos");

    drop(library);
    // Its memory is gone, but the unwinder doesn't know yet and works from its own copy.
    let slice = StackSlice {
        registers: StackRegisters {
            ip: code,
            sp: 4096,
            bp: 0,
        },
        bytes: &[0xff; 64],
    };
    let mut frames = Vec::new();
    assert_ne!(unwinder.unwind(&slice, None, &mut frames), Outcome::Root);
    assert_eq!(frames[0], code);

    unwinder.refresh();
    assert!(!has_libm(&unwinder));
    frames.clear();
    assert_eq!(unwinder.unwind(&slice, None, &mut frames), Outcome::Lost);
    assert_eq!(frames, [code]);
}

#[test]
fn refreshing_while_libraries_come_and_go_is_safe() {
    let _turn = LIST.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            for _ in 0..300 {
                drop(Library::open(c"libm.so.6"));
            }
        });
        let mut unwinder = unwinder();
        while !churn.is_finished() {
            unwinder.refresh();
            assert!(holding(&unwinder, unwinder_fn_address()).is_some());
        }
    });
}

fn has_libm(unwinder: &Unwinder) -> bool {
    unwinder
        .modules()
        .iter()
        .any(|module| module.path.contains("libm.so"))
}

struct Library(*mut libc::c_void);

impl Library {
    fn open(name: &CStr) -> Self {
        // SAFETY: libm has no constructors that could harm.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null());
        Self(handle)
    }

    fn symbol(&self, name: &CStr) -> u64 {
        // SAFETY: the handle is open.
        let address = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!address.is_null());
        address.addr() as u64
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nothing in the library is used any more.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}
