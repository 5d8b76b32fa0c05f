//! The clients: each has one request answered; others wait for a response or for more of a body.

use std::{
    future::{Future, poll_fn},
    io,
    task::Poll,
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpStream, task::JoinSet};
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const PATHS: [&str; 3] = ["/health", "/orders/7", "/events"];

fn request(path: &str, port: &str) -> Request<Empty<Bytes>> {
    let builder = Request::builder().uri(format!("http://127.0.0.1:{port}{path}"));
    builder.body(Empty::new()).unwrap()
}

async fn read(response: Response<Incoming>) {
    response.into_body().collect().await.unwrap();
}

/// Prints that all connections are made, and keeps their owner alive.
async fn keep<T>(kept: T, waiting: JoinSet<()>) -> io::Result<()> {
    println!("ready");
    waiting.join_all().await;
    drop(kept);
    Ok(())
}

pub async fn pooled(port: String) -> io::Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut waiting = JoinSet::new();
    for path in PATHS {
        let (client, request) = (client.clone(), request(path, &port));
        waiting.spawn(async move {
            let response = client.request(request).await.unwrap();
            read(response).await;
        });
    }
    // The first request is answered, and its connection is idle.
    waiting.join_next().await;
    keep(client, waiting).await
}

pub async fn hyper1(port: String) -> io::Result<()> {
    let mut waiting = JoinSet::new();
    let mut kept = Vec::new();
    for path in PATHS {
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let request = request(path, &port);
        if path == "/health" {
            read(sender.send_request(request).await.unwrap()).await;
            kept.push(sender);
            continue;
        }
        waiting.spawn(async move {
            let response = sender.send_request(request).await.unwrap();
            read(response).await;
        });
    }
    keep(kept, waiting).await
}

pub async fn hyper2(port: String) -> io::Result<()> {
    let mut waiting = JoinSet::new();
    let stream = TcpStream::connect(format!("127.0.0.1:{port}")).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    for path in PATHS {
        let (mut sender, request) = (sender.clone(), request(path, &port));
        waiting.spawn(async move {
            let response = sender.send_request(request).await.unwrap();
            read(response).await;
        });
    }
    waiting.join_next().await;
    // The server may send no more of the body than the client has room for.
    let mut asks = sender.clone();
    let unread = asks
        .send_request(request("/download", &port))
        .await
        .unwrap();
    keep((sender, unread), waiting).await
}

pub async fn tonic(port: String) -> io::Result<()> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let client = HealthClient::new(endpoint.connect().await.unwrap());
    let mut waiting = JoinSet::new();
    let mut asks = client.clone();
    let mut check = Box::pin(async move {
        let service = "orders".to_owned();
        let _ = asks.check(HealthCheckRequest { service }).await;
    });
    // Sent to the server first, so that its tasks are always in the same order.
    let begun = poll_fn(|context| Poll::Ready(check.as_mut().poll(context)));
    assert!(begun.await.is_pending());
    waiting.spawn(check);
    let mut watches = client.clone();
    waiting.spawn(async move {
        let service = "orders".to_owned();
        let watched = watches.watch(HealthCheckRequest { service }).await;
        let mut statuses = watched.unwrap().into_inner();
        while let Ok(Some(_)) = statuses.message().await {}
    });
    keep(client, waiting).await
}
