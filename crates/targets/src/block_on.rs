//! No executor but `futures::executor::block_on`, on the main thread.

use std::{process, thread};

use futures::{channel::oneshot, executor};
use rtops_agent::Track;

use crate::{
    Never,
    control::Control,
    settle::{settled, settlement},
};

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let (pending, settlement) = settlement();
    thread::spawn(move || {
        settlement.wait();
        control.serve(|| 0)
    });
    executor::block_on(settled(waiting().tracked("main"), pending));
    process::exit(1);
}

async fn waiting() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT block-on
}
