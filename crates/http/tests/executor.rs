//! The tasks that hyper spawns are tracked under the executor's name, on the runtime
//! that it was given.
#![allow(clippy::unwrap_used)]

mod common;

use std::{convert::Infallible, future::pending};

use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    rt::Executor,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioIo,
    server::conn::auto,
};
use rtops_http::TrackedExecutor;
use rtops_tasks::Kind;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle, Runtime},
};

use common::{eventually, named};

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

async fn never(_: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    pending().await
}

#[test]
fn streams_of_a_server_and_connections_of_a_client_have_their_names() {
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)));
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        auto::Builder::new(TrackedExecutor::new("stream"))
            .serve_connection(TokioIo::new(socket), service_fn(never))
            .await
            .ok();
    });
    let executor = TrackedExecutor::new("connection").on(runtime.handle());
    let mut builder = Client::builder(executor);
    let client: Client<HttpConnector, Empty<Bytes>> = builder.http2_only(true).build_http();
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let request = Request::get(format!("http://{address}/"));
            runtime.spawn(client.request(request.body(Empty::new()).unwrap()))
        })
        .collect();
    eventually("each request has its stream", || named("stream").len() == 3);
    let connections = named("connection");
    assert!(!connections.is_empty());
    for task in named("stream").into_iter().chain(connections) {
        assert_eq!(task.kind(), Kind::Task);
        assert_eq!(task.site().file(), file!());
    }
    for request in requests {
        request.abort();
    }
    drop(client);
    eventually("their tasks end with them", || {
        named("stream").is_empty() && named("connection").is_empty()
    });
}

#[test]
fn it_spawns_on_its_runtime_from_anywhere() {
    let runtime = runtime();
    let (sender, receiver) = std::sync::mpsc::channel();
    let executor = TrackedExecutor::new("from anywhere").on(runtime.handle());
    // Called outside of any runtime.
    executor.execute(async move {
        sender.send(Handle::current().id()).unwrap();
        pending::<()>().await;
    });
    assert_eq!(receiver.recv().unwrap(), runtime.handle().id());
    assert_eq!(named("from anywhere").len(), 1);
}
