//! axum over HTTP/1: idle connections that are kept alive, and others whose handlers are slow.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream},
};

use axum::{Router, extract::State, routing::get};
use rtops_testbed::{Never, control::Control, runtime::workers, settle::settlement};
use tokio::net::TcpListener;

use crate::waiting::{Arrivals, lookup};

/// The number of connections of each kind.
const EACH: usize = 3;

pub(crate) fn run(control: Control) -> Result<Never, String> {
    let failed = |error: io::Error| error.to_string();
    let runtime = workers(2)?;
    let _inside = runtime.enter();
    let (pending, settlement) = settlement();
    let address = serve(Arrivals::of(pending, EACH)).map_err(failed)?;
    let mut open = Vec::new();
    for _ in 0..EACH {
        let idle = ask(address, "/fast").map_err(failed)?;
        let mut answer = BufReader::new(idle);
        answer.read_line(&mut String::new()).map_err(failed)?;
        open.push(answer.into_inner());
        open.push(ask(address, "/slow").map_err(failed)?);
    }
    settlement.wait();
    control.serve(|| 0)
}

/// Starts the server on a free port.
pub(crate) fn serve(arrivals: Arrivals) -> io::Result<SocketAddr> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = TcpListener::from_std(listener)?;
    let router = Router::new()
        .route("/fast", get(|| async { "fast" }))
        .route("/slow", get(slow))
        .with_state(arrivals);
    drop(tokio::spawn(async move {
        axum::serve(listener, router).await.ok(); // AWAIT http-serve pool-serve
    }));
    Ok(address)
}

async fn slow(State(arrivals): State<Arrivals>) -> &'static str {
    lookup(&arrivals).await; // AWAIT http-slow pool-slow
    "slow"
}

/// Opens a connection and sends one request.
fn ask(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    Ok(stream)
}
