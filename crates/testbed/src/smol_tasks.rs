//! Tasks on smol's global executor, and on executors of `async-executor`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use async_executor::{Executor, LocalExecutor};
use rtops_agent::Track;
use smol::{Timer, channel, lock::Mutex, net::TcpListener};

use crate::{
    FOREVER, Never,
    control::Control,
    settle::{settled, settlement},
};

static EXECUTOR: Executor = Executor::new();

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let (pending, settlement) = settlement();
    let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .and_then(smol::Async::new)
        .map_err(|error| error.to_string())?
        .into();
    smol::spawn(settled(receiving().tracked("channel"), pending.clone())).detach();
    smol::spawn(settled(sleeping().tracked("timer"), pending.clone())).detach();
    smol::spawn(settled(
        accepting(listener).tracked("accept"),
        pending.clone(),
    ))
    .detach();
    EXECUTOR
        .spawn(settled(locking().tracked("lock"), pending.clone()))
        .detach();
    thread::spawn(|| smol::block_on(EXECUTOR.run(std::future::pending::<()>())));
    thread::spawn(move || {
        let executor = LocalExecutor::new();
        executor
            .spawn(settled(receiving().tracked("local"), pending))
            .detach();
        smol::block_on(executor.run(std::future::pending::<()>()));
    });
    settlement.wait();
    control.serve(|| 0)
}

async fn receiving() {
    let (_sender, receiver) = channel::bounded::<()>(1);
    receiver.recv().await.ok(); // AWAIT channel local
}

async fn sleeping() {
    Timer::after(FOREVER).await; // AWAIT timer
}

async fn accepting(listener: TcpListener) {
    listener.accept().await.ok(); // AWAIT accept
}

async fn locking() {
    let mutex = Mutex::new(());
    let _held = mutex.lock().await;
    drop(mutex.lock().await); // AWAIT lock
}
