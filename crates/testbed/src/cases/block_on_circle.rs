//! A thread that blocks on a future, and a task, take two locks in different orders.

use std::{sync::Arc, thread};

use tokio::{
    runtime::Handle,
    sync::{Barrier, Mutex},
};

use crate::variant::{Variant, keep, runtime};

type Account = Arc<Mutex<u64>>;

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async move {
        let (one, other) = (Account::default(), Account::default());
        let both = Arc::new(Barrier::new(2));
        variant.spawn(transfer(one.clone(), other.clone(), both.clone()));
        let handle = Handle::current();
        let nightly = move || handle.block_on(settle(other, one, both));
        let nightly = thread::Builder::new()
            .name("nightly".to_owned())
            .spawn(nightly);
        nightly.expect("a thread starts");
        keep().await;
    });
}

async fn transfer(from: Account, to: Account, both: Arc<Barrier>) {
    let mut from = from.lock().await;
    both.wait().await;
    *to.lock().await += 1; // STUCK transfer: the thread has this lock
    *from -= 1;
}

async fn settle(to: Account, from: Account, both: Arc<Barrier>) {
    let mut to = to.lock().await;
    both.wait().await;
    *from.lock().await -= 1; // STUCK settle: the task has this lock
    *to += 1;
}
