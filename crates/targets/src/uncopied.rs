//! A task that nobody wrapped, in a process of which no copy may be made.
#![expect(unsafe_code, reason = "a seccomp filter")]

use nix::{
    errno::Errno,
    libc,
    sys::mman::{MlockAllFlags, mlockall},
};
use tokio::{runtime::Builder, time::sleep};

use crate::{
    FOREVER, Never,
    control::Control,
    settle::{settled, settlement},
};

/// `locked`: its memory is; `confined`: it may not install more filters for system calls; `free`:
/// none of these.
pub(crate) fn run(control: Control, kind: Option<&str>) -> Result<Never, String> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    match kind {
        Some("locked") => {
            mlockall(MlockAllFlags::MCL_CURRENT).map_err(|error| error.to_string())?
        }
        Some("confined") => confine().map_err(|error| error.to_string())?,
        Some("free") => {}
        other => return Err(format!("no process is called {other:?}")),
    }
    let (pending, waits) = settlement();
    runtime.spawn(settled(async { sleep(FOREVER).await }, pending));
    waits.wait();
    control.serve(|| 0)
}

/// Has all threads get EPERM for `seccomp`, as in a container with such a profile.
fn confine() -> Result<(), Errno> {
    let statement = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let refuse = libc::SECCOMP_RET_ERRNO | Errno::EPERM as u32;
    let mut filter = [
        // The number of the call is the first field.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            libc::SYS_seccomp as u32,
            0,
            1,
        ),
        statement(libc::BPF_RET | libc::BPF_K, refuse, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    nix::sys::prctl::set_no_new_privs()?;
    // SAFETY: the kernel copies the program, which lives until then and has the stated length.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    };
    Errno::result(result).map(drop)
}
