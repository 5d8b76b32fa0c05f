//! Tasks that wait without a registered waker. Each is named after its way to do so and waits on
//! the lines that end in `// AWAIT <name>`.

use std::{
    future::{Future, pending, poll_fn, ready},
    pin::Pin,
    task::{Context, Poll},
};

use futures::{StreamExt, stream::FuturesUnordered};
use rtops_agent::Track;
use tokio::sync::oneshot;

use crate::{
    Never,
    control::Control,
    runtime::workers,
    settle::{Pending, settled, settlement},
};

/// How many tasks of one kind there are: more than are looked at.
const MANY: u32 = 20;

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let runtime = workers(2)?;
    let (settling, settlement) = settlement();
    let spawn = Spawner { runtime, settling };
    spawn.each("deep", order(7));
    spawn.each("several", several());
    spawn.each("lost-future", hand_written());
    spawn.each("method", Service { _name: "rates" }.refresh());
    spawn.each("boxed", boxed());
    spawn.each("lost-select", selecting());
    spawn.each("lost-join", joining());
    spawn.each("half-join", joining_half());
    spawn.each("futures-join", joining_of_futures());
    spawn.each("loop", looping());
    spawn.each("block", async {
        let name = String::from("block");
        pending::<()>().await; // AWAIT block
        drop(name);
    });
    spawn.each("bare", pending());
    spawn.each("closure", from_closure());
    spawn.each("container", collecting());
    for _ in 0..MANY {
        spawn.each("many", one_of_many());
    }
    for number in 0..MANY {
        spawn.each("split", split(number % 2 == 0));
    }
    let Spawner { runtime, settling } = spawn;
    drop(settling);
    settlement.wait();
    let served = control.serve(|| 0);
    drop(runtime);
    served
}

struct Spawner {
    runtime: tokio::runtime::Runtime,
    settling: Pending,
}

impl Spawner {
    #[track_caller]
    fn each(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let task = settled(future.tracked(name), self.settling.clone());
        drop(self.runtime.spawn(task));
    }
}

async fn order(number: u32) {
    let price = price(number).await; // AWAIT deep
    drop(price.to_string());
}

async fn price(number: u32) -> u32 {
    if number > 100 {
        tokio::task::yield_now().await;
    }
    rate(number).await // AWAIT deep
}

async fn rate(number: u32) -> u32 {
    pending::<()>().await; // AWAIT deep
    number
}

/// If a function has several awaits, the compiler may leave no instruction that tells them apart.
async fn several() {
    tokio::task::yield_now().await;
    pending::<()>().await; // AWAIT several
    tokio::task::yield_now().await;
}

/// A future that promises to wake its task, but never does.
struct Lost;

impl Future for Lost {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

async fn hand_written() {
    let name = String::from("held across the await");
    Lost.await; // AWAIT lost-future
    drop(name);
}

struct Service {
    _name: &'static str,
}

impl Service {
    async fn refresh(self) {
        loop {
            self.fetch().await; // AWAIT method
        }
    }

    async fn fetch(&self) {
        Lost.await; // AWAIT method
    }
}

async fn boxed() {
    let inner: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(inside_the_box());
    inner.await; // AWAIT boxed
}

async fn inside_the_box() {
    pending::<()>().await; // AWAIT boxed
}

async fn selecting() {
    tokio::select! {
        () = selected_first() => {}
        () = selected_second() => {}
    }
}

async fn selected_first() {
    Lost.await; // AWAIT lost-select
}

async fn selected_second() {
    pending::<()>().await; // AWAIT lost-select
}

async fn joining() {
    tokio::join!(joined_first(), joined_second());
}

async fn joined_first() {
    pending::<()>().await; // AWAIT lost-join
}

async fn joined_second() {
    Lost.await; // AWAIT lost-join
}

async fn joining_half() {
    tokio::join!(half_registered(), half_lost());
}

async fn half_registered() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT half-join
}

async fn half_lost() {
    pending::<()>().await; // AWAIT half-join-lost
}

async fn joining_of_futures() {
    futures::join!(futures_first(), futures_second()); // AWAIT futures-join
}

async fn futures_first() {
    Lost.await; // AWAIT futures-join
}

async fn futures_second() {
    pending::<()>().await; // AWAIT futures-join
}

async fn looping() {
    for round in 0_u32.. {
        ready(round).await;
        if round == 3 {
            Lost.await; // AWAIT loop
        }
        ready(round).await;
    }
}

async fn from_closure() {
    poll_fn(|_| Poll::<()>::Pending).await; // AWAIT closure
}

async fn collecting() {
    let children = (0..3).map(|_| child().tracked("lost-child"));
    let mut children: FuturesUnordered<_> = children.collect();
    children.next().await; // AWAIT container
}

async fn child() {
    Lost.await; // AWAIT lost-child
}

async fn one_of_many() {
    Lost.await; // AWAIT many
}

async fn split(left: bool) {
    if left {
        Lost.await; // AWAIT split
    } else {
        pending::<()>().await; // AWAIT split
    }
}
