//! Two named runtimes: `front` with one worker, `back` without one.

use std::thread;

use rtops_agent::{Track, register_runtime};
use tokio::runtime::Builder;

use crate::{
    Never,
    control::Control,
    settle::{settled, settlement},
};

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let failed = |error: std::io::Error| error.to_string();
    let (pending, settlement) = settlement();
    let front = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(failed)?;
    register_runtime("front", front.handle());
    let back = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    register_runtime("back", back.handle());
    for (name, runtime) in [("in front", &front), ("behind", &back)] {
        runtime.spawn(settled(waiting().tracked(name), pending.clone()));
    }
    drop(pending);
    thread::spawn(move || back.block_on(std::future::pending::<()>()));
    settlement.wait();
    control.serve(|| 0)
}

async fn waiting() {
    tokio::time::sleep(crate::FOREVER).await; // AWAIT two-runtimes
}
