//! A service with two copies of tokio, one of which is the agent's, too.

use std::io::Read;

fn main() {
    rtops_agent::start().unwrap();
    let own = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    own.spawn(sleeping());
    own.spawn(receiving());
    let other = other_tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    other.spawn(sleeping_elsewhere());
    other.spawn(receiving_elsewhere());
    println!("ready {}", std::process::id());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    std::process::exit(0);
}

async fn sleeping() {
    tokio::time::sleep(std::time::Duration::from_secs(100_000)).await; // AWAIT own-sleep
}

async fn receiving() {
    let (_sender, receiver) = tokio::sync::oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT own-oneshot
}

async fn sleeping_elsewhere() {
    other_tokio::time::sleep(std::time::Duration::from_secs(100_000)).await; // AWAIT other-sleep
}

async fn receiving_elsewhere() {
    let (_sender, receiver) = other_tokio::sync::oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT other-oneshot
}
