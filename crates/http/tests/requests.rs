//! Requests are listed from their arrival until they are answered, cancelled or have failed, and
//! nothing that passes through is changed.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    convert::Infallible,
    future::{Future, pending},
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request},
    response::Response,
    routing::get,
};
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use rtops_http::RequestLayer;
use rtops_tasks::{Kind, Track};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Runtime,
};
use tower_service::Service;

use common::{eventually, named};

fn call(router: Router, path: &str) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    let mut router = router.layer(RequestLayer::new());
    router.call(Request::get(path).body(Body::empty()).unwrap())
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn answer(router: Router, path: &str) -> Response {
    let Poll::Ready(Ok(response)) = poll(pin!(call(router, path))) else {
        panic!("the handler is ready at once");
    };
    response
}

#[test]
fn a_request_is_named_by_the_route_it_matched_also_in_nested_routers() {
    let api = Router::new().route("/waits/{id}/{*rest}", get(pending::<()>));
    let router = Router::new().nest("/api/{version}", api);
    let mut response = Box::pin(call(router, "/api/v1/waits/7/x/y"));
    assert!(poll(response.as_mut()).is_pending());
    let [request] = &named("GET /api/{version}/waits/{id}/{*rest}")[..] else {
        panic!("it is in flight once");
    };
    assert_eq!(request.kind(), Kind::Task);
    assert_eq!(request.site().file(), file!());
    drop(response);
    assert!(request.is_finished());
}

#[test]
fn what_no_route_matched_is_named_by_its_method() {
    let router = Router::new().fallback(pending::<()>);
    let mut router = router.layer(RequestLayer::new());
    let request = Request::options("/no/such/route").body(Body::empty());
    let mut response = pin!(router.call(request.unwrap()));
    assert!(poll(response.as_mut()).is_pending());
    assert_eq!(named("OPTIONS").len(), 1);
}

#[test]
fn inside_a_tracked_task_it_is_a_span() {
    let router = Router::new().route("/inside", get(pending::<()>));
    let mut connection = pin!(call(router, "/inside").tracked("its connection"));
    assert!(poll(connection.as_mut()).is_pending());
    let request = named("GET /inside").remove(0);
    assert_eq!(request.kind(), Kind::Span);
    assert_eq!(request.parent(), connection.entry().id());
}

/// Yields the pieces of a body as they are pushed.
#[derive(Clone, Default)]
struct Pieces(Arc<Mutex<Vec<Frame<Bytes>>>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.lock().unwrap().pop() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None => Poll::Pending,
        }
    }
}

#[test]
fn a_request_is_in_flight_while_its_body_is_and_each_piece_goes_by_as_it_is() {
    let pieces = Pieces::default();
    let body = Body::new(pieces.clone());
    let body = Arc::new(Mutex::new(Some(body)));
    let router = Router::new().route(
        "/streams",
        get(async move || Response::new(body.lock().unwrap().take().unwrap())),
    );
    let mut body = answer(router, "/streams").into_body();
    let request = named("GET /streams").remove(0);
    assert!(request.is_held_back(), "nobody has asked for the body");
    let mut next = || match poll(pin!(body.frame())) {
        Poll::Ready(Some(Ok(frame))) => Some(frame),
        _ => None,
    };
    assert!(next().is_none());
    assert!(!request.is_held_back());
    pieces.0.lock().unwrap().push(Frame::data("piece".into()));
    assert_eq!(next().unwrap().into_data().unwrap(), "piece");
    assert!(request.is_held_back());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", 0.into());
    let frame = Frame::trailers(trailers.clone());
    pieces.0.lock().unwrap().push(frame);
    assert_eq!(next().unwrap().into_trailers().unwrap(), trailers);
    assert!(!request.is_finished());
    drop(body);
    assert!(request.is_finished());
}

#[test]
fn a_body_that_is_known_to_be_over_ends_the_request() {
    let router = Router::new()
        .route("/whole", get(async || "whole"))
        .route("/empty", get(async || StatusCode::NO_CONTENT));
    let response = answer(router.clone(), "/empty");
    assert!(response.body().is_end_stream());
    assert!(named("GET /empty").is_empty());

    let mut body = answer(router, "/whole").into_body();
    assert_eq!(body.size_hint().exact(), Some(5));
    assert_eq!(named("GET /whole").len(), 1);
    let frame = poll(pin!(body.frame()));
    assert!(matches!(frame, Poll::Ready(Some(Ok(frame))) if frame.is_data()));
    // hyper does not poll a body again that says this.
    assert!(body.is_end_stream());
    assert!(named("GET /whole").is_empty());
}

#[test]
fn a_panic_in_a_handler_goes_on_and_the_request_is_gone() {
    async fn panics() -> &'static str {
        panic!("this panic is wanted")
    }
    let mut response = Box::pin(call(Router::new().route("/panics", get(panics)), "/panics"));
    let poll = std::panic::catch_unwind(AssertUnwindSafe(|| poll(response.as_mut()).is_ready()));
    assert!(poll.is_err());
    drop(response);
    assert!(named("GET /panics").is_empty());
    // The thread no longer polls a request.
    assert_eq!(rtops_tasks::current_task(), rtops_tasks::TaskId::NONE);
}

#[test]
fn names_can_be_given_by_hand() {
    let layer = RequestLayer::new().name_by(|request: &Request| {
        let host = request.headers().get("host");
        let is_admin = host.is_some_and(|host| host == "admin.example");
        if is_admin { "admin" } else { "guest" }.into()
    });
    let router = Router::new().route("/", get(pending::<()>));
    let mut router: Router = router.layer(layer);
    let request = Request::get("/").header("host", "admin.example");
    let mut response = pin!(router.call(request.body(Body::empty()).unwrap()));
    assert!(poll(response.as_mut()).is_pending());
    assert_eq!(named("admin").len(), 1);
}

/// Serves on a port of its own, with the layer.
fn serve(runtime: &Runtime, router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0));
    let listener = runtime.block_on(listener).unwrap();
    let address = listener.local_addr().unwrap();
    let router = router.layer(RequestLayer::new());
    runtime.spawn(async move { axum::serve(listener, router).await });
    address
}

fn ask(address: SocketAddr, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
    )
    .unwrap();
    stream
}

#[test]
fn a_client_that_hangs_up_takes_its_request_along() {
    let runtime = Runtime::new().unwrap();
    let stream = async || Body::new(Pieces::default());
    let router = Router::new()
        .route(
            "/hangs/{id}",
            get(async |Path(_): Path<u64>| pending::<()>().await),
        )
        .route("/hangs-in-body", get(stream));
    let address = serve(&runtime, router);
    for (path, name) in [
        ("/hangs/1", "GET /hangs/{id}"),
        ("/hangs-in-body", "GET /hangs-in-body"),
    ] {
        let client = ask(address, path, "");
        eventually("the request has come", || named(name).len() == 1);
        client.shutdown(Shutdown::Both).unwrap();
        eventually("it is gone", || named(name).is_empty());
    }
}

#[test]
fn an_upgraded_connection_is_no_request_any_more() {
    async fn upgrade(mut request: Request) -> Response {
        let upgraded = request.extensions_mut().remove::<OnUpgrade>().unwrap();
        tokio::spawn(async move {
            let upgraded = upgraded.await.unwrap();
            let mut stream = hyper_util::rt::TokioIo::new(upgraded);
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            stream.write_all(&byte).await.unwrap();
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        let response = response.header("connection", "upgrade");
        let response = response.header("upgrade", "echo");
        response.body(Body::empty()).unwrap()
    }
    let runtime = Runtime::new().unwrap();
    let address = serve(&runtime, Router::new().route("/upgrade", get(upgrade)));
    let mut client = ask(
        address,
        "/upgrade",
        "Connection: upgrade\r\nUpgrade: echo\r\n",
    );
    client.write_all(b"!").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    assert!(answer.ends_with(b"!"));
    assert!(named("GET /upgrade").is_empty());
}
