//! A task that waits in a join set is known to wait for those of the set's tasks that
//! have not ended.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used)]

use std::{
    future::{Future, pending},
    pin::{Pin, pin},
    sync::mpsc,
    task::{Context, Waker},
};

use rtops_agent::JoinSet;
use rtops_sync::{Contended, contended};

/// Returns the set made at this line, if anybody waits for it.
fn at(line: u32) -> Option<Contended> {
    let mut sets = contended().into_iter();
    sets.find(|set| (set.site.file(), set.site.line()) == (file!(), line))
}

/// Polls once, and returns whether it waits.
fn waits<F: Future>(future: Pin<&mut F>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    future.poll(&mut context).is_pending()
}

#[tokio::test]
async fn each_way_to_wait_is_known() {
    let (mut set, line) = (JoinSet::new(), line!());
    set.spawn(pending::<u8>());
    set.spawn(pending());
    assert!(at(line).is_none());
    {
        let mut next = pin!(set.join_next());
        assert!(waits(next.as_mut()));
        assert_eq!(at(line).unwrap().holders.len(), 2);
    }
    assert!(at(line).is_none(), "it was cancelled");
    {
        let mut next = pin!(set.join_next_with_id());
        let wanted = line!() - 1;
        assert!(waits(next.as_mut()));
        let known = at(line).unwrap();
        assert_eq!(
            (known.waiters[0].site.line(), known.value_type),
            (wanted, "u8")
        );
    }
    {
        let mut shutdown = pin!(set.shutdown());
        assert!(waits(shutdown.as_mut()));
        assert_eq!(at(line).unwrap().waiters.len(), 1);
        shutdown.await;
    }
    assert!(at(line).is_none());
    assert!(set.is_empty());
    assert!(set.join_next().await.is_none());
}

#[tokio::test]
async fn all_are_joined_as_by_tokio() {
    let (mut set, line) = (JoinSet::new(), line!());
    let (release, released) = mpsc::channel::<()>();
    set.spawn_blocking(move || released.recv().map_or(1, |()| 0));
    set.spawn(async { 2 });
    let mut all = Box::pin(set.join_all());
    assert!(waits(all.as_mut()));
    assert!(!at(line).unwrap().holders.is_empty());
    drop(release);
    let mut outputs = all.await;
    outputs.sort_unstable();
    assert_eq!(outputs, [1, 2]);
    assert!(at(line).is_none());
}

#[tokio::test]
#[should_panic(expected = "as some do")]
async fn a_panic_of_a_task_goes_on_in_who_joins_all() {
    let mut set = JoinSet::new();
    set.spawn(async { panic!("as some do") });
    let _: Vec<()> = set.join_all().await;
}

#[tokio::test]
async fn the_detached_are_no_longer_waited_for() {
    let (mut set, line) = (JoinSet::new(), line!());
    set.spawn(pending::<()>());
    set.detach_all();
    set.spawn(pending());
    let mut next = pin!(set.join_next());
    assert!(waits(next.as_mut()));
    assert_eq!(at(line).unwrap().holders.len(), 1);
}
