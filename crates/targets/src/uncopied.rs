//! A task that nobody wrapped, in a process of which no copy may be made.

use nix::{
    errno::Errno,
    libc,
    sys::mman::{MlockAllFlags, mlockall},
};
use tokio::{runtime::Builder, time::sleep};

use crate::{
    FOREVER, Never,
    control::Control,
    filter::filter,
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
        Some("confined") => {
            // As in a container with such a profile.
            let refuse = libc::SECCOMP_RET_ERRNO | Errno::EPERM as u32;
            filter(libc::SYS_seccomp, refuse).map_err(|error| error.to_string())?;
        }
        Some("free") => {}
        other => return Err(format!("no process is called {other:?}")),
    }
    let (pending, waits) = settlement();
    runtime.spawn(settled(async { sleep(FOREVER).await }, pending));
    waits.wait();
    control.serve(|| 0)
}
