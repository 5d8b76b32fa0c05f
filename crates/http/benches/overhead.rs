//! The cost of the layer per request: each figure beside that of the same work without it.
//!
//! `cargo bench -p rtops-http --features axum`

use std::{
    future::Future,
    hint::black_box,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request},
    response::Response,
    routing::get,
};
use divan::Bencher;
use http_body::Body as _;
use rtops_http::RequestLayer;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;

fn main() {
    divan::main();
}

async fn user(Path(id): Path<u64>) -> String {
    id.to_string()
}

fn bare() -> Router {
    Router::new().route("/users/{id}", get(user))
}

fn tracked() -> Router {
    bare().layer(RequestLayer::new())
}

/// Handles a request, from its arrival to the end of its answer, without a connection.
fn answer(router: &mut Router) -> usize {
    let request = Request::get("/users/4711").body(Body::empty());
    let request = request.expect("the parts are valid");
    let mut context = Context::from_waker(Waker::noop());
    let mut response = pin!(router.call(request));
    let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut context) else {
        return 0;
    };
    length(response, &mut context)
}

fn length(response: Response, context: &mut Context<'_>) -> usize {
    let mut body = pin!(response.into_body());
    let mut length = 0;
    while !body.is_end_stream()
        && let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(context)
    {
        length += frame.data_ref().map_or(0, |data| data.len());
    }
    length
}

#[divan::bench]
fn router_bare(bencher: Bencher) {
    let mut router = bare();
    bencher.bench_local(|| black_box(answer(&mut router)));
}

#[divan::bench]
fn router_tracked(bencher: Bencher) {
    let mut router = tracked();
    bencher.bench_local(|| black_box(answer(&mut router)));
}

/// A server that answers requests one after the other on a kept-alive connection.
struct Served {
    _runtime: Runtime,
    client: TcpStream,
}

impl Served {
    fn start(router: Router) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("it is a socket");
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router).await
        });
        let client = TcpStream::connect(address).expect("it listens");
        client.set_nodelay(true).expect("it is a TCP socket");
        Self {
            _runtime: runtime,
            client,
        }
    }

    fn ask(&mut self) -> usize {
        const REQUEST: &[u8] = b"GET /users/4711 HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut answer = [0; 1024];
        let mut length = 0;
        self.client.write_all(REQUEST).expect("it is connected");
        while !answer[..length].ends_with(b"4711") {
            let more = self.client.read(&mut answer[length..]);
            length += more.expect("the server answers");
        }
        length
    }
}

#[divan::bench]
fn http_bare(bencher: Bencher) {
    let mut served = Served::start(bare());
    bencher.bench_local(|| black_box(served.ask()));
}

#[divan::bench]
fn http_tracked(bencher: Bencher) {
    let mut served = Served::start(tracked());
    bencher.bench_local(|| black_box(served.ask()));
}
