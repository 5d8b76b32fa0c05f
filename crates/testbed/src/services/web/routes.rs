//! The handlers, and what they wait for.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::StatusCode,
};
use http_body_util::BodyExt;
use tokio::sync::{Mutex, watch};

use super::bodies::{Events, Pattern};

/// How many requests to `/echo/{number}` were answered.
pub(super) static ECHOED: AtomicU64 = AtomicU64::new(0);

/// What parked requests wait for.
#[derive(Clone)]
pub(super) struct Gate(pub(super) watch::Receiver<bool>);

impl Gate {
    pub(super) async fn opened(mut self) {
        // Fails only when the process ends.
        self.0.wait_for(|is_open| *is_open).await.ok(); // AWAIT web-carts web-item web-publisher web-report web-user
    }
}

#[derive(Clone)]
pub(super) struct Shop {
    gate: Gate,
    carts: Arc<Mutex<u64>>,
}

impl Shop {
    /// Opens a shop whose carts are locked until the gate opens.
    pub(super) async fn locked_until(gate: Gate) -> Self {
        let carts = Arc::new(Mutex::new(0));
        let locked = Arc::clone(&carts).lock_owned().await;
        let opened = gate.clone().opened();
        drop(tokio::spawn(async move {
            opened.await; // AWAIT web-carts
            drop(locked);
        }));
        Self { gate, carts }
    }
}

pub(super) async fn echo(Path(number): Path<u64>, body: Bytes) -> String {
    ECHOED.fetch_add(1, SeqCst);
    format!("{number}: {}", String::from_utf8_lossy(&body))
}

pub(super) async fn user(State(shop): State<Shop>, Path(id): Path<u64>) -> String {
    let name = load(&shop, id).await; // AWAIT web-user
    format!("user {id} is {name}")
}

async fn load(shop: &Shop, id: u64) -> String {
    shop.gate.clone().opened().await; // AWAIT web-user
    format!("number {id}")
}

pub(super) async fn item(
    State(shop): State<Shop>,
    Path((version, order, item)): Path<(String, u64, u64)>,
) -> String {
    shop.gate.opened().await; // AWAIT web-item
    format!("{version}: item {item} of order {order}")
}

pub(super) async fn report(State(shop): State<Shop>) -> String {
    let (sales, stock) = tokio::join!(sales(&shop), stock(&shop)); // AWAIT web-report
    format!("{sales} sold, {stock} left")
}

async fn sales(shop: &Shop) -> u64 {
    shop.gate.clone().opened().await; // AWAIT web-report
    17
}

async fn stock(shop: &Shop) -> u64 {
    shop.gate.clone().opened().await; // AWAIT web-report
    4
}

pub(super) async fn add_to_cart(State(shop): State<Shop>, Path(user): Path<String>) -> String {
    *shop.carts.lock().await += 1; // AWAIT web-cart
    format!("added for {user}")
}

pub(super) async fn upload(Path(file): Path<String>, body: Body) -> Result<String, StatusCode> {
    let body = body.collect().await; // AWAIT web-upload
    let bytes = body.map_err(|_| StatusCode::BAD_REQUEST)?.to_bytes();
    Ok(format!("{file} has {} bytes", bytes.len()))
}

/// The body goes on for as long as the gate is shut.
pub(super) async fn events(State(shop): State<Shop>, Path(topic): Path<String>) -> Body {
    Body::new(Events::new(topic, shop.gate))
}

/// More than fits into the buffers of a client that does not read.
pub(super) async fn download(Path(seed): Path<u8>) -> Body {
    Body::new(Pattern::new(seed))
}

/// Never answers, and nothing can wake it.
pub(super) async fn lose() {
    pending().await
}
