//! hyper over HTTP/2, server and client: three concurrent requests on one connection.

use std::{convert::Infallible, io};

use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client, server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rtops_testbed::{Never, control::Control, runtime::workers, settle::settlement};
use tokio::net::UnixStream;

use crate::waiting::{Arrivals, lookup};

/// How many requests are in flight.
const REQUESTS: usize = 3;

pub(crate) type Sender = client::conn::http2::SendRequest<Empty<Bytes>>;

pub(crate) fn run(control: Control) -> Result<Never, String> {
    keep_asking(control, connect, ask)
}

/// Sends requests on one connection and lets them wait for their answers.
pub(crate) fn keep_asking<C, A>(
    control: Control,
    connect: fn(Arrivals) -> C,
    ask: fn(Sender) -> A,
) -> Result<Never, String>
where
    C: Future<Output = io::Result<Sender>>,
    A: Future<Output = ()> + Send + 'static,
{
    let runtime = workers(2)?;
    let (pending, settlement) = settlement();
    let requests = runtime.block_on(connect(Arrivals::of(pending, REQUESTS)));
    let requests = requests.map_err(|error| error.to_string())?;
    for _ in 0..REQUESTS {
        drop(runtime.spawn(ask(requests.clone())));
    }
    settlement.wait();
    control.serve(|| 0)
}

/// Starts both ends of a connection.
async fn connect(arrivals: Arrivals) -> io::Result<Sender> {
    let (near, far) = UnixStream::pair()?;
    drop(tokio::spawn(serve(far, arrivals)));
    let handshake = client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near));
    let (requests, connection) = handshake.await.map_err(io::Error::other)?;
    drop(tokio::spawn(async move {
        connection.await.ok(); // AWAIT http2-connection
    }));
    Ok(requests)
}

async fn serve(stream: UnixStream, arrivals: Arrivals) {
    let service = service_fn(move |request| answer(request, arrivals.clone()));
    let connection = server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service);
    connection.await.ok(); // AWAIT http2-serve
}

async fn answer(
    _: Request<Incoming>,
    arrivals: Arrivals,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    lookup(&arrivals).await; // AWAIT http2-slow
    Ok(Response::new(Empty::new()))
}

async fn ask(mut requests: Sender) {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = hyper::Uri::from_static("http://localhost/slow");
    requests.send_request(request).await.ok(); // AWAIT http2-request
}
