//! Servers on well-known libraries, and their clients. Requests wait for a query, a pooled
//! connection, their own body, more of a response body, and a client that does not read.

mod clients;
mod servers;

use std::{convert::Infallible, future::Future, io, net::TcpListener, time::Duration};

use futures_util::{Stream, stream};
use hyper::body::Bytes;
use tokio::{runtime::Builder, sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["actix"] => servers::actix(listen()?),
        ["axum"] => on_tokio(servers::axum(listen()?)),
        ["hyper1"] => on_tokio(servers::hyper1(listen()?)),
        ["hyper2"] => on_tokio(servers::hyper2(listen()?)),
        ["tonic"] => on_tokio(servers::tonic(listen()?)),
        ["warp"] => on_tokio(servers::warp(listen()?)),
        ["pooled-client", port] => on_tokio(clients::pooled(port.to_owned())),
        ["hyper1-client", port] => on_tokio(clients::hyper1(port.to_owned())),
        ["hyper2-client", port] => on_tokio(clients::hyper2(port.to_owned())),
        ["tonic-client", port] => on_tokio(clients::tonic(port.to_owned())),
        _ => panic!("no such kind: {arguments:?}"),
    }
}

fn on_tokio(serve: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    runtime.block_on(serve)
}

/// Opens a listener and prints its port.
fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("ready {}", listener.local_addr()?.port());
    Ok(listener)
}

/// Takes longer than any test looks.
async fn query(_key: &str) -> String {
    sleep(Duration::from_secs(3600)).await;
    "done\n".to_owned()
}

/// Returns one message, and the next one after a query.
fn messages() -> impl Stream<Item = Result<Bytes, Infallible>> {
    let (sender, messages) = mpsc::channel(1);
    tokio::spawn(async move {
        let _ = sender.send(Ok(Bytes::from_static(b"first\n"))).await;
        query("messages").await;
        drop(sender);
    });
    ReceiverStream::new(messages)
}

/// Returns more than any client takes without reading.
fn endless() -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 64 << 10])))
}
