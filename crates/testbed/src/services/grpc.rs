//! A gRPC server without its generated code: a tower service over HTTP/2, whose
//! connections, streams and requests are tracked.

use std::io;

use axum::{Router, extract::State, routing::post};
use http_body_util::Empty;
use hyper::{Request, client::conn::http2, header::CONTENT_TYPE};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rtops_agent::Track;
use rtops_http::{RequestLayer, TrackedExecutor};
use rtops_testbed::{Never, control::Control};
use tokio::net::UnixStream;
use tower_layer::Layer;

use crate::{
    http2::{Sender, keep_asking},
    waiting::{Arrivals, lookup},
};

pub(crate) fn run(control: Control) -> Result<Never, String> {
    keep_asking(control, connect, ask)
}

/// Starts both ends of a connection.
async fn connect(arrivals: Arrivals) -> io::Result<Sender> {
    let (near, far) = UnixStream::pair()?;
    drop(tokio::spawn(serve(far, arrivals).tracked("connection")));
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(near));
    let (requests, connection) = handshake.await.map_err(io::Error::other)?;
    drop(tokio::spawn(connection));
    Ok(requests)
}

async fn serve(stream: UnixStream, arrivals: Arrivals) {
    let methods = Router::new()
        .route("/shop.Orders/Watch", post(watch))
        .with_state(arrivals);
    // Around the router, where only the path is known and no route, as in a server of tonic.
    let service = RequestLayer::new().layer(methods);
    auto::Builder::new(TrackedExecutor::new("stream"))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await // AWAIT grpc-connection
        .ok();
}

async fn watch(State(arrivals): State<Arrivals>) {
    lookup(&arrivals).await; // AWAIT grpc-watch
}

async fn ask(mut requests: Sender) {
    let request = Request::post("http://localhost/shop.Orders/Watch");
    let request = request.header(CONTENT_TYPE, "application/grpc");
    if let Ok(request) = request.body(Empty::new()) {
        requests.send_request(request).await.ok(); // AWAIT grpc-ask
    }
}
