//! A child made by fork alone, which lives as long as its parent. A task is named after its PID.
#![expect(unsafe_code, reason = "fork")]

use nix::{
    fcntl::OFlag,
    unistd::{ForkResult, fork, pipe2, read},
};
use rtops_agent::Track;
use tokio::runtime::Builder;

use crate::{
    Never,
    control::Control,
    settle::{settled, settlement},
};

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let (until, parent_lives) = pipe2(OFlag::O_CLOEXEC).map_err(|error| error.to_string())?;
    // SAFETY: the child calls only close, read and _exit, which are safe in
    // the child of a process with threads.
    let child = match unsafe { fork() }.map_err(|error| error.to_string())? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(parent_lives);
            // Returns when the parent has ended.
            read(&until, &mut [0]).ok();
            // SAFETY: always sound to call; nothing of the parent has to be flushed or dropped.
            unsafe { nix::libc::_exit(0) }
        }
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .map_err(|error| error.to_string())?;
    let (pending, settlement) = settlement();
    let task = std::future::pending::<()>().tracked(format!("child {child}"));
    runtime.spawn(settled(task, pending));
    settlement.wait();
    control.serve(|| 0)
}
