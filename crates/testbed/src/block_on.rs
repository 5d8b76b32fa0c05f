//! Only a future in `block_on` on the main thread: that of the futures crate, or of tokio.

use std::{process, thread};

use futures::{channel::oneshot, executor};
use rtops_agent::Track;

use crate::{
    Never,
    control::Control,
    settle::{settled, settlement},
};

pub(crate) fn run(control: Control, executor: Option<&str>) -> Result<Never, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let (pending, settlement) = settlement();
    thread::spawn(move || {
        settlement.wait();
        control.serve(|| 0)
    });
    match executor {
        Some("tokio") => rtops_agent::block_on(&runtime, settled(waiting(), pending)),
        _ => executor::block_on(settled(waiting().tracked("main"), pending)),
    }
    process::exit(1);
}

async fn waiting() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT block-on
}
