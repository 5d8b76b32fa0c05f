//! The sample service as a process: its runtime, its agent, and its end.

use std::{
    io::{self, Write},
    sync::Arc,
};

use nix::{
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::getppid,
};
use rtops_agent::{Options, register_runtime};
use tokio::{
    runtime::{Builder, Handle},
    signal::unix::{SignalKind, signal},
};

use super::{app, failed};
use crate::error::Error;

/// The beginning of the service's first line, printed once all its tasks are in place.
pub(super) const READY: &str = "sample service";

/// One worker gets stuck in a loop, which leaves three for the others.
const WORKERS: usize = 4;

/// Serves until Ctrl-C, or until process `parent` ends.
pub(super) fn run(parent: Option<u32>) -> Result<(), Error> {
    if let Some(parent) = parent {
        end_with(parent)?;
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(failed("build a runtime"))?;
    register_runtime("main", runtime.handle());
    Options::new()
        .name("demo")
        .package(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .start()
        .map_err(|error| Error::Failed(error.to_string()))?;
    let done = runtime.block_on(serve());
    // Its tasks are stuck by design, so there is no point in waiting for them.
    runtime.shutdown_background();
    rtops_agent::stop();
    done
}

async fn serve() -> Result<(), Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed("catch Ctrl-C"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed("catch SIGTERM"))?;
    // Held to the end: if the other ends were dropped, the tasks would stop waiting.
    let _held = Arc::new(app::start().await.map_err(failed("set up its tasks"))?);
    announce(Handle::current().metrics().num_alive_tasks())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn announce(tasks: usize) -> io::Result<()> {
    let pid = std::process::id();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{READY} with {tasks} tasks, pid {pid}; Ctrl-C ends it. In another terminal:"
    )?;
    for command in ["rtops", "rtops stats demo", "rtops stack demo"] {
        writeln!(out, "    {command}")?;
    }
    out.flush()
}

/// Asks the kernel to terminate this process when its parent ends, however that happens.
fn end_with(parent: u32) -> Result<(), Error> {
    set_pdeathsig(Signal::SIGTERM).map_err(|errno| failed("watch its parent")(errno.into()))?;
    // The parent may have ended before the call above.
    if u32::try_from(getppid().as_raw()) != Ok(parent) {
        return Err(Error::Failed(
            "the demo that wanted this service ended".to_owned(),
        ));
    }
    Ok(())
}
