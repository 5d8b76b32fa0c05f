//! An axum service that knows of no agent: requests wait for a channel, for the next part of their body, and for
//! a place in a pool.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{Path, State},
    routing::{get, post},
    Router,
};
use tokio::{
    net::TcpListener,
    sync::{watch, Semaphore},
    time::sleep,
};

#[derive(Clone)]
struct Shop {
    open: watch::Receiver<bool>,
    pool: Arc<Semaphore>,
}

async fn user(Path(id): Path<u32>, State(mut shop): State<Shop>) -> String {
    shop.open.wait_for(|open| *open).await.unwrap(); // AWAIT user
    format!("user {id}\n")
}

async fn upload(body: Bytes) -> String {
    format!("{} bytes\n", body.len())
}

async fn report(State(shop): State<Shop>) -> String {
    let _place = shop.pool.acquire().await.unwrap(); // AWAIT report
    sleep(Duration::from_secs(3600)).await; // AWAIT working
    "done\n".to_owned()
}

async fn health() -> &'static str {
    "well\n"
}

#[tokio::main]
async fn main() {
    let (_open, open) = watch::channel(false);
    let pool = Arc::new(Semaphore::new(1));
    let router = Router::new()
        .route("/users/{id}", get(user))
        .route("/upload", post(upload))
        .route("/report", get(report))
        .route("/health", get(health))
        .with_state(Shop { open, pool });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("ready {}", listener.local_addr().unwrap().port());
    axum::serve(listener, router).await.unwrap()
}
