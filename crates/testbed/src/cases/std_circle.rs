//! Two tasks take two thread-blocking locks, in different orders.

use std::{
    sync::{Arc, Barrier, Mutex},
    thread,
    time::Duration,
};

use crate::variant::{Variant, keep, runtime};

type Lock = Arc<Mutex<u32>>;

pub(crate) fn run(variant: Variant) {
    runtime(4).block_on(async {
        let [first, second] = [Lock::default(), Lock::default()];
        let both = Arc::new(Barrier::new(2));
        let [from, to] = [Arc::clone(&first), Arc::clone(&second)];
        variant.spawn(debit(from, to, Arc::clone(&both)));
        variant.spawn(credit(second, first, both));
        keep().await;
    });
}

async fn debit(from: Lock, to: Lock, both: Arc<Barrier>) {
    let from = from.lock();
    both.wait();
    drop(both);
    thread::sleep(Duration::from_millis(10));
    let to = to.lock(); // STUCK debit: it has the other one's lock
    drop((from, to));
}

async fn credit(to: Lock, from: Lock, both: Arc<Barrier>) {
    let to = to.lock();
    both.wait();
    drop(both);
    let from = from.lock(); // STUCK credit: it has the other one's lock
    drop((from, to));
}
