//! Tasks that await the handles of others, one after another on one worker, so that the stack of
//! each holds what those before it left there.

use rtops_agent::Track;
use tokio::task::JoinHandle;

use crate::{
    Never,
    control::Control,
    runtime::workers,
    settle::{Pending, settled, settlement},
};

/// How many pairs there are.
const PAIRS: usize = 40;

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let (pending, settlement) = settlement();
    let runtime = workers(1)?;
    let _inside = runtime.enter();
    for number in 0..PAIRS {
        let child = child(format!("child {number}"), &pending);
        let parent = settled(one(child), pending.clone());
        tokio::spawn(parent.tracked(format!("parent {number}")));
    }
    let [left, right] = ["left", "right"].map(|name| child(name.to_owned(), &pending));
    tokio::spawn(settled(both(left, right), pending.clone()).tracked("both"));
    let untracked = tokio::spawn(settled(std::future::pending::<()>(), pending.clone()));
    tokio::spawn(settled(one(untracked), pending.clone()).tracked("of an untracked one"));
    drop(pending);
    settlement.wait();
    control.serve(|| 0)
}

fn child(name: String, pending: &Pending) -> JoinHandle<()> {
    let future = async { tokio::time::sleep(crate::FOREVER).await };
    tokio::spawn(settled(future, pending.clone()).tracked(name))
}

async fn one(child: JoinHandle<()>) {
    child.await.ok();
}

async fn both(left: JoinHandle<()>, right: JoinHandle<()>) {
    let (_, _) = tokio::join!(left, right);
}
