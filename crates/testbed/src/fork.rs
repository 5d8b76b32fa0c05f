//! A child by fork alone, which stays as long as its parent. Its id is the name of a task.
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
    // SAFETY: the child calls close, read and _exit only, which are safe in the child of a process
    // with threads.
    let child = match unsafe { fork() }.map_err(|error| error.to_string())? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(parent_lives);
            // Returns when the parent has ended.
            read(&until, &mut [0]).ok();
            // SAFETY: always sound to call; nothing of the parent's is to be flushed or dropped.
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
