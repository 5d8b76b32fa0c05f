//! Wakers that an earlier dump saw registered. A dump polls every task of the process, and if
//! another test's dump came between, these wakers would no longer be lost at the next one. So this
//! test is alone in its process.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    task::{Poll, Waker},
};

use rtops_tasks::{Plan, Probed, Track, Wakers, probe};

use common::{NoCopies, polled, runtime, soon, wait_until};

fn the_one(name: &str) -> Probed {
    let mut found = probe(Plan::all(soon()), &mut NoCopies).tasks;
    found.retain(|task| task.entry.name() == Some(name));
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found.remove(0)
}

#[test]
fn wakers_that_are_dropped_unused_between_two_dumps_are_noticed() {
    let runtime = runtime();
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let keeps = Arc::clone(&slot);
    let (ready, future) = polled(poll_fn(move |context| {
        *keeps.lock().unwrap() = Some(context.waker().clone());
        Poll::<()>::Pending
    }));
    let _task = runtime.spawn(future.tracked("loses"));
    wait_until("the task waits", || ready.load(SeqCst));
    // What was dropped before the first dump, or is still held, proves nothing.
    drop(slot.lock().unwrap().take());
    assert!(!the_one("loses").lost_wakers);
    assert!(!the_one("loses").lost_wakers);
    drop(slot.lock().unwrap().take());
    let found = the_one("loses");
    assert!(found.lost_wakers);
    assert_eq!(
        found.wakers,
        Wakers::Held(1),
        "this dump's poll registered again"
    );
    assert!(!the_one("loses").lost_wakers);
    // A wake is a use, and the poll that follows registers another waker.
    slot.lock().unwrap().take().unwrap().wake();
    wait_until("the task is polled", || slot.lock().unwrap().is_some());
    assert!(!the_one("loses").lost_wakers);
}
