//! The servers: all have the same paths, as far as their libraries support them.

use std::{convert::Infallible, io, net::TcpListener, pin::Pin, time::Duration};

use actix_web::HttpServer;
use axum::{
    Router,
    extract::{Path, State, WebSocketUpgrade, ws::WebSocket},
    routing::{any, get, post},
};
use deadpool::managed::{Manager, Metrics, Pool, RecycleResult};
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_server::{Health, HealthServer},
};
use warp::Filter;

use crate::{endless, messages, query};

/// A pool of two connections to a database.
struct Database;

struct Connection;

impl Manager for Database {
    type Type = Connection;
    type Error = Infallible;

    async fn create(&self) -> Result<Connection, Infallible> {
        Ok(Connection)
    }

    async fn recycle(&self, _: &mut Connection, _: &Metrics) -> RecycleResult<Infallible> {
        Ok(())
    }
}

pub async fn axum(listener: TcpListener) -> io::Result<()> {
    let pool = Pool::builder(Database).max_size(2).build().unwrap();
    let router = Router::new()
        .route("/health", get(|| async { "well\n" }))
        .route("/orders/{id}", get(order))
        .route("/upload", post(upload))
        .route(
            "/events",
            get(|| async { axum::body::Body::from_stream(messages()) }),
        )
        .route(
            "/download",
            get(|| async { axum::body::Body::from_stream(endless()) }),
        )
        .route("/report", get(report))
        .route(
            "/chat",
            any(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(chat) }),
        )
        .route(
            "/flood",
            any(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(flood) }),
        )
        .with_state(pool);
    axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
}

async fn order(Path(id): Path<String>) -> String {
    query(&id).await
}

async fn upload(body: axum::body::Bytes) -> String {
    format!("{} bytes\n", body.len())
}

async fn report(State(pool): State<Pool<Database>>) -> String {
    let _connection = pool.get().await.unwrap();
    query("report").await
}

async fn chat(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let _ = socket.send(message).await;
    }
}

async fn flood(mut socket: WebSocket) {
    let message = Bytes::from_static(&[b'x'; 64 << 10]);
    while socket.send(message.clone().into()).await.is_ok() {}
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Answers for the servers on hyper alone.
async fn answer(request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let stream = match request.uri().path() {
        "/health" => return Ok(full("well\n".to_owned())),
        "/upload" => {
            let body = request.into_body().collect().await?;
            return Ok(full(format!("{} bytes\n", body.to_bytes().len())));
        }
        "/events" => messages().boxed(),
        "/download" => endless().boxed(),
        path => return Ok(full(query(path).await)),
    };
    let frames = StreamBody::new(stream.map(|piece| piece.map(Frame::data)));
    Ok(Response::new(frames.boxed_unsync()))
}

fn full(text: String) -> Response<Body> {
    Response::new(Full::from(text).boxed_unsync())
}

pub async fn hyper1(listener: TcpListener) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let serve =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            let _ = serve.await;
        });
    }
}

pub async fn hyper2(listener: TcpListener) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let builder = http2::Builder::new(TokioExecutor::new());
            let serve = builder.serve_connection(TokioIo::new(stream), service_fn(answer));
            let _ = serve.await;
        });
    }
}

pub fn actix(listener: TcpListener) -> io::Result<()> {
    use actix_web::{App, HttpResponse, web};

    async fn order(id: web::Path<String>) -> String {
        query(&id).await
    }

    async fn upload(body: web::Bytes) -> String {
        format!("{} bytes\n", body.len())
    }

    let serve = HttpServer::new(|| {
        App::new()
            .route("/health", web::get().to(|| async { "well\n" }))
            .route("/orders/{id}", web::get().to(order))
            .route("/upload", web::post().to(upload))
            .route(
                "/events",
                web::get().to(|| async { HttpResponse::Ok().streaming(messages()) }),
            )
            .route(
                "/download",
                web::get().to(|| async { HttpResponse::Ok().streaming(endless()) }),
            )
    });
    // Connections stay as they are for longer than any test looks.
    let hour = Duration::from_secs(3600);
    let serve = serve
        .workers(1)
        .keep_alive(hour)
        .client_request_timeout(hour);
    let serve = serve.listen(listener)?.run();
    actix_web::rt::System::new().block_on(serve)
}

/// Answers immediately, unless asked for a service by name.
struct Orders;

type Statuses = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, tonic::Status>> + Send>>;

#[tonic::async_trait]
impl Health for Orders {
    type WatchStream = Statuses;

    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, tonic::Status> {
        let name = request.into_inner().service;
        if !name.is_empty() {
            query(&name).await;
        }
        Ok(tonic::Response::new(HealthCheckResponse { status: 1 }))
    }

    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Statuses>, tonic::Status> {
        let statuses = messages().map(|_| Ok(HealthCheckResponse { status: 1 }));
        Ok(tonic::Response::new(statuses.boxed()))
    }
}

pub async fn tonic(listener: TcpListener) -> io::Result<()> {
    let connections = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener)?);
    let server = tonic::transport::Server::builder().add_service(HealthServer::new(Orders));
    let served = server.serve_with_incoming(connections).await;
    served.map_err(io::Error::other)
}

pub async fn warp(listener: TcpListener) -> io::Result<()> {
    use warp::{body, get, path, post};

    let order = path!("orders" / String)
        .and(get())
        .then(|id: String| async move { query(&id).await });
    let upload = path!("upload").and(post()).and(body::bytes());
    let upload = upload.map(|body: warp::hyper::body::Bytes| format!("{} bytes\n", body.len()));
    let routes = path!("health").map(|| "well\n").or(order).or(upload);
    let listener = tokio::net::TcpListener::from_std(listener)?;
    warp::serve(routes).incoming(listener).run().await;
    Ok(())
}
