//! All workers are in `block_on` in `block_in_place`, and the runtime's drop waits (tokio#6463).

use std::{mem::ManuallyDrop, time::Duration};

use tokio::{runtime::Handle, sync::oneshot, task::block_in_place, time::sleep};

use crate::variant::{Variant, runtime};

const COMMITS: usize = 3;

pub(crate) fn run(variant: Variant) {
    let runtime = runtime(2);
    runtime.block_on(async {
        for _ in 0..COMMITS {
            variant.spawn(commit());
        }
        sleep(Duration::from_millis(300)).await;
    });
    drop(runtime); // STUCK main: waits for the workers
}

async fn commit() {
    block_in_place(|| {
        Handle::current().block_on(async {
            let (sender, receiver) = oneshot::channel::<()>();
            let _never_dropped = ManuallyDrop::new(sender);
            let _never = receiver.await; // STUCK commit: nobody sends
        });
    });
}
