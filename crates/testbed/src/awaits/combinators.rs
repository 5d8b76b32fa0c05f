//! Futures inside futures.

use std::{
    future::{Future, pending},
    pin::Pin,
};

use futures::{StreamExt, stream::FuturesUnordered};
use rtops_agent::Track;
use tokio::sync::oneshot;

use super::Spawner;

pub(super) fn spawn(tasks: &Spawner) {
    tasks.spawn("select", selecting());
    tasks.spawn("join", joining());
    tasks.spawn("futures-unordered", collecting());
    tasks.spawn("dyn", boxed());
    tasks.spawn("nested", outer());
    tasks.spawn("async-block", async {
        let (_sender, receiver) = oneshot::channel::<()>();
        receiver.await.ok(); // AWAIT async-block
    });
}

/// Spawns the tasks with tracked futures inside.
pub(super) fn spawn_tracked(tasks: &Spawner) {
    tasks.spawn("tracked-children", collecting_tracked());
    tasks.spawn("span", around());
}

async fn selecting() {
    tokio::select! { // MAYBE select
        () = selected_first() => {} // MAYBE select
        () = selected_second() => {} // MAYBE select
    } // MAYBE select
}

async fn selected_first() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT select
}

async fn selected_second() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT select
}

async fn joining() {
    tokio::join!(joined_first(), joined_second(), joined_third()); // MAYBE join
}

async fn joined_first() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT join
}

async fn joined_second() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT join
}

async fn joined_third() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT join
}

async fn collecting() {
    let mut children: FuturesUnordered<_> = (0..3).map(|_| pending::<()>()).collect();
    children.next().await; // AWAIT futures-unordered
}

async fn collecting_tracked() {
    let mut children: FuturesUnordered<_> = (0..3).map(|_| child().tracked("child")).collect();
    children.next().await; // AWAIT tracked-children
}

async fn child() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT child
}

async fn boxed() {
    let inner: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(inside_the_box());
    inner.await; // AWAIT dyn
}

async fn inside_the_box() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT dyn
}

async fn outer() {
    middle().await; // AWAIT nested
}

async fn middle() {
    innermost().await; // AWAIT nested
}

async fn innermost() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT nested
}

async fn around() {
    inside_the_span().tracked("inner").await; // AWAIT span
}

async fn inside_the_span() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT span
}
