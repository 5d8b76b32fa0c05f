//! mini-redis as published in the registry, on a port that the kernel chooses.

use std::future::pending;

use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("ready {}", listener.local_addr().unwrap().port());
    drop(mini_redis::server::run(listener, pending::<()>()).await)
}
