//! A service that is built with various versions of tokio, and knows nothing of
//! rtops except that its `main` starts the agent.

use std::io::Read;

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, UnixStream},
    sync::{Mutex, Notify, mpsc, oneshot},
    time::{Duration, sleep},
};

fn main() {
    rtops_agent::start().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.spawn(sleeping());
    runtime.spawn(receiving());
    runtime.spawn(locking());
    runtime.spawn(waiting_for_a_notice());
    runtime.spawn(accepting());
    runtime.spawn(reading());
    runtime.spawn(outer());
    runtime.spawn(selecting());
    runtime.spawn(async {
        joining().await; // AWAIT version-join-handle
    });
    println!("ready {}", std::process::id());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    std::process::exit(0);
}

async fn sleeping() {
    sleep(Duration::from_secs(100_000)).await; // AWAIT version-sleep
}

async fn receiving() {
    let (_sender, mut receiver) = mpsc::channel::<()>(1);
    receiver.recv().await; // AWAIT version-mpsc
}

async fn locking() {
    let mutex = Mutex::new(());
    let _held = mutex.lock().await;
    drop(mutex.lock().await); // AWAIT version-mutex
}

async fn waiting_for_a_notice() {
    Notify::new().notified().await; // AWAIT version-notify
}

async fn accepting() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.accept().await.ok(); // AWAIT version-accept
}

async fn reading() {
    let (mut near, _far) = UnixStream::pair().unwrap();
    near.read_u8().await.ok(); // AWAIT version-read
}

async fn outer() {
    inner().await; // AWAIT version-nested
}

async fn inner() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok(); // AWAIT version-nested
}

async fn selecting() {
    let (_sender, mut first) = mpsc::channel::<u8>(1);
    let second = sleep(Duration::from_secs(100_000));
    tokio::select! { _ = first.recv() => {} () = second => {} } // AWAIT version-select
}

async fn joining() {
    let (_sender, receiver) = oneshot::channel::<()>();
    let child = tokio::spawn(async {
        receiver.await.ok(); // AWAIT version-child
    });
    child.await.ok(); // AWAIT version-join-handle
}
