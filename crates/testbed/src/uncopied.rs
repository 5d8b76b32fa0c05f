//! An untracked task in a process of which no copy can be made.

use nix::sys::mman::{MlockAllFlags, mlockall};
use tokio::{runtime::Builder, time::sleep};

use crate::{
    FOREVER, Never,
    control::Control,
    settle::{settled, settlement},
};

/// `locked`: all memory is locked; `free`: none is.
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
        Some("free") => {}
        other => return Err(format!("no process is called {other:?}")),
    }
    let (pending, waits) = settlement();
    runtime.spawn(settled(async { sleep(FOREVER).await }, pending));
    waits.wait();
    control.serve(|| 0)
}
